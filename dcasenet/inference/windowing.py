"""The windows in which each task reads a recording, and how overlapping answers are joined.

A window is a pair (start, stop) of sample indices at the model's rate. Which windows, a
checkpoint's `dcasenet.spec.Context` says. Those of the released weights reduce to the authors'
protocol on their own clip lengths: three crops of 5 s for the scene of a 10 s clip, a whole clip of
up to 30 s for tags, a whole minute for events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import Floats
from dcasenet.spec import STEP, FrontEndSettings, ModelSpec, Task
from dcasenet.types import check_number

Window = tuple[int, int]

# With one grid for all tasks: steps at the ends of a window so many dB under its loudest one are
# silence, and windows so many dB under the loudest one do not count.
QUIET_DB = 60
# Seconds over which a window's loudest level is measured, as in the front end that is relative to
# it (`dcasenet.models.frontend.LEVEL_FRAMES`).
LEVEL_SECONDS = 0.18
SMALLEST = 1e-9


@dataclass(frozen=True)
class Grid:
    """Windows of one length at one distance; where the recording ends settles the last one.

    With `n` samples read and more to come, all of ``windows(n)`` but the last are certain:
    whatever follows, they stay as they are.

    Attributes:
        size: Length of a window, in samples.
        hop: From one window to the next, in samples: a multiple of `step`, at most `size`.
        step: The last window starts at the smallest multiple of this from which at most `size`
            remain; with 1 it ends at the last sample.
        shortest: Windows are trimmed (`trim`), and those that are shorter then are repeated up to
            this length, in samples; 0 leaves windows as they are.

    Example:
        >>> Grid(size=4, hop=2).windows(7)
        [(0, 4), (2, 6), (3, 7)]
    """

    size: int
    hop: int
    step: int = 1
    shortest: int = 0

    def last(self, n_samples: int) -> int:
        """Return the start of the last window of a recording."""
        return -(-max(0, n_samples - self.size) // self.step) * self.step

    def windows(self, n_samples: int, first: int = 0) -> list[Window]:
        """Return the windows of a recording, from its window number `first` on."""
        last = self.last(n_samples)
        starts = [*range(first * self.hop, last, self.hop), last]
        return [(start, min(start + self.size, n_samples)) for start in starts]


def grid_of(spec: ModelSpec, task: Task) -> Grid:
    """Return the windows in which a checkpoint reads a recording for a task.

    - One grid for all tasks: every window starts at a step of the network (the hop is rounded down
      to one), and a short recording is padded.
    - Else for the scene: one sample more than the window, which pre-emphasis takes; the last window
      ends at the last sample. Tags: the same, without that sample. Events: `event_grid`.

    Example:
        >>> joint = ModelSpec("v3", "joint")
        >>> grid_of(joint, "scene").windows(240_000)  # 10 s: the authors' three crops
        [(0, 120001), (60000, 180001), (119999, 240000)]
        >>> grid_of(joint, "tag").windows(35 * 24_000)
        [(0, 720000), (120000, 840000)]
    """
    context, rate = spec.context[task], spec.frontend.sample_rate
    size, hop = round(context.window * rate), round(context.hop * rate)
    if task == "event" or spec.has_one_grid:
        step = spec.step_samples
        return Grid(size, hop // step * step, step, round(context.shortest * rate))
    return Grid(size + 1 if task == "scene" else size, hop)


def released_windows(task: Task, n_samples: int, sample_rate: int) -> list[Window]:
    """Return the windows in which the released weights read a recording of known length.

    Example:
        >>> released_windows("tag", 35 * 24_000, 24_000)
        [(0, 720000), (120000, 840000)]
    """
    settings = FrontEndSettings(sample_rate=sample_rate)
    return grid_of(ModelSpec("v3", "joint", frontend=settings), task).windows(n_samples)


def event_grid(spec: ModelSpec, window: float | None = None, hop: float | None = None) -> Grid:
    """Return the whole clip up to `window`, else windows every `hop`, on the grid of steps.

    The last starts at the smallest multiple of the step from which at most `window` remain.

    Args:
        spec: The model's.
        window: Length of a window, in seconds, at least a step; by default the checkpoint's.
        hop: From one window to the next, in seconds: a multiple of the step that leaves no gap; by
            default the checkpoint's.

    Raises:
        ValueError: `window` or `hop` are not as said.

    Example:
        >>> grid = event_grid(ModelSpec("v3", "joint"))
        >>> [(a // 24_000, b // 24_000) for a, b in grid.windows(100 * 24_000)]
        [(0, 60), (40, 100)]
    """
    own = grid_of(spec, "event")
    if window is None and hop is None:
        return own
    context, rate = spec.context["event"], spec.frontend.sample_rate
    window = context.window if window is None else window
    hop = own.hop / rate if hop is None else hop
    check_event_windows(window, hop, spec.step)
    step = spec.step_samples
    return Grid(round(window * rate), round(hop / spec.step) * step, step, own.shortest)


def check_event_windows(window: float, hop: float, step: float = STEP) -> None:
    """Refuse a window or hop that the step grid cannot serve.

    Raises:
        ValueError: `window` is under a step or infinite, or `hop` is not a multiple of the step
            within it.
    """
    check_number("window", window, step, accepted=f"give {step} s (one step) or more")
    check_number("hop", hop, 0, accepted=f"give a multiple of {step} s")
    steps = hop / step
    most = int(window / step + 1e-9)
    if not (abs(steps - round(steps)) < 1e-6 and 1 <= round(steps) <= most):
        raise ValueError(
            f"hop={hop} does not fit a window of {window} s; give a hop that is a multiple of "
            f"{step} s, from {step} to {round(most * step, 2)}."
        )


def level_of(waveforms: Floats, sample_rate: int) -> float:
    """Return the level of a window's loudest 0.18 s in dB re full scale, in the loudest channel.

    A constant offset does not count. Digital silence has -inf.

    Args:
        waveforms: (channels, samples).
        sample_rate: In Hz.

    Example:
        >>> level_of(np.tile(np.float32([0.1, -0.1]), (1, 12_000)), 24_000)
        -20.0
    """
    centered = waveforms - waveforms.mean(axis=1, keepdims=True)
    size = min(round(LEVEL_SECONDS * sample_rate), centered.shape[1])
    whole = centered[:, : centered.shape[1] // size * size].reshape(len(centered), -1, size)
    power = float(np.square(whole, out=whole).mean(axis=2).max())  # of a copy, in its memory
    return round(10 * float(np.log10(power)), 3) if power > 0 else -np.inf


def trim(waveforms: Floats, step: int) -> Window:
    """Return the span between the silence at both ends: whole steps, but for the last one.

    A step is silent if it swings by 60 dB less than the loudest one in every channel; a constant
    offset does not count. Where nothing sounds, that is all.

    Args:
        waveforms: (channels, samples).
        step: Samples of a step.

    Example:
        >>> waveforms = np.zeros((1, 100), np.float32)
        >>> waveforms[0, 35:52] = 0.5
        >>> trim(waveforms, 10), trim(np.zeros((1, 100), np.float32), 10)
        ((30, 60), (0, 100))
    """
    n_samples = waveforms.shape[1]
    starts = np.arange(0, n_samples, step)
    highest, lowest = (f.reduceat(waveforms, starts, axis=1) for f in (np.maximum, np.minimum))
    swings = highest - lowest
    loudest = swings.max(axis=1, keepdims=True)
    active = np.flatnonzero((swings > 10 ** (-QUIET_DB / 20) * loudest).any(axis=0))
    if not len(active):
        return 0, n_samples
    return int(starts[active[0]]), min(int(starts[active[-1]]) + step, n_samples)


def placed(steps: Floats, window: Window, active: Window, step: int) -> Floats:
    """Return the steps of a whole window from those of its active span; others are 0.

    Args:
        steps: (steps, size): those of the span, which may have been repeated.
        window: Where the window lies, in samples.
        active: Where its span lies.
        step: Samples of a step.

    Example:
        >>> placed(np.ones((5, 1), np.float32), (100, 200), (130, 160), 10)[:, 0].tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    if active == window:
        return steps
    first = (active[0] - window[0]) // step
    steps = steps[: -(-(active[1] - active[0]) // step)]
    behind = max(0, -(-(window[1] - window[0]) // step) - first - len(steps))
    return np.pad(steps, ((first, behind if active[1] < window[1] else 0), (0, 0)))


class OverlapAdd:
    """Join the steps of overlapping windows into those of the whole recording, as they come.

    Where windows overlap, their values are averaged with weights that rise linearly from each
    window's edges, so that no seam shows. A step that no window has is 0. What is held is what
    later windows may still change.

    Example:
        >>> joined = OverlapAdd()
        >>> joined.add(0, np.zeros((4, 1), np.float32))
        >>> joined.add(2, np.ones((4, 1), np.float32))
        >>> joined.take(3)[:, 0].tolist()
        [0.0, 0.0, 0.25]
        >>> joined.take()[:, 0].tolist()
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
        centers = np.arange(len(values)) + 0.5
        rise = np.minimum(centers, len(values) - centers)[:, None]
        self._total[start:stop] += rise * values
        self._weight[start:stop] += rise

    def take(self, before: int | None = None) -> NDArray[np.float32]:
        """Return the steps that no later window will reach, each once.

        Args:
            before: The earliest step of any later window; None if there is none to come.

        Returns:
            (steps, size), float32; no step if none has become final.
        """
        n_steps = len(self._total) if before is None else max(0, before - self.first)
        weight = np.maximum(self._weight[:n_steps], SMALLEST)
        steps = (self._total[:n_steps] / weight).astype(np.float32)
        self._total, self._weight = self._total[n_steps:], self._weight[n_steps:]
        self.first += len(steps)
        return steps


@dataclass(frozen=True)
class TimeAxis:
    """The steps at which a network answers, and the rows on which its answers are given.

    Attributes:
        sample_rate: The model's, in Hz.
        step_samples: Samples of a step.
        rows_per_step: Rows of a step.

    Example:
        >>> axis = TimeAxis.of(ModelSpec("v3", "joint"))
        >>> axis.step, axis.hop, axis.n_rows(n_samples=441_000, sample_rate=44_100)
        (0.8, 0.1, 100)
    """

    sample_rate: int
    step_samples: int
    rows_per_step: int

    @classmethod
    def of(cls, spec: ModelSpec, *, fine: bool = False) -> TimeAxis:
        """Return a checkpoint's axis; the fine one has the steps before its last pooling."""
        rate, step = spec.frontend.sample_rate, spec.step_samples
        if fine:
            return cls(rate, step // spec.time_pooling, 1)
        return cls(rate, step, spec.rows_per_step)

    @property
    def step(self) -> float:
        """From one step to the next, in seconds."""
        return self.step_samples / self.sample_rate

    @property
    def hop(self) -> float:
        """From one row to the next, in seconds."""
        return self.step_samples / self.rows_per_step / self.sample_rate

    def n_rows(self, n_samples: int, sample_rate: int) -> int:
        """Return how many rows a recording has at its own rate, free of rounding."""
        length = n_samples * self.sample_rate * self.rows_per_step
        return -(-length // (self.step_samples * sample_rate))

    def n_steps(self, n_samples: int, sample_rate: int) -> int:
        """Return how many steps a recording has, a partial one included."""
        return -(-self.n_rows(n_samples, sample_rate) // self.rows_per_step)

    def first_step(self, window: Window) -> int:
        """Return the index of the step with which a window begins."""
        return window[0] // self.step_samples

    def rows(self, steps: NDArray[np.float32], n_rows: int | None = None) -> NDArray[np.float32]:
        """Repeat each step on the grid of rows; the last one fills a step that is not complete.

        What no window reached is 0.

        Args:
            steps: (steps, labels).
            n_rows: Rows to return; by default those of the steps.

        Returns:
            (n_rows, labels).

        Example:
            >>> axis = TimeAxis.of(ModelSpec("v3", "joint"))
            >>> axis.rows(np.array([[1.0], [2.0]]), 18)[[0, 7, 8, 17], 0].tolist()
            [1.0, 1.0, 2.0, 2.0]
        """
        if n_rows is None:
            return np.repeat(steps, self.rows_per_step, axis=0)
        index = np.arange(n_rows) // self.rows_per_step
        rows = steps[np.minimum(index, len(steps) - 1)]
        rows[index > len(steps)] = 0.0
        return rows


@dataclass(frozen=True, eq=False)
class Chunk:
    """A window of a recording, to be inferred once for all outputs that read it.

    Attributes:
        window: Where it lies, in samples.
        active: Where what is inferred lies: all of it, or what is left when it is trimmed.
        outputs: What to infer: tasks, ``"embedding"`` or ``"fine_event"``.
        waveforms: (channels, samples) of the active span, its own memory; a short one is repeated.
    """

    window: Window
    active: Window
    outputs: frozenset[str]
    waveforms: Floats


def repeated(waveforms: Floats, shortest: int) -> Floats:
    """Return waveforms (…, samples), repeated up to `shortest` samples if there are fewer.

    Example:
        >>> repeated(np.array([[1.0, 2.0]], np.float32), 5).tolist()
        [[1.0, 2.0, 1.0, 2.0, 1.0]]
    """
    n_repeats = -(-shortest // waveforms.shape[-1])
    if n_repeats <= 1:
        return waveforms
    return np.tile(waveforms, n_repeats)[..., :shortest]


class SlidingWindows:
    """Cut every window as soon as its samples are there and nothing to come can change it.

    A trimmed window all of which its neighbor has, too, is left out. What is held is as much as the
    longest window needs, and the block that came last.

    Args:
        grids: Output → its windows.

    Attributes:
        n_samples: How many samples have come.
        longest: Length of the longest window, in samples: so many are held, if they have come.

    Example:
        >>> windows = SlidingWindows({"tag": Grid(size=4, hop=4)})
        >>> [chunk.window for chunk in windows.push(np.zeros((1, 6), np.float32))]
        [(0, 4)]
        >>> [chunk.window for chunk in windows.close()]
        [(2, 6)]
    """

    def __init__(self, grids: Mapping[str, Grid]) -> None:
        self._grids = dict(grids)
        self._n_cut = dict.fromkeys(grids, 0)
        self._reached = dict.fromkeys(grids, 0)  # where the last window that was given ends
        self.longest = max(grid.size for grid in grids.values())
        self._kept = np.zeros((0, 0), np.float32)
        self._first = 0  # number of the first sample that is kept
        self.n_samples = 0

    def push(self, block: Floats) -> list[Chunk]:
        """Take the next samples, (channels, samples), and return the windows that are certain."""
        self._append(block)
        self.n_samples += block.shape[1]
        return self._chunks(is_end=False)

    def close(self) -> list[Chunk]:
        """Return the windows that end with the recording."""
        return self._chunks(is_end=True) if self.n_samples else []

    def _chunks(self, *, is_end: bool) -> list[Chunk]:
        outputs_of: dict[tuple[Window, Window, int], set[str]] = defaultdict(set)
        active_of: dict[tuple[Window, Grid], Window] = {}  # outputs of one grid are trimmed once
        for output, grid in self._grids.items():
            windows = grid.windows(self.n_samples, first=self._n_cut[output])
            last = windows[-1]
            windows = windows if is_end else windows[:-1]
            self._n_cut[output] += len(windows)
            for window in windows:
                if (window, grid) not in active_of:
                    active_of[window, grid] = self._active(window, grid)
                active = active_of[window, grid]
                if window != last and active[0] >= window[0] + grid.hop:
                    continue  # the next window has all of it
                if active[1] <= self._reached[output]:
                    continue  # the one before had all of it
                self._reached[output] = window[1]
                outputs_of[window, active, grid.shortest].add(output)
        return [
            Chunk(window, active, frozenset(outputs), self._repeated(active, shortest))
            for (window, active, shortest), outputs in outputs_of.items()
        ]

    def cut(self, window: Window, grid: Grid, outputs: Iterable[str]) -> Chunk:
        """Return a window that begins at most `longest` samples ago."""
        active = self._active(window, grid)
        waveforms = self._repeated(active, grid.shortest)
        return Chunk(window, active, frozenset(outputs), waveforms)

    def _active(self, window: Window, grid: Grid) -> Window:
        if not grid.shortest:
            return window
        start, stop = trim(self._span(window), grid.step)
        return window[0] + start, window[0] + stop

    def _repeated(self, span: Window, shortest: int) -> Floats:
        return repeated(self._span(span), shortest).copy()

    def _span(self, span: Window) -> Floats:
        return self._kept[:, span[0] - self._first : span[1] - self._first]

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


def sliding_windows(blocks: Iterable[Floats], grids: Mapping[str, Grid]) -> Iterator[Chunk]:
    """Cut the windows of a recording that comes in blocks (channels, samples)."""
    windows = SlidingWindows(grids)
    for block in blocks:
        yield from windows.push(block)
    yield from windows.close()
