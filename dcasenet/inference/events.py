"""Framewise probabilities become events: median, thresholds, close gaps, drop short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import Event
from dcasenet.spec import LEAST_HYSTERESIS
from dcasenet.types import check_number, find_label

# Two times closer than this are the same: frame counts times a hop are not exact in binary.
SAME_TIME = 1e-9
SAME_PROBABILITY = 1e-6  # what averages of float32 may exceed 1 by
LONGEST_MEDIAN = 60.0  # seconds; each frame takes memory for all of them
# Frames that are decoded at once.
ROWS_AT_ONCE = 4096

# First frame, the one after the last, and the sum of the probabilities in between.
Run = tuple[int, int, float]


def decode_events(  # noqa: PLR0913 - the public signature: one option per step of decoding
    probabilities: NDArray[np.floating],
    labels: Sequence[str],
    hop: float,
    threshold: float | Mapping[str, float] = 0.3,
    median: float = 0.0,
    min_gap: float = 0.0,
    min_duration: float = 0.0,
    *,
    hysteresis: float = 1.0,
    duration: float | None = None,
) -> list[Event]:
    """Turn framewise probabilities into events, earliest first.

    Per label, in this order: median filter, threshold with hysteresis, close gaps, drop short
    events.

    Args:
        probabilities: Shape (frames, labels), 0 to 1.
        labels: Label of each column.
        hop: From one frame to the next, in seconds.
        threshold: Active means strictly above it; one for all labels or one for each, by label.
        median: Length of the median filter, in seconds, rounded to an odd number of frames (the
            ends are repeated); under two frames it changes nothing.
        min_gap: Gaps shorter than this, in seconds, between two events of a label are closed.
        min_duration: Events shorter than this, in seconds, are dropped.
        hysteresis: An event that is active somewhere lasts as long as the probability is strictly
            above this share of the threshold, 0.05 to 1; 1 is the threshold itself.
        duration: Length of the recording, in seconds: no offset exceeds it.

    Returns:
        Events, sorted by onset, then offset, then label order. Onset and offset are seconds from
        the start; the probability is the mean of the given ones from onset to offset.

    Raises:
        ValueError: The columns are not the labels, a probability is not one, or an argument is out
            of range.

    Example:
        >>> probabilities = np.array([[0.1], [0.9], [0.7], [0.2]])
        >>> decode_events(probabilities, ["dog"], hop=0.1, threshold=0.3)
        [Event(label='dog', onset=0.1, offset=0.3, probability=0.8)]

    Source: the authors' ``trainer.py`` (strictly above 0.3, without hysteresis).
    """
    probabilities = np.asarray(probabilities)
    # A little slack for what was averaged. NaN is outside, too.
    outside = ~((probabilities >= -SAME_PROBABILITY) & (probabilities <= 1 + SAME_PROBABILITY))
    if outside.any():
        raise ValueError(
            f"probabilities hold {probabilities[outside][0]}; give 0 to 1, such as the sigmoid of "
            "logits."
        )
    decoder = EventDecoder(
        labels, hop, threshold, median, min_gap, min_duration, hysteresis=hysteresis
    )
    starts = range(0, len(probabilities), ROWS_AT_ONCE)  # so that the median needs little memory
    events = [e for a in starts for e in decoder.push(probabilities[a : a + ROWS_AT_ONCE])]
    if not len(probabilities):
        decoder.push(probabilities)
    return decoder.in_order([*events, *decoder.close(duration)])


class EventDecoder:
    """Turn framewise probabilities into events while they come in; see `decode_events`.

    An event is given once it is final: after its offset, half the median filter and `min_gap`
    have been read (with hysteresis, too, until it is known whether what begins within `min_gap` is
    active). All events in order are those of `decode_events`, whatever the pieces.

    Example:
        >>> decoder = EventDecoder(["dog"], hop=0.1, threshold=0.3)
        >>> decoder.push(np.array([[0.1], [0.9]])), decoder.push(np.array([[0.7], [0.2]]))
        ([], [Event(label='dog', onset=0.1, offset=0.3, probability=0.8)])
        >>> decoder.close()
        []
    """

    def __init__(
        self,
        labels: Sequence[str],
        hop: float,
        threshold: float | Mapping[str, float] = 0.3,
        median: float = 0.0,
        min_gap: float = 0.0,
        min_duration: float = 0.0,
        *,
        hysteresis: float = 1.0,
    ) -> None:
        check_decoding(hop, median, min_gap, min_duration)
        check_hysteresis(hysteresis)
        limits = thresholds_for(labels, threshold)
        self._labels, self._hop, self._shortest = tuple(labels), hop, min_duration
        self._limits = np.array([limits[label] for label in labels])
        self._half = round(median / hop) // 2
        self._context: NDArray[np.floating] | None = None
        self._tracks = [_Track(min_gap / hop) for _ in labels]
        self._low = hysteresis * self._limits
        self._undecided = [_Undecided() for _ in labels] if hysteresis < 1 else ()

    def push(self, probabilities: NDArray[np.floating]) -> list[Event]:
        """Take the next rows, (frames, labels), and give the events that are final.

        Raises:
            ValueError: The columns are not the labels.
        """
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self._labels):
            raise ValueError(
                f"probabilities have the shape {probabilities.shape}; give (frames, labels) with "
                f"one column for each of the {len(self._labels)} labels."
            )
        if not len(probabilities):
            return []
        if self._context is None:
            self._context = np.repeat(probabilities[:1], self._half, axis=0)
        return self._named(self._filtered(np.concatenate((self._context, probabilities))))

    def close(self, duration: float | None = None) -> list[Event]:
        """Return the events that are left; no offset exceeds `duration`, in seconds."""
        found: list[tuple[int, Run]] = []
        if self._context is not None:
            last = np.repeat(self._context[-1:], self._half, axis=0)
            found += self._filtered(np.concatenate((self._context, last)))
        found += [(c, run) for c, track in enumerate(self._tracks) for run in track.close()]
        return self._named(found, np.inf if duration is None else duration)

    def in_order(self, events: Sequence[Event]) -> list[Event]:
        """Sort events by onset, then offset, then label order."""
        order = {label: column for column, label in enumerate(self._labels)}
        return sorted(events, key=lambda event: (event.onset, event.offset, order[event.label]))

    def _filtered(self, rows: NDArray[np.floating]) -> list[tuple[int, Run]]:
        """Decode the rows that have half a median filter on both sides."""
        n_frames = len(rows) - 2 * self._half
        if n_frames < 1:
            self._context = rows
            return []
        self._context = rows[n_frames:]
        found = []
        for column, (track, limit) in enumerate(zip(self._tracks, self._limits, strict=True)):
            smooth = curve = rows[self._half : self._half + n_frames, column]
            if self._half:
                around = np.lib.stride_tricks.sliding_window_view(
                    rows[:, column], 2 * self._half + 1
                )
                smooth = np.median(around, axis=1)
            active = smooth > limit
            if self._undecided:
                low = smooth > self._low[column]
                active, curve = self._undecided[column].push(low, active, curve)
            found += [(column, run) for run in track.push(active, curve)]
        return found

    def _named(self, found: Sequence[tuple[int, Run]], end: float = np.inf) -> list[Event]:
        """The runs that are long enough, as events in order."""
        events = []
        for column, (start, stop, total) in found:
            onset = round(start * self._hop, 6)
            offset = min(round(stop * self._hop, 6), end)
            if offset - onset >= self._shortest - SAME_TIME:
                label, mean = self._labels[column], total / (stop - start)
                events.append(Event(label=label, onset=onset, offset=offset, probability=mean))
        return self.in_order(events)


class _Undecided:
    """Hysteresis of one label: holds frames back until it is known whether they are active.

    Those above the lower threshold are, if any of the same run exceeds the threshold itself.
    """

    def __init__(self) -> None:
        self._held: list[NDArray[np.floating]] = []  # the curve of a run that has not exceeded it
        self._is_active = False  # whether the latest frame is of one that has

    def push(
        self, low: NDArray[np.bool_], high: NDArray[np.bool_], curve: NDArray[np.floating]
    ) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
        """Return which frames are active and their curve, of all frames that are decided."""
        if self._held and low.all() and not high.any():
            self._held.append(curve)
            return high[:0], curve[:0]
        curve = np.concatenate((*self._held, curve))
        n_held = len(curve) - len(low)
        low = np.concatenate((np.ones(n_held, dtype=bool), low))
        high = np.concatenate((np.zeros(n_held, dtype=bool), high))
        active, n_decided = np.zeros_like(low), len(low)
        for start, stop in runs(low):
            active[start:stop] = high[start:stop].any() or (start == 0 and self._is_active)
            if stop == len(low) and not active[start]:
                n_decided = start
        self._is_active = bool(active[-1])
        self._held = [curve[n_decided:]] if n_decided < len(low) else []
        return active[:n_decided], curve[:n_decided]


class _Track:
    """The runs of one label, gaps closed, from frames that come in pieces."""

    def __init__(self, min_gap: float) -> None:
        self._min_gap = min_gap  # in frames
        self._run: Run | None = None  # the latest, which may still grow
        self._since = 0.0  # sum of the curve from its end on
        self._n_frames = 0

    def push(self, active: NDArray[np.bool_], curve: NDArray[np.floating]) -> list[Run]:
        """Return the runs that cannot change any more."""
        final, done = [], 0  # frames of this piece whose sum is accounted for
        for start, stop in runs(active):
            first, last = self._n_frames + start, self._n_frames + stop
            if self._run is not None and self._reaches(first):
                begin, _, total = self._run
                total += self._since + _sum(curve[done:stop])
                self._run = (begin, last, total)
            else:
                final += self.close()
                self._run = (first, last, _sum(curve[start:stop]))
            self._since, done = 0.0, stop
        self._n_frames += len(curve)
        self._since += _sum(curve[done:])
        if self._run is not None and not self._reaches(self._n_frames):
            final += self.close()
        return final

    def close(self) -> list[Run]:
        """Return the latest run, if there is one."""
        final, self._run = [self._run] if self._run else [], None
        return final

    def _reaches(self, frame: int) -> bool:
        """Return whether the latest run would be one with a run that starts at a frame."""
        gap = frame - self._run[1] if self._run else np.inf
        return gap == 0 or _is_short(gap, self._min_gap)


def thresholds_for(
    labels: Sequence[str],
    threshold: float | Mapping[str, float] | None,
    default: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Assign every label its threshold.

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
        own = {find_label(name, labels, "event"): v for name, v in (threshold or {}).items()}
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
        check_number("threshold", chosen[label], 0, 1, accepted="give 0 to 1")
    return {label: float(chosen[label]) for label in labels}


def check_decoding(hop: float, median: float, min_gap: float, min_duration: float) -> None:
    """Refuse times that cannot be decoded with.

    Raises:
        ValueError: One is out of range.
    """
    check_number("hop", hop, 0, accepted="give seconds above 0")
    if hop == 0:
        raise ValueError(f"hop={hop} is not a time step; give seconds above 0.")
    accepted = f"give 0 to {LONGEST_MEDIAN:g} seconds"
    check_number("median", median, 0, LONGEST_MEDIAN, accepted=accepted)
    for name, value in (("min_gap", min_gap), ("min_duration", min_duration)):
        check_number(name, value, 0, accepted="give seconds, 0 or more")


def check_hysteresis(hysteresis: float) -> None:
    """Refuse a share of the threshold that is none.

    Raises:
        ValueError: It is out of range.
    """
    accepted = f"give {LEAST_HYSTERESIS} to 1"
    check_number("hysteresis", hysteresis, LEAST_HYSTERESIS, 1, accepted=accepted)


def _sum(curve: NDArray[np.floating]) -> float:
    return float(curve.sum(dtype=np.float64))


def runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False]))))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def close_gaps(found: list[tuple[int, int]], min_gap: float) -> list[tuple[int, int]]:
    """Join runs, in order, that are less than `min_gap` frames apart."""
    closed: list[tuple[int, int]] = []
    for start, stop in found:
        if closed and _is_short(start - closed[-1][1], min_gap):
            closed[-1] = (closed[-1][0], stop)
        else:
            closed.append((start, stop))
    return closed


def _is_short(gap: float, min_gap: float) -> bool:
    return gap < min_gap - SAME_TIME
