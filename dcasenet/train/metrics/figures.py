"""The figures of each task as functions of how often each recording counts (`intervals.Figure`).

One definition gives a figure and its interval, for a network, a baseline, a published protocol.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dcasenet.train.metrics import classification, events
from dcasenet.train.metrics.intervals import Figure, Weights, by_recording, mean_of_ratios, ratio


def scene_figures(
    scores: NDArray[np.floating], truth: NDArray[np.integer], of: NDArray[np.int64]
) -> dict[str, Figure]:
    """Return ``accuracy`` (micro) and ``macro_recall`` (mean over the labels).

    Args:
        scores: (examples, labels).
        truth: Index of the true label, (examples,).
        of: Number of each example's recording, (examples,).

    Example:
        >>> figures = scene_figures(np.eye(3), np.array([0, 1, 1]), np.array([0, 1, 2]))
        >>> {name: float(figure(np.ones((1, 3)))[0]) for name, figure in figures.items()}
        {'accuracy': 0.6666666666666666, 'macro_recall': 0.75}
    """
    true = truth[:, None] == np.arange(scores.shape[1])
    right = true & (scores.argmax(axis=1) == truth)[:, None]
    hits, n_true = by_recording(right, of), by_recording(true, of)
    return {
        "accuracy": ratio(hits.sum(axis=1), n_true.sum(axis=1)),
        "macro_recall": mean_of_ratios(hits, n_true),
    }


def tag_figures(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], of: NDArray[np.int64]
) -> dict[str, Figure]:
    """Return ``lwlrap``, ``map`` and ``top1_accuracy`` (the highest score is one of the true tags).

    A resample repeats recordings and may lose a label's only ones; of labels with few recordings
    the interval of ``map`` therefore lies somewhat high about its value.

    Args:
        scores: (examples, labels).
        truth: (examples, labels); examples without tags count in ``map`` alone.
        of: Number of each example's recording, (examples,).
    """
    truth = truth.astype(bool)
    precisions = np.nansum(classification.label_precisions(scores, truth), axis=1)
    n_true = truth.sum(axis=1)
    best = truth[np.arange(len(truth)), scores.argmax(axis=1)]

    def mean_average_precision(weights: Weights) -> NDArray[np.float64]:
        return classification.nanmean(
            classification.average_precisions(scores, truth, weights[:, of])
        )

    return {
        "lwlrap": ratio(by_recording(precisions, of), by_recording(n_true, of)),
        "map": mean_average_precision,
        "top1_accuracy": ratio(by_recording(best, of), by_recording(n_true > 0, of)),
    }


def event_figures(
    kind: str, suffix: str, counts: NDArray[np.integer] | NDArray[np.floating]
) -> dict[str, Figure]:
    """Return F1 and error rate over all labels, and F1 averaged over the labels.

    Args:
        kind: What the names begin with: ``segment`` or ``event``.
        suffix: What the names end with, such as ``1s``.
        counts: Of each recording, (recordings, 1 + labels, 4).

    Returns:
        ``{kind}_f1_{suffix}``, ``{kind}_error_rate_{suffix}``, ``{kind}_macro_f1_{suffix}``.
    """

    def macro_f1(weights: Weights) -> NDArray[np.float64]:
        total = np.tensordot(weights, counts, axes=1)
        return events.macro(events.f1(total), total)

    return {
        f"{kind}_f1_{suffix}": lambda weights: events.f1(weights @ counts[:, 0]),
        f"{kind}_error_rate_{suffix}": lambda weights: events.error_rate(weights @ counts[:, 0]),
        f"{kind}_macro_f1_{suffix}": macro_f1,
    }
