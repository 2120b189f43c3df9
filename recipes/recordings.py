"""The recordings that the shipped checkpoints learn from, split once for all tasks by source.

ESC-50 is split by its folds (1-3 train, 4 validation, 5 test), the other folders by a hash of the
recording that a file was cut from. Only CC0, CC BY, public domain and Apache-2.0 recordings
train anything that is passed on.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcasenet.errors import DcasenetError
from dcasenet.train.data.dataset import Split

FOLDERS = ("esc50", "ambience", "events_extra", "dcase2016_task2", "library")
# Clips of fold 4 whose Freesound recording is in fold 5 as well (README of the data).
IN_TWO_FOLDS = frozenset({"4-209698-A-37.ogg", "4-234879-A-6.ogg"})
OPEN_LICENSES = ("CC0", "CC BY", "Public", "public", "Apache-2.0")
# OGA BY 3.0. It trained what the shipped checkpoints went on from, which credit it, and trains no
# longer.
FORMER = "library/mod-sounds__sounds_robot_01.opus"


@dataclass(frozen=True)
class LabeledClip:
    """One file: its label, the recording it was cut from, whom to credit.

    Attributes:
        key: ``folder/filename``, unique; the path below the folder of the data but for ``audio``.
        label: ``folder/label``, or ``library/kind/label``.
        source: Recording it was cut from, unique over all folders.
        split: Split of that recording.
        license: License of the file.
        author: Whom to credit.
        title: Title, or the original path where no title is recorded.
        url: Where it was published, if known.
        fold: Fold of ESC-50; 0 elsewhere.
        open: Whether it may train what is passed on.
    """

    key: str
    label: str
    source: str
    split: Split
    license: str
    author: str
    title: str
    url: str = ""
    fold: int = 0
    open: bool = True

    @property
    def folder(self) -> str:
        """Folder of the data that the file is in."""
        return self.key.partition("/")[0]

    @property
    def filename(self) -> str:
        """Name below the folder's ``audio``."""
        return self.key.partition("/")[2]

    @property
    def credit(self) -> str:
        """Title, linked where it was published, author and license, in Markdown."""
        title = " ".join(self.title.split()).replace("|", "/")
        return f"{f'[{title}]({self.url})' if self.url else title}, {self.author}, {self.license}"

    def path(self, root: Path) -> Path:
        """Return where the file is, below the folder of the data."""
        return root / self.folder / "audio" / self.filename


def read_recordings(root: Path, folders: Sequence[str] = FOLDERS) -> list[LabeledClip]:
    """List every recording below the folder of the data, in the order of its tables.

    Args:
        root: Folder that holds `folders`, each with ``meta.csv`` and ``audio``.
        folders: Of `FOLDERS`, those to read.

    Raises:
        DcasenetError: A table is missing.
    """
    missing = [str(p) for f in folders if not (p := root / f / "meta.csv").is_file()]
    if missing:
        raise DcasenetError(
            f"These tables are missing: {', '.join(missing)}. DATA is the folder that holds "
            f"{', '.join(folders)}; docs/recipes.md says where the recordings come from."
        )
    found: list[LabeledClip] = []
    for folder in folders:
        with (root / folder / "meta.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if folder == "esc50":
                found += _esc50(rows)
            elif folder == "dcase2016_task2":
                found += map(_dcase2016, rows)
            else:
                found += (_hashed(folder, row) for row in rows)
    return found


def split_of(source: str) -> Split:
    """Return the split of a source recording by its name: 60, 20 and 20 % by hash.

    Example:
        >>> split_of("fs564436")
        'test'
    """
    value = int(hashlib.sha1(source.encode()).hexdigest()[:8], 16) % 10
    return "train" if value < 6 else "validation" if value < 8 else "test"


def split_of_fold(fold: int) -> Split:
    """Return the split of an ESC-50 fold, 1 to 5."""
    return "train" if fold <= 3 else "validation" if fold == 4 else "test"


def _esc50(rows: Iterable[Mapping[str, str]]) -> Iterator[LabeledClip]:
    for row in rows:
        if row["filename"] in IN_TWO_FOLDS:
            continue
        yield LabeledClip(
            key=f"esc50/{row['filename']}",
            label=f"esc50/{row['category']}",
            source=f"fs{row['source_id']}",
            split=split_of_fold(int(row["fold"])),
            license=row["license"],
            author=row["author"],
            title=row["title"],
            url=row["url"],
            fold=int(row["fold"]),
            open=row["open"] == "1",
        )


def _dcase2016(row: Mapping[str, str]) -> LabeledClip:
    return LabeledClip(
        key=f"dcase2016_task2/{row['filename']}",
        label=f"dcase2016_task2/{row['event_label']}",
        source=f"dcase2016:{row['filename']}",
        split=split_of(row["filename"]),
        license="CC BY 3.0",
        author="G. Lafay (IRCCyN), IEEE AASP DCASE 2016 challenge, Task 2",
        title=row["source"],
        url="https://archive.org/details/dcase2016_task2_train_dev",
    )


def _hashed(folder: str, row: Mapping[str, str]) -> LabeledClip:
    """Read a row of `ambience`, `events_extra` or `library`."""
    if folder == "library":
        label, title = f"{row['kind']}/{row['label']}", row["original_path"]
    else:
        label, title = row["label"], f"{row['source_repository']}: {row['original_path']}"
    return LabeledClip(
        key=f"{folder}/{row['filename']}",
        label=f"{folder}/{label}",
        source=row["recording_id"],
        split=split_of(row["recording_id"]),
        license=row["license"],
        author=row["author"],
        title=title,
        open=row["license"].startswith(OPEN_LICENSES),
    )
