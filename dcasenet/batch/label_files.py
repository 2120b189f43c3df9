"""A file of results for each recording, in a folder that mirrors theirs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dcasenet.audio.discovery import StrPath, find_places
from dcasenet.errors import AudioError, JobError
from dcasenet.results import Result
from dcasenet.results.formats import export, suffix_of
from dcasenet.types import check_flags

# Recordings done, their total, and what is wrong with the last one.
Watch = Callable[[int, int, str | None], None]


@dataclass
class FolderSummary:
    """What became of a folder of results.

    Attributes:
        folder: The folder.
        n_files: How many recordings there are.
        n_kept: How many of them had a file there already, which was left as it is.
        passed_over: Number of files in the folders without an audio suffix, by suffix.
        failures: Recording → why there is no file of it.
    """

    folder: Path
    n_files: int
    n_kept: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)


def write_each(
    answer: Callable[[str], Result],
    paths: StrPath | Iterable[StrPath],
    folder: StrPath,
    form: str,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> FolderSummary:
    """Write the results of each recording to a file of its own.

    Args:
        answer: A verb with its options.
        paths: Files and folders, which are searched to any depth for audio files.
        folder: Made if it does not exist. Recordings of a folder that was given keep their place
            below it.
        form: A key of `dcasenet.results.formats.FORMATS`.
        overwrite: Whether to replace files that are there; by default they stay, so that a job
            that was stopped goes on.
        watch: Called after each recording.

    Returns:
        How many there are, and how many were kept or failed.

    Raises:
        AudioError: There is no recording in the folders.
        JobError: A file cannot be written.
        ValueError: The format is for events, and `answer` returns none.
    """
    check_flags(overwrite=overwrite)
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    targets, passed_over = targets_of(given, form)
    summary = FolderSummary(Path(folder), len(targets), passed_over=passed_over)
    for done, (recording, relative) in enumerate(targets.items(), start=1):
        target, error = summary.folder / relative, None
        if target.exists() and not overwrite:
            summary.n_kept += 1
        else:
            try:
                result = answer(recording)
            except AudioError as fault:
                summary.failures[recording] = error = str(fault)
            else:
                _write(result, form, target)
        if watch is not None:
            watch(done, len(targets), error)
    return summary


def targets_of(paths: Sequence[StrPath], form: str) -> tuple[dict[str, Path], Counter[str]]:
    """Name the file of each recording, relative to the folder of results; count other files.

    It is named like the recording, with the format's suffix in place of its own; where two would
    be the same, the suffix is added to the whole name.

    Example:
        >>> targets_of(["a.wav", "b/a.flac", "c.wav"], "textgrid")[0]["c.wav"].name
        'c.TextGrid'
        >>> [path.name for path in targets_of(["a.wav", "a.flac"], "audacity")[0].values()]
        ['a.wav.txt', 'a.flac.txt']
    """
    places, passed_over = find_places(paths)
    suffix = suffix_of(form)
    short = {recording: place.with_suffix("") for recording, place in places.items()}
    counts = Counter(short.values())
    targets = {
        recording: place.with_name(
            (short[recording] if counts[short[recording]] == 1 else place).name + suffix
        )
        for recording, place in places.items()
    }
    return targets, passed_over


def _write(result: Result, form: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        export(result, form, target)
    except JobError:
        raise
    except OSError as error:
        raise JobError(
            f"{target} cannot be written: {error.strerror or error}. What was written before is "
            f"kept: make room and give the same command again to go on."
        ) from error
