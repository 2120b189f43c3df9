"""The recordings of the open checkpoint, and which labels have enough of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcasenet.spec import Task
from dcasenet.train.data.dataset import SPLITS, Split
from recipes.open.labels import Candidate
from recipes.recordings import Recording, read_recordings

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


def read_clips(root: Path, fold: int | None = None) -> list[Recording]:
    """List every clip that may train weights that are passed on, or those of a benchmark run.

    Args:
        root: Folder that holds `FOLDERS`, each with ``meta.csv`` and ``audio``.
        fold: For a run of the ESC-50 benchmark, whose weights are not passed on: every clip of
            ESC-50 whatever its license; see `recipes.recordings.read_recordings`.

    Returns:
        Clips that are CC0, CC BY or public domain (for a benchmark run: all), in the order of the
        tables.

    Raises:
        DcasenetError: A table is missing.
    """
    return [r for r in read_recordings(root, FOLDERS, fold) if r.open or fold is not None]


def count_sources(clips: Iterable[Recording], sources: Sequence[str]) -> tuple[int, int, int]:
    """Count the source recordings that carry a label, in train, validation and test."""
    found: dict[Split, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.label in sources:
            found[clip.split].add(clip.source)
    return len(found["train"]), len(found["validation"]), len(found["test"])


def choose(
    candidates: Sequence[Candidate], clips: Sequence[Recording], fewest: Mapping[Split, int]
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
