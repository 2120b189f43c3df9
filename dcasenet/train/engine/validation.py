"""Ask a network about recordings while it is trained, and gather what it answers."""

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

BATCH = 16  # clips of equal length that are asked about at once

Stretch = tuple[int, int, int]  # index of a clip, first sample, sample after the last


class Question(NamedTuple):
    """Waveforms of one length, and which recordings they are stretches of.

    Attributes:
        tasks: What is asked.
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

    def add(self, question: Question, frontend: nn.Module, network: nn.Module) -> None:
        """Ask one question and keep what was answered."""
        outputs = network(frontend(question.waveforms), question.tasks)
        logits: dict[Task, Tensor | None] = {
            "scene": outputs.scene,
            "tag": outputs.tag,
            "event": outputs.event,
        }
        for task in question.tasks:
            given = logits[task]
            if given is None:
                continue
            given = given.float()
            if task == "scene":
                given = given.softmax(dim=-1)
            elif task == "event":
                given = given.sigmoid()
            for index, value in zip(question.indices, given.cpu().numpy(), strict=True):
                self.found[task].setdefault(index, []).append(value)

    def gathered(self) -> Answers:
        """Give the answers of every process that trains together: each asked its own questions."""
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
    examination: Dataset[Question], trainer: lightning.Trainer | None
) -> Dataset[Question]:
    """Give the questions that this process asks, of several that train together."""
    n_questions = len(examination)  # type: ignore[arg-type]  # every examination has a length
    if trainer is None or n_questions < trainer.world_size:
        return examination  # every process needs one at least
    return Subset(examination, range(trainer.global_rank, n_questions, trainer.world_size))
