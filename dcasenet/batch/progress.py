"""The progress, summary and options of a job on many files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from dcasenet.batch.rows import Row


@dataclass
class Progress:
    """The progress of a job.

    Attributes:
        total: Number of files.
        resumed: Number of files finished before this run.
        done: Number of finished files, including those.
        failed: Number of files that failed in this run.
        audio: Seconds of audio processed in this run.
        elapsed: Seconds since this run began.
    """

    total: int
    resumed: int
    done: int = 0
    failed: int = 0
    audio: float = 0.0
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Files per second, in this run."""
        return (self.done - self.resumed) / self.elapsed if self.elapsed else 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds that remain; None as long as there is no rate."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class Summary:
    """The outcome of a job.

    Attributes:
        output: The file written.
        n_files: Number of rows.
        n_failed: Number of rows with an error instead of a result.
        n_resumed: Number of files finished by earlier runs.
        passed_over: Number of files in the folders without an audio suffix, by suffix.
    """

    output: Path
    n_files: int
    n_failed: int
    n_resumed: int
    passed_over: Counter[str] = field(default_factory=Counter)


Watch = Callable[[Progress, Sequence[Row]], None]


class JobOptions(TypedDict, total=False):
    """How a job runs; these options do not change the result.

    Attributes:
        workers: Number of processes that read files: by default half of the cores, at most 8, and
            0 for a few files; 0 reads in the calling process. With Ray: number of actors.
        restart: Whether to discard finished rows of an earlier run, and replace the output.
        watch: Called with the progress and the new rows, after each group of files.
        save_every: Seconds between two saves of finished rows, 10 by default; rows after the last
            save are computed again if the process is killed.
        engine: ``"local"``, or ``"ray"`` for the same job on a Ray cluster; see
            `dcasenet.batch.ray`.
    """

    workers: int | None
    restart: bool
    watch: Watch | None
    save_every: float
    engine: Literal["local", "ray"]
