"""Which stretches of a recording each task hears, and how overlapping answers become one.

The rules reduce to the authors' protocol on their own clip lengths: three crops of 5 s for the
scene of a 10 s clip, a whole clip of up to 30 s for tags, a whole minute for events (authors'
``dataloaders.py`` and ``trainer.py``). A window is a pair (start, stop) of sample indices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dcasenet.spec import STEP

Window = tuple[int, int]

SCENE_WINDOW = 5.0  # seconds of a scene crop after pre-emphasis, which takes one more sample
SCENE_HOP = 2.5  # seconds from one crop to the next
TAG_WINDOW = 30.0  # seconds: the longest clip of FSDKaggle2019
EVENT_WINDOW = 60.0  # seconds: the length of every recording of TAU-NIGENS 2020
EVENT_HOP = 48.0  # seconds: 12 s of each window are heard twice
ROWS_PER_SECOND = 10  # the grid on which event probabilities are given
ROW = 1 / ROWS_PER_SECOND
ROWS_PER_STEP = 8


def scene_windows(n_samples: int, sample_rate: int) -> list[Window]:
    """Give the windows of 5 s (and one sample) every 2.5 s, and one that ends at the last sample.

    Args:
        n_samples: Length of the waveform, at least 1.
        sample_rate: Its rate, in Hz.

    Example:
        >>> scene_windows(240_000, 24_000)  # 10 s: the authors' three crops
        [(0, 120001), (60000, 180001), (119999, 240000)]
    """
    size = round(SCENE_WINDOW * sample_rate) + 1
    hop = round(SCENE_HOP * sample_rate)
    if n_samples <= size:
        return [(0, n_samples)]
    windows = [(start, start + size) for start in range(0, n_samples - size + 1, hop)]
    if windows[-1][1] < n_samples:
        windows.append((n_samples - size, n_samples))
    return windows


def tag_windows(n_samples: int, sample_rate: int) -> list[Window]:
    """Give the whole clip up to 30 s, else windows of 30 s side by side, the last at the end.

    Args:
        n_samples: Length of the waveform, at least 1.
        sample_rate: Its rate, in Hz.

    Example:
        >>> tag_windows(35 * 24_000, 24_000)
        [(0, 720000), (120000, 840000)]
    """
    size = round(TAG_WINDOW * sample_rate)
    if n_samples <= size:
        return [(0, n_samples)]
    starts = [*range(0, n_samples - size, size), n_samples - size]
    return [(start, start + size) for start in starts]


def event_windows(
    n_samples: int, sample_rate: int, window: float = EVENT_WINDOW, hop: float = EVENT_HOP
) -> list[Window]:
    """Give the whole clip up to `window`, else windows every `hop`, all on the 0.8 s grid.

    The last starts at the smallest multiple of 0.8 s from which at most `window` remain.

    Args:
        n_samples: Length of the waveform, at least 1.
        sample_rate: Its rate, in Hz.
        window: Length of a window, in seconds, at least 0.8.
        hop: From one window to the next, in seconds: a multiple of 0.8 that leaves no gap.

    Raises:
        ValueError: `window` or `hop` are not as said.

    Example:
        >>> [(a // 24_000, b // 24_000) for a, b in event_windows(100 * 24_000, 24_000)]
        [(0, 60), (40, 100)]
    """
    check_event_windows(window, hop)
    size, step = round(window * sample_rate), round(STEP * sample_rate)
    if n_samples <= size:
        return [(0, n_samples)]
    last = -(-(n_samples - size) // step) * step
    starts = [*range(0, last, round(hop / STEP) * step), last]
    return [(start, min(start + size, n_samples)) for start in starts]


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


def join_steps(
    values: Sequence[NDArray[np.float32]], first_steps: Sequence[int]
) -> NDArray[np.float32]:
    """Join the steps of overlapping windows into those of the whole recording.

    Where windows overlap, their values are averaged with weights that rise linearly from each
    window's edges, so that no seam shows.

    Args:
        values: One array (steps, size) per window, earliest first.
        first_steps: Index of each window's first step in the recording.

    Returns:
        The recording's steps, (steps, size), float32.

    Example:
        >>> halves = [np.zeros((4, 1), np.float32), np.ones((4, 1), np.float32)]
        >>> join_steps(halves, [0, 2])[:, 0].round(2).tolist()
        [0.0, 0.0, 0.25, 0.75, 1.0, 1.0]
    """
    if len(values) == 1:
        return values[0]
    n_steps = max(first + len(part) for part, first in zip(values, first_steps, strict=True))
    total = np.zeros((n_steps, values[0].shape[1]))
    weight = np.zeros((n_steps, 1))
    for part, first in zip(values, first_steps, strict=True):
        centres = np.arange(len(part)) + 0.5
        rise = np.minimum(centres, len(part) - centres)[:, None]
        total[first : first + len(part)] += rise * part
        weight[first : first + len(part)] += rise
    return (total / weight).astype(np.float32)


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
