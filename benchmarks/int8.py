"""How far int8 is from float32: python benchmarks/int8.py DATA [--stage STAGE] [--cache DIR].

DATA holds the folders ``esc50``, ``ambience``, ``events_extra`` and ``dcase2016_task2``. Two
questions: how far each probability moves, on the clips of ESC-50's folds 4 and 5, none of which
the ranges were measured with; and, of the open checkpoint, how its figures move on its own test.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

import dcasenet
from dcasenet import Analysis, Outputs
from dcasenet.onnx.export import serialized
from dcasenet.onnx.runtime import OnnxSoundModel, model_of
from dcasenet.results import Floats
from dcasenet.spec import TASKS, Task
from recipes.open.data import open_data
from recipes.open.scores import Grade, grade
from recipes.open.split import read_clips
from recipes.open.validation import ValidationSet

FIGURES: tuple[tuple[Task, str], ...] = (
    ("scene", "accuracy"),
    ("tag", "map"),
    ("event", "segment_f1_1s"),
)
SOUNDSCAPES = 60  # of 60 s, as in the checkpoint's card


class AsNetwork(nn.Module):
    """An exported model in the place of a network: waveforms in."""

    def __init__(self, model: OnnxSoundModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveforms: Tensor, tasks: Sequence[Task] = TASKS) -> Outputs:
        logits = self.model.infer(waveforms.numpy(), tasks)
        return Outputs(**{task: torch.from_numpy(values) for task, values in logits.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--stage", default="distilled")
    parser.add_argument("--cache", type=Path, help="for the decoded audio; by default none is kept")
    parser.add_argument("--clips", type=int, default=0, help="of ESC-50 at most; 0 is all")
    parser.add_argument("--agreement-only", action="store_true", help="leave out the figures")
    options = parser.parse_args()
    torchs = dcasenet.load("v3", stage=options.stage)
    models = {
        precision: model_of(serialized(torchs, precision=precision), precision)
        for precision in ("float32", "int8")
    }
    print_agreement(models, list(held_out(options.data))[: options.clips or None])
    if options.stage == "open" and not options.agreement_only:
        with TemporaryDirectory() as folder:
            print_figures(models, options.data, options.cache or Path(folder))


def held_out(data: Path) -> Iterator[Path]:
    """Clips of ESC-50 in the validation and test splits, in an order that mixes the classes."""
    clips = [c for c in read_clips(data) if c.folder == "esc50" and c.split != "train"]
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


def print_figures(models: dict[str, OnnxSoundModel], data: Path, cache: Path) -> None:
    validation_set = ValidationSet(open_data(data, cache), "test", SOUNDSCAPES)
    graded = {name: graded_on(model, validation_set) for name, model in models.items()}
    print(f"\nTest of the open checkpoint ({SOUNDSCAPES} soundscapes of 60 s):\n")
    print("| task | figure | float32 | int8 | difference |\n|--|--|--:|--:|--:|")
    for task, name in FIGURES:
        one, two = (grades[task].figures[name] for grades in graded.values())
        print(f"| {task} | {name} | {one:.4f} | {two:.4f} | {two - one:+.4f} |")


def graded_on(model: OnnxSoundModel, validation_set: ValidationSet) -> dict[Task, Grade]:
    answers = validation_set.answers_of(nn.Identity(), AsNetwork(model))
    thresholds = [model.spec.thresholds[label] for label in model.spec.events]
    return grade(answers, validation_set, thresholds)


if __name__ == "__main__":
    main()
