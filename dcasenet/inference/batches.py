"""Run windows through a network, each distinct window once, in batches.

Windows of one length share a batch, so nothing is ever padded: a clip's answer does not depend on
what it was batched with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dcasenet.inference.split import Passage
from dcasenet.inference.windowing import Window
from dcasenet.results import Floats
from dcasenet.spec import TASKS, Task

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
