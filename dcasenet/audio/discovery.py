"""Files and folders become the list of recordings of a job, in an order that never changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dcasenet.errors import AudioError

# What libsndfile reads, by the names that such files have. A file given by itself needs none.
SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64"}
    | {".snd", ".w64", ".wav", ".wave"}
)

StrPath = str | os.PathLike[str]


def list_recordings(paths: Iterable[StrPath]) -> list[str]:
    """List the files given, and the recordings in the folders given and in theirs.

    A folder's recordings are told by their suffix, in capitals or not; what begins with a dot is
    passed over. A folder that cannot be listed stands in the list itself, so that a job reports
    it like a file that cannot be read.

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
    given = [os.fspath(path) for path in paths]
    found: dict[str, None] = {}  # a set that keeps its order
    for path in given:
        found.update(dict.fromkeys(_walk(path, set()) if Path(path).is_dir() else [path]))
    if not found:
        raise AudioError(
            f"There is no recording in {', '.join(given) or 'nothing'}. Give files, or folders "
            f"with files that end in {', '.join(sorted(SUFFIXES))}."
        )
    return list(found)


def _walk(folder: str, above: set[tuple[int, int]]) -> Iterator[str]:
    """Give the recordings below a folder; links to folders are followed, but never in a circle."""
    try:
        status = Path(folder).stat()
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, above | {here})
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield entry.path
