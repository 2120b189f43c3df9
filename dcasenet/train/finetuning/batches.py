"""What fine-tuning of a whole network reads: batches drawn evenly by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dcasenet.train.data.crops import crop, trim_silence
from dcasenet.train.data.dataset import Example
from dcasenet.train.finetuning.data import FinetuningData
from dcasenet.train.finetuning.recipe import FinetuneRecipe

# Longest crop of an event recording, in seconds: the paper's (Section 4.2).
EVENT_SECONDS = 30.0
# Validation recordings that are evaluated in one step.
VALIDATION_BATCH = 64


class TuningBatch(NamedTuple):
    """What one step reads, and its truth.

    Attributes:
        waveforms: (batch, samples).
        targets: 0 to 1, (batch, labels), or (batch, steps, labels) for events.
    """

    waveforms: Tensor
    targets: Tensor


class TuningBatches(Dataset[TuningBatch]):
    """One epoch of batches; batch i of epoch e depends on the seed, e, i and the process alone.

    Draws are even over the labels, whatever the number of recordings of each: rare classes are
    drawn more often, each time another crop of another mixture, instead of with a greater weight,
    which would make the gradient of single recordings jump.

    Args:
        data: What to learn from.
        recipe: Hyperparameters.
        epoch: Number of the epoch.
        rank: Number of the process, of several that train together.
    """

    def __init__(
        self, data: FinetuningData, recipe: FinetuneRecipe, epoch: int, rank: int = 0
    ) -> None:
        self._data, self._recipe = data, recipe
        self._seeds = [recipe.seed, epoch, rank]
        examples = data.train
        groups: dict[int, list[int]] = {}
        for index, example in enumerate(examples):
            for label in data.targets(example) or [-1]:  # -1: no label
                groups.setdefault(label, []).append(index)
        n_draws = len(self) * recipe.batch_size
        random = np.random.default_rng(self._seeds)
        self.order = balanced([groups[label] for label in sorted(groups)], n_draws, random)
        self._seconds = recipe.clip_seconds
        if data.task == "event":
            rate = data.store.sample_rate
            step = data.step
            longest = max(len(data.store.waveform(e)) for e in examples) / rate
            self._seconds = step * np.ceil(min(EVENT_SECONDS, longest) / step - 1e-9)

    def __len__(self) -> int:
        return steps_per_epoch(self._data, self._recipe)

    def __getitem__(self, index: int) -> TuningBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index} among {len(self)}.")
        size = self._recipe.batch_size
        random = np.random.default_rng([*self._seeds, index])
        drawn = [self._example(i, random) for i in self.order[index * size : (index + 1) * size]]
        waveforms, targets = zip(*drawn, strict=True)
        return TuningBatch(
            torch.from_numpy(np.stack(waveforms)), torch.from_numpy(np.stack(targets))
        )

    def _example(
        self, index: int, random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        example = self._data.train[index]
        samples = self._data.store.waveform(example)
        n_samples = round(self._seconds * self._data.store.sample_rate) + 1
        if self._data.task == "event":
            samples, targets = self._stretch(example, samples, n_samples, random)
        else:
            samples = crop(trim_silence(samples), n_samples, random)
            targets = np.zeros(len(self._data.labels), np.float32)
            targets[self._data.targets(example)] = 1.0
        gain = 10.0 ** (random.uniform(*self._recipe.gain) / 20.0)
        loudest = max(float(np.abs(samples).max()), 1e-9)
        return samples * np.float32(min(gain, 1.0 / loudest)), targets

    def _stretch(
        self,
        example: Example,
        samples: NDArray[np.float32],
        n_samples: int,
        random: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a random stretch with its events; what lies beyond the end is silence."""
        start = int(random.integers(max(1, len(samples) - n_samples + 1)))
        laid = np.zeros(n_samples, np.float32)
        cut = samples[start : start + n_samples]
        laid[: len(cut)] = cut
        targets = self._data.step_truth(example, start, self._seconds)
        return laid, targets


class TuningDataModule(lightning.LightningDataModule):
    """A new epoch of batches each time, and the validation split.

    Args:
        data: What to learn from, and what to be evaluated.
        recipe: Hyperparameters.
    """

    def __init__(self, data: FinetuningData, recipe: FinetuneRecipe) -> None:
        super().__init__()
        self._data, self._recipe = data, recipe

    def train_dataloader(self) -> DataLoader[TuningBatch]:
        """Return the batches of the trainer's current epoch."""
        epoch, rank = 0, 0
        if self.trainer:
            epoch, rank = self.trainer.current_epoch, self.trainer.global_rank
        batches = TuningBatches(self._data, self._recipe, epoch, rank)
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[list[int]]:
        """Return the numbers of validation examples, some at a time; one empty lot if none."""
        numbers = range(len(self._data.validation))
        batches = [
            [*numbers[first : first + VALIDATION_BATCH]]
            for first in range(0, len(numbers), VALIDATION_BATCH)
        ]
        return DataLoader(batches or [[]], batch_size=None)  # type: ignore[arg-type]


def steps_per_epoch(data: FinetuningData, recipe: FinetuneRecipe) -> int:
    """Return the optimizer's steps in an epoch: as many draws as recordings, or nearly."""
    return max(1, round(len(data.train) / recipe.batch_size))


def balanced(groups: Sequence[Sequence[int]], n: int, random: np.random.Generator) -> list[int]:
    """Draw from groups evenly, and within a group without repeats until all of it was drawn.

    Args:
        groups: Members of each group, at least one each.
        n: How many to draw.
        random: Draws the order.

    Example:
        >>> drawn = balanced([[0], [1, 2]], 4, np.random.default_rng(0))
        >>> sorted(drawn)
        [0, 0, 1, 2]
    """
    share, more = divmod(n, len(groups))
    lucky = set(random.permutation(len(groups))[:more].tolist())
    drawn: list[int] = []
    for number, group in enumerate(groups):
        wanted = share + (number in lucky)
        rounds = [random.permutation(group) for _ in range(-(-wanted // len(group)))]
        drawn += np.concatenate([np.empty(0, np.int64), *rounds])[:wanted].tolist()
    return [int(index) for index in random.permutation(drawn)]
