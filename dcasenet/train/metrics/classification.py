"""The figures of one answer per clip: accuracy, confusions, lwlrap, mean average precision.

Equal to scikit-learn wherever its figures are finite and free of ties; the other cases are
defined here. Figures of sound event detection are in `dcasenet.train.metrics.events`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def accuracy(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Return the share of examples whose highest score is the true label.

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


@dataclass(frozen=True, eq=False)
class Confusion:
    """Which labels are taken for which.

    Attributes:
        counts: Number of examples by true label and answered label, (labels, labels).
    """

    counts: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of examples that are right, 0 to 1; nan without examples."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of a label's examples that are right, (labels,); nan for one without examples."""
        return _share(self.counts.diagonal(), self.counts.sum(axis=1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of a label's answers that are right, (labels,); nan for one never answered."""
        return _share(self.counts.diagonal(), self.counts.sum(axis=0))


def confusion(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> Confusion:
    """Count true and answered labels; of equal scores the first label is the answer.

    Args:
        scores: (examples, labels).
        truth: Index of the true label, (examples,).

    Example:
        >>> found = confusion(np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([0, 1]))
        >>> found.counts.tolist(), found.recall.tolist(), found.precision.tolist()
        ([[1, 0], [1, 0]], [1.0, 0.0], [0.5, nan])
    """
    n_labels = scores.shape[1]
    cells = truth * n_labels + scores.argmax(axis=1)
    counts = np.bincount(cells, minlength=n_labels**2).reshape(n_labels, n_labels)
    return Confusion(counts)


@dataclass(frozen=True, eq=False)
class Lwlrap:
    """Label-weighted label-ranking average precision.

    Attributes:
        value: The weighted mean over the labels, 0 to 1; nan without any label.
        per_label: Mean precision of each label, (labels,); nan for one that no example has.
        weights: Share of each label among all that the examples have, (labels,).
    """

    value: float
    per_label: NDArray[np.float64]
    weights: NDArray[np.float64]


def label_precisions(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the precision at the rank of each true label, (examples, labels); nan elsewhere.

    That is the share of true labels among those ranked at or above it. Ties count against: equal
    scores all take the lowest of their ranks, so the answer never depends on a sort.

    Args:
        scores: (examples, labels); rank logits, for probabilities near 1 become ties.
        truth: (examples, labels).
    """
    truth = truth.astype(bool)
    found = np.full(scores.shape, np.nan)
    for row, true, precisions in zip(scores, truth, found, strict=True):
        at_or_above = row[None, :] >= row[true][:, None]
        precisions[true] = (at_or_above & true).sum(axis=1) / at_or_above.sum(axis=1)
    return found


def lwlrap_by_label(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> Lwlrap:
    """Return lwlrap, and what each label adds to it.

    Args:
        scores: (examples, labels).
        truth: (examples, labels).
    """
    found = label_precisions(scores, truth)
    counts = truth.astype(bool).sum(axis=0)
    per_label = _share(np.nansum(found, axis=0), counts)
    weights = counts / max(int(counts.sum()), 1)
    value = float(np.nansum(found) / counts.sum()) if counts.any() else float("nan")
    return Lwlrap(value, per_label, weights)


def lwlrap(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Return the label-weighted label-ranking average precision.

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
    return lwlrap_by_label(scores, truth).value


def average_precisions(
    scores: NDArray[np.floating],
    truth: NDArray[np.bool_],
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Return the average precision of each label; nan for a label that no example has.

    The mean over a label's examples of the precision at each one's score, equal scores being one
    threshold, as in scikit-learn's ``average_precision_score``.

    Args:
        scores: (examples, labels).
        truth: (examples, labels).
        weights: How often each example counts, (…, examples); once by default.

    Returns:
        0 to 1, (…, labels).

    Example:
        >>> average_precisions(np.array([[0.9], [0.8], [0.7]]), np.array([[True], [False], [True]]))
        array([0.83333333])
    """
    truth = truth.astype(bool)
    counted = np.ones(len(truth)) if weights is None else weights
    found = np.full((*counted.shape[:-1], truth.shape[1]), np.nan)
    for label in range(truth.shape[1]):
        own, true = scores[:, label], truth[:, label]
        at_or_above = (own[:, None] >= own[true]).astype(np.float64)
        hits = counted[..., true] @ at_or_above[true]
        precision = hits / np.maximum(counted @ at_or_above, 1e-12)
        found[..., label] = _share(
            (precision * counted[..., true]).sum(axis=-1), counted[..., true].sum(axis=-1)
        )
    return found


def mean_average_precision(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Return the mean of the labels' average precisions, labels that no example has left out."""
    return float(nanmean(average_precisions(scores, truth)))


def nanmean(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean over the last axis, nan left out; nan, and no warning, of nothing but nan."""
    known = np.isfinite(values)
    return _share(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _share(
    part: NDArray[np.integer] | NDArray[np.floating],
    whole: NDArray[np.integer] | NDArray[np.floating],
) -> NDArray[np.float64]:
    """Divide; nan where the whole is 0."""
    empty = np.asarray(whole) == 0
    return np.where(empty, np.nan, part / np.where(empty, 1, whole))
