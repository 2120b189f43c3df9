"""Small made-up data sets of the three tasks, and a run on them: for the tests, and as a program.

python paper_job.py DATA RUN [--die-at STEP] [--record FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning
import numpy as np
import soundfile
import torch

from dcasenet.spec import Task
from dcasenet.train import paper_run
from dcasenet.train.dataset import PARTS, Example, LabelledEvent, SoundDataset
from dcasenet.train.recipe import PaperRecipe

RATE = 24_000
SCENES, TAGS, EVENTS = ("park", "tram"), ("bark", "bell", "rain"), ("dog", "speech")
RECIPE = PaperRecipe(
    width=1 / 16,
    epochs=3,
    steps=2,
    n_scene=2,
    n_tag=2,
    n_event=2,
    clip_seconds=1.8,  # two steps: with one, oneDNN reads memory that nobody wrote (bfloat16)
    event_seconds=4.0,
    restart=2,
    mixup_from=1,
)


def paper_sets(folder: Path) -> dict[Task, SoundDataset]:
    """Write the recordings unless they are there, and list them."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)

    def recording(name: str, seconds: float, channels: int = 1) -> Path:
        path = folder / f"{name}.wav"
        samples = random.standard_normal((round(seconds * RATE), channels)) * 0.1
        if not path.is_file():
            soundfile.write(path, samples, RATE)
        return path

    scenes, tags, events = [], [], []
    for part in PARTS:
        for i in range(4):
            path = recording(f"scene-{part}-{i}", 2.4)
            scenes.append(Example(path, part, scene=SCENES[i % 2]))
            path = recording(f"tag-{part}-{i}", 0.4 + 0.3 * i)
            tags.append(Example(path, part, tags=(TAGS[i % 3], TAGS[(i + 1) % 3])))
        path = recording(f"event-{part}", 6.4, channels=2)
        true = (LabelledEvent("dog", 0.3, 2.0), LabelledEvent("speech", 1.0, 5.0))
        events += [Example(path, part, events=true, channel=channel) for channel in (0, 1)]
    return {
        "scene": SoundDataset("scenes", "scene", SCENES, scenes),
        "tag": SoundDataset("tags", "tag", TAGS, tags),
        "event": SoundDataset("events", "event", EVENTS, events),
    }


class Still(paper_run.PaperTraining):
    """Batch norm in evaluation mode, no dropout, gradients kept."""

    kept: list[Any]
    own_loss: torch.Tensor

    def on_train_epoch_start(self) -> None:
        self.network.eval()
        self.kept = []

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_index)
        self.own_loss = loss.detach().clone()
        mean = self.trainer.strategy.reduce(self.own_loss.clone(), reduce_op="mean")
        self.kept.append({"loss": mean})
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.kept[-1] |= {
            name: parameter.grad.clone()
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None
        }


class Death(lightning.Callback):
    """Kill the process, as ``kill -9`` does, before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: lightning.Trainer, *rest: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class Recorder(lightning.Callback):
    """Write what each process ended with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        state = {k: v.clone() for k, v in module.state_dict().items()}
        content = {"state": state, "kept": module.kept, "own_loss": module.own_loss}
        torch.save(content, f"{self.path}.{trainer.global_rank}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--die-at", type=int, help="step before which the process kills itself")
    parser.add_argument("--record", type=Path, help="one epoch as in `still`")
    options = parser.parse_args()
    if options.record is not None:
        still(options.data, options.run, options.record)
        return
    run(options.data, options.run, callbacks=(Death(options.die_at),))


def run(data: Path, folder: Path, recipe: PaperRecipe = RECIPE, **more: Any) -> dict[str, Path]:
    """Train by a recipe."""
    sets = paper_sets(data)
    return paper_run.train_paper(sets, recipe, folder, cache=data, workers=0, **more)


def still(data: Path, folder: Path, record: Path, factor: int = 1) -> None:
    """Train an epoch in float32 with a `Still` network and no mix-up, batches times a factor."""
    sizes = {name: factor * getattr(RECIPE, name) for name in ("n_scene", "n_tag", "n_event")}
    recipe = dataclasses.replace(RECIPE, epochs=1, mixup=0.0, **sizes)
    with patch.object(paper_run, "PaperTraining", Still):
        run(data, folder, recipe, arithmetic="32-true", callbacks=(Recorder(record),))


if __name__ == "__main__":
    main()
