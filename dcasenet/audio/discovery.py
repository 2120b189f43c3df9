"""Find the recordings in files and folders, in a reproducible order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcasenet.errors import AudioError
from dcasenet.text import one_line

# Suffixes of the audio files that libsndfile and the extra `av` read, including those of films. A
# file that is given by its own path may have any suffix.
SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64"}
    | {".snd", ".w64", ".wav", ".wave", ".bwf", ".mp1", ".mp2", ".nist", ".sph", ".voc"}
    | {".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dsf", ".flv", ".m4a", ".m4b", ".m4v"}
    | {".mka", ".mkv", ".mov", ".mp4", ".mpc", ".spx", ".tta", ".webm", ".wma", ".wmv", ".wv"}
)
# Names under which hidden files, and files without a suffix, are counted.
HIDDEN, NO_SUFFIX = "hidden", "without a suffix"
# Most suffixes in a summary; the rest are counted as "other".
MOST_NAMED = 8

StrPath = str | os.PathLike[str]


@dataclass
class Listing:
    """Recordings found in files and folders.

    Attributes:
        files: Recordings, and entries that cannot be read, so that a job reports them.
        passed_over: Number of other files in the folders, by suffix.
    """

    files: list[str]
    passed_over: Counter[str]


def list_recordings(paths: Iterable[StrPath]) -> list[str]:
    """List the given files, and the recordings in the given folders and their subfolders.

    A folder's recordings are recognized by suffix, ignoring case; names that begin with a dot are
    skipped. Links are followed, but each folder is visited once. Entries that cannot be read, such
    as a folder that cannot be listed or a broken link, are in the list too, so that a job reports
    them as files that cannot be read.

    Args:
        paths: Files and folders.

    Returns:
        Paths, relative where the given one is: in the given order, and sorted by name within a
        folder. Each path is listed once.

    Raises:
        AudioError: There is no recording.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("b.WAV", "a.flac", "notes.txt", ".hidden.wav"):
        ...         Path(folder, name).touch()
        ...     [Path(path).name for path in list_recordings([folder])]
        ['a.flac', 'b.WAV']
    """
    return find_recordings(paths).files


def find_recordings(paths: Iterable[StrPath]) -> Listing:
    """List recordings as `list_recordings` does, and count the files that are skipped.

    Raises:
        AudioError: There is no recording.
    """
    given = [os.fspath(path) for path in paths]
    passed_over: Counter[str] = Counter()
    found: dict[str, None] = {}  # used as an ordered set
    for path in given:
        found.update(dict.fromkeys(_walk(path, passed_over) if Path(path).is_dir() else [path]))
    if not found:
        others = f" (it contains {describe_counts(passed_over)})" if passed_over else ""
        searched = ", ".join(given) or "an empty list of paths"
        raise AudioError(
            f"There is no recording in {searched}{others}. Give files, or "
            f"folders with files that end in {', '.join(sorted(SUFFIXES))}."
        )
    return Listing(list(found), passed_over)


def find_places(paths: Iterable[StrPath]) -> tuple[dict[str, Path], Counter[str]]:
    """Find recordings and their paths in a folder of results, and count the files that are skipped.

    Returns:
        Recording → its path relative to the given folder, or its name if the file itself was given;
        and the number of other files, by suffix.

    Raises:
        AudioError: There is no recording in a folder.

    Example:
        >>> {name: place.name for name, place in find_places(["b/a.flac"])[0].items()}
        {'b/a.flac': 'a.flac'}
    """
    places: dict[str, Path] = {}
    passed_over: Counter[str] = Counter()
    for given in paths:
        is_folder = Path(given).is_dir()
        listing = find_recordings([given])
        passed_over += listing.passed_over
        for recording in listing.files:
            place = os.path.relpath(recording, given) if is_folder else Path(recording).name
            places.setdefault(recording, Path(place))
    return places, passed_over


def describe_counts(passed_over: Counter[str]) -> str:
    """Return how many files were skipped, the most frequent suffixes first.

    Example:
        >>> describe_counts(Counter({".txt": 1_200, "hidden": 1, "without a suffix": 2}))
        '1,200 .txt, 2 without a suffix, 1 hidden'
    """
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{n:,} {one_line(suffix)}" for suffix, n in ordered[:MOST_NAMED]]
    n_others = sum(n for _, n in ordered[MOST_NAMED:])
    return ", ".join([*parts, f"{n_others:,} other"] if n_others else parts)


def _walk(top: str, passed_over: Counter[str]) -> Iterator[str]:
    """Yield the recordings below a folder; each folder is visited once, even if it is linked."""
    seen: set[tuple[int, int]] = set()
    waiting = [(top, True)]  # no recursion: folders may be nested deeper than Python's stack
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield path
            continue
        try:
            status = Path(path).stat()
            here = (status.st_dev, status.st_ino)
            if here in seen:
                continue
            found, others = list_entries(path)
        except OSError:
            yield path
            continue
        seen.add(here)
        waiting += reversed(found)
        passed_over += others


def list_entries(folder: StrPath) -> tuple[list[tuple[str, bool]], Counter[str]]:
    """List the entries of one folder.

    Returns:
        (path, whether it is a folder) of folders and recordings, sorted by name; and the number of
        other files, by suffix.

    Raises:
        OSError: The folder cannot be listed.
    """
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    kinds = [(entry, _kind(entry)) for entry in entries]
    found = [(entry.path, kind) for entry, kind in kinds if kind is not None]
    return found, Counter(_counted(entry) for entry, kind in kinds if kind is None)


def _kind(entry: os.DirEntry[str]) -> bool | None:
    """Return True for a folder, False for a recording, None for an entry that is skipped."""
    try:
        is_folder, is_known = entry.is_dir(), True
    except OSError:  # a circular link, or one to a folder without permission
        is_folder = is_known = False
    if entry.name.startswith("."):
        return None
    is_recording = not is_known or Path(entry.name).suffix.lower() in SUFFIXES
    return True if is_folder else False if is_recording else None


def _counted(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return HIDDEN
    return Path(entry.name).suffix.lower() or NO_SUFFIX
