"""Figures of sound event detection: segment-based and event-based F1 and error rate.

Both are counts of four kinds (`COUNTS`) that add up over recordings; every figure follows from
their sums. Equal to sed_eval 0.2.1 wherever its figures are finite and free of ties; the other
cases are defined in `EventScore` and `event_counts`.

Source: Mesaros et al., "Metrics for polyphonic sound event detection", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dcasenet.annotations.segments import SAME_TIME, TimedLabel

ONSET_COLLAR = 0.2  # seconds, sed_eval's
# Onset collars that are reported, in seconds: sed_eval's, and one step of the network.
COLLARS = {"200ms": 0.2, "800ms": 0.8}
OFFSET_SHARE = 0.5  # of a true event's length, sed_eval's; DCASE tasks 4 take 0.2
# Order of the last axis of counts.
COUNTS = ("hits", "reference", "predicted", "substitutions")

Counts = NDArray[np.int64]  # (1 + labels, 4): over all labels, then of each


@dataclass(frozen=True)
class EventScore:
    """Segment-based or event-based figures.

    With nothing in reference and prediction every share is 1 and the error rate 0. With nothing
    in the reference alone the shares are 0 and the error rate is the number of insertions; with
    nothing in the prediction alone the shares are 0 and the error rate is 1.

    Attributes:
        hits: Label and segment, or events, that are in both.
        reference: Number in the reference.
        predicted: Number in the prediction.
        substitutions: Pairs of one that is missed and one that is false, at the same time.

    Example:
        >>> score = EventScore(hits=3, reference=5, predicted=4, substitutions=1)
        >>> score.deletions, score.insertions, score.error_rate, round(score.f1, 3)
        (1, 0, 0.4, 0.667)
    """

    hits: int
    reference: int
    predicted: int
    substitutions: int

    @property
    def deletions(self) -> int:
        """Missed, without anything false at the same time."""
        return self.reference - self.hits - self.substitutions

    @property
    def insertions(self) -> int:
        """False, without anything missed at the same time."""
        return self.predicted - self.hits - self.substitutions

    @property
    def precision(self) -> float:
        """Share of the prediction that is true, 0 to 1."""
        return self.hits / self.predicted if self.predicted else float(self.reference == 0)

    @property
    def recall(self) -> float:
        """Share of the reference that is found, 0 to 1."""
        return self.hits / self.reference if self.reference else float(self.predicted == 0)

    @property
    def f1(self) -> float:
        """2 × hits ÷ (reference + predicted), 0 to 1."""
        return float(f1(self.counts))

    @property
    def error_rate(self) -> float:
        """(Substitutions + deletions + insertions) ÷ reference, 0 and up."""
        return float(error_rate(self.counts))

    @property
    def counts(self) -> NDArray[np.int64]:
        """The four counts, in the order of `COUNTS`."""
        return np.array([getattr(self, name) for name in COUNTS], dtype=np.int64)


def f1(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return F1 of counts (…, 4), 0 to 1; 1 where nothing is in reference and prediction."""
    total = counts[..., 1] + counts[..., 2]
    return np.where(total > 0, 2 * counts[..., 0] / np.maximum(total, 1), 1.0)


