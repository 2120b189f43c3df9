"""From a trained student to a checkpoint file that describes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcasenet.errors import DcasenetError
from dcasenet.inference.windowing import repeated, trim
from dcasenet.spec import Context, ModelSpec, Task
from dcasenet.train.metrics.thresholds import UNTUNED
from dcasenet.weights.checkpoint import write
from dcasenet.weights.metadata import read_spec
from recipes.bank import SAMPLE_RATE, Decoded, waveform_of
from recipes.labels import LabelSets, taught_tags
from recipes.students import STEP, Student

# Of what the recordings are from, those that are published as data sets.
DATASETS = ("ESC-50", "DCASE 2016 Task 2")
# One grid for all tasks, at what was trained on: mixtures of 5 and 10 s.
WINDOW, HOP, SHORTEST = 10.0, 9.0, 5.0
LICENSE = "CC BY 4.0"  # CC BY recordings require credit, and so do the weights


def one_grid() -> dict[Task, Context]:
    """Return the windows that all tasks read."""
    return {
        "scene": Context(WINDOW, HOP, "mean", SHORTEST),
        "tag": Context(WINDOW, HOP, "max", SHORTEST),
        "event": Context(WINDOW, HOP, "overlap", SHORTEST),
    }


def window_of(clip: Decoded, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a window of a recording as checkpoints read it, trimmed and repeated: (1, samples)."""
    longest, shortest = round(WINDOW * SAMPLE_RATE), round(SHORTEST * SAMPLE_RATE)
    waveform = waveform_of(clip)
    start = int(rng.integers(max(1, len(waveform) - longest + 1)))
    window = waveform[None, start : start + longest]
    return repeated(window[:, slice(*trim(window, round(STEP * SAMPLE_RATE)))], shortest)


def tensors_of(student: Student) -> dict[str, Tensor]:
    """Return a student's tensors in half precision, as a checkpoint names them."""
    tensors = {f"network.{name}": value for name, value in student.network.state_dict().items()}
    tensors = {name: value.half() if value.is_floating_point() else value
               for name, value in tensors.items()}  # fmt: skip
    tensors["frontend.mean"] = student.frontend.mean
    tensors["frontend.deviation"] = student.frontend.deviation
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def spec_of(student: Student, labels: LabelSets) -> ModelSpec:
    """Describe a student: labels, step and front end; figures and thresholds come later."""
    return ModelSpec(
        name="v3",
        stage=student.settings.name,
        width=student.settings.width,
        time_pooling=1,
        scenes=labels.environments,
        tags=taught_tags() if student.settings.taught else labels.tags,
        events=labels.events,
        thresholds=dict.fromkeys(labels.events, UNTUNED),
        frontend=student.frontend.settings,
        resampler="soxr",
        license=LICENSE,
        datasets=DATASETS,
    )


def save_student(student: Student, labels: LabelSets, path: Path) -> None:
    """Write a student as a checkpoint that `dcasenet.load` reads."""
    with torch.no_grad():
        write(path, tensors_of(student), spec_of(student, labels))


def read_description(path: Path) -> ModelSpec:
    """Return what a checkpoint that `save_student` wrote says about itself.

    Raises:
        DcasenetError: It says nothing.
    """
    spec = read_spec(path)
    if spec is None:
        raise DcasenetError(f"{path} says nothing about itself. Give a checkpoint of this package.")
    return spec
