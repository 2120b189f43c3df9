"""Download one file over HTTP with resumption and retries, and verify its digest."""

from __future__ import annotations

import contextlib
import email.utils
import logging
import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from dcasenet.errors import ChecksumError, OfflineError, WeightsError
from dcasenet.weights.checksum import file_digest, verify
from dcasenet.weights.transfer import Answer, PassingError, Transfer, http_client

if TYPE_CHECKING:
    from rich.progress import Progress

    from dcasenet.spec import WeightsFile

# Seconds to wait before each attempt after the first.
PAUSES = (0.5, 2.0, 5.0)
# Longest wait, in seconds, that a server may request.
LONGEST_PAUSE = 60.0
# Status codes that may change later: timeout and too many requests; so may any 5xx.
PASSING = (408, 429)
logger = logging.getLogger("dcasenet")


class _UncertainEndError(PassingError):
    """The content ended and is not the file, but its length was not known."""


class Job(NamedTuple):
    """A file to download.

    Attributes:
        url: URL of the file.
        path: Where to write it; if part of the file is there already, only the rest is requested.
        file: The published file, whose digest is verified.
        what: Name of the checkpoint, for messages.
        largest: Most bytes to accept if the size of the file is not known.
        progress: Whether to show a bar (only on a terminal).
    """

    url: str
    path: Path
    file: WeightsFile
    what: str
    largest: int
    progress: bool = True


def download(job: Job) -> None:
    """Download a file and verify its digest.

    If the connection breaks, the part that was received stays at ``job.path``, and the next call
    continues from there; it is deleted if it turns out to be wrong.

    Raises:
        ChecksumError: The server sent something other than the published file.
        OfflineError: huggingface_hub, whose client is used, is offline.
        WeightsError: The server cannot be reached, refuses, or is too slow.
        OSError: The file cannot be written, for instance because the disk is full.
    """
    resumed = _is_plain(job.path)
    if resumed and file_digest(job.path, job.file.digest.partition(":")[0]) == job.file.digest:
        return  # an earlier run ended after the download, before the conversion
    _fetch(job)
    try:
        verify(job.path, job.file, f"{job.what}: {job.url}")
    except ChecksumError as error:
        job.path.unlink()
        if resumed:  # the earlier part may be wrong
            logger.info("%s Downloading all of it again.", error)
            download(job)
            return
        raise ChecksumError(
            f"{error} The download was deleted. A proxy or a login page may have answered "
            f"instead of the server; try again, or fetch the file by hand."
        ) from error


def _fetch(job: Job) -> None:
    """Download to the end, with several attempts if necessary."""
    for pause in PAUSES:
        failure = _attempt(job)
        if failure is None:
            return
        pause = max(pause, failure.wait if isinstance(failure, PassingError) else 0.0)
        logger.info("%s: %s. Trying again in %g s.", job.url, failure, pause)
        time.sleep(pause)
    failure = _attempt(job)
    if failure is not None and not isinstance(failure, _UncertainEndError):
        raise WeightsError(
            f"{job.what}: {job.url} cannot be downloaded to {job.path} ({failure}; "
            f"{len(PAUSES) + 1} attempts). Check the connection and try again."
        ) from failure


def _attempt(job: Job) -> Exception | None:
    """Download once; return the failure if another attempt may succeed."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    httpx = http_client()
    try:
        _stream(job)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise WeightsError(f"{job.what}: {job.url} cannot be used: {error}.") from error
    except OfflineModeIsEnabled as error:
        raise OfflineError(
            f"{job.what}: huggingface_hub was imported with HF_HUB_OFFLINE=1, so that nothing can "
            f"be downloaded in this process. Start Python without this variable."
        ) from error
    except (httpx.RequestError, PassingError) as error:
        return error
    return None


def _stream(job: Job) -> None:
    """Send one request and append the content to the file."""
    have = job.path.stat().st_size if _is_plain(job.path) else 0
    limit = job.file.size or job.largest
    with contextlib.closing(Transfer(job.url, have)) as transfer:
        answer = transfer.answer()
        resumes = _accept(job, answer, have)
        have = have if resumes else 0
        length = answer.headers.get("Content-Length", "")
        total = job.file.size or (have + int(length) if length.isdecimal() else None)
        with _part(job.path, resumes) as out, _bar(job, total, have) as advance:
            for chunk in transfer.chunks():
                have += len(chunk)
                if have > limit:
                    break
                out.write(chunk)
                advance.update(advance.task_ids[0], completed=have)
    if have > limit:
        job.path.unlink()
        raise ChecksumError(
            f"{job.what}: {job.url} sends more than the {limit} bytes that the file may have."
        )
    if job.file.size is not None and have < job.file.size:
        raise PassingError(f"the connection ended after {have} of {job.file.size} bytes")
    if total is None and "Transfer-Encoding" not in answer.headers:
        # The length is not known: if the connection broke too early, only the digest shows it.
        kind = job.file.digest.partition(":")[0]
        if file_digest(job.path, kind) != job.file.digest:
            raise _UncertainEndError(f"the connection ended after {have} bytes, too early")


def _accept(job: Job, answer: Answer, have: int) -> bool:
    """Return whether the server resumes at the end of the file; raise if it does not send it."""
    status = answer.status
    if status == 206:
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            job.path.unlink(missing_ok=True)
            raise PassingError("the server sent another part than was requested")
        return True
    if status == 200:
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise WeightsError(
                f"{job.what}: {job.url} returned a web page instead of the file, as a proxy or a "
                f"login page does. Try from another network, or download it by hand."
            )
        return False
    if status == 416:  # the part is at least as long as the file, but is not the file
        job.path.unlink(missing_ok=True)
        raise PassingError("the server has no more than the part that is here")
    reason = f"HTTP {status} {answer.reason}".rstrip()
    if status >= 500 or status in PASSING:
        wait = _retry_after(answer.headers.get("Retry-After", ""))
        if wait > LONGEST_PAUSE:
            raise WeightsError(
                f"{job.what}: {job.url} is busy ({reason}) and requests a wait of {wait:.0f} s. "
                f"Try again then."
            )
        raise PassingError(reason, wait)
    raise WeightsError(
        f"{job.what}: {job.url} was refused ({reason}). If the file has moved, give another "
        f"server in DCASENET_GITHUB_BASE."
    )


def _retry_after(value: str) -> float:
    """Parse the header ``Retry-After``: seconds, or a date; 0 for anything else.

    Example:
        >>> _retry_after("30"), _retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), _retry_after("soon")
        (30.0, 0.0, 0.0)
    """
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _is_plain(path: Path) -> bool:
    """Return whether a file may be written to: it is not a link, and has no other hard link.

    In a cache that other users can write to, it could otherwise be somebody else's file.
    """
    with contextlib.suppress(OSError):
        status = path.lstat()
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return False


def _part(path: Path, append: bool) -> BinaryIO:
    """Open the file for a download; replace links that another user may have put there."""
    if not _is_plain(path):
        path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    # These two do not exist on Windows, where making links needs a privilege.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab" if append else "wb")


@contextlib.contextmanager
def _bar(job: Job, total: int | None, have: int) -> Iterator[Progress]:
    """Show a progress bar for a download, on a terminal only; it is removed at the end."""
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
