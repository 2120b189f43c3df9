"""Send one HTTP request that cannot block its caller, with the client of huggingface_hub."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Timeouts in seconds: to reach the server, and for its next bytes.
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
# An attempt may take GRACE seconds, and one more second for so many bytes received.
GRACE, LOWEST_SPEED = 30.0, 10_000
# Most received blocks that wait to be written.
AHEAD = 16


class PassingError(Exception):
    """An error that may not occur at the next attempt.

    Attributes:
        wait: Seconds that the server requests to wait before it.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Answer(NamedTuple):
    """Status, reason and headers of a response; names of headers are not case-sensitive."""

    status: int
    reason: str
    headers: Mapping[str, str]


def http_client() -> Any:
    """Return the module of the HTTP client in this version of huggingface_hub."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    return httpx


class Transfer:
    """One request, made in a separate thread.

    So no server can block the caller, whether the connection, the headers or the content are slow.
    An abandoned thread ends with its connection, or with the process.

    Args:
        url: URL to request.
        have: Number of bytes at the start that are not needed.
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
        """Wait for status and headers."""
        answer: Answer = self._next()
        return answer

    def chunks(self) -> Iterator[bytes]:
        """Yield the content, block by block."""
        while (chunk := self._next()) is not None:
            self.received += len(chunk)
            yield chunk

    def close(self) -> None:
        """Stop the transfer; the rest is not read."""
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
        except Exception as error:  # raised again in the caller's thread
            self._put(error)

    def _put(self, item: Answer | bytes | Exception | None) -> bool:
        """Pass an item to the caller; return whether it is still wanted."""
        while not self.given_up.is_set():
            with contextlib.suppress(queue.Full):
                self.queue.put(item, timeout=0.1)
                return True
        return False
