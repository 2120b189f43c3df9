"""A plain baseline: mean and deviation of the log-mel, and logistic regression.

What any network must beat. It learns the recordings, environments, tags and events that the
students learn, of whole recordings and of soundscapes; `recipes.evaluate` is the command.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcasenet.annotations.segments import segment_activity
from dcasenet.inference.events import decode_events
from dcasenet.models.frontend import LogMel
from dcasenet.results import Event
from dcasenet.spec import FrontEndSettings
from dcasenet.train.metrics.classification import mean_average_precision
from dcasenet.train.metrics.thresholds import best_thresholds
from recipes.bank import SAMPLE_RATE, Decoded, in_split, waveform_of
from recipes.labels import LabelSets, labeled_classes
from recipes.soundscapes import Scape, make_soundscapes

log = logging.getLogger(__name__)

Features = NDArray[np.float32]

# Inverse strengths of the L2 penalty that validation chooses from.
PENALTIES = (1e-2, 1e-1, 1.0)
ITERATIONS = 2000  # of lbfgs, at most; a few hundred are enough on standardized features
HOP, AROUND = 0.2, 1.0  # seconds from one row of events to the next, and that each row is about
N_TRAIN, N_WATCHED = 60, 20  # soundscapes of a minute


@dataclass
class Baseline:
    """Standardized logistic regressions.

    Attributes:
        scene: Of the environments.
        tag: Of each AudioSet class; None where no recording is labeled with it.
        event: Of each event.
        events: Names of the events.
        thresholds: Event → its threshold.
    """

    scene: Any
    tag: list[Any]
    event: list[Any]
    events: tuple[str, ...]
    thresholds: dict[str, float]

    def answer(self, clips: Sequence[Decoded]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return probabilities of the tags, (clips, 527), and of the environments."""
        rows = np.stack([statistics(waveform_of(clip)) for clip in clips])
        return _probabilities(self.tag, rows), self.scene.predict_proba(rows)

    def detect(self, waveform: NDArray[np.float32]) -> list[Event]:
        """Return the events of a waveform at 24 kHz."""
        found = _probabilities(self.event, statistics_over_time(waveform))
        duration = len(waveform) / SAMPLE_RATE
        return decode_events(found, self.events, HOP, self.thresholds, duration=duration)


def statistics(waveform: NDArray[np.float32]) -> Features:
    """Return mean and deviation of each bin over a whole recording, (256,).

    Example:
        >>> statistics(np.zeros(24_000, np.float32)).shape
        (256,)
    """
    log_mel = _log_mel(waveform)
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)])


def statistics_over_time(waveform: NDArray[np.float32]) -> Features:
    """Return mean and deviation of each bin over the second around each row, (rows, 256)."""
    log_mel = _log_mel(waveform)
    per_second = SAMPLE_RATE / FrontEndSettings().hop_length
    n_rows = math.ceil(len(waveform) / SAMPLE_RATE / HOP - 1e-6)
    middles = (np.arange(n_rows) + 0.5) * HOP * per_second
    half = AROUND / 2 * per_second
    sums = [np.cumsum(np.pad(x, ((0, 0), (1, 0))), axis=1) for x in (log_mel, log_mel**2)]
    first = np.clip(np.round(middles - half).astype(int), 0, log_mel.shape[1])
    last = np.clip(np.round(middles + half).astype(int), 0, log_mel.shape[1])
    mean, square = ((s[:, last] - s[:, first]) / (last - first) for s in sums)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.concatenate([mean, deviation]).T.astype(np.float32)


@torch.inference_mode()
def _log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    log_mel = _frontend().log_mel(torch.from_numpy(waveform)[None])
    return log_mel[0].double().numpy()


@cache
def _frontend() -> LogMel:
    return LogMel(FrontEndSettings())


class _Examples(NamedTuple):
    """Recordings of one split: features, which AudioSet classes they are, and their place or -1."""

    features: Features
    tag: NDArray[np.bool_]
    place: NDArray[np.int64]


def _examples(clips: Sequence[Decoded], labels: LabelSets) -> _Examples:
    recordings = [clip.recording for clip in clips]
    places = [labels.environment_of(recording) for recording in recordings]
    return _Examples(
        np.stack([statistics(waveform_of(clip)) for clip in clips]),
        labeled_classes(recordings, labels),
        np.array([-1 if place is None else place for place in places]),
    )


def choose(decoded: Sequence[Decoded], labels: LabelSets) -> Baseline:
    """Fit each task to the training split, with the penalty that validation likes best.

    Args:
        decoded: All recordings.
        labels: Their labels.
    """
    train = _examples(in_split(decoded, "train"), labels)
    watched = _examples(in_split(decoded, "validation"), labels)
    tag = _best(
        "tags",
        lambda penalty: _fit_each(train.features, train.tag, penalty),
        lambda models: mean_average_precision(
            _probabilities(models, watched.features), watched.tag
        ),
    )
    known, watched_known = train.place >= 0, watched.place >= 0
    scene = _best(
        "environments",
        lambda penalty: _regression(penalty).fit(train.features[known], train.place[known]),
        lambda model: model.score(watched.features[watched_known], watched.place[watched_known]),
    )
    scapes = [
        make_soundscapes(decoded, labels, "train", N_TRAIN),
        make_soundscapes(decoded, labels, "validation", N_WATCHED),
    ]
    features = [np.concatenate([statistics_over_time(s.waveform) for s in of]) for of in scapes]
    active = [np.concatenate([_activity(s, len(labels.events)) for s in of]) for of in scapes]
    event = _best(
        "events",
        lambda penalty: _fit_each(features[0], active[0], penalty),
        lambda models: mean_average_precision(_probabilities(models, features[1]), active[1]),
    )
    thresholds = best_thresholds(active[1], _probabilities(event, features[1]).astype(np.float32))
    of_event = dict(zip(labels.events, thresholds, strict=True))
    return Baseline(scene, tag, event, labels.events, of_event)


def _best(what: str, fit: Any, score: Any) -> Any:
    """Return the fitted model of the best score."""
    fitted = []
    for penalty in PENALTIES:
        model = fit(penalty)
        fitted.append((score(model), model))
        log.info("%s, C = %g: %.3f on validation", what, penalty, fitted[-1][0])
    return max(fitted, key=lambda of: of[0])[1]


def _activity(scape: Scape, n_events: int) -> NDArray[np.bool_]:
    rows = [(event.label, event.onset, event.offset) for event in scape.events]
    return segment_activity(rows, n_events, len(scape.waveform) / SAMPLE_RATE, HOP)


def _fit_each(rows: Features, truth: NDArray[np.bool_], penalty: float) -> list[Any]:
    """Fit one regression for each label that occurs."""
    return [
        _regression(penalty).fit(rows, own) if 0 < own.sum() < len(own) else None for own in truth.T
    ]


def _probabilities(models: Sequence[Any], rows: Features) -> NDArray[np.float64]:
    """Return (rows, labels); a label that was never fitted has 0."""
    found = np.zeros((len(rows), len(models)))
    for label, model in enumerate(models):
        if model is not None:
            found[:, label] = model.predict_proba(rows)[:, 1]
    return found


def _regression(penalty: float) -> Any:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=penalty, max_iter=ITERATIONS, tol=1e-3)
    )
