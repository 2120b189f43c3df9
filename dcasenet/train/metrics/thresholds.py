"""Thresholds of events, chosen by their segment-based F1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dcasenet.train.metrics.events import segment_score

SEGMENT = 1.0  # seconds
UNTUNED = 0.3  # threshold before tuning: the authors'
# Thresholds that tuning chooses from, 0.05 to 0.9.
GRID = tuple(round(0.05 * k, 2) for k in range(1, 19))
ROUNDS = 5  # over all labels, at most; two or three are enough


def best_thresholds(
    reference: NDArray[np.bool_],
    curves: NDArray[np.float32],
    lowest: float = GRID[0],
    highest: float = GRID[-1],
) -> tuple[float, ...]:
    """Choose thresholds of the highest F1 over all labels.

    Args:
        reference: Whether a label is active in a segment, (segments, labels).
        curves: Its highest probability there, (segments, labels).
        lowest: Lowest threshold to choose.
        highest: Highest threshold to choose.
    """
    grid = [level for level in GRID if lowest <= level <= highest]

    def score(thresholds: NDArray[np.float64]) -> float:
        return segment_score(reference, curves > thresholds).f1

    n_labels = reference.shape[1]
    chosen = max((np.full(n_labels, level) for level in grid), key=lambda t: (score(t), t[0]))
    for _ in range(ROUNDS):
        before = chosen
        for label in range(n_labels):
            others = np.arange(n_labels) != label
            trials = [np.where(others, chosen, level) for level in grid]
            chosen = trials[max(range(len(grid)), key=lambda k: (score(trials[k]), k))]
        if np.array_equal(before, chosen):
            break
    return tuple(chosen.tolist())
