"""The paper's three samplers: crops of scene clips, of tag clips, of event recordings' log-mels.

Source: the authors' ``dataloaders.py`` and ``utils.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dcasenet.annotations.segments import segment_activity
from dcasenet.errors import DcasenetError
from dcasenet.models.frontend import MIN_FRAMES
from dcasenet.spec import ROW, ROWS_PER_STEP, TASKS, Task
from dcasenet.train.data.crops import crop, doubled
from dcasenet.train.data.dataset import Example
from dcasenet.train.data.features import FeatureStore
from dcasenet.train.data.store import WaveformStore
from dcasenet.train.paper.recipe import PaperRecipe

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
FRAMES_PER_ROW = MIN_FRAMES // ROWS_PER_STEP  # 5 frames of 20 ms are a row of 0.1 s


class Labeled(NamedTuple):
    """What one task reads in a step, and its truth.

    Attributes:
        sound: Waveforms (batch, samples), or normalized log-mels (batch, n_mels, frames).
        truth: Scene: 1 at the true one, (batch, scenes). Tag: 1 at each, (batch, tags). Event:
            share of each step's rows of 0.1 s in which it is active, (batch, steps, events).
    """

    sound: Tensor
    truth: Tensor


PaperBatch = dict[Task, Labeled]


class TaskSampler(Protocol):
    """Training examples of one task."""

    def __len__(self) -> int:
        """Count the examples."""

    def draw(self, index: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a random crop of an example, and its truth."""


class ClipSampler:
    """Scene or tag clips: 5 s of waveform at random; a shorter clip is doubled until it has them.

    Args:
        task: ``"scene"`` or ``"tag"``.
        labels: Its labels.
        examples: The clips, all of them in the store.
        store: Their waveforms.
        seconds: Length of a crop after pre-emphasis, which takes one more sample.
    """

    def __init__(
        self,
        task: Task,
        labels: Sequence[str],
        examples: Sequence[Example],
        store: WaveformStore,
        seconds: float,
    ) -> None:
        self._examples, self._store = examples, store
        self._n_samples = round(seconds * store.sample_rate) + 1
        index_of = {label: index for index, label in enumerate(labels)}
        self._truth = np.zeros((len(examples), len(labels)), np.float32)
        for row, example in enumerate(examples):
            given = [example.scene] if task == "scene" else example.tags or ()
            for label in given:
                if label is not None:
                    self._truth[row, index_of[label]] = 1.0

    def __len__(self) -> int:
        return len(self._examples)

    def draw(self, index: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a random crop of a clip, and its truth."""
        waveform = doubled(self._store.waveform(self._examples[index]), self._n_samples)
        return crop(waveform, self._n_samples, random), self._truth[index]


class EventSampler:
    """Event recordings: 30 s of a log-mel that was normalized over the whole recording.

    A crop of 1,500 frames has 37 steps of 0.8 s; its last 4 of 300 rows have none and are not
    learned from. The authors repeat each step's output 8 times, and average the loss over the rows:
    the same number as the loss against the rows' mean, which is what the truth is here.

    Args:
        labels: Event labels.
        examples: Recordings, or channels of them. Those shorter than a crop are left out, which
            the log says.
        features: Their log-mels.
        seconds: Length of a crop.

    Raises:
        DcasenetError: Every recording is shorter than a crop.
    """

    def __init__(
        self,
        labels: Sequence[str],
        examples: Sequence[Example],
        features: FeatureStore,
        seconds: float,
    ) -> None:
        self._features = features
        self._n_rows = round(seconds / ROW)
        n_frames = self._n_rows * FRAMES_PER_ROW
        self._examples = [e for e in examples if features.n_frames(e) >= n_frames]
        if not self._examples:
            raise DcasenetError(
                f"None of the {len(examples)} event recordings is {seconds:g} s long, which a crop "
                "is. Give longer recordings, or a recipe with shorter crops (event_seconds)."
            )
        n_short = len(examples) - len(self._examples)
        if n_short:
            log.warning(
                "%d of %d event recordings are not trained on: they are shorter than %g s, which "
                "a crop is.",
                n_short,
                len(examples),
                seconds,
            )
        self._active = [self._activity(example, labels) for example in self._examples]

    def _activity(self, example: Example, labels: Sequence[str]) -> NDArray[np.bool_]:
        duration = self._features.n_frames(example) // FRAMES_PER_ROW * ROW
        events = [
            (labels.index(event.label), event.onset, min(event.offset, duration))
            for event in example.events or ()
            if event.onset < duration
        ]
        return segment_activity(events, len(labels), duration, ROW)

    def __len__(self) -> int:
        return len(self._examples)

    def draw(self, index: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a random crop of a recording's log-mel, and its truth at the steps."""
        active = self._active[index]
        first = int(random.integers(max(1, len(active) - self._n_rows)))
        n_steps = self._n_rows // ROWS_PER_STEP
        rows = active[first : first + n_steps * ROWS_PER_STEP]
        truth = rows.reshape(n_steps, ROWS_PER_STEP, -1).mean(axis=1, dtype=np.float32)
        frames = first * FRAMES_PER_ROW, self._n_rows * FRAMES_PER_ROW
        return self._features.crop(self._examples[index], *frames), truth


class PaperBatches(Dataset[PaperBatch]):
    """One epoch of batches; batch i of epoch e depends on the seed, e, i and the rank alone.

    A sampler gives every example once, in a random order, then every example again in another one.
    Of several processes, each takes every n-th batch of the same samplers.

    Args:
        samplers: Training examples of each task.
        recipe: Batch sizes, steps per epoch, seed.
        epoch: Number of the epoch.
        rank: Which of several processes that train together.
        n_ranks: How many there are.
    """

    def __init__(
        self,
        samplers: Mapping[Task, TaskSampler],
        recipe: PaperRecipe,
        epoch: int,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self._samplers, self._recipe = samplers, recipe
        self._epoch, self._rank, self._n_ranks = epoch, rank, n_ranks
        self._orders: dict[tuple[Task, int], NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, index: int) -> PaperBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index} among {len(self)}.")
        step = (self._epoch * len(self) + index) * self._n_ranks + self._rank
        batch: PaperBatch = {}
        for task, sampler in self._samplers.items():
            size = self._recipe.batch_size(task)
            drawn = [self._draw(task, sampler, step * size + i) for i in range(size)]
            sounds, truths = (np.stack(values) for values in zip(*drawn, strict=True))
            batch[task] = Labeled(torch.from_numpy(sounds), torch.from_numpy(truths))
        return batch

    def _draw(self, task: Task, sampler: TaskSampler, position: int) -> tuple[Floats, Floats]:
        """Draw what is at a place of a sampler that has no end."""
        sweep, place = divmod(position, len(sampler))
        if (task, sweep) not in self._orders:
            seed = [self._recipe.seed, TASKS.index(task), sweep]
            self._orders[task, sweep] = np.random.default_rng(seed).permutation(len(sampler))
        crops = np.random.default_rng([self._recipe.seed, TASKS.index(task), sweep, place, 1])
        return sampler.draw(int(self._orders[task, sweep][place]), crops)
