"""Cut a waveform that comes in blocks into the windows that each task hears."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dcasenet.inference.windowing import Grid, Window
from dcasenet.results import Floats


@dataclass(frozen=True, eq=False)
class Passage:
    """A window of a recording, to be heard once for all tasks that want it.

    Attributes:
        window: Where it lies, in samples.
        tasks: Who wants it: tasks, or ``"embedding"``.
        waveforms: (channels, samples), its own memory.
    """

    window: Window
    tasks: frozenset[str]
    waveforms: Floats


class Splitter:
    """Give every window as soon as its samples are there and nothing to come can change it.

    What is held is as much as the longest window needs, and the block that came last.

    Args:
        grids: Task → its windows.

    Attributes:
        n_samples: How many samples have come.

    Example:
        >>> splitter = Splitter({"tag": Grid(size=4, hop=4)})
        >>> [passage.window for passage in splitter.push(np.zeros((1, 6), np.float32))]
        [(0, 4)]
        >>> [passage.window for passage in splitter.close()]
        [(2, 6)]
    """

    def __init__(self, grids: Mapping[str, Grid]) -> None:
        self._grids = dict(grids)
        self._given = dict.fromkeys(grids, 0)
        self._kept = np.zeros((0, 0), np.float32)
        self._first = 0  # number of the first sample that is kept
        self.n_samples = 0

    def push(self, block: Floats) -> list[Passage]:
        """Take the next samples, (channels, samples), and give the windows that are certain."""
        self._append(block)
        self.n_samples += block.shape[1]
        return self._passages(is_end=False)

    def close(self) -> list[Passage]:
        """Give the windows that end with the recording."""
        return self._passages(is_end=True) if self.n_samples else []

    def _passages(self, *, is_end: bool) -> list[Passage]:
        tasks_of: dict[Window, set[str]] = defaultdict(set)
        for task, grid in self._grids.items():
            windows = grid.windows(self.n_samples, first=self._given[task])
            windows = windows if is_end else windows[:-1]
            self._given[task] += len(windows)
            for window in windows:
                tasks_of[window].add(task)
        return [Passage(w, frozenset(tasks), self._cut(w)) for w, tasks in tasks_of.items()]

    def _cut(self, window: Window) -> Floats:
        start, stop = window
        cut: Floats = self._kept[:, start - self._first : stop - self._first].copy()
        return cut

    def _append(self, block: Floats) -> None:
        """Add a block behind what is still needed, in memory that is seldom moved."""
        n_filled, n_new = self.n_samples - self._first, block.shape[1]
        if n_filled + n_new > self._kept.shape[1]:
            n_needed = min(n_filled, max(grid.size for grid in self._grids.values()))
            room = np.empty((len(block), 2 * (n_needed + n_new)), np.float32)
            if n_needed:
                room[:, :n_needed] = self._kept[:, n_filled - n_needed : n_filled]
            self._kept, self._first = room, self.n_samples - n_needed
            n_filled = n_needed
        self._kept[:, n_filled : n_filled + n_new] = block
