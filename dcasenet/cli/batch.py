"""`--output`: a command on any number of files, as a job that can be stopped and gone on with."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, cast

import typer
from rich import progress as bars
from rich.console import Console

from dcasenet.cli.options import Engine
from dcasenet.cli.output import Format
from dcasenet.errors import DcasenetError, JobError

if TYPE_CHECKING:
    from dcasenet.batch.progress import Progress, Summary
    from dcasenet.batch.rows import Row
    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel

# Seconds from one line to the next where there is no terminal for a bar.
LINE_EVERY = 30.0
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


@dataclass(frozen=True)
class Job:
    """The options of a command that writes `--output`.

    Attributes:
        output: The file; None for a command that prints.
        workers: As `dcasenet.batch.runner.JobOptions` has it, like the next two.
        restart: Whether to begin anew.
        engine: Where to run.
        printing: The value of `--format`.
    """

    output: Path | None
    workers: int | None
    restart: bool
    engine: Engine
    printing: Format

    def check(self) -> None:
        """Refuse options that have nothing to do with each other."""
        if self.output is not None:
            if self.printing is not Format.table:
                raise typer.BadParameter(
                    f"--format {self.printing.value} is for what is printed; --output "
                    f"{self.output} is written in the format that its suffix names."
                )
            return
        if self.workers is not None or self.restart or self.engine is not Engine.local:
            raise typer.BadParameter(
                "--workers, --restart and --engine go with --output, the file to write."
            )

    def analyze(
        self,
        model: SoundModel | OnnxSoundModel,
        paths: Sequence[Path],
        threshold: float | None,
        top: int,
    ) -> None:
        """Write scene, tags and events of recordings to the output."""
        from dcasenet.batch import runner

        if self._is_one_recording(paths):
            self._write_as_it_goes(model, paths[0], threshold)
            return
        self._run(
            lambda **options: runner.analyze(
                model, paths, cast("Path", self.output), threshold=threshold, top=top, **options
            )
        )

    def embed(self, model: SoundModel | OnnxSoundModel, paths: Sequence[Path]) -> None:
        """Write the embeddings of recordings to the output."""
        from dcasenet.batch import runner

        self._run(
            lambda **options: runner.embed(model, paths, cast("Path", self.output), **options)
        )

    def _run(self, job: Callable[..., Summary]) -> None:
        try:
            with _stopping(), JobProgress() as progress:
                summary = job(
                    workers=self.workers,
                    restart=self.restart,
                    engine=self.engine.value,
                    watch=progress,
                )
        except DcasenetError:
            raise
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        except KeyboardInterrupt as error:
            typer.echo(
                f"Stopped. What is finished is kept in {self.output}.parts: give the same command "
                f"again to go on.",
                err=True,
            )
            raise typer.Exit(
                TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
            ) from error
        failed = f", {summary.n_failed:,} failed" if summary.n_failed else ""
        typer.echo(f"{summary.output}: {_count(summary.n_files, 'file')}{failed}")
        if summary.n_failed:
            raise typer.Exit(1)

    def _is_one_recording(self, paths: Sequence[Path]) -> bool:
        is_text = self.output is not None and self.output.suffix in (".csv", ".jsonl")
        return is_text and len(paths) == 1 and paths[0].is_file() and self.engine is Engine.local

    def _write_as_it_goes(
        self, model: SoundModel | OnnxSoundModel, path: Path, threshold: float | None
    ) -> None:
        from dcasenet.batch.incremental import write_results

        output = cast("Path", self.output)
        if output.exists() and not self.restart:
            raise JobError(f"{output} exists already. Give another output, or --restart.")
        try:
            with _stopping():
                write_results(model, path, output, threshold=threshold)
        except KeyboardInterrupt as error:
            typer.echo(f"Stopped. {output} holds what was final.", err=True)
            raise typer.Exit(
                TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
            ) from error
        typer.echo(f"{output}: {path}")


class JobProgress:
    """Show how far a job is on standard error: a bar on a terminal, else a line now and then."""

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
        """Show the progress, and what failed."""
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
    """Say how far a job is, in a line.

    Example:
        >>> from dcasenet.batch.progress import Progress
        >>> progress_text(Progress(total=1000, resumed=0, done=250, audio=2500, elapsed=50))
        '250 of 1,000 files, 5.0 files/s, 50 × real time, 2 min 30 s left'
    """
    places = 1 if progress.rate >= 1 else 3
    words = [f"{progress.done:,} of {_count(progress.total, 'file')}"]
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
    """Let SIGTERM stop what is inside; only the main thread may say so."""
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


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
