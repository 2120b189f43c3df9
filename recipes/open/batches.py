"""The three streams that a training step reads: scene clips, tag clips, soundscapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dcasenet.train.data.crops import crop, trim_silence
from dcasenet.train.data.dataset import Split
from dcasenet.train.data.soundscapes import Mix
from dcasenet.train.data.targets import step_targets
from recipes.open.data import OpenData
from recipes.open.recipe import Recipe
from recipes.recordings import Recording

UNKNOWN = -1  # scene target of a clip that has no scene label


class Batch(NamedTuple):
    """What one step reads, and its truth.

    Attributes:
        clips: (clips, samples): those of the scene stream, then those of the tag stream.
        scene: Index of each clip's scene, (clips,), or `UNKNOWN`.
        tag: 1 where a clip has a tag, (clips, tags); a row of zeros means not labeled.
        soundscapes: (soundscapes, samples).
        event: Share of each step that an event takes up, (soundscapes, steps, events).
    """

    clips: Tensor
    scene: Tensor
    tag: Tensor
    soundscapes: Tensor
    event: Tensor


class JointBatches(Dataset[Batch]):
    """One epoch of batches; batch i of epoch e depends on the seed, e, i and the rank alone.

    A step draws a label evenly, then one of its source recordings, then a clip of it, then a crop.
    Every label that a clip carries counts, whichever stream it came by.

    Args:
        data: The data set.
        recipe: Batch sizes, lengths, gains, seed.
        epoch: Number of the epoch.
        split: Split to draw from.
        rank: Which of several processes that train together; each draws its own batches.
    """

    def __init__(
        self, data: OpenData, recipe: Recipe, epoch: int, split: Split = "train", rank: int = 0
    ) -> None:
        self.recipe, self.epoch, self.rank = recipe, epoch, rank
        self._store = data.store
        self._scene_of, self._tag_of = data.index_of("scene"), data.index_of("tag")
        self._n_tags, self._n_events = len(data.labels["tag"]), len(data.labels["event"])
        clips = [clip for clip in data.clips if clip.split == split]
        self._scene_clips = by_label_and_source(clips, self._scene_of)
        self._tag_clips = by_label_and_source(clips, self._tag_of)
        self._mixer = data.mixer(split, Mix(duration=recipe.soundscape_seconds))

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index} among {len(self)}.")
        recipe = self.recipe
        random = np.random.default_rng([recipe.seed, self.epoch, index, self.rank])
        of_scenes, of_tags, n_soundscapes = recipe.n_examples
        clips = [_draw(self._scene_clips, random) for _ in range(of_scenes)]
        clips += [_draw(self._tag_clips, random) for _ in range(of_tags)]
        waveforms = _stack([self._crop(clip, random) for clip in clips])
        scene = [self._scene_of.get(clip.label, UNKNOWN) for clip in clips]
        tag = np.zeros((len(clips), self._n_tags), np.float32)
        for row, clip in enumerate(clips):
            if clip.label in self._tag_of:
                tag[row, self._tag_of[clip.label]] = 1.0
        first = self.rank * n_soundscapes
        mixed = [
            self._mixer.soundscape([recipe.seed, self.epoch, index, first + i])
            for i in range(n_soundscapes)
        ]
        event = _stack(
            [step_targets(s.events, self._n_events, recipe.soundscape_seconds) for s in mixed]
        )
        gains = 10.0 ** (random.uniform(-10.0, 0.0, (len(mixed), 1)).astype(np.float32) / 20.0)
        soundscapes = _stack([s.waveform for s in mixed]) * gains
        return Batch(
            clips=torch.from_numpy(waveforms),
            scene=torch.tensor(scene, dtype=torch.int64),
            tag=torch.from_numpy(tag),
            soundscapes=torch.from_numpy(soundscapes),
            event=torch.from_numpy(event),
        )

    def _crop(self, clip: Recording, random: np.random.Generator) -> NDArray[np.float32]:
        n_samples = round(self.recipe.clip_seconds * self._store.sample_rate) + 1
        samples = crop(trim_silence(self._store.waveform(clip)), n_samples, random)
        gain = 10.0 ** (random.uniform(*self.recipe.gain) / 20.0)
        loudest = max(float(np.abs(samples).max()), 1e-9)
        return np.asarray(samples * np.float32(min(gain, 1.0 / loudest)))


def by_label_and_source(
    clips: Sequence[Recording], index_of: dict[str, int]
) -> list[list[list[Recording]]]:
    """Sort clips by label (in the labels' order), then by source recording."""
    found: dict[int, dict[str, list[Recording]]] = {}
    for clip in clips:
        if clip.label in index_of:
            sources = found.setdefault(index_of[clip.label], {})
            sources.setdefault(clip.source, []).append(clip)
    return [[*found[label].values()] for label in sorted(found)]


def _stack(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Stack examples; a stream that is left out has none."""
    return np.stack(arrays) if arrays else np.zeros((0, 1), np.float32)


def _draw(labels: list[list[list[Recording]]], random: np.random.Generator) -> Recording:
    sources = labels[random.integers(len(labels))]
    takes = sources[random.integers(len(sources))]
    return takes[random.integers(len(takes))]
