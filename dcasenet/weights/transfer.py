"""One HTTP request that cannot hold its caller, through the client of huggingface_hub."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Seconds: to reach the server, and to wait for its next bytes.
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
# An attempt may take GRACE seconds, and one second more for so many bytes that have arrived.
GRACE, LOWEST_SPEED = 30.0, 10_000
# Blocks that may wait to be written: so much a server can be ahead of the disk.
AHEAD = 16


class PassingError(Exception):
    """An answer that may be different at the next attempt.

    Attributes:
        wait: Seconds that the server wants the client to wait before it.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Answer(NamedTuple):
    """What a server says before the content; the names of its headers in any case."""

    status: int
    reason: str
    headers: Mapping[str, str]


def http_client() -> Any:
    """Return the module of the HTTP client that this version of huggingface_hub uses."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    return httpx


class Transfer:
    """One request, made in a thread of its own.

    So no server can hold the caller, whatever it is slow with: the connection, the headers or the
    content. A thread that is left behind ends with its connection, or with the process.

    Args:
        url: What to request.
        have: How many bytes of it are not needed any more.
    """

    def __init__(self, url: str, have: int) -> None:
        self.began = time.monotonic()
        self.received = 0
        self.queue: queue.Queue[Answer | bytes | Exception | None]
        self.queue = queue.Queue(AHEAD)
        self.given_up = threading.Event()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        threading.Thread(target=self._run, args=(url, headers), daemon=True).start()

    def answer(self) -> Answer:
        """Wait for the status and the headers."""
        answer: Answer = self._next()
        return answer

    def chunks(self) -> Iterator[bytes]:
        """Wait for the content, block after block."""
        while (chunk := self._next()) is not None:
            self.received += len(chunk)
            yield chunk

    def close(self) -> None:
        """Leave the rest."""
        self.given_up.set()

    def _next(self) -> Any:
        left = self.began + GRACE + self.received / LOWEST_SPEED - time.monotonic()
        try:
            item = self.queue.get(timeout=max(left, 0.0))
        except queue.Empty:
            raise PassingError(
                f"too slow: {self.received} bytes in {time.monotonic() - self.began:.0f} s"
            ) from None
        if isinstance(item, Exception):
            raise item
        return item

    def _run(self, url: str, headers: Mapping[str, str]) -> None:
        from huggingface_hub import get_session

        httpx = http_client()
        timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
        try:
            with get_session().stream(
                "GET", url, headers=headers, timeout=timeout, follow_redirects=True
            ) as response:
                reason = response.reason_phrase
                wanted = self._put(Answer(response.status_code, reason, response.headers))
                for chunk in response.iter_bytes():
                    if not wanted:
                        return
                    wanted = self._put(chunk)
            self._put(None)
        except Exception as error:  # raised again where the answer is waited for
            self._put(error)

    def _put(self, item: Answer | bytes | Exception | None) -> bool:
        """Hand something over; tell whether anybody still waits for it."""
        while not self.given_up.is_set():
            with contextlib.suppress(queue.Full):
                self.queue.put(item, timeout=0.1)
                return True
        return False
