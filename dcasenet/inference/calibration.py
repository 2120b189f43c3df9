"""How far a model's event probabilities can be believed, measured on labeled recordings.

From the same recordings come, for each event, precision and recall by threshold, which thresholds
by operating point are read from (`dcasenet.inference.operating_points`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dcasenet.annotations.events import read_events
from dcasenet.annotations.segments import SAME_TIME, segment_activity
from dcasenet.atomic import replacing
from dcasenet.errors import DcasenetError
from dcasenet.inference.operating_points import choose
from dcasenet.results import Events, Floats, html
from dcasenet.results.exporters import csv_text
from dcasenet.spec import CURVE_THRESHOLDS, ModelSpec, OperatingCurve
from dcasenet.text import json_text

if TYPE_CHECKING:
    from dcasenet.types import Audio

# Seconds over which truth and answer are compared, as in segment-based metrics.
SEGMENT = 1.0
# Intervals of probability of the reliability diagram.
N_BINS = 10
# Digits of a curve that is stored in a checkpoint.
DIGITS = 4


class TimedEvent(Protocol):
    """An event of the truth, such as `dcasenet.Event` or one of a training set's."""

    @property
    def label(self) -> str:
        """What sounds."""

    @property
    def onset(self) -> float:
        """Its begin in seconds."""

    @property
    def offset(self) -> float:
        """Its end in seconds."""


