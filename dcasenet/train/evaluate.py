"""Ask a network about the recordings of one side of the split, by the verbs' context rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from dcasenet.spec import Task
from dcasenet.train.dataset import Part
from dcasenet.train.open_data import OpenData
from dcasenet.train.open_split import Clip
from dcasenet.train.soundscapes import Mix, Soundscape
from dcasenet.windows import scene_windows

LONGEST = 30.0  # seconds of a recording that are asked about: the tags' window
FILES_PER_SOURCE = 4  # of one recording and label, or one speaker's 262 clips would decide
BATCH = 16  # clips of equal length that are asked about at once
# Seeds of evaluation soundscapes, apart from those of training by their length (two numbers).
SOUNDSCAPE_SEEDS: dict[Part, int] = {"train": 11, "validation": 12, "test": 13}

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


class Examination(Dataset[Question]):
    """Every question about one part of the split: its recordings, and soundscapes made of them.

    Args:
        data: The data set.
        part: Side of the split.
        n_soundscapes: Number of soundscapes.
        duration: Their length, in seconds.
    """

    def __init__(
        self, data: OpenData, part: Part, n_soundscapes: int, duration: float = 60.0
    ) -> None:
        self.data, self.part = data, part
        self.duration, self.n_soundscapes = duration, n_soundscapes
        self.clips = tuple(_few_per_source(data, part))
        self._mixer = data.mixer(part, Mix(duration=duration))
        self._plan = list(_plan(self.clips, data))

    def __len__(self) -> int:
        return len(self._plan) + self.n_soundscapes

    def __getitem__(self, index: int) -> Question:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no question {index} among {len(self)}.")
        if index >= len(self._plan):
            number = index - len(self._plan)
            waveform = torch.from_numpy(self.soundscape(number).waveform)[None]
            return Question(["event"], [number], waveform)
        tasks, stretches = self._plan[index]
        cut = [
            self.data.store.waveform(self.clips[clip])[start:stop]
            for clip, start, stop in stretches
        ]
        return Question(list(tasks), [s[0] for s in stretches], torch.from_numpy(np.stack(cut)))

    def soundscape(self, number: int) -> Soundscape:
        """Mix the soundscape of a number: the same for everyone, whatever the training seed."""
        return self._mixer.soundscape([SOUNDSCAPE_SEEDS[self.part], number])


def _few_per_source(data: OpenData, part: Part) -> Iterator[Clip]:
    """Give the labelled clips of a part, at most so many of one recording and label."""
    scene, tag = data.index_of("scene"), data.index_of("tag")
    seen: Counter[tuple[str, str]] = Counter()
    for clip in data.clips:
        if clip.part == part and (clip.label in scene or clip.label in tag):
            seen[clip.source, clip.label] += 1
            if seen[clip.source, clip.label] <= FILES_PER_SOURCE:
                yield clip


def _plan(
    clips: Sequence[Clip], data: OpenData
) -> Iterator[tuple[tuple[Task, ...], list[Stretch]]]:
    """Group the stretches to ask about by task and length, a batch at a time."""
    scene, tag = data.index_of("scene"), data.index_of("tag")
    groups: dict[tuple[tuple[Task, ...], int], list[Stretch]] = defaultdict(list)
    rate = data.store.sample_rate
    for index, clip in enumerate(clips):
        n_samples = min(len(data.store.waveform(clip)), round(LONGEST * rate))
        whole = (0, n_samples)
        asked: dict[tuple[int, int], list[Task]] = defaultdict(list)
        if clip.label in scene:
            for window in scene_windows(n_samples, rate):
                asked[window].append("scene")
        if clip.label in tag:
            asked[whole].append("tag")
        for (start, stop), tasks in asked.items():
            groups[tuple(tasks), stop - start].append((index, start, stop))
    for (tasks_of_group, _), stretches in groups.items():
        for first in range(0, len(stretches), BATCH):
            yield tasks_of_group, stretches[first : first + BATCH]
