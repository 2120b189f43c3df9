"""Evaluate a network on recordings while it is trained, and gather its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from dcasenet.spec import Task

BATCH = 16  # clips of equal length that are evaluated at once

Stretch = tuple[int, int, int]  # index of a clip, first sample, sample after the last


class ValidationBatch(NamedTuple):
    """Waveforms of one length, and which recordings they are stretches of.

    Attributes:
        tasks: Those to evaluate.
        indices: Recording of each waveform; of a soundscape, its number.
        waveforms: (batch, samples).
    """

    tasks: list[Task]
    indices: list[int]
    waveforms: Tensor


@dataclass
class Answers:
    """What a network answered, per task and recording, one array for each window.

    Scenes and events: probabilities. Tags: logits, as probabilities near 1 would be ties.
    """

    found: dict[Task, dict[int, list[NDArray[np.float32]]]] = field(
        default_factory=lambda: {"scene": {}, "tag": {}, "event": {}}
    )

    def add(self, batch: ValidationBatch, frontend: nn.Module, network: nn.Module) -> None:
        """Infer one batch and keep the outputs."""
        outputs = network(frontend(batch.waveforms), batch.tasks)
        logits: dict[Task, Tensor | None] = {
            "scene": outputs.scene,
            "tag": outputs.tag,
            "event": outputs.event,
        }
        for task in batch.tasks:
            values = logits[task]
            if values is None:
                continue
            values = values.float()
            if task == "scene":
                values = values.softmax(dim=-1)
            elif task == "event":
                values = values.sigmoid()
            for index, value in zip(batch.indices, values.cpu().numpy(), strict=True):
                self.found[task].setdefault(index, []).append(value)

    def gathered(self) -> Answers:
        """Return the answers of every process that trains together: each had its own batches."""
        if not torch.distributed.is_initialized():
            return self
        everyone: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(everyone, self.found)
        together = Answers()
        for found in everyone:
            for task, answers in found.items():
                for index, values in answers.items():
                    together.found[task].setdefault(index, []).extend(values)
        return together


def share_of(
    validation_set: Dataset[ValidationBatch], trainer: lightning.Trainer | None
) -> Dataset[ValidationBatch]:
    """Return the batches of this process, of several that train together."""
    n_batches = len(validation_set)  # type: ignore[arg-type]  # every validation set has a length
    if trainer is None or n_batches < trainer.world_size:
        return validation_set  # every process needs one at least
    return Subset(validation_set, range(trainer.global_rank, n_batches, trainer.world_size))
