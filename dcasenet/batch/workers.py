"""Read files in processes ahead of a model; a file that crashes its process does not stop the job.

For each file they return the audio as the model reads it, or the reason why it cannot be read.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from pathlib import Path
from types import TracebackType

from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import AS_USUAL, LoadedAudio, ReadOptions, StreamedAudio
from dcasenet.cpus import usable_cpus
from dcasenet.errors import AudioError, DcasenetError
from dcasenet.results.writing import input_digest
from dcasenet.spec import ModelSpec

# A longer file is not passed between processes, but read where the model runs.
LONG_SECONDS = 120.0


@dataclass(frozen=True)
class ReadResult:
    """The outcome of reading a file.

    Attributes:
        source: Path of the file.
        audio: Audio as the model reads it; None for a file that is long or cannot be read.
        error: Reason why it cannot be read.
        duration: Its duration in seconds, if known.
        digest: SHA-256 of the file; None if it cannot be opened.
    """

    source: str
    audio: LoadedAudio | None = None
    error: str | None = None
    duration: float | None = None
    digest: str | None = None

    @property
    def is_long(self) -> bool:
        """Whether the file must be read where the model runs."""
        return self.audio is None and self.error is None


def read_file(source: str, spec: ModelSpec, options: ReadOptions = AS_USUAL) -> ReadResult:
    """Read, mix and resample a file, unless it is long.

    Args:
        source: Path of the file.
        spec: The model's specification.
        options: How it is read.

    Returns:
        The audio as the model reads it; for a file longer than 120 s only the duration, if known;
        or the error.

    Example:
        >>> read_file("missing.wav", ModelSpec("v3", "mine")).error.split(" (")[0]
        'There is no file missing.wav'
    """
    digest = _digest(source)
    try:
        _check_kind(source)
        with Reader(source, max_duration=options.max_duration) as reader:
            if (reader.n_expected or 0) > LONG_SECONDS * reader.sample_rate:
                expected = (reader.n_expected or 0) / reader.sample_rate
                return ReadResult(source, duration=expected, digest=digest)
            stream = StreamedAudio(reader, spec, options.channels, strict=options.strict)
            # The header may state less than the file contains.
            audio = stream.load(most=int(LONG_SECONDS * spec.frontend.sample_rate))
            return ReadResult(source, audio, duration=reader.duration, digest=digest)
    except AudioError as error:
        return ReadResult(source, error=str(error), digest=digest)
    except MemoryError:
        error_text = f"{source} needs more memory than is available."
        return ReadResult(source, error=error_text, digest=digest)


def _check_kind(source: str) -> None:
    """Refuse paths that a job does not read.

    Raises:
        AudioError: The path is a folder, a pipe or a device.
    """
    path = Path(source)
    try:
        is_folder, is_other = path.is_dir(), path.exists() and not path.is_file()
    except (OSError, ValueError):
        return  # reported when the file is read
    if is_folder:
        raise AudioError(f"The folder {source} cannot be listed: {_why(source)}.")
    if is_other:
        raise AudioError(
            f"{source} is a pipe or a device, which a job does not read. Save the sound to a file."
        )


def _why(folder: str) -> str:
    """Return why a folder cannot be listed."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return str(error.strerror or error)
    return "the error did not occur again; run the job again"


def _digest(source: str) -> str | None:
    path = Path(source)
    try:
        return input_digest(path) if path.is_file() else None
    except (OSError, ValueError):
        return None  # reported when the file is read


FileReader = Callable[[str], ReadResult]

# Files that are read ahead: the most waveforms, of up to 2 minutes each, that wait for the model.
AHEAD = 64
MOST_WORKERS = 8
# With fewer files, starting a process takes longer than reading them.
FILES_FOR_ONE = 16
# Number of times that a file is tried if its process dies.
MOST_DEATHS = 2


@dataclass
class _Task:
    """A file assigned to a worker."""

    source: str
    worker: int
    future: Future[ReadResult]
    deaths: int = 0

    @property
    def is_given_up(self) -> bool:
        return self.deaths >= MOST_DEATHS


