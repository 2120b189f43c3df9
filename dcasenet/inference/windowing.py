"""Which stretches of a recording each task hears, how it is cut, and how answers are joined.

The rules reduce to the authors' protocol on their own clip lengths: three crops of 5 s for the
scene of a 10 s clip, a whole clip of up to 30 s for tags, a whole minute for events (authors'
``dataloaders.py`` and ``trainer.py``). A window is a pair (start, stop) of sample indices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import Floats
from dcasenet.spec import STEP

Window = tuple[int, int]

SCENE_WINDOW = 5.0  # seconds of a scene crop after pre-emphasis, which takes one more sample
SCENE_HOP = 2.5  # seconds from one crop to the next
TAG_WINDOW = 30.0  # seconds: the longest clip of FSDKaggle2019
EVENT_WINDOW = 60.0  # seconds: the length of every recording of TAU-NIGENS 2020
EVENT_HOP = 48.0  # seconds: 12 s of each window are heard twice
ROWS_PER_STEP = 8


@dataclass(frozen=True)
class Grid:
    """Windows of one length at one distance; where the recording ends settles the last one.

    With `n` samples heard and more to come, all of ``windows(n)`` but the last are certain:
    whatever follows, they are heard as they are.

    Attributes:
        size: Length of a window, in samples.
        hop: From one window to the next, in samples: a multiple of `step`, at most `size`.
        step: The last window starts at the smallest multiple of this from which at most `size`
            remain; with 1 it ends at the last sample.

    Example:
        >>> Grid(size=4, hop=2).windows(7)
        [(0, 4), (2, 6), (3, 7)]
    """

    size: int
    hop: int
    step: int = 1

    def last(self, n_samples: int) -> int:
        """Give the start of the last window of a recording."""
        return -(-max(0, n_samples - self.size) // self.step) * self.step

    def windows(self, n_samples: int, first: int = 0) -> list[Window]:
        """Give the windows of a recording, from its window number `first` on."""
        last = self.last(n_samples)
        starts = [*range(first * self.hop, last, self.hop), last]
        return [(start, min(start + self.size, n_samples)) for start in starts]


def scene_grid(sample_rate: int) -> Grid:
    """Give windows of 5 s (and one sample) every 2.5 s, and one that ends at the last sample.

    Example:
        >>> scene_grid(24_000).windows(240_000)  # 10 s: the authors' three crops
        [(0, 120001), (60000, 180001), (119999, 240000)]
    """
    return Grid(round(SCENE_WINDOW * sample_rate) + 1, round(SCENE_HOP * sample_rate))


def tag_grid(sample_rate: int) -> Grid:
    """Give the whole clip up to 30 s, else windows of 30 s side by side, the last at the end.

    Example:
        >>> tag_grid(24_000).windows(35 * 24_000)
        [(0, 720000), (120000, 840000)]
    """
    size = round(TAG_WINDOW * sample_rate)
    return Grid(size, size)


def scene_windows(n_samples: int, sample_rate: int) -> list[Window]:
    """Give the windows of `scene_grid` in a recording of known length."""
    return scene_grid(sample_rate).windows(n_samples)


def tag_windows(n_samples: int, sample_rate: int) -> list[Window]:
    """Give the windows of `tag_grid` in a recording of known length."""
    return tag_grid(sample_rate).windows(n_samples)


def event_grid(sample_rate: int, window: float = EVENT_WINDOW, hop: float = EVENT_HOP) -> Grid:
    """Give the whole clip up to `window`, else windows every `hop`, all on the 0.8 s grid.

    The last starts at the smallest multiple of 0.8 s from which at most `window` remain.

    Args:
        sample_rate: Rate of the waveform, in Hz.
        window: Length of a window, in seconds, at least 0.8.
        hop: From one window to the next, in seconds: a multiple of 0.8 that leaves no gap.

    Raises:
        ValueError: `window` or `hop` are not as said.

    Example:
        >>> [(a // 24_000, b // 24_000) for a, b in event_grid(24_000).windows(100 * 24_000)]
        [(0, 60), (40, 100)]
    """
    check_event_windows(window, hop)
    step = round(STEP * sample_rate)
    return Grid(round(window * sample_rate), round(hop / STEP) * step, step)


def check_event_windows(window: float, hop: float) -> None:
    """Refuse a window or hop that the step grid cannot serve.

    Raises:
        ValueError: `window` is under 0.8 s or infinite, or `hop` is not a multiple of 0.8 s
            within it.
    """
    if not STEP <= window < float("inf"):
        raise ValueError(f"window={window} is out of range; give {STEP} s (one step) or more.")
    steps = hop / STEP
    most = int(window / STEP + 1e-9)
    if not (abs(steps - round(steps)) < 1e-6 and 1 <= round(steps) <= most):
        raise ValueError(
            f"hop={hop} does not fit a window of {window} s; give hop= as well, a multiple of "
            f"{STEP} s from {STEP} to {most * STEP:.1f}."
        )


class Joiner:
    """Join the steps of overlapping windows into those of the whole recording, as they come.

    Where windows overlap, their values are averaged with weights that rise linearly from each
    window's edges, so that no seam shows. What is held is what later windows may still change.

    Example:
        >>> joiner = Joiner()
        >>> joiner.add(0, np.zeros((4, 1), np.float32))
        >>> joiner.add(2, np.ones((4, 1), np.float32))
        >>> joiner.take(3)[:, 0].tolist()
        [0.0, 0.0, 0.25]
        >>> joiner.take()[:, 0].tolist()
        [0.75, 1.0, 1.0]
    """

    def __init__(self) -> None:
        self.first = 0  # index of the first step that has not been taken
        self._total = np.zeros((0, 0))
        self._weight = np.zeros((0, 1))

    def add(self, first_step: int, values: NDArray[np.float32]) -> None:
        """Add a window.

        Args:
            first_step: Index of its first step in the recording, among those not yet taken.
            values: (steps, size).
        """
        start, stop = first_step - self.first, first_step - self.first + len(values)
        missing = max(0, stop - len(self._total))
        rows = self._total.reshape(-1, values.shape[1])  # the first window tells the size
        self._total = np.concatenate((rows, np.zeros((missing, values.shape[1]))))
        self._weight = np.concatenate((self._weight, np.zeros((missing, 1))))
        centres = np.arange(len(values)) + 0.5
        rise = np.minimum(centres, len(values) - centres)[:, None]
        self._total[start:stop] += rise * values
        self._weight[start:stop] += rise

    def take(self, before: int | None = None) -> NDArray[np.float32]:
        """Give the steps that no later window will reach, each once.

        Args:
            before: The earliest step of any later window; None if there is none to come.

        Returns:
            (steps, size), float32; no step if none has become final.
        """
        n_steps = len(self._total) if before is None else max(0, before - self.first)
        steps = (self._total[:n_steps] / self._weight[:n_steps]).astype(np.float32)
        self._total, self._weight = self._total[n_steps:], self._weight[n_steps:]
        self.first += len(steps)
        return steps


def steps_to_rows(steps: NDArray[np.float32], n_rows: int) -> NDArray[np.float32]:
    """Repeat each step of 0.8 s on the grid of 0.1 s; the last step fills what is left over.

    Args:
        steps: (steps, labels).
        n_rows: Rows to give: ceil(duration / 0.1).

    Returns:
        (n_rows, labels).

    Example:
        >>> steps_to_rows(np.array([[1.0], [2.0]]), 18)[[0, 7, 8, 17], 0].tolist()
        [1.0, 1.0, 2.0, 2.0]
    """
    step_of_row = np.minimum(np.arange(n_rows) // ROWS_PER_STEP, len(steps) - 1)
    return steps[step_of_row]


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
        longest: Length of the longest window, in samples: so many are held, if they have come.

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
        self.longest = max(grid.size for grid in grids.values())
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
        return [Passage(w, frozenset(tasks), self.cut(w)) for w, tasks in tasks_of.items()]

    def cut(self, window: Window) -> Floats:
        """Give the waveforms of a window that begins at most `longest` samples ago."""
        start, stop = window
        cut: Floats = self._kept[:, start - self._first : stop - self._first].copy()
        return cut

    def _append(self, block: Floats) -> None:
        """Add a block behind what is still needed, in memory that is seldom moved."""
        n_filled, n_new = self.n_samples - self._first, block.shape[1]
        if n_filled + n_new > self._kept.shape[1]:
            n_needed = min(n_filled, self.longest)
            room = np.empty((len(block), 2 * (n_needed + n_new)), np.float32)
            if n_needed:
                room[:, :n_needed] = self._kept[:, n_filled - n_needed : n_filled]
            self._kept, self._first = room, self.n_samples - n_needed
            n_filled = n_needed
        self._kept[:, n_filled : n_filled + n_new] = block
