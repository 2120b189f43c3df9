"""Audio without labels, as distillation reads it: windows cut anywhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dcasenet.audio.discovery import describe_counts, find_recordings
from dcasenet.audio.io import is_single
from dcasenet.audio.preprocess import prepare, read_each
from dcasenet.spec import ModelSpec
from dcasenet.train.data.crops import doubled
from dcasenet.train.data.dataset import Example
from dcasenet.train.data.store import decode_examples
from dcasenet.train.distillation.recipe import DistillRecipe
from dcasenet.types import Audio, Audios

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
StrPath = str | os.PathLike[str]


class Windows(Dataset[Tensor]):
    """One epoch of batches of windows; each depends on the seed, epoch, number and rank alone.

    Args:
        waveforms: Recordings, each (samples,), at the network's rate.
        n_samples: Length of a window; a shorter recording is doubled until it has it.
        recipe: Batch size, steps, seed.
        epoch: Number of the epoch.
        rank: Which of several processes that train together.
    """

    def __init__(
        self,
        waveforms: Sequence[Floats],
        n_samples: int,
        recipe: DistillRecipe,
        epoch: int,
        rank: int = 0,
    ) -> None:
        self._waveforms, self._n_samples, self._recipe = waveforms, n_samples, recipe
        self._epoch, self._rank = epoch, rank
        lengths = np.array([max(len(waveform), n_samples) for waveform in waveforms])
        self._chances = lengths / lengths.sum()

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index} among {len(self)}.")
        random = np.random.default_rng([self._recipe.seed, self._epoch, index, self._rank])
        chosen = random.choice(len(self._waveforms), self._recipe.batch, p=self._chances)
        windows = []
        for number in chosen:
            waveform = doubled(self._waveforms[number], self._n_samples)
            start = int(random.integers(len(waveform) - self._n_samples + 1))
            windows.append(waveform[start : start + self._n_samples])
        return torch.from_numpy(np.stack(windows))


class WindowData(lightning.LightningDataModule):
    """Windows of each epoch, for Lightning."""

    def __init__(self, waveforms: Sequence[Floats], n_samples: int, recipe: DistillRecipe) -> None:
        super().__init__()
        self._given = waveforms, n_samples, recipe

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return the batches of the trainer's current epoch, those of this process."""
        epoch, rank = 0, 0
        if self.trainer is not None:
            epoch, rank = self.trainer.current_epoch, self.trainer.global_rank
        return DataLoader(Windows(*self._given, epoch, rank), batch_size=None)


def waveforms_of(
    audio: StrPath | Audio | Audios, sample_rate: int | None, spec: ModelSpec, cache: Path
) -> list[Floats]:
    """Read everything: files once, into one that is mapped into memory; arrays as they are.

    Args:
        audio: A folder, or what the verbs take.
        sample_rate: Rate of arrays, in Hz.
        spec: The model that is to read it.
        cache: Folder for decoded files.

    Raises:
        AudioError: There is no recording, or an array cannot be used.
        DcasenetError: No file can be read.
    """
    given: Iterable[Any] = [audio] if is_single(audio) else cast("Audios", audio)
    if all(isinstance(item, str | os.PathLike) for item in given):
        listing = find_recordings(cast("Iterable[StrPath]", given))
        if listing.passed_over:
            log.warning("passed over: %s", describe_counts(listing.passed_over))
        examples = [Example(Path(path)) for path in listing.files]
        store = decode_examples(examples, cache, spec.frontend.sample_rate, spec.resampler)
        return [store.waveform(example) for example in examples if example in store]
    recordings = read_each(audio, sample_rate)
    return [prepare(recording, spec).waveforms[0] for recording in recordings]
