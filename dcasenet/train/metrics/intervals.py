"""95 % intervals by the percentile bootstrap over recordings.

What is drawn again, with replacement, are whole recordings with everything that was cut from
them: clips of one recording are alike, and counting them as independent would make every
interval too narrow. Of soundscapes, which share recordings, the soundscape is drawn.

A figure is a function of weights: how often each recording was drawn, (resamples, recordings) →
(resamples,). Sums over recordings are then matrix products, a thousand resamples at once. With
weights of 1 it is the figure itself.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcasenet.train.metrics.classification import nanmean

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0

Weights = NDArray[np.float64]
Figure = Callable[[Weights], NDArray[np.float64]]


class Interval(NamedTuple):
    """Where a figure would lie with other recordings of the same kind."""

    low: float
    high: float


def draws(n_recordings: int, n_resamples: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Draw recordings with replacement, as many as there are, again and again.

    Args:
        n_recordings: Number of recordings, at least 1.
        n_resamples: Number of resamples.
        seed: The same seed draws the same.

    Returns:
        How often each recording was drawn, (n_resamples, n_recordings).

    Example:
        >>> draws(3, n_resamples=4).sum(axis=1).tolist()
        [3.0, 3.0, 3.0, 3.0]
    """
    even = np.full(n_recordings, 1 / n_recordings)
    drawn = np.random.default_rng(seed).multinomial(n_recordings, even, size=n_resamples)
    return drawn.astype(np.float64)


def percentile(values: NDArray[np.floating], confidence: float = CONFIDENCE) -> Interval:
    """Return the middle share of values, those that are nan left out; nan if no value is left."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return Interval(float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))


def values(figures: Mapping[str, Figure], n_recordings: int) -> dict[str, float]:
    """Return each figure with every recording counted once."""
    once = np.ones((1, n_recordings))
    return {name: float(figure(once)[0]) for name, figure in figures.items()}


def intervals(
    figures: Mapping[str, Figure],
    n_recordings: int,
    n_resamples: int = RESAMPLES,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
) -> dict[str, Interval]:
    """Return each figure's interval; all figures are resampled by the same draws.

    Of fewer than two recordings nothing can be said, and a figure that is nan in every resample
    has no interval: they are left out. Of few recordings (under about 20) percentile intervals
    are too narrow.

    Args:
        figures: Name → figure.
        n_recordings: Number of recordings that the figures weigh.
        n_resamples: Number of resamples.
        seed: The same seed gives the same intervals.
        confidence: Share of the resamples inside.

    Example:
        >>> right, n_true = np.array([1.0, 0.0, 2.0, 1.0]), np.array([1.0, 1.0, 2.0, 2.0])
        >>> intervals({"accuracy": ratio(right, n_true)}, n_recordings=4)["accuracy"]
        Interval(low=0.2, high=1.0)
    """
    if n_recordings < 2:
        return {}
    weights = draws(n_recordings, n_resamples, seed)
    found = {name: percentile(figure(weights), confidence) for name, figure in figures.items()}
    return {name: interval for name, interval in found.items() if np.isfinite(interval.low)}


def interval_by_index(
    figure: Callable[[NDArray[np.int64]], float],
    recordings: Sequence[Hashable],
    n_resamples: int = RESAMPLES,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the interval of any figure of examples, called once for each resample.

    Slower than a `Figure`; the draws are the same.

    Args:
        figure: Indices of examples, some of them repeated → the figure.
        recordings: Which recording each example is from.
        n_resamples: Number of resamples.
        seed: The same seed gives the same interval.
        confidence: Share of the resamples inside.

    Example:
        >>> right = np.array([1, 0, 1, 1, 1, 0])
        >>> interval_by_index(lambda i: float(right[i].mean()), ["a", "a", "b", "c", "d", "e"])
        Interval(low=0.3333333333333333, high=1.0)
    """
    of = number(recordings)
    members = [np.flatnonzero(of == recording) for recording in range(of.max() + 1)]
    found = []
    for drawn in draws(len(members), n_resamples, seed).astype(np.int64):
        chosen = [np.tile(m, times) for m, times in zip(members, drawn, strict=True)]
        found.append(figure(np.concatenate(chosen)))
    return percentile(np.array(found), confidence)


def number(recordings: Sequence[Hashable]) -> NDArray[np.int64]:
    """Number recordings from 0 by first appearance, (examples,).

    Example:
        >>> number(["b", "a", "b"]).tolist()
        [0, 1, 0]
    """
    index_of = {name: i for i, name in enumerate(dict.fromkeys(recordings))}
    return np.array([index_of[name] for name in recordings], dtype=np.int64)


def by_recording(values: NDArray[np.generic], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum values (examples, …) over each recording's examples, (recordings, …).

    Args:
        values: One for each example.
        of: Number of each example's recording.
    """
    total = np.zeros((int(of.max()) + 1, *values.shape[1:]))
    np.add.at(total, of, values)
    return total


def ratio(numerator: NDArray[np.floating], denominator: NDArray[np.floating]) -> Figure:
    """Return the figure sum ÷ sum of two sums by recording, (recordings, …); nan of nothing."""

    def figure(weights: Weights) -> NDArray[np.float64]:
        below = weights @ denominator
        return np.where(below > 0, weights @ numerator / np.where(below > 0, below, 1), np.nan)

    return figure


def mean_of_ratios(numerators: NDArray[np.floating], denominators: NDArray[np.floating]) -> Figure:
    """Return the figure mean of each label's `ratio`, labels left out that nothing drawn has.

    Args:
        numerators: Sums by recording, (recordings, labels).
        denominators: Likewise.
    """
    each = ratio(numerators, denominators)
    return lambda weights: nanmean(each(weights))
