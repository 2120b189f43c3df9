"""What a job on many files tells of itself, and how it may run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from dcasenet.batch.rows import Row


@dataclass
class Progress:
    """How far a job is.

    Attributes:
        total: How many files it has.
        resumed: How many were finished before this run.
        done: How many are finished, those included.
        failed: How many failed in this run.
        audio: Seconds of audio that were answered in this run.
        elapsed: Seconds since it began.
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
        """Seconds to go at this rate; None as long as there is none."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class Summary:
    """What a job came to.

    Attributes:
        output: The file written.
        n_files: How many rows it has.
        n_failed: How many of them say why there is no answer.
        n_resumed: How many were finished by earlier runs.
        passed_over: Number of files in the folders without an audio suffix, by suffix.
    """

    output: Path
    n_files: int
    n_failed: int
    n_resumed: int
    passed_over: Counter[str] = field(default_factory=Counter)


Watch = Callable[[Progress, Sequence[Row]], None]


class JobOptions(TypedDict, total=False):
    """How a job runs; none of it changes the result.

    Attributes:
        workers: Processes that read files: by default half of the cores, 8 at most, and none for
            a few files; 0 reads in the caller's process. With Ray: how many actors.
        restart: Throw away what an earlier run finished, and write over the output.
        watch: Called with the progress and the new rows, after each group of files.
        save_every: Seconds between two savings of finished rows, 10 by default; what came after
            the last one is computed again after a kill.
        engine: ``"local"``, or ``"ray"``: the same job on a Ray cluster; see `dcasenet.batch.ray`.
    """

    workers: int | None
    restart: bool
    watch: Watch | None
    save_every: float
    engine: Literal["local", "ray"]
