"""`--output`: a command on any number of files, as a job that can be stopped and gone on with."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich import progress as bars
from rich.console import Console

from dcasenet.cli.output import say, tell_passed_over
from dcasenet.errors import JobError
from dcasenet.text import count, one_line

if TYPE_CHECKING:
    from dcasenet.batch.progress import Progress, Summary
    from dcasenet.batch.rows import Row
    from dcasenet.cli.options import OutputOptions

# Seconds from one line to the next where there is no terminal for a bar.
LINE_EVERY = 30.0
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def run_job(
    job: Callable[..., Summary], paths: Sequence[Path], output: Path, to: OutputOptions
) -> None:
    """Write the table of a job on any number of files.

    Raises:
        typer.Exit: A file failed, or the job was stopped.
    """
    stopped = (
        f"Stopped. Finished rows are kept in {output}.parts: run the same command again to resume."
    )
    with interruptible(stopped), JobProgress() as progress:
        summary = job(
            paths,
            output,
            workers=to.workers,
            restart=to.restart,
            engine=to.engine.value,
            watch=progress,
        )
    failed = f", {summary.n_failed:,} failed" if summary.n_failed else ""
    say(f"{summary.output}: {count(summary.n_files, 'file')}{failed}")
    tell_passed_over(summary.passed_over)
    if summary.n_failed:
        raise typer.Exit(1)


def write_as_it_goes(
    write: Callable[[Path, Path], None], path: Path, output: Path, *, restart: bool
) -> None:
    """Write the table of one recording of any length, line by line.

    Raises:
        JobError: The output exists.
        typer.Exit: It was stopped.
    """
    if os.path.lexists(output) and not restart:
        raise JobError(f"{output} exists already. Give another output, or --restart.")
    with interruptible(f"Stopped. {output} has the results that were final."):
        write(path, output)
    say(f"{output}: {path}")


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block with a message instead of a traceback."""
    try:
        with _stopping():
            yield
    except KeyboardInterrupt as error:
        typer.echo(one_line(message), err=True)
        code = TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
        raise typer.Exit(code) from error


class JobProgress:
    """Show the progress of a job on standard error: a bar on a terminal, else occasional lines."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = bars.Progress(
            bars.BarColumn(),
            bars.TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("Starting", total=None)
        self._shown = time.monotonic()

    def __enter__(self) -> JobProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress, rows: Sequence[Row]) -> None:
        """Show the progress and the failures."""
        for row in rows:
            if row["error"] is not None:
                self._line(f"error: {' '.join(row['error'].splitlines())}")
        text = progress_text(progress)
        self._bar.update(
            self._task, description=text, total=progress.total, completed=progress.done
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._shown >= LINE_EVERY:
            self._shown = now
            self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def progress_text(progress: Progress) -> str:
    """Return the progress of a job as a line.

    Example:
        >>> from dcasenet.batch.progress import Progress
        >>> progress_text(Progress(total=1000, resumed=0, done=250, audio=2500, elapsed=50))
        '250 of 1,000 files, 5.0 files/s, 50 × real time, 2 min 30 s left'
    """
    places = 1 if progress.rate >= 1 else 3
    words = [f"{progress.done:,} of {count(progress.total, 'file')}"]
    if progress.elapsed:
        words.append(f"{progress.rate:,.{places}f} files/s")
        words.append(f"{progress.audio / progress.elapsed:,.0f} × real time")
    if progress.left is not None:
        words.append(f"{_duration(progress.left)} left")
    if progress.failed:
        words.append(f"{progress.failed:,} failed")
    return ", ".join(words)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a job as Ctrl-C does."""


@contextmanager
def _stopping() -> Iterator[None]:
    """Let SIGTERM stop the block; only the main thread can set this."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before: Any = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
