"""The one road from audio to results, for recordings of any length.

Read → prepare → split → featurise → infer → decode: block by block, a window as soon as it is
complete. A long recording is never in memory as a whole; nor are many, beyond a group.
Each distinct window goes through the network once, in batches of one length, so that nothing is
ever padded: a clip's answer does not depend on what it was batched with.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

import numpy as np

from dcasenet.audio.preprocess import Sound
from dcasenet.inference.postprocess import Question, Result
from dcasenet.inference.windowing import Passage, Splitter, Window
from dcasenet.results import Floats
from dcasenet.spec import TASKS, ModelSpec, Task

# (batch, samples), tasks → task → (batch, …); with no tasks, "embedding" alone.
Infer = Callable[[Floats, Sequence[Task]], Mapping[str, Floats]]
# What is called with a window and its answers: task → (channels, …).
Hear = Callable[[Window, Mapping[str, Floats]], None]

# At most this many seconds of audio go through the network at once: about 0.4 GB of activations
# at full width. A longer window, which only `window=` can ask for, goes alone.
BATCH_SECONDS = 60.0


@dataclass(eq=False)
class _Waiting:
    """A passage, and what was answered so far: for each channel, task → (…)."""

    passage: Passage
    rows: list[dict[str, Floats]] = field(default_factory=list)

    @property
    def is_answered(self) -> bool:
        return len(self.rows) == len(self.passage.waveforms)


class Batches:
    """Windows of any number of recordings, answered when there are enough of them.

    Args:
        infer: The runtime.
        sample_rate: Of the model, in Hz.
    """

    def __init__(self, infer: Infer, sample_rate: int) -> None:
        self._infer, self._most = infer, int(BATCH_SECONDS * sample_rate)
        self._alike: dict[tuple[int, frozenset[str]], deque[tuple[_Waiting, int]]] = {}
        self._in_order: dict[Hear, deque[_Waiting]] = {}

    def add(self, passage: Passage, hear: Hear) -> None:
        """Have a window answered, at once if that fills a batch.

        Args:
            passage: The window.
            hear: Told the answers; of several windows with the same `hear` in their order.
        """
        waiting = _Waiting(passage)
        self._in_order.setdefault(hear, deque()).append(waiting)
        n_channels, length = passage.waveforms.shape
        key = (length, passage.tasks)
        size = max(1, self._most // length)
        for channel in range(n_channels):
            alike = self._alike.setdefault(key, deque())
            alike.append((waiting, channel))
            if len(alike) == size:
                self._run(key)

    def flush(self) -> None:
        """Answer all windows that are left."""
        for key in list(self._alike):
            self._run(key)

    def _run(self, key: tuple[int, frozenset[str]]) -> None:
        batch = self._alike.pop(key)
        tasks = [task for task in TASKS if task in key[1]]
        waveforms = np.stack([waiting.passage.waveforms[channel] for waiting, channel in batch])
        answered = self._infer(waveforms, tasks)
        for row, (waiting, _) in enumerate(batch):
            waiting.rows.append({task: values[row] for task, values in answered.items()})
        for hear in list(self._in_order):
            self._tell(hear)

    def _tell(self, hear: Hear) -> None:
        queue = self._in_order[hear]
        while queue and queue[0].is_answered:
            first = queue.popleft()
            names = first.rows[0]
            answers = {name: np.stack([row[name] for row in first.rows]) for name in names}
            hear(first.passage.window, answers)
        if not queue:
            del self._in_order[hear]


# Recordings that together have so many seconds are answered before more are read.
GROUP_SECONDS = 600.0


def answer_each(
    sounds: Iterable[Sound], question: Question[Result], infer: Infer, spec: ModelSpec
) -> Iterator[Result]:
    """Put a question to recordings, in order.

    Args:
        sounds: The recordings, as a model hears them: `Incoming` or `Prepared`.
        question: What is asked.
        infer: The runtime: featurises a batch and runs the network on it.
        spec: The model's.

    Raises:
        AudioError: A recording turns out to be unusable while it is read.
    """
    batches = Batches(infer, spec.frontend.sample_rate)
    group: list[_Heard[Result]] = []
    seconds = 0.0
    for sound in sounds:
        heard = _Heard(sound, question)
        splitter = Splitter(question.grids)
        for block in sound.blocks():  # read, prepare
            for passage in splitter.push(block):  # split
                batches.add(passage, heard.hear)  # featurise, infer
        for passage in splitter.close():
            batches.add(passage, heard.hear)
        group.append(heard)
        seconds += sound.facts.duration
        if seconds >= GROUP_SECONDS:
            batches.flush()
            yield from (heard.result() for heard in group)  # decode
            group, seconds = [], 0.0
    batches.flush()
    yield from (heard.result() for heard in group)


class _Heard(Generic[Result]):
    """What the network answered about one recording so far."""

    def __init__(self, sound: Sound, question: Question[Result]) -> None:
        self._sound, self._question = sound, question
        self._split: dict[str, list[Window]] = defaultdict(list)
        self._answers: dict[str, list[Floats]] = defaultdict(list)

    def hear(self, window: Window, answers: Mapping[str, Floats]) -> None:
        for task, values in answers.items():
            self._split[task].append(window)
            self._answers[task].append(self._question.keep(values))

    def result(self) -> Result:
        return self._question.decode(self._sound.facts, self._split, self._answers)
