"""Events on a grid of segments, as segment-based metrics compare them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Two times closer than this are the same: k × 0.1 s is not exact in binary.
SAME_TIME = 1e-6

TimedLabel = tuple[int, float, float]  # label, onset, offset in seconds


def segment_activity(
    events: Sequence[TimedLabel], n_labels: int, duration: float, length: float = 1.0
) -> NDArray[np.bool_]:
    """Return in which segments each label is active at any time.

    Onsets are rounded down and offsets up to whole segments, but for binary rounding: 0.3 ÷ 0.1
    is 3 here, where sed_eval makes one segment more of it. An event without length fills the
    segment that it is in; what lies beyond the recording is left out.

    Args:
        events: (label, onset, offset), in seconds.
        n_labels: Number of labels.
        duration: Length of the recording, in seconds.
        length: Length of a segment, in seconds.

    Returns:
        (segments, n_labels), segments = ceil(duration / length).

    Raises:
        ValueError: `length` is not above 0.

    Example:
        >>> segment_activity([(0, 0.5, 2.0)], n_labels=1, duration=3.0)[:, 0].tolist()
        [True, True, False]
    """
    if not length > 0:
        raise ValueError(f"length={length} is no segment; give seconds above 0.")
    n_segments = int(np.ceil(duration / length - SAME_TIME))
    active = np.zeros((n_segments, n_labels), dtype=bool)
    for label, onset, offset in events:
        first = max(int(np.floor(onset / length + SAME_TIME)), 0)
        last = int(np.ceil(offset / length - SAME_TIME))
        active[first : max(last, first + 1), label] = True
    return active
