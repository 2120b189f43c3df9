"""Ask a network about the recordings of one side of the split, by the verbs' context rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from dcasenet.inference.windowing import scene_windows
from dcasenet.spec import TASKS, Task
from dcasenet.train.data.dataset import Part
from dcasenet.train.data.soundscapes import Mix, Soundscape
from recipes.open.data import OpenData
from recipes.open.split import Clip

LONGEST = 30.0  # seconds of a recording that are asked about: the tags' window
FILES_PER_SOURCE = 4  # of one recording and label, or one speaker's 262 clips would decide
BATCH = 16  # clips of equal length that are asked about at once
# Seeds of evaluation soundscapes. Whatever training's are, its recordings are others.
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


class Examination(Dataset[Question]):
    """Every question about one part of the split: its recordings, and soundscapes made of them.

    Args:
        data: The data set.
        part: Side of the split.
        n_soundscapes: Number of soundscapes.
        duration: Their length, in seconds.
        tasks: What is asked.
    """

    def __init__(
        self,
        data: OpenData,
        part: Part,
        n_soundscapes: int,
        duration: float = 60.0,
        tasks: Sequence[Task] = TASKS,
    ) -> None:
        self.data, self.part = data, part
        self.duration = duration
        self.n_soundscapes = n_soundscapes if "event" in tasks else 0
        self.clips = tuple(_few_per_source(data, part))
        self._mixer = data.mixer(part, Mix(duration=duration))
        self._plan = list(_plan(self.clips, data, tasks))

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

    @torch.inference_mode()
    def answers_of(self, frontend: nn.Module, network: nn.Module) -> Answers:
        """Ask every question, of parts that are in evaluation mode, in their own precision."""
        answers = Answers()
        for index in range(len(self)):
            answers.add(self[index], frontend, network)
        return answers

    def soundscape(self, number: int) -> Soundscape:
        """Mix the soundscape of a number: the same for everyone, whatever the training seed."""
        return self._mixer.soundscape([SOUNDSCAPE_SEEDS[self.part], number])


def share_of(
    examination: Dataset[Question], trainer: lightning.Trainer | None
) -> Dataset[Question]:
    """Give the questions that this process asks, of several that train together."""
    n_questions = len(examination)  # type: ignore[arg-type]  # every examination has a length
    if trainer is None or n_questions < trainer.world_size:
        return examination  # every process needs one at least
    return Subset(examination, range(trainer.global_rank, n_questions, trainer.world_size))


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
    clips: Sequence[Clip], data: OpenData, wanted: Sequence[Task]
) -> Iterator[tuple[tuple[Task, ...], list[Stretch]]]:
    """Group the stretches to ask about by task and length, a batch at a time."""
    scene, tag = data.index_of("scene"), data.index_of("tag")
    groups: dict[tuple[tuple[Task, ...], int], list[Stretch]] = defaultdict(list)
    rate = data.store.sample_rate
    for index, clip in enumerate(clips):
        n_samples = min(len(data.store.waveform(clip)), round(LONGEST * rate))
        whole = (0, n_samples)
        asked: dict[tuple[int, int], list[Task]] = defaultdict(list)
        if clip.label in scene and "scene" in wanted:
            for window in scene_windows(n_samples, rate):
                asked[window].append("scene")
        if clip.label in tag and "tag" in wanted:
            asked[whole].append("tag")
        for (start, stop), tasks in asked.items():
            groups[tuple(tasks), stop - start].append((index, start, stop))
    for (tasks_of_group, _), stretches in groups.items():
        for first in range(0, len(stretches), BATCH):
            yield tasks_of_group, stretches[first : first + BATCH]
