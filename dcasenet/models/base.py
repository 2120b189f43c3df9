"""What every architecture shares: the form of its answers, and heads that are one linear layer.

A linear head takes the place of the layers that served its task alone. It reads the embedding:
its mean over the steps for the scene and the tags, each step for events.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.spec import TASKS, Task, check_tasks

# Task → its released head's last layer, which has one output for each label.
LAST_LAYERS: Mapping[Task, str] = {
    "scene": "scene_head",
    "tag": "tag_head.6",
    "event": "event_head",
}


def mean_over_mel(feature_map: Tensor) -> Tensor:
    """Turn (batch, channels, mel, steps) into the sequence (batch, steps, channels)."""
    return feature_map.mean(dim=2).transpose(1, 2)


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network for a batch; those of tasks that were not requested are None.

    Attributes:
        embedding: The GRU's output at each step, (batch, steps, `ModelSpec.embedding_size`); v3's
            two GRUs are concatenated. None only if scene alone was requested and does not need it.
        scene: Logits, (batch, n_scenes), for softmax.
        tag: Logits, (batch, n_tags), for sigmoid.
        event: Logits, (batch, steps, n_events), one step every `ModelSpec.step`, for sigmoid.
    """

    embedding: Tensor | None = None
    scene: Tensor | None = None
    tag: Tensor | None = None
    event: Tensor | None = None


class ThreeTasks(nn.Module, ABC):
    """A network of three tasks, each with the paper's head or a linear one.

    Attributes:
        own: Task → the children that serve it alone; a linear head takes their place.
        linear: Task → its linear head, for tasks that have one.
    """

    own: ClassVar[Mapping[Task, tuple[str, ...]]] = {
        "scene": ("scene_branch", "scene_code", "scene_head"),
        "tag": ("tag_head",),
        "event": ("event_head",),
    }

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.ModuleDict()

    def give_linear_head(self, task: Task, n_labels: int, embedding_size: int) -> None:
        """Put a linear head in place of the layers that serve a task alone."""
        for name in self.own[task]:
            delattr(self, name)
        self.linear[task] = nn.Linear(embedding_size, n_labels)

    def forward(self, log_mel: Tensor, tasks: Sequence[Task] = TASKS) -> Outputs:
        """Answer the requested tasks; with none, return the embedding alone."""
        check_tasks(tasks)
        linear = [task for task in tasks if task in self.linear]
        others = [task for task in tasks if task not in self.linear]
        # With nothing else to answer, the paper's way gives the embedding.
        scene_alone = set(others) == {"scene"} and not linear
        outputs = self.answer(log_mel, others, embed=not scene_alone)
        embedding = outputs.embedding
        if not linear or embedding is None:
            return outputs
        given = {
            task: self.linear[task](embedding if task == "event" else embedding.mean(dim=1))
            for task in linear
        }
        return dataclasses.replace(outputs, **given)

    def fine_events(self, log_mel: Tensor) -> Tensor:
        """Return the events' logits at steps of 0.16 s, before the last pooling in time.

        The convolutions are run once; the last pooling at each of its offsets, and from there the
        GRU and the head. A step takes the pooling that is centered on it; those at the edges, for
        which there is none, take the nearest.

        Args:
            log_mel: (batch, 128, frames), at least 40 frames.

        Returns:
            (batch, frames // 8, n_events).
        """
        maps, (over_mel, over_time) = self.unpooled(log_mel)
        n_fine = maps.shape[3]
        starts = range(min(over_time, n_fine - over_time + 1))
        poolings = [nnf.avg_pool2d(maps[..., start:], (over_mel, over_time)) for start in starts]
        logits = [self.events_of(mean_over_mel(pooled)) for pooled in poolings]
        n_starts = n_fine - over_time + 1
        fine = logits[0].new_empty(len(maps), n_starts, logits[0].shape[2])
        for start, values in zip(starts, logits, strict=True):
            fine[:, start::over_time] = values
        centered = torch.arange(n_fine, device=maps.device) - (over_time - 1) // 2
        return fine[:, centered.clamp(0, n_starts - 1)]

    def events_of(self, sequence: Tensor) -> Tensor:
        """Return the events' logits from the sequence (batch, steps, channels) of the GRUs."""
        embedding, for_events = self.embed(sequence)
        if "event" in self.linear:
            return self.linear["event"](embedding)  # type: ignore[no-any-return]
        return self.event_head(for_events)  # type: ignore[no-any-return,operator]

    @abstractmethod
    def unpooled(self, log_mel: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the GRUs' maps before the last pooling, and that pooling (mel bins, steps)."""

    @abstractmethod
    def embed(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Run the GRUs on a sequence: the embedding, and what of it the event head reads."""

    @abstractmethod
    def answer(self, log_mel: Tensor, tasks: Sequence[Task], *, embed: bool) -> Outputs:
        """Answer tasks by the paper's heads.

        Args:
            log_mel: (batch, 128, frames).
            tasks: Those that are requested and have no linear head.
            embed: Whether the embedding is needed; only the scene can do without.
        """