def error_rate(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the error rate of counts (…, 4), 0 and up; without a reference, the insertions."""
    hits, reference, predicted, substitutions = np.moveaxis(counts, -1, 0)
    errors = reference + predicted - 2 * hits - substitutions
    return np.asarray(errors / np.maximum(reference, 1), dtype=np.float64)


def macro(
    figure: NDArray[np.float64], counts: NDArray[np.integer] | NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the plain mean over the labels that the reference has.

    A label that is never predicted counts with F1 0 (sed_eval's ``zero_score``). nan without a
    label in the reference.

    Args:
        figure: `f1` or `error_rate` of the counts, (…, 1 + labels).
        counts: (…, 1 + labels, 4).
    """
    known = counts[..., 1:, 1] > 0
    n_known = known.sum(axis=-1)
    total = np.where(known, figure[..., 1:], 0.0).sum(axis=-1)
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


def score_of(counts: NDArray[np.integer]) -> EventScore:
    """Return the figures of four counts."""
    return EventScore(*(int(value) for value in counts))


def segment_score(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> EventScore:
    """Compare activities per segment, micro-averaged over labels and segments.

    Args:
        reference: (segments, labels).
        prediction: (segments, labels).

    Example:
        >>> from dcasenet.annotations.segments import segment_activity
        >>> truth = segment_activity([(0, 0.0, 2.0)], n_labels=2, duration=2.0)
        >>> segment_score(truth, ~truth).error_rate
        1.0
    """
    reference, prediction = reference.astype(bool), prediction.astype(bool)
    false_positives = (prediction & ~reference).sum(axis=1)
    false_negatives = (reference & ~prediction).sum(axis=1)
    return EventScore(
        hits=int((reference & prediction).sum()),
        reference=int(reference.sum()),
        predicted=int(prediction.sum()),
        substitutions=int(np.minimum(false_positives, false_negatives).sum()),
    )


def segment_counts(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Counts:
    """Count per segment, over all labels and of each label alone, (1 + labels, 4).

    Args:
        reference: (segments, labels).
        prediction: (segments, labels).
    """
    reference, prediction = reference.astype(bool), prediction.astype(bool)
    counts = np.zeros((1 + reference.shape[1], len(COUNTS)), dtype=np.int64)
    counts[0] = segment_score(reference, prediction).counts
    counts[1:, 0] = (reference & prediction).sum(axis=0)
    counts[1:, 1] = reference.sum(axis=0)
    counts[1:, 2] = prediction.sum(axis=0)
    return counts


def event_counts(
    reference: Sequence[TimedLabel],
    prediction: Sequence[TimedLabel],
    n_labels: int,
    onset_collar: float = ONSET_COLLAR,
    offset_share: float | None = OFFSET_SHARE,
) -> Counts:
    """Count events of one recording, over all labels and of each label alone, (1 + labels, 4).

    A true and a predicted event agree in time if their onsets are at most `onset_collar` apart
    and their offsets at most the greater of `onset_collar` and `offset_share` of the true event's
    length; exactly that far apart still counts, free of binary rounding. They are paired one to
    one so that hits (of one label) are as many as possible and then substitutions (of two) as
    many as possible: an optimal assignment. sed_eval's hits are optimal too; its substitutions
    are found one after the other and can be fewer, depending on the order of the events.

    Args:
        reference: (label, onset, offset), in seconds; events of one label may overlap.
        prediction: Likewise.
        n_labels: Number of labels.
        onset_collar: In seconds.
        offset_share: Share of the true event's length; None compares onsets alone.

    Example:
        >>> counts = event_counts([(0, 1.0, 2.0), (1, 3.0, 4.0)], [(0, 1.1, 2.4)], n_labels=2)
        >>> score_of(counts[0])
        EventScore(hits=1, reference=2, predicted=1, substitutions=0)
    """
    counts = np.zeros((1 + n_labels, len(COUNTS)), dtype=np.int64)
    true = np.array(reference, dtype=np.float64).reshape(-1, 3)
    predicted = np.array(prediction, dtype=np.float64).reshape(-1, 3)
    true_label, predicted_label = true[:, 0].astype(np.int64), predicted[:, 0].astype(np.int64)
    counts[1:, 1] = np.bincount(true_label, minlength=n_labels)
    counts[1:, 2] = np.bincount(predicted_label, minlength=n_labels)
    near = np.abs(true[:, None, 1] - predicted[None, :, 1]) <= onset_collar + SAME_TIME
    if offset_share is not None:
        collar = np.maximum(onset_collar, offset_share * (true[:, 2] - true[:, 1])) + SAME_TIME
        near &= np.abs(true[:, None, 2] - predicted[None, :, 2]) <= collar[:, None]
    alike = true_label[:, None] == predicted_label[None, :]
    # One hit outweighs all the substitutions that there can be.
    weight = near * np.where(alike, 1 + min(near.shape), 1)
    rows, columns = linear_sum_assignment(weight, maximize=True)
    paired = near[rows, columns]
    hit = paired & alike[rows, columns]
    counts[1:, 0] = np.bincount(true_label[rows[hit]], minlength=n_labels)
    counts[0] = counts[1:].sum(axis=0)
    counts[0, 3] = int(paired.sum() - hit.sum())
    return counts
