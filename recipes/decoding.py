"""Threshold and hysteresis of the events, chosen together by the events that they give."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import product

import numpy as np

from dcasenet.annotations.segments import segment_activity
from dcasenet.inference.events import decode_events
from dcasenet.results import Events
from dcasenet.train.metrics.events import event_counts, f1, segment_counts
from dcasenet.train.metrics.thresholds import SEGMENT
from recipes.bank import SAMPLE_RATE
from recipes.evaluate import ONSET_COLLAR, event_rows
from recipes.soundscapes import Scape

log = logging.getLogger(__name__)

# What is less likely than the lowest is not reported, whatever soundscapes with loud backgrounds
# gain by it; what is likelier than the highest is.
THRESHOLDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
HYSTERESES = (1.0, 0.8, 0.6, 0.5, 0.4)
# What F1 may lose, as a share of the best, for a higher threshold: fewer events are false.
LOSS = 0.01


def best_decoding(
    detected: Sequence[Events], scapes: Sequence[Scape], labels: Sequence[str]
) -> tuple[float, float]:
    """Choose what the F1 of segments of 1 s and of onsets within 200 ms are best with, on average.

    One threshold serves all events: those of single events follow the few recordings that they are
    chosen on, and were no better on others.

    Args:
        detected: What a model detected in the soundscapes.
        scapes: The soundscapes.
        labels: The events.

    Returns:
        The threshold and the hysteresis.
    """
    scores = {
        (threshold, hysteresis): _score(detected, scapes, labels, threshold, hysteresis)
        for threshold, hysteresis in product(THRESHOLDS, HYSTERESES)
    }
    enough = (1.0 - LOSS) * max(scores.values())
    threshold = max(threshold for (threshold, _), score in scores.items() if score >= enough)
    hysteresis = max(HYSTERESES, key=lambda share: scores[threshold, share])
    log.info(
        "threshold %.2f, hysteresis %.1f: an F1 of %.3f on average, at best %.3f",
        *(threshold, hysteresis, scores[threshold, hysteresis], max(scores.values())),
    )
    return threshold, hysteresis


def _score(
    detected: Sequence[Events],
    scapes: Sequence[Scape],
    labels: Sequence[str],
    threshold: float,
    hysteresis: float,
) -> float:
    """Return the mean of segment-based and event-based F1."""
    counts = []
    for events, scape in zip(detected, scapes, strict=True):
        decoded = decode_events(
            events.probabilities, labels, events.hop, threshold, hysteresis=hysteresis
        )
        predicted, true = event_rows(decoded, scape, labels)
        duration = len(scape.waveform) / SAMPLE_RATE
        by_segment = segment_counts(
            *(segment_activity(rows, len(labels), duration, SEGMENT) for rows in (true, predicted))
        )
        by_event = event_counts(true, predicted, len(labels), ONSET_COLLAR, offset_share=None)
        counts.append((by_segment[0], by_event[0]))
    return float(f1(np.sum(counts, axis=0)).mean())
