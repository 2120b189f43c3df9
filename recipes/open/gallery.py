"""A gallery: what the open checkpoint answers about ten recordings that it was never trained on.

::

    python -m recipes.open.gallery DATA

The recordings are drawn by seed from the test split, each of another source; whatever
the model answers is shown.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcasenet.loading import load
from dcasenet.results import Analysis
from dcasenet.spec import ModelSpec
from recipes.open.labels import CANDIDATES
from recipes.open.split import read_clips
from recipes.recordings import Recording

log = logging.getLogger("recipes.open.gallery")  # also as a command

SEED = 0  # chosen before any answer was seen
COUNT = 10
TOP = 3  # tags that may agree

HEADER = """| recording | its own label | environment | three best tags | events | |
|--|--|--|--|--|--|"""


@dataclass(frozen=True)
class Picture:
    """One recording, what it is, and what the model answers.

    Attributes:
        clip: The recording.
        true: What the model calls the recording's own label, as environment or tag.
        analysis: Its answer.
    """

    clip: Recording
    true: frozenset[str]
    analysis: Analysis

    @property
    def agrees(self) -> bool:
        """Whether the environment or one of the three best tags is the recording's own."""
        return bool(self.true & {self.environment, *self.tags})

    @property
    def environment(self) -> str:
        """The most probable environment."""
        return "" if self.analysis.scene is None else self.analysis.scene.label

    @property
    def tags(self) -> list[str]:
        """The three most probable tags."""
        return [scored.label for scored in (self.analysis.tags or ())[:TOP]]

    def row(self) -> str:
        """Return the row of the table, in Markdown."""
        clip = self.clip
        events = [f"{e.label} {e.onset:.1f}–{e.offset:.1f}" for e in self.analysis.events or ()]
        cells = (
            clip.credit,
            clip.label.split("/")[1].replace("_", " "),
            self.environment,
            ", ".join(self.tags),
            ", ".join(events) or "none",
            "agrees" if self.agrees else "fails",
        )
        return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, analyze, and log the table."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.open.gallery",
        description="Analyze ten recordings of the test split with the open checkpoint.",
    )
    command.add_argument("data", type=Path, help="folder of the data folders")
    command.add_argument("--seed", type=int, default=SEED)
    options = command.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pictures = gallery(options.data, options.seed)
    lines = [HEADER, *(picture.row() for picture in pictures)]
    log.info("%s", "\n".join(lines))
    log.info("%d of %d agree.", sum(picture.agrees for picture in pictures), len(pictures))


def gallery(root: Path, seed: int = SEED) -> list[Picture]:
    """Draw recordings of the test split and analyze them with the open checkpoint.

    Args:
        root: Folder of the data folders.
        seed: Of the draw.

    Returns:
        Ten, each of another source recording, in the order drawn.
    """
    model = load("v3", stage="open")
    return [
        Picture(clip, _true(clip, model.spec), model.analyze(clip.path(root)))
        for clip in draw(read_clips(root), model.spec, seed)
    ]


def draw(clips: Sequence[Recording], spec: ModelSpec, seed: int) -> list[Recording]:
    """Draw ten source recordings of the test split that the model has a label for, a clip of each.

    Args:
        clips: Every clip.
        spec: Of the model.
        seed: Of the draw.
    """
    sources: dict[str, list[Recording]] = {}
    for clip in clips:
        if clip.split == "test" and _true(clip, spec):
            sources.setdefault(clip.source, []).append(clip)
    random = np.random.default_rng(seed)
    drawn = random.choice(sorted(sources), COUNT, replace=False)
    return [sources[source][random.integers(len(sources[source]))] for source in drawn.tolist()]


def _true(clip: Recording, spec: ModelSpec) -> frozenset[str]:
    """Return what the model calls a clip's label, by the table of labels, as scene and as tag."""
    return frozenset(
        candidate.into if candidate.name not in names and candidate.into else candidate.name
        for task, names in (("scene", spec.scenes), ("tag", spec.tags))
        for candidate in CANDIDATES[task]  # type: ignore[index]
        if clip.label in candidate.sources and ({candidate.name, candidate.into} & {*names})
    )


if __name__ == "__main__":
    main()
