"""Measure the activation ranges of a shipped checkpoint, so that it becomes int8 without any data.

::

    python -m recipes.activation_ranges DATA --stage distilled

DATA holds the folder ``esc50`` (among those that the checkpoint was trained on). Listened to are
clips of the training split alone, evenly spread over its classes. Has to be done again whenever the
checkpoint is replaced: the ranges are refused for any weights but those they were measured with.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dcasenet.loading import load
from dcasenet.onnx.calibration import NAME, measure_on, write_ranges
from dcasenet.onnx.export import traced
from dcasenet.weights.sources import PACKAGE
from recipes.recordings import LabeledClip, read_recordings

log = logging.getLogger("recipes.activation_ranges")  # also as a command

FOLDER = "esc50"
CLIPS = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.activation_ranges",
        description="Measure the activation ranges that int8 needs of a checkpoint.",
    )
    command.add_argument("data", type=Path, help="folder of the data folders")
    command.add_argument("--clips", type=int, default=CLIPS, help="how many to listen to")
    command.add_argument("--weights", type=Path, help="the checkpoint; by default the shipped one")
    command.add_argument("--stage", required=True, help="of a checkpoint that ships")
    command.add_argument("--output", type=Path, help="by default beside the weights")
    options = command.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    model = load("v3", stage=options.stage, weights=options.weights)
    clips = spread(training_clips(options.data), options.clips)
    paths = [clip.path(options.data) for clip in clips]
    protocol = (
        f"{len(clips)} clips of ESC-50, folds 1 to 3, that are CC0 or CC BY: the same for every "
        "class. Of each tensor's values the range that 256 steps lose least of, by the mean square."
    )
    ranges = measure_on(model, traced(model, model.spec.tasks), paths)
    output = options.output or PACKAGE / "data" / options.stage / NAME
    write_ranges(output, model, ranges, protocol)
    log.info("Wrote %s: %d layers, %d clips.", output, len(ranges), len(clips))


def training_clips(data: Path) -> list[LabeledClip]:
    """Return the clips of ESC-50 that the checkpoints may have been trained on."""
    clips = read_recordings(data, (FOLDER,))
    return [clip for clip in clips if clip.open and clip.split == "train"]


def spread(clips: Sequence[LabeledClip], count: int) -> list[LabeledClip]:
    """Choose clips at equal distances in the order of their labels.

    Example:
        >>> clips = [LabeledClip(f"esc50/{x}.ogg", x, x, "train", "CC0", "", "") for x in "badc"]
        >>> [clip.label for clip in spread(clips, 2)]
        ['a', 'c']
    """
    ordered = sorted(clips, key=lambda clip: (clip.label, clip.filename))
    count = min(count, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


if __name__ == "__main__":
    main()
