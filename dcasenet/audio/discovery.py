"""Files and folders become the list of recordings of a job, in an order that never changes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcasenet.errors import AudioError
from dcasenet.text import one_line

# Names that recordings have, as far as libsndfile reads them, and what the extra `av` reads, sound
# of films included. A file given by itself needs none.
SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64"}
    | {".snd", ".w64", ".wav", ".wave", ".bwf", ".mp1", ".mp2", ".nist", ".sph", ".voc"}
    | {".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dsf", ".flv", ".m4a", ".m4b", ".m4v"}
    | {".mka", ".mkv", ".mov", ".mp4", ".mpc", ".spx", ".tta", ".webm", ".wma", ".wmv", ".wv"}
)
# How files are counted whose names begin with a dot, and whose names have no suffix.
HIDDEN, NO_SUFFIX = "hidden", "without a suffix"
# Suffixes that a line names; the rest are "other".
MOST_NAMED = 8

StrPath = str | os.PathLike[str]


@dataclass
class Listing:
    """Recordings found in files and folders.

    Attributes:
        files: Recordings, and unreadable entries, so that a job reports them.
        passed_over: How many other files were in the folders, by suffix.
    """

    files: list[str]
    passed_over: Counter[str]


def list_recordings(paths: Iterable[StrPath]) -> list[str]:
    """List the files given, and the recordings in the folders given and in theirs.

    A folder's recordings are recognized by suffix, ignoring case; names that begin with a dot are
    skipped. Links are followed, into each folder once. Entries that cannot be read - a folder
    that cannot be listed, a link that leads nowhere - stands in the list itself, so that a job
    reports it like a file that cannot be read.

    Args:
        paths: Files and folders.

    Returns:
        Paths that begin as those given do: in the order given, a folder's own sorted by name. One
        that is given twice is there once.

    Raises:
        AudioError: There is not one recording.

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
        AudioError: There is not one recording.
    """
    given = [os.fspath(path) for path in paths]
    passed_over: Counter[str] = Counter()
    found: dict[str, None] = {}  # a set that keeps its order
    for path in given:
        found.update(dict.fromkeys(_walk(path, passed_over) if Path(path).is_dir() else [path]))
    if not found:
        others = f" (it holds {describe_counts(passed_over)})" if passed_over else ""
        raise AudioError(
            f"There is no recording in {', '.join(given) or 'nothing'}{others}. Give files, or "
            f"folders with files that end in {', '.join(sorted(SUFFIXES))}."
        )
    return Listing(list(found), passed_over)


def find_places(paths: Iterable[StrPath]) -> tuple[dict[str, Path], Counter[str]]:
    """Find recordings, and where each belongs in a folder of results; count what is passed over.

    Returns:
        Recording → its path below the folder that was given, or its name if it was itself given;
        and how many other files there are, by suffix.

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
    """Return how many files were passed over, the most frequent suffixes first.

    Example:
        >>> describe_counts(Counter({".txt": 1_200, "hidden": 1, "without a suffix": 2}))
        '1,200 .txt, 2 without a suffix, 1 hidden'
    """
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{n:,} {one_line(suffix)}" for suffix, n in ordered[:MOST_NAMED]]
    n_others = sum(n for _, n in ordered[MOST_NAMED:])
    return ", ".join([*parts, f"{n_others:,} other"] if n_others else parts)


def _walk(top: str, passed_over: Counter[str]) -> Iterator[str]:
    """Yield the recordings below a folder: of each folder once, however it is linked."""
    seen: set[tuple[int, int]] = set()
    waiting = [(top, True)]  # and no recursion: folders may be deeper than Python's stack
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
        (path, whether it is a folder) of folders and recordings, by name; and how many other files
        there are, by suffix.

    Raises:
        OSError: It cannot be listed.
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
    except OSError:  # a link that leads in a circle, or into what may not be read
        is_folder = is_known = False
    if entry.name.startswith("."):
        return None
    is_recording = not is_known or Path(entry.name).suffix.lower() in SUFFIXES
    return True if is_folder else False if is_recording else None


def _counted(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return HIDDEN
    return Path(entry.name).suffix.lower() or NO_SUFFIX
