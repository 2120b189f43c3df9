"""Evaluate a network on the recordings of one split, by the verbs' context rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from dcasenet.inference.windowing import released_windows
from dcasenet.spec import TASKS, Task
from dcasenet.train.data.dataset import Split
from dcasenet.train.data.soundscapes import Mix, Soundscape
from dcasenet.train.engine.validation import BATCH, Answers, Stretch, ValidationBatch
from recipes.open.data import OpenData
from recipes.recordings import Recording

LONGEST = 30.0  # seconds of a recording that are evaluated: the tags' window
FILES_PER_SOURCE = 4  # of one recording and label, or one speaker's 262 clips would decide
# Seeds of evaluation soundscapes. Whatever training's are, its recordings are others.
SOUNDSCAPE_SEEDS: dict[Split, int] = {"train": 11, "validation": 12, "test": 13}


class ValidationSet(Dataset[ValidationBatch]):
    """Batches of all that is evaluated of one split: its recordings, and soundscapes made of them.

    Args:
        data: The data set.
        split: Split.
        n_soundscapes: Number of soundscapes.
        duration: Their length, in seconds.
        tasks: Those to evaluate.
    """

    def __init__(
        self,
        data: OpenData,
        split: Split,
        n_soundscapes: int,
        duration: float = 60.0,
        tasks: Sequence[Task] = TASKS,
    ) -> None:
        self.data, self.split = data, split
        self.duration = duration
        self.n_soundscapes = n_soundscapes if "event" in tasks else 0
        self.clips = tuple(_few_per_source(data, split))
        self._mixer = data.mixer(split, Mix(duration=duration))
        self._plan = list(_plan(self.clips, data, tasks))

    def __len__(self) -> int:
        return len(self._plan) + self.n_soundscapes

    def __getitem__(self, index: int) -> ValidationBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index} among {len(self)}.")
        if index >= len(self._plan):
            number = index - len(self._plan)
            waveform = torch.from_numpy(self.soundscape(number).waveform)[None]
            return ValidationBatch(["event"], [number], waveform)
        tasks, stretches = self._plan[index]
        cut = [
            self.data.store.waveform(self.clips[clip])[start:stop]
            for clip, start, stop in stretches
        ]
        return ValidationBatch(
            list(tasks), [s[0] for s in stretches], torch.from_numpy(np.stack(cut))
        )

    @torch.inference_mode()
    def answers_of(self, frontend: nn.Module, network: nn.Module) -> Answers:
        """Infer every batch, with modules in evaluation mode, in their own precision."""
        answers = Answers()
        for index in range(len(self)):
            answers.add(self[index], frontend, network)
        return answers

    def soundscape(self, number: int) -> Soundscape[Recording]:
        """Mix the soundscape of a number: the same for everyone, whatever the training seed."""
        return self._mixer.soundscape([SOUNDSCAPE_SEEDS[self.split], number])


def _few_per_source(data: OpenData, split: Split) -> Iterator[Recording]:
    """Return the labeled clips of a split, at most so many of one recording and label."""
    scene, tag = data.index_of("scene"), data.index_of("tag")
    seen: Counter[tuple[str, str]] = Counter()
    for clip in data.clips:
        if clip.split == split and (clip.label in scene or clip.label in tag):
            seen[clip.source, clip.label] += 1
            if seen[clip.source, clip.label] <= FILES_PER_SOURCE:
                yield clip


def _plan(
    clips: Sequence[Recording], data: OpenData, wanted: Sequence[Task]
) -> Iterator[tuple[tuple[Task, ...], list[Stretch]]]:
    """Group the stretches to evaluate by task and length, a batch at a time."""
    scene, tag = data.index_of("scene"), data.index_of("tag")
    groups: dict[tuple[tuple[Task, ...], int], list[Stretch]] = defaultdict(list)
    rate = data.store.sample_rate
    for index, clip in enumerate(clips):
        n_samples = min(len(data.store.waveform(clip)), round(LONGEST * rate))
        whole = (0, n_samples)
        wanted_windows: dict[tuple[int, int], list[Task]] = defaultdict(list)
        if clip.label in scene and "scene" in wanted:
            for window in released_windows("scene", n_samples, rate):
                wanted_windows[window].append("scene")
        if clip.label in tag and "tag" in wanted:
            wanted_windows[whole].append("tag")
        for (start, stop), tasks in wanted_windows.items():
            groups[tuple(tasks), stop - start].append((index, start, stop))
    for (tasks_of_group, _), stretches in groups.items():
        for first in range(0, len(stretches), BATCH):
            yield tasks_of_group, stretches[first : first + BATCH]