class Workers:
    """Read files in separate processes; results are in the order of the files.

    Each process has its own executor, so that if the kernel kills one, the others continue and the
    file that was being read is known. The processes are spawned, ignore Ctrl-C, which the caller
    handles, and end when their parent does, even by SIGKILL.

    Args:
        n_workers: Number of processes; 0 reads in the calling process.
        read_file: Function that reads one file; it must be picklable.

    Raises:
        DcasenetError: The processes cannot be started.

    Example:
        >>> from dcasenet.batch.workers import read_file
        >>> from dcasenet.spec import ModelSpec
        >>> with Workers(0, partial(read_file, spec=ModelSpec("v3", "mine"))) as workers:
        ...     [file.source for file in workers.read(["a.wav", "b.wav"])]
        ['a.wav', 'b.wav']
    """

    def __init__(self, n_workers: int, read_file: FileReader) -> None:
        self._read_file = read_file
        self._executors: dict[int, ProcessPoolExecutor] = {}
        self._pids: list[Future[int]] = []
        for worker in range(n_workers):
            self._spawn(worker)

    def __enter__(self) -> Workers:
        try:
            for pid in self._pids:
                pid.result()
        except BrokenProcessPool as error:
            self.close()
            raise DcasenetError(
                "The worker processes cannot be started. In a script, put the call below "
                "if __name__ == '__main__':, or give workers=0 to read in this process."
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, even if they are reading."""
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)
        done = [pid for pid in self._pids if pid.done() and not pid.cancelled()]
        pids = {pid.result() for pid in done if pid.exception() is None}
        for process in multiprocessing.active_children():
            if process.pid in pids:  # it may be blocked by a file
                process.terminate()

    def read(self, sources: Iterable[str]) -> Iterator[ReadResult]:
        """Read files ahead of the caller.

        Args:
            sources: Paths.

        Yields:
            The outcome for each file, in order.
        """
        if not self._executors:
            yield from map(self._read_file, sources)
            return
        waiting: deque[_Task] = deque()
        for index, source in enumerate(sources):
            worker = index % len(self._executors)
            waiting.append(_Task(source, worker, self._submit(source, worker, waiting)))
            if len(waiting) >= AHEAD:
                yield self._finish(waiting)
        while waiting:
            yield self._finish(waiting)

    def _submit(self, source: str, worker: int, waiting: deque[_Task]) -> Future[ReadResult]:
        try:
            return self._executors[worker].submit(self._read_file, source)
        except BrokenProcessPool:
            self._restart(worker, waiting)
            return self._executors[worker].submit(self._read_file, source)

    def _finish(self, waiting: deque[_Task]) -> ReadResult:
        """Wait for the first file."""
        task = waiting[0]
        while _is_lost(task.future) and not task.is_given_up:
            self._restart(task.worker, waiting)
        waiting.popleft()
        error = task.future.exception()
        if task.is_given_up:
            reason = f"the process that read it was killed, {MOST_DEATHS} times; perhaps it needs "
            return ReadResult(
                task.source, error=f"{task.source}: {reason}more memory than there is."
            )
        if error is not None:
            return ReadResult(task.source, error=f"{task.source}: {type(error).__name__}: {error}")
        return task.future.result()

    def _restart(self, worker: int, waiting: deque[_Task]) -> None:
        """Submit the files of a dead process to a new one; the first file made it fail."""
        self._executors[worker].shutdown(wait=False)
        self._spawn(worker)
        own = [task for task in waiting if task.worker == worker and not task.is_given_up]
        lost = [task for task in own if _is_lost(task.future)]
        for task in lost[:1]:
            task.deaths += 1
        for task in lost:
            if not task.is_given_up:
                task.future = self._executors[worker].submit(self._read_file, task.source)

    def _spawn(self, worker: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._executors[worker] = ProcessPoolExecutor(1, context, initializer=_begin)
        self._pids.append(self._executors[worker].submit(os.getpid))


def default_workers(n_files: int) -> int:
    """Return the number of processes for a job: half of the available cores, at most 8.

    Example:
        >>> default_workers(3)  # read before a process would have started
        0
    """
    return min(max(1, usable_cpus() // 2), MOST_WORKERS, n_files // FILES_FOR_ONE)


def _is_lost(future: Future[ReadResult]) -> bool:
    # Files queued behind the one that killed the process fail too; finished ones do not.
    return isinstance(future.exception(), BrokenProcessPool)


def _begin() -> None:
    """Prepare a worker process: ignore Ctrl-C, and end with the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = partial(_end_with, parent.sentinel)
        threading.Thread(target=watch, daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
