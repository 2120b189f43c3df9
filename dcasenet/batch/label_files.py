"""Write a file of results for each recording, in a folder that mirrors the recordings' folder."""

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

# Called with the number of finished recordings, their total, and the last one's error if any.
Watch = Callable[[int, int, str | None], None]


@dataclass
class FolderSummary:
    """Counts and failures of writing a folder of results.

    Attributes:
        folder: The folder.
        n_files: Number of recordings.
        n_kept: Number of recordings whose file existed already and was not changed.
        passed_over: Number of files in the folders without an audio suffix, by suffix.
        failures: Recording → the reason why it has no file.
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
    """Write the results of each recording to a separate file.

    Args:
        answer: A method of the model with its options.
        paths: Files and folders, which are searched to any depth for audio files.
        folder: Created if it does not exist. Recordings of a given folder keep their relative path
            below it.
        form: A key of `dcasenet.results.formats.FORMATS`.
        overwrite: Whether to replace existing files; by default they are kept, so that a job that
            was stopped continues.
        watch: Called after each recording.

    Returns:
        The numbers of recordings, and of those kept or failed.

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
    """Return each recording's file, relative to the folder of results, and count other files.

    A file has the recording's name with the format's suffix in place of its own; where two names
    would be equal, the suffix is appended to the full names.

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
            f"{target} cannot be written: {error.strerror or error}. Files written before are "
            f"kept: free some space and run the same command again to continue."
        ) from error
