"""Framewise probabilities become events: median, threshold, close gaps, drop short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import Event

# Two times closer than this are the same: frame counts times a hop are not exact in binary.
SAME_TIME = 1e-9


def decode_events(
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
    hop: float,
    threshold: float | Mapping[str, float] = 0.3,
    median: float = 0.0,
    min_gap: float = 0.0,
    min_duration: float = 0.0,
    *,
    duration: float | None = None,
) -> list[Event]:
    """Turn framewise probabilities into events, earliest first.

    Per label, in this order: median filter, threshold, close gaps, drop short events.

    Args:
        probabilities: Shape (frames, labels), 0 to 1.
        labels: Label of each column.
        hop: From one frame to the next, in seconds.
        threshold: Active means strictly above it; one for all labels or one for each, by label.
        median: Length of the median filter, in seconds, rounded to an odd number of frames (the
            ends are repeated); under two frames it changes nothing.
        min_gap: Gaps shorter than this, in seconds, between two events of a label are closed.
        min_duration: Events shorter than this, in seconds, are dropped.
        duration: Length of the recording, in seconds: no offset exceeds it.

    Returns:
        Events, sorted by onset, then offset, then label order. Onset and offset are seconds from
        the start; the probability is the mean of the given ones from onset to offset.

    Raises:
        ValueError: The columns are not the labels, or an argument is out of range.

    Example:
        >>> probabilities = np.array([[0.1], [0.9], [0.7], [0.2]])
        >>> decode_events(probabilities, ["dog"], hop=0.1, threshold=0.3)
        [Event(label='dog', onset=0.1, offset=0.3, probability=0.8)]

    Source: the authors' ``trainer.py`` (strictly above 0.3).
    """
    probabilities = np.asarray(probabilities)
    _check(probabilities, labels, hop, median, min_gap, min_duration)
    limits = thresholds_for(labels, threshold)
    end = np.inf if duration is None else duration
    found: list[tuple[float, float, int, Event]] = []
    for column, label in enumerate(labels):
        curve = probabilities[:, column]
        active = _median_filter(curve, round(median / hop)) > limits[label]
        for start, stop in _close_gaps(_runs(active), min_gap / hop):
            onset = round(start * hop, 6)
            offset = min(round(stop * hop, 6), end)
            if offset - onset < min_duration - SAME_TIME:
                continue
            mean = float(curve[start:stop].mean(dtype=np.float64))
            event = Event(label=label, onset=onset, offset=offset, probability=mean)
            found.append((onset, offset, column, event))
    return [event for *_, event in sorted(found, key=lambda item: item[:3])]


def thresholds_for(
    labels: Sequence[str],
    threshold: float | Mapping[str, float] | None,
    default: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Give every label its threshold.

    Args:
        labels: The labels, in order.
        threshold: One for all, or some labels' own; None for the default.
        default: Thresholds of the labels that `threshold` does not name.

    Raises:
        ValueError: A threshold is outside 0 to 1, a label has none, or a name is no label.

    Example:
        >>> thresholds_for(["dog", "cat"], {"cat": 0.5}, default={"dog": 0.2, "cat": 0.3})
        {'dog': 0.2, 'cat': 0.5}
    """
    if threshold is None or isinstance(threshold, Mapping):
        own = threshold or {}
        for name in own:
            if name not in labels:
                raise ValueError(_no_such_label(name, labels))
        chosen = {**(default or {}), **own}
    else:
        chosen = dict.fromkeys(labels, threshold)
    missing = [label for label in labels if label not in chosen]
    if missing:
        raise ValueError(
            f"No threshold is given for {', '.join(missing)}. Give one number for all labels, or "
            "every label its own."
        )
    for label in labels:
        if not 0 <= chosen[label] <= 1:
            raise ValueError(f"threshold={chosen[label]} is out of range; give 0 to 1.")
    return {label: float(chosen[label]) for label in labels}


def _no_such_label(name: str, labels: Sequence[str]) -> str:
    close = get_close_matches(name, labels, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"No event is named {name!r}.{hint} The events are {', '.join(labels)}."


def _check(
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
    hop: float,
    median: float,
    min_gap: float,
    min_duration: float,
) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != len(labels):
        raise ValueError(
            f"probabilities have the shape {probabilities.shape}; give (frames, labels) with one "
            f"column for each of the {len(labels)} labels."
        )
    if not hop > 0:
        raise ValueError(f"hop={hop} is not a time step; give seconds above 0.")
    for name, value in (("median", median), ("min_gap", min_gap), ("min_duration", min_duration)):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name}={value} is out of range; give seconds, 0 or more.")


def _median_filter(curve: NDArray[np.floating], n_frames: int) -> NDArray[np.floating]:
    half = n_frames // 2
    if half == 0 or len(curve) == 0:
        return curve
    padded = np.pad(curve, half, mode="edge")
    return np.asarray(
        np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    )


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Give (start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False]))))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _close_gaps(runs: list[tuple[int, int]], min_gap: float) -> list[tuple[int, int]]:
    closed: list[tuple[int, int]] = []
    for start, stop in runs:
        if closed and start - closed[-1][1] < min_gap - SAME_TIME:
            closed[-1] = (closed[-1][0], stop)
        else:
            closed.append((start, stop))
    return closed
