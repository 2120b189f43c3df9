"""The figures of merit: accuracy, lwlrap, mean average precision, segment-based F1 and error rate.

Equal to scikit-learn and sed_eval wherever theirs are finite and free of ties; the other cases are
defined here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Two times closer than this are the same: k × 0.1 s is not exact in binary.
SAME_TIME = 1e-6


def accuracy(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Give the share of examples whose highest score is the true label.

    Of equal scores the first label counts as the highest.

    Args:
        scores: (examples, labels).
        truth: Index of the true label, (examples,).

    Returns:
        0 to 1; nan without examples.
    """
    if len(truth) == 0:
        return float("nan")
    return float(np.mean(scores.argmax(axis=1) == truth))


def lwlrap(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Give the label-weighted label-ranking average precision.

    For each true label of an example: the share of true labels among those ranked at or above it;
    the mean over all (example, true label) pairs. Ties count against: equal scores all take the
    lowest of their ranks, as in scikit-learn's ``label_ranking_average_precision_score`` with the
    number of labels as weight. Examples without labels contribute nothing.

    Args:
        scores: (examples, labels).
        truth: (examples, labels).

    Returns:
        0 to 1; nan without any label.

    Example:
        >>> lwlrap(np.array([[0.9, 0.5, 0.7]]), np.array([[True, True, False]]))
        0.8333333333333333

    Source: FSDKaggle2019 (DCASE 2019 task 2); reference implementations leave ties to chance.
    """
    precisions: list[float] = []
    for row, true in zip(scores, truth.astype(bool), strict=True):
        for score in row[true]:
            at_or_above = row >= score
            precisions.append(float((at_or_above & true).sum() / at_or_above.sum()))
    return float(np.mean(precisions)) if precisions else float("nan")


def average_precisions(
    scores: NDArray[np.floating], truth: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Give the average precision of each label, (labels,); nan for a label no example has.

    The sum over thresholds of precision times the gain in recall, equal scores being one
    threshold, as in scikit-learn's ``average_precision_score``.

    Args:
        scores: (examples, labels).
        truth: (examples, labels).
    """
    found = np.full(scores.shape[1], np.nan)
    for label in range(scores.shape[1]):
        true = truth[:, label].astype(bool)
        if not true.any():
            continue
        order = np.argsort(-scores[:, label], kind="stable")
        ranked = scores[order, label]
        last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        hits = np.cumsum(true[order])[last_of_ties]
        gained = np.diff(hits, prepend=0) / true.sum()
        found[label] = float(np.sum(gained * hits / (last_of_ties + 1)))
    return found


def mean_average_precision(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Give the mean of the labels' average precisions, labels that no example has left out."""
    each = average_precisions(scores, truth)
    return float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")


@dataclass(frozen=True)
class SegmentScore:
    """Segment-based figures, micro-averaged over labels and segments.

    Attributes:
        f1: 0 to 1; 1 if neither reference nor prediction has anything.
        error_rate: Substitutions, deletions and insertions per reference label. If the reference
            is empty, the number of insertions (0 if the prediction is empty too).
    """

    f1: float
    error_rate: float


def segment_score(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> SegmentScore:
    """Compare activities per segment.

    Args:
        reference: (segments, labels).
        prediction: (segments, labels).

    Source: Mesaros et al., "Metrics for polyphonic sound event detection", 2016 (sed_eval).
    """
    reference, prediction = reference.astype(bool), prediction.astype(bool)
    false_positives = (prediction & ~reference).sum(axis=1)
    false_negatives = (reference & ~prediction).sum(axis=1)
    n_reference, n_predicted = int(reference.sum()), int(prediction.sum())
    hits = int((reference & prediction).sum())
    errors = int(np.maximum(false_positives, false_negatives).sum())
    total = n_reference + n_predicted
    return SegmentScore(
        f1=2 * hits / total if total else 1.0, error_rate=errors / max(n_reference, 1)
    )


def segment_activity(
    events: Iterable[tuple[int, float, float]], n_labels: int, duration: float, length: float = 1.0
) -> NDArray[np.bool_]:
    """Say in which segments each label is active at any time.

    Args:
        events: (label, onset, offset), in seconds.
        n_labels: Number of labels.
        duration: Length of the recording, in seconds.
        length: Length of a segment, in seconds.

    Returns:
        (segments, n_labels), segments = ceil(duration / length).

    Example:
        >>> segment_activity([(0, 0.5, 2.0)], n_labels=1, duration=3.0)[:, 0].tolist()
        [True, True, False]
    """
    n_segments = int(np.ceil(duration / length - SAME_TIME))
    active = np.zeros((n_segments, n_labels), dtype=bool)
    for label, onset, offset in events:
        first = int(np.floor(onset / length + SAME_TIME))
        last = int(np.ceil(offset / length - SAME_TIME))
        active[first : max(last, first + 1), label] = True
    return active