# A table of events, or recordings with the events of each.
Labeled: TypeAlias = "str | PathLike[str] | Iterable[tuple[Audio, Sequence[TimedEvent]]]"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probabilities beside the truth: a reliability diagram and a curve for each event.

    Attributes:
        labels: Events that the recordings have; only these have curves.
        curves: Label → precision and recall by threshold.
        n_recordings: How many recordings were compared.
        n_segments: How many segments they have.
        n_positive: Label → segments in which it sounds.
        predicted: Mean probability of each of `N_BINS` intervals of probability, (bins,); nan
            where there is none.
        observed: Share of them in which the label sounds, (bins,).
        counts: How many probabilities lie in each interval, (bins,).

    Example:
        >>> truth = np.array([[True], [False], [True], [False]])
        >>> values = np.array([[0.9], [0.2], [0.7], [0.4]], np.float32)
        >>> measured = calibration(["dog"], truth, values, n_recordings=1)
        >>> measured.thresholds("f1"), round(measured.expected_calibration_error, 3)
        ({'dog': 0.55}, 0.25)
    """

    labels: tuple[str, ...]
    curves: Mapping[str, OperatingCurve]
    n_recordings: int
    n_segments: int
    n_positive: Mapping[str, int]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance of observed share and mean probability, weighted by count, 0 to 1."""
        used = self.counts > 0
        distances = np.abs(self.predicted[used] - self.observed[used])
        return float(np.average(distances, weights=self.counts[used])) if used.any() else 0.0

    def thresholds(self, point: str = "f1") -> dict[str, float]:
        """Return the threshold of each label at an operating point.

        Args:
            point: ``"f1"``, ``"precision@P"`` or ``"recall@R"``.

        Raises:
            ValueError: It is no operating point.
        """
        return {label: choose(curve, point) for label, curve in self.curves.items()}

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """A row for each label: threshold of the best F1, and the figures there."""
        rows = []
        for label, threshold in self.thresholds("f1").items():
            at = CURVE_THRESHOLDS.index(threshold)
            precision, recall = self.curves[label].precision[at], self.curves[label].recall[at]
            f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            rows.append(
                {
                    "label": label,
                    "segments": self.n_positive[label],
                    "threshold": threshold,
                    "precision": round(precision, 3),
                    "recall": round(recall, 3),
                    "f1": round(f1, 3),
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        bins = [
            {"predicted": float(p), "observed": float(o), "count": int(n)}
            for p, o, n in zip(self.predicted, self.observed, self.counts, strict=True)
            if n
        ]
        return {
            "recordings": self.n_recordings,
            "segments": self.n_segments,
            "expected_calibration_error": self.expected_calibration_error,
            "reliability": bins,
            "labels": self.table,
            "curves": {label: dataclasses.asdict(curve) for label, curve in self.curves.items()},
        }

    def to_json(self, indent: int | None = None, *, path: str | PathLike[str] | None = None) -> str:
        """Return `to_dict` as JSON text, and write it to `path` where there is one."""
        return _saved(json_text(self.to_dict(), indent), path)

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """Return `table` as CSV, and write it to `path` where there is one."""
        rows = self.table
        columns = ("label", "segments", "threshold", "precision", "recall", "f1")
        return _saved(csv_text([columns, *([row[c] for c in columns] for row in rows)]), path)

    def __repr__(self) -> str:
        return (
            f"Calibration({len(self.labels)} labels, {self.n_segments:,} segments of "
            f"{self.n_recordings:,} recordings, expected calibration error "
            f"{self.expected_calibration_error:.3f})"
        )

    def _repr_html_(self) -> str:
        return html.calibration(self.to_dict())


def annotated(labeled: Labeled) -> Iterator[tuple[Audio, Sequence[TimedEvent]]]:
    """Yield recordings with their true events.

    Args:
        labeled: A CSV of filename, onset, offset and event_label; or pairs (audio, events), where
            audio is what the verbs take and events have label, onset and offset.

    Raises:
        DcasenetError: The table cannot be read, or a row is faulty: named, with its line.
        ValueError: A pair is none.
    """
    if isinstance(labeled, str | PathLike):
        events, _ = read_events(Path(labeled))
        yield from events.items()
        return
    for pair in labeled:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"{type(pair).__name__} is no labeled recording. Accepted are a CSV of filename, "
                "onset, offset and event_label, or pairs (audio, events)."
            )
        yield pair


def calibrate(
    detect: Callable[[Audio], Events], labels: Sequence[str], labeled: Labeled
) -> Calibration:
    """Compare what is detected in labeled recordings with their labels.

    Args:
        detect: Returns the events of a recording, with their framewise probabilities.
        labels: The model's events.
        labeled: As in `annotated`.

    Raises:
        DcasenetError: There is no recording, or none of the model's events sounds in any.
        AudioError: A recording cannot be used.
    """
    parts = [segments(detect(audio), truth) for audio, truth in annotated(labeled)]
    if not parts:
        raise DcasenetError("There is no labeled recording to calibrate with.")
    truth, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return calibration(labels, truth, values, len(parts))


def calibrated(spec: ModelSpec, measured: Calibration) -> ModelSpec:
    """Return a checkpoint's description with the curves of a calibration."""
    return dataclasses.replace(spec, curves={**spec.curves, **measured.curves})


def calibration(
    labels: Sequence[str], truth: NDArray[np.bool_], values: Floats, n_recordings: int
) -> Calibration:
    """Compare probabilities with the truth, segment by segment.

    Args:
        labels: The model's events.
        truth: Whether each sounds in a segment, (segments, labels).
        values: Its highest probability there, (segments, labels).
        n_recordings: How many recordings the segments are from.

    Raises:
        DcasenetError: None of the labels sounds anywhere.
    """
    known: NDArray[np.bool_] = np.any(truth, axis=0)
    if not known.any():
        raise DcasenetError(
            f"None of the model's events sounds in the {n_recordings:,} labeled recordings. Its "
            f"events are {', '.join(labels)}."
        )
    named = tuple(label for label, is_known in zip(labels, known, strict=True) if is_known)
    truth, values = truth[:, known], values[:, known]
    bins = np.minimum((values * N_BINS).astype(np.int64), N_BINS - 1).reshape(-1)
    counts = np.bincount(bins, minlength=N_BINS)
    at_least_one = np.maximum(counts, 1)
    predicted = np.bincount(bins, values.reshape(-1).astype(np.float64), N_BINS) / at_least_one
    observed = np.bincount(bins, truth.reshape(-1).astype(np.float64), N_BINS) / at_least_one
    return Calibration(
        labels=named,
        curves={
            label: _curve(truth[:, column], values[:, column]) for column, label in enumerate(named)
        },
        n_recordings=n_recordings,
        n_segments=len(truth),
        n_positive=dict(zip(named, truth.sum(axis=0).tolist(), strict=True)),
        predicted=np.where(counts > 0, predicted, np.nan),
        observed=np.where(counts > 0, observed, np.nan),
        counts=counts,
    )


def segments(
    events: Events, truth: Sequence[TimedEvent]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return truth and highest probability of each segment of 1 s, both (segments, labels).

    Args:
        events: What the model detected in a recording.
        truth: What sounds in it; labels that the model lacks are passed over.
    """
    rows = events.probabilities
    # Rows of 0.16 s do not fill a segment evenly: each counts in the one in which it begins.
    n_segments = int(np.ceil(len(rows) * events.hop / SEGMENT - SAME_TIME))
    segment_of_row = (np.arange(len(rows)) * events.hop / SEGMENT + SAME_TIME).astype(np.int64)
    highest = np.zeros((n_segments, rows.shape[1]), np.float32)
    np.maximum.at(highest, segment_of_row, rows)
    timed = [
        (events.labels.index(event.label), event.onset, event.offset)
        for event in truth
        if event.label in events.labels
    ]
    return (
        segment_activity(timed, len(events.labels), n_segments * SEGMENT, SEGMENT),
        highest,
    )


def _curve(truth: NDArray[np.bool_], values: NDArray[np.float32]) -> OperatingCurve:
    """Precision and recall of one label at each threshold; active is strictly above it."""
    limits = np.array(CURVE_THRESHOLDS)
    positive, every = np.sort(values[truth]), np.sort(values)
    hits = len(positive) - np.searchsorted(positive, limits, side="right")
    reported = len(every) - np.searchsorted(every, limits, side="right")
    precision = np.where(reported > 0, hits / np.maximum(reported, 1), 1.0)
    recall = hits / len(positive)
    return OperatingCurve(_rounded(precision), _rounded(recall))


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values.tolist())


def _saved(text: str, path: str | PathLike[str] | None) -> str:
    if path is not None:
        with replacing(Path(path)) as draft:
            draft.write_text(text, encoding="utf-8")
    return text
