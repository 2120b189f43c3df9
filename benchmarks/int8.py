"""How far int8 is from float32: python benchmarks/int8.py DATA [--stage STAGE] [--cache FILE].

DATA holds the folders that docs/recipes.md lists. It measures how far each probability moves, on
the clips of ESC-50's folds 4 and 5, none of which the ranges were measured with; and, with --cache
(recordings that `recipes.train` has decoded), how the figures of the test split move.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import dcasenet
from dcasenet import Analysis
from dcasenet.onnx.export import serialized
from dcasenet.onnx.runtime import OnnxSoundModel, model_of
from dcasenet.results import Floats
from dcasenet.spec import TASKS
from recipes.bank import decode_all
from recipes.evaluate import EvaluationSet, evaluate, render
from recipes.pack import label_sets
from recipes.recordings import read_recordings

SOUNDSCAPES = 30  # of 60 s, as in the checkpoint's card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--stage", default="distilled")
    parser.add_argument("--cache", type=Path, help="decoded recordings: figures, too")
    parser.add_argument("--clips", type=int, default=0, help="of ESC-50 at most; 0 is all")
    options = parser.parse_args()
    torchs = dcasenet.load("v3", stage=options.stage)
    models = {
        precision: model_of(serialized(torchs, precision=precision), precision)
        for precision in ("float32", "int8")
    }
    print_agreement(models, list(held_out(options.data))[: options.clips or None])
    if options.cache is not None:
        decoded = decode_all(read_recordings(options.data), options.data, options.cache)
        split = EvaluationSet(decoded, label_sets(decoded), SOUNDSCAPES)
        print("\n" + render({name: evaluate(model, split) for name, model in models.items()}))


def held_out(data: Path) -> Iterator[Path]:
    """Clips of ESC-50 in the validation and test splits, in an order that mixes the classes."""
    clips = [c for c in read_recordings(data, ("esc50",)) if c.open and c.split != "train"]
    for index in np.random.default_rng(0).permutation(len(clips)):
        yield clips[index].path(data)


def print_agreement(models: dict[str, OnnxSoundModel], paths: Sequence[Path]) -> None:
    moved: dict[str, list[Floats]] = {task: [] for task in TASKS}
    for path in paths:
        one, two = (
            probabilities(model.analyze(path), model.spec.rows_per_step)
            for model in models.values()
        )
        for task in TASKS:
            moved[task].append(np.abs(one[task] - two[task]).ravel())
    joined = {task: np.concatenate(parts) for task, parts in moved.items()}
    print(f"{len(paths)} clips of ESC-50, folds 4 and 5; int8 beside float32:\n")
    print("| probabilities | number | within 0.03 | mean | 99 % within | furthest |")
    print("|--|--:|--:|--:|--:|--:|")
    for name, values in (("all", np.concatenate([*joined.values()])), *joined.items()):
        print(
            f"| {name} | {values.size:,} | {(values <= 0.03).mean():.2%} | {values.mean():.4f} | "
            f"{np.quantile(values, 0.99):.3f} | {values.max():.3f} |"
        )


def probabilities(analysis: Analysis, rows_per_step: int) -> dict[str, Floats]:
    assert analysis.scene is not None
    assert analysis.tags is not None
    assert analysis.events is not None
    return {
        "scene": analysis.scene.values,
        "tag": analysis.tags.values,
        "event": analysis.events.probabilities[::rows_per_step],
    }


if __name__ == "__main__":
    main()
