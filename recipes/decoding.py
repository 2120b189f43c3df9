"""Thresholds and hysteresis of the events, chosen together by the events that they give."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dcasenet.annotations.segments import segment_activity
from dcasenet.inference.events import decode_events
from dcasenet.results import Events
from dcasenet.train.metrics.events import event_counts, f1, segment_counts
from dcasenet.train.metrics.thresholds import ROUNDS, SEGMENT
from recipes.bank import SAMPLE_RATE
from recipes.evaluate import ONSET_COLLAR, event_rows
from recipes.soundscapes import Scape

log = logging.getLogger(__name__)

# What is less likely than the lowest is not reported, whatever soundscapes with loud backgrounds
# gain by it; what is likelier than the highest is, even of an event that is seldom right: it must
# not fall silent.
THRESHOLDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
HYSTERESES = (1.0, 0.8, 0.6, 0.5, 0.4)


def best_decoding(
    detected: Sequence[Events], scapes: Sequence[Scape], labels: Sequence[str]
) -> tuple[dict[str, float], float]:
    """Choose what segment-based F1 at 1 s and event-based F1 at 200 ms are best with, on average.

    Both are of all events together. A threshold that suits the highest probability of each second
    is not the one that suits decoded events: with hysteresis they last longer, so that it can be
    higher, and fewer of them are false.

    Args:
        detected: What a model detected in the soundscapes.
        scapes: The soundscapes.
        labels: The events.

    Returns:
        Event → threshold, and the hysteresis.
    """
    found = {}
    for share in HYSTERESES:
        counts = _counts(detected, scapes, labels, share)
        chosen = _best_levels(counts)
        found[share] = (_score(counts, chosen), chosen)
        log.info("hysteresis %.1f: an F1 of %.3f on average", share, found[share][0])
    hysteresis = max(HYSTERESES, key=lambda share: found[share][0])
    levels = found[hysteresis][1]
    return {
        label: THRESHOLDS[level] for label, level in zip(labels, levels, strict=True)
    }, hysteresis


def _counts(
    detected: Sequence[Events], scapes: Sequence[Scape], labels: Sequence[str], hysteresis: float
) -> NDArray[np.int64]:
    """Count with every threshold, (2: segments and events, thresholds, labels, counts)."""
    n_labels = len(labels)
    counts = np.zeros((2, len(THRESHOLDS), n_labels, 4), dtype=np.int64)
    for events, scape in zip(detected, scapes, strict=True):
        duration = len(scape.waveform) / SAMPLE_RATE
        for level, threshold in enumerate(THRESHOLDS):
            decoded = decode_events(
                events.probabilities, labels, events.hop, threshold, hysteresis=hysteresis
            )
            predicted, true = event_rows(decoded, scape, labels)
            activity = [
                segment_activity(rows, n_labels, duration, SEGMENT) for rows in (true, predicted)
            ]
            by_event = event_counts(true, predicted, n_labels, ONSET_COLLAR, offset_share=None)
            counts[0, level] += segment_counts(*activity)[1:]
            counts[1, level] += by_event[1:]
    return counts


def _score(counts: NDArray[np.int64], levels: NDArray[np.int64]) -> float:
    """Return the mean of both F1 with each label's own threshold."""
    chosen = counts[:, levels, np.arange(len(levels))]
    return float(f1(chosen.sum(axis=1)).mean())


def _best_levels(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of each label's threshold: of equally good ones the highest."""
    n_labels = counts.shape[2]

    def best(trials: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return trials[max(range(len(trials)), key=lambda k: (_score(counts, trials[k]), k))]

    chosen = best([np.full(n_labels, level) for level in range(len(THRESHOLDS))])
    for _ in range(ROUNDS):
        before = chosen
        for label in range(n_labels):
            others = np.arange(n_labels) != label
            chosen = best([np.where(others, chosen, k) for k in range(len(THRESHOLDS))])
        if np.array_equal(before, chosen):
            break
    return chosen
