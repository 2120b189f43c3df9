"""One file over HTTP: streamed, resumed, retried, and refused unless its digest is right."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dcasenet.errors import ChecksumError, WeightsError
from dcasenet.weights.checksum import file_digest, verify

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx
    from rich.progress import Progress

    from dcasenet.spec import WeightsFile

# Seconds: to reach the server, and to wait for its next bytes.
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
# Seconds to wait before each new attempt; its length is the number of attempts after the first.
PAUSES = (0.5, 2.0, 5.0)
# Answers that may be different the next time: time-out, too many requests; any 5xx is as well.
PASSING = (408, 429)
# Where the manifest gives no size, a server cannot fill the disk with more than this (bytes).
LARGEST = 1 << 30

logger = logging.getLogger("dcasenet")


class _PassingError(Exception):
    """An answer that may be different at the next attempt."""


class Job(NamedTuple):
    """What is downloaded.

    Attributes:
        url: Where from.
        path: Where to; if part of the file is there already, only the rest is asked for.
        file: The file as published, whose digest decides.
        what: Name of the checkpoint, for messages.
        progress: Whether to show a bar (only ever on a terminal).
    """

    url: str
    path: Path
    file: WeightsFile
    what: str
    progress: bool = True


def download(job: Job) -> None:
    """Download a file and prove that it is the right one.

    What has arrived stays at ``job.path`` when a connection breaks for good, for the next call to
    go on from; it is deleted when it turns out to be wrong.

    Raises:
        ChecksumError: The server gave something else than the published file.
        WeightsError: The server cannot be reached, or refuses.
        OSError: The file cannot be written, for instance because the disk is full.
    """
    resumed = job.path.exists()
    if resumed and file_digest(job.path, job.file.digest.partition(":")[0]) == job.file.digest:
        return  # an earlier run was killed between this and the conversion
    _fetch(job)
    try:
        verify(job.path, job.file, f"{job.what}: {job.url}")
    except ChecksumError as error:
        job.path.unlink()
        if resumed:  # the part that was there may be to blame
            logger.info("%s Downloading all of it again.", error)
            download(job)
            return
        raise ChecksumError(
            f"{error} The download was deleted. A proxy or a login page may have answered "
            f"instead of the server; try again, or fetch the file by hand."
        ) from error


def _fetch(job: Job) -> None:
    """Stream to the end, however many attempts that takes."""
    for pause in PAUSES:
        failure = _attempt(job)
        if failure is None:
            return
        logger.info("%s: %s. Trying again in %s s.", job.url, failure, pause)
        time.sleep(pause)
    failure = _attempt(job)
    if failure is not None:
        raise WeightsError(
            f"{job.what}: {job.url} cannot be downloaded to {job.path} ({failure}; "
            f"{len(PAUSES) + 1} attempts). Check the connection and try again."
        ) from failure


def _attempt(job: Job) -> Exception | None:
    """Stream once; give the failure if another attempt may do better."""
    from huggingface_hub.utils import httpx

    try:
        _stream(job)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise WeightsError(f"{job.what}: {job.url} cannot be used: {error}.") from error
    except (httpx.RequestError, _PassingError) as error:
        return error
    return None


def _stream(job: Job) -> None:
    """Make one request and append what comes to the file."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import httpx

    have = job.path.stat().st_size if job.path.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    with get_session().stream(
        "GET", job.url, headers=headers, timeout=timeout, follow_redirects=True
    ) as response:
        resumes = _accept(job, response, have)
        have = have if resumes else 0
        limit = job.file.size or LARGEST
        length = response.headers.get("Content-Length")
        total = job.file.size or (have + int(length) if length else None)
        with job.path.open("ab" if resumes else "wb") as out, _bar(job, total, have) as advance:
            for chunk in response.iter_bytes():
                have += len(chunk)
                if have > limit:
                    break  # `verify` says how the size is wrong
                out.write(chunk)
                advance.update(advance.task_ids[0], completed=have)
    if have > limit:
        job.path.unlink()
        raise ChecksumError(
            f"{job.what}: {job.url} sends more than the {limit} bytes that the file can have."
        )
    if job.file.size is not None and have < job.file.size:
        raise _PassingError(f"the connection ended after {have} of {job.file.size} bytes")


def _accept(job: Job, response: httpx.Response, have: int) -> bool:
    """Tell whether the answer goes on where the file ends; raise if it is not the file at all."""
    status = response.status_code
    if status == 206:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            job.path.unlink(missing_ok=True)
            raise _PassingError("the server sent another part than was asked for")
        return True
    if status == 200:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise WeightsError(
                f"{job.what}: {job.url} answered with a web page instead of the file: a proxy or "
                f"a login page is in the way. Try from another network, or fetch it by hand."
            )
        return False
    if status == 416:  # the part at hand is as long as the file, or longer, and is not the file
        job.path.unlink(missing_ok=True)
        raise _PassingError("the server has no more than the part that is here")
    reason = f"HTTP {status} {response.reason_phrase}".rstrip()
    if status >= 500 or status in PASSING:
        raise _PassingError(reason)
    raise WeightsError(
        f"{job.what}: {job.url} was refused ({reason}). If the file has moved, give another "
        f"server in DCASENET_GITHUB_BASE."
    )


@contextlib.contextmanager
def _bar(job: Job, total: int | None, have: int) -> Iterator[Progress]:
    """Show how far a download is, on a terminal only, where the bar goes when it is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    shown = job.progress and console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        progress.add_task(job.what, total=total, completed=have)
        yield progress
