"""The recordings that the shipped checkpoints learn from, split once for all tasks by source.

ESC-50 is split by its folds (1-3 train, 4 validation, 5 test), the other folders by a hash of the
recording that a file was cut from. Only CC0, CC BY, public domain and Apache-2.0 recordings train
anything that is passed on; a run of the ESC-50 benchmark reads all of its clips.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dcasenet.errors import DcasenetError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FOLDERS = ("esc50", "ambience", "events_extra", "dcase2016_task2", "library")
# Clips of fold 4 whose Freesound recording is in fold 5 as well (README of the data).
IN_TWO_FOLDS = frozenset({"4-209698-A-37.ogg", "4-234879-A-6.ogg"})
OPEN_LICENSES = ("CC0", "CC BY", "Public", "public", "Apache-2.0", "OGA BY")


@dataclass(frozen=True)
class Recording:
    """One file: what it is said to be, where it comes from, whom to credit.

    Attributes:
        key: ``folder/filename``, unique.
        label: ``folder/label``, or ``library/kind/label``.
        source: Recording it was cut from, unique over all folders.
        split: Split that the source is on.
        license: License of the file.
        author: Whom to credit.
        origin: Where it was published.
        fold: Fold of ESC-50; 0 elsewhere.
        open: Whether it may train what is passed on.
    """

    key: str
    label: str
    source: str
    split: Split
    license: str
    author: str
    origin: str
    fold: int = 0
    open: bool = True

    @property
    def folder(self) -> str:
        """Folder of the data that the file is in."""
        return self.key.split("/", 1)[0]

    def path(self, root: Path) -> Path:
        """Where the file is, below the folder of the data."""
        folder, filename = self.key.split("/", 1)
        return root / folder / "audio" / filename


def read_recordings(root: Path) -> list[Recording]:
    """List every recording below the folder of the data, in the order of its tables.

    Args:
        root: Folder that holds `FOLDERS`, each with ``meta.csv`` and ``audio``.

    Raises:
        DcasenetError: A table is missing.
    """
    missing = [str(p) for f in FOLDERS if not (p := root / f / "meta.csv").is_file()]
    if missing:
        raise DcasenetError(
            f"These tables are missing: {', '.join(missing)}. DATA is the folder that holds "
            f"{', '.join(FOLDERS)}; docs/recipes.md says where the recordings come from."
        )
    return [recording for folder in FOLDERS for recording in _READERS[folder](root)]


def split_of(source: str) -> Split:
    """Return the Split that a source is on: 60 % train, 20 % each for the others.

    Example:
        >>> split_of("fs564436")
        'test'
    """
    value = int(hashlib.sha1(source.encode()).hexdigest()[:8], 16) % 10
    return "train" if value < 6 else "validation" if value < 8 else "test"


def _rows(root: Path, folder: str) -> Iterator[dict[str, str]]:
    with (root / folder / "meta.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _esc50(root: Path) -> Iterator[Recording]:
    splits: dict[str, Split] = {"4": "validation", "5": "test"}
    for row in _rows(root, "esc50"):
        if row["filename"] in IN_TWO_FOLDS:
            continue
        yield Recording(
            key=f"esc50/{row['filename']}",
            label=f"esc50/{row['category']}",
            source=f"freesound:{row['source_id']}",
            split=splits.get(row["fold"], "train"),
            license=row["license"],
            author=row["author"],
            origin=row["url"],
            fold=int(row["fold"]),
            open=row["open"] == "1",
        )


def _hashed(root: Path, folder: str) -> Iterator[Recording]:
    """Read the tables of `ambience` and `events_extra`."""
    for row in _rows(root, folder):
        yield Recording(
            key=f"{folder}/{row['filename']}",
            label=f"{folder}/{row['label']}",
            source=row["recording_id"],
            split=split_of(row["recording_id"]),
            license=row["license"],
            author=row["author"],
            origin=f"{row['source_repository']}:{row['original_path']}",
            open=_is_open(row["license"]),
        )


def _dcase2016(root: Path) -> Iterator[Recording]:
    for row in _rows(root, "dcase2016_task2"):
        yield Recording(
            key=f"dcase2016_task2/{row['filename']}",
            label=f"dcase2016_task2/{row['event_label']}",
            source=f"dcase2016:{row['filename']}",
            split=split_of(row["filename"]),
            license="CC BY 3.0",
            author="DCASE 2016 task 2 (E. Benetos, M. Lagrange, G. Lafay)",
            origin=row["source"],
        )


def _library(root: Path) -> Iterator[Recording]:
    for row in _rows(root, "library"):
        yield Recording(
            key=f"library/{row['filename']}",
            label=f"library/{row['kind']}/{row['label']}",
            source=row["recording_id"],
            split=split_of(row["recording_id"]),
            license=row["license"],
            author=row["author"],
            origin=row["original_path"],
            open=_is_open(row["license"]),
        )


def _is_open(license_: str) -> bool:
    return license_.startswith(OPEN_LICENSES)


_READERS = {
    "esc50": _esc50,
    "ambience": lambda root: _hashed(root, "ambience"),
    "events_extra": lambda root: _hashed(root, "events_extra"),
    "dcase2016_task2": _dcase2016,
    "library": _library,
}
