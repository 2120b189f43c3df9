"""The recordings of the open checkpoint, split once for all tasks, by source and never by file.

The rule is that of the data's README: ESC-50 by fold (1–3 train, 4 validation, 5 test), the other
folders by a hash of the recording.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcasenet.errors import DcasenetError
from dcasenet.spec import Task
from dcasenet.train.data.dataset import SPLITS, Split
from recipes.open.labels import Candidate

FOLDERS = ("esc50", "ambience", "events_extra", "dcase2016_task2")

# Fewest source recordings of a label in train, validation and test. Events do with two in
# validation and test, or speech (four contributors and the DCASE clips) and baby cries would go.
FEWEST: dict[Task, dict[Split, int]] = {
    "scene": {"train": 8, "validation": 3, "test": 3},
    "tag": {"train": 8, "validation": 3, "test": 3},
    "event": {"train": 8, "validation": 2, "test": 2},
}
# A benchmark run chooses nothing by validation, so that a label only has to be learnable.
FEWEST_OF_BENCHMARK: dict[Task, dict[Split, int]] = {
    task: {"train": 8, "validation": 0, "test": 0} for task in FEWEST
}
# ESC-50 clips of fold 4 whose Freesound recording is in fold 5 as well (README of the data).
IN_TWO_FOLDS = frozenset({"4-209698-A-37.ogg", "4-234879-A-6.ogg"})


@dataclass(frozen=True)
class Clip:
    """One file: what it is, where it comes from, whom to credit.

    Attributes:
        folder: Data folder, one of `FOLDERS`.
        filename: Name below the folder's ``audio``.
        label: ``"folder/label"``.
        source: Recording it was cut from, unique over all folders.
        split: Split that the recording is on.
        license: License of the clip.
        author: Whom to credit.
        title: Title, or the original path where no title is recorded.
        url: Where it was published, if known.
    """

    folder: str
    filename: str
    label: str
    source: str
    split: Split
    license: str
    author: str
    title: str
    url: str = ""

    @property
    def key(self) -> str:
        """Name that is unique over all folders, and path below the data folder but for audio/."""
        return f"{self.folder}/{self.filename}"


@dataclass(frozen=True)
class Label:
    """A label that was kept.

    Attributes:
        name: Label for people.
        sources: ``"folder/label"`` of everything that carries it, merged labels included.
        audioset: Display name of the AudioSet class that means the same, where there is one.
    """

    name: str
    sources: tuple[str, ...]
    audioset: str | None = None


@dataclass(frozen=True)
class Fate:
    """What became of a candidate label, and how many source recordings it has.

    Attributes:
        name: Label for people.
        outcome: ``"kept"``, ``"merged into …"`` or ``"dropped"``.
        recordings: Number of source recordings in train, validation and test.
    """

    name: str
    outcome: str
    recordings: tuple[int, int, int]


def read_clips(root: Path, fold: int | None = None) -> list[Clip]:
    """List every clip that may train weights that are passed on, or those of a benchmark run.

    Args:
        root: Folder that holds `FOLDERS`, each with ``meta.csv`` and ``audio``.
        fold: For a run of the ESC-50 benchmark, whose weights are not passed on: every clip of
            ESC-50 whatever its license, this fold for the test, the four others to train on, but
            for recordings that are in this fold as well.

    Returns:
        Clips that are CC0, CC BY or public domain (for a benchmark run: all), in the order of the
        tables.

    Raises:
        DcasenetError: A table is missing.
    """
    missing = [str(p) for f in FOLDERS if not (p := root / f / "meta.csv").is_file()]
    if missing:
        raise DcasenetError(
            f"The open data set is incomplete: {', '.join(missing)} not found. Give the folder "
            f"that holds {', '.join(FOLDERS)}."
        )
    clips: list[Clip] = []
    for folder in FOLDERS:
        with (root / folder / "meta.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                clip = _clip(folder, row, fold)
                if clip is not None:
                    clips.append(clip)
    tested = {clip.source for clip in clips if clip.split == "test" and clip.folder == "esc50"}
    return [c for c in clips if fold is None or c.split == "test" or c.source not in tested]


def _clip(folder: str, row: Mapping[str, str], fold: int | None) -> Clip | None:
    """Read one row; None if it may not be used."""
    name = row["filename"]
    if folder == "esc50":
        if fold is None and (row["open"] != "1" or name in IN_TWO_FOLDS):
            return None
        return Clip(
            folder=folder,
            filename=name,
            label=f"esc50/{row['category']}",
            source=f"fs{row['source_id']}",
            split=split_of_fold(int(row["fold"]), fold),
            license=row["license"],
            author=row["author"],
            title=row["title"],
            url=row["url"],
        )
    if folder == "dcase2016_task2":
        return Clip(
            folder=folder,
            filename=name,
            label=f"{folder}/{row['event_label']}",
            source=f"dcase2016:{name}",
            split=split_of_key(name),
            license="CC BY 3.0",
            author="G. Lafay (IRCCyN), IEEE AASP DCASE 2016 challenge, Task 2",
            title=row["source"],
            url="https://archive.org/details/dcase2016_task2_train_dev",
        )
    return Clip(
        folder=folder,
        filename=name,
        label=f"{folder}/{row['label']}",
        source=row["recording_id"],
        split=split_of_key(row["recording_id"]),
        license=row["license"],
        author=row["author"],
        title=f"{row['source_repository']}: {row['original_path']}",
    )


def split_of_fold(fold: int, test_fold: int | None = None) -> Split:
    """Return the split of an ESC-50 fold, 1 to 5.

    Args:
        fold: The fold.
        test_fold: The benchmark's fold for the test; all others are trained on.
    """
    if test_fold is not None:
        return "test" if fold == test_fold else "train"
    return "train" if fold <= 3 else "validation" if fold == 4 else "test"


def split_of_key(key: str) -> Split:
    """Return the split of a recording's name: 60, 20 and 20 % by hash.

    Example:
        >>> split_of_key("precise-eltocino")
        'validation'
    """
    value = int(hashlib.sha1(key.encode("utf-8")).hexdigest()[:8], 16) % 10
    return "train" if value < 6 else "validation" if value < 8 else "test"


def count_sources(clips: Iterable[Clip], sources: Sequence[str]) -> tuple[int, int, int]:
    """Count the source recordings that carry a label, in train, validation and test."""
    found: dict[Split, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.label in sources:
            found[clip.split].add(clip.source)
    return len(found["train"]), len(found["validation"]), len(found["test"])


def choose(
    candidates: Sequence[Candidate], clips: Sequence[Clip], fewest: Mapping[Split, int]
) -> tuple[list[Label], list[Fate]]:
    """Keep the labels with enough recordings; merge or drop the others.

    Args:
        candidates: Labels that could be.
        clips: What there is to learn from and to test on.
        fewest: Fewest source recordings of each split.

    Returns:
        The labels kept, in the order of the candidates, and what became of each candidate.
    """
    wanted = tuple(fewest[split] for split in SPLITS)
    kept: dict[str, Label] = {}
    fates: list[Fate] = []
    merged: dict[str, tuple[str, ...]] = {}
    for candidate in candidates:
        counts = count_sources(clips, candidate.sources)
        enough = all(n >= least for n, least in zip(counts, wanted, strict=True))
        if enough or candidate.always:
            outcome = "kept" if enough else "kept, though its recordings are few"
            kept[candidate.name] = Label(candidate.name, candidate.sources, candidate.audioset)
        elif candidate.into is not None:
            outcome = f"merged into {candidate.into}"
            merged[candidate.into] = (*merged.get(candidate.into, ()), *candidate.sources)
        else:
            outcome = "dropped"
        fates.append(Fate(candidate.name, outcome, counts))
    labels = [
        Label(label.name, (*label.sources, *merged.get(label.name, ())), label.audioset)
        for label in kept.values()
    ]
    return labels, fates
