"""Answers to a validation set against the truth: the figures that are reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcasenet.annotations.segments import TimedLabel, segment_activity
from dcasenet.inference.events import decode_events
from dcasenet.spec import ROW, ROWS_PER_STEP, TASKS, Task
from dcasenet.train.engine.validation import Answers
from dcasenet.train.metrics import classification as metrics
from dcasenet.train.metrics import intervals
from dcasenet.train.metrics.events import (
    COLLARS,
    event_counts,
    f1,
    segment_counts,
)
from dcasenet.train.metrics.figures import event_figures, scene_figures, tag_figures
from dcasenet.train.metrics.intervals import Figure, Interval
from dcasenet.train.metrics.thresholds import SEGMENT, UNTUNED, best_thresholds
from recipes.open.validation import ValidationSet


@dataclass(frozen=True)
class Grade:
    """The figures of one task.

    Attributes:
        figures: Name → value, 0 to 1 (error rates 0 and up).
        per_label: Label → recall of a scene, average precision of a tag, segment-based F1 of an
            event; nan for a label that nothing in the validation set carries.
        recordings: Number of source recordings behind the figures.
        intervals: Name → where 95 % of resamples of the units lie; only if requested, and not
            for a figure of a single unit.
        units: How many units were resampled: source recordings, or for events soundscapes, for
            one recording is part of many soundscapes.
    """

    figures: dict[str, float]
    per_label: dict[str, float]
    recordings: int
    intervals: dict[str, Interval] = field(default_factory=dict)
    units: int = 0


def grade(
    answers: Answers,
    validation_set: ValidationSet,
    thresholds: Sequence[float] | float = UNTUNED,
    *,
    with_intervals: bool = False,
) -> dict[Task, Grade]:
    """Compare answers to a validation set with the truth.

    A task that nothing was answered for has no grade.

    Args:
        answers: What was answered.
        validation_set: What was evaluated.
        thresholds: Probability above which an event is active, for all labels or for each.
        with_intervals: Give each figure its 95 % interval; this takes seconds.
    """
    graded: dict[Task, Grade] = {}
    for task in TASKS:
        if not answers.found[task]:
            continue
        if task == "scene":
            graded[task] = _grade_scene(answers, validation_set, with_intervals)
        elif task == "tag":
            graded[task] = _grade_tag(answers, validation_set, with_intervals)
        else:
            graded[task] = _grade_event(answers, validation_set, thresholds, with_intervals)
    return graded


def tune_thresholds(answers: Answers, validation_set: ValidationSet) -> tuple[float, ...]:
    """Choose each event's threshold so that the overall segment-based F1 is highest.

    From the best common threshold, each label's own is chosen in turn, until none changes. (By
    each label's own F1, labels that are hardly recognized get low thresholds, and their many false
    alarms spoil the whole.) Of equally good thresholds, the highest.
    """
    results = _soundscapes(answers, validation_set)
    return best_thresholds(
        np.concatenate([s.reference for s in results]), np.concatenate([s.curves for s in results])
    )


def _grade_scene(answers: Answers, validation_set: ValidationSet, with_intervals: bool) -> Grade:
    scores, truth, of = _clip_scores(answers, validation_set, "scene")
    recall = metrics.confusion(scores, truth).recall
    names = validation_set.data.names("scene")
    return _graded(
        scene_figures(scores, truth, of),
        dict(zip(names, recall.tolist(), strict=True)),
        _count(of),
        _count(of),
        with_intervals,
    )


def _grade_tag(answers: Answers, validation_set: ValidationSet, with_intervals: bool) -> Grade:
    scores, truth, of = _clip_scores(answers, validation_set, "tag")
    true = truth[:, None] == np.arange(scores.shape[1])
    precisions = metrics.average_precisions(scores, true)
    names = validation_set.data.names("tag")
    return _graded(
        tag_figures(scores, true, of),
        dict(zip(names, precisions.tolist(), strict=True)),
        _count(of),
        _count(of),
        with_intervals,
    )


def _grade_event(
    answers: Answers,
    validation_set: ValidationSet,
    thresholds: Sequence[float] | float,
    with_intervals: bool,
) -> Grade:
    results = _soundscapes(answers, validation_set)
    names = validation_set.data.names("event")
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), len(names))
    threshold = dict(zip(names, limits.tolist(), strict=True))
    segments = np.stack([segment_counts(s.reference, s.curves > limits) for s in results])
    figures = event_figures("segment", "1s", segments)
    decoded = [_decoded(s, names, threshold, validation_set.duration) for s in results]
    for name, collar in COLLARS.items():
        counts = [
            event_counts(s.events, found, len(names), collar)
            for s, found in zip(results, decoded, strict=True)
        ]
        figures |= event_figures("event", name, np.stack(counts))
    total = segments.sum(axis=0)[1:]
    own = np.where(total[:, 1] > 0, f1(total), np.nan)
    return _graded(
        figures,
        dict(zip(names, own.tolist(), strict=True)),
        len(set().union(*(s.sources for s in results))),
        len(results),
        with_intervals,
    )


def _graded(
    figures: Mapping[str, Figure],
    per_label: dict[str, float],
    recordings: int,
    units: int,
    with_intervals: bool,
) -> Grade:
    return Grade(
        figures=intervals.values(figures, units),
        per_label=per_label,
        recordings=recordings,
        intervals=intervals.intervals(figures, units) if with_intervals else {},
        units=units,
    )


def _count(of: NDArray[np.int64]) -> int:
    return int(of.max()) + 1


def _clip_scores(
    answers: Answers, validation_set: ValidationSet, task: Task
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the scores (examples, labels), the true index of each, the number of its source."""
    found, clips = answers.found[task], validation_set.clips
    index_of = validation_set.data.index_of(task)
    known = sorted(found)
    join = np.mean if task == "scene" else np.max
    scores = np.stack([join(np.stack(found[i]), axis=0) for i in known]).astype(np.float64)
    truth = np.array([index_of[clips[i].label] for i in known])
    return scores, truth, intervals.number([clips[i].source for i in known])


class _SoundscapeResult(NamedTuple):
    """A soundscape's truth, and what was answered.

    Attributes:
        events: The true events.
        reference: Their activity per segment, (segments, labels).
        rows: Probabilities every 0.1 s, (rows, labels).
        curves: Highest probability in each segment, (segments, labels).
        sources: Recordings that it was mixed from.
    """

    events: list[TimedLabel]
    reference: NDArray[np.bool_]
    rows: NDArray[np.float32]
    curves: NDArray[np.float32]
    sources: frozenset[str]


def _soundscapes(answers: Answers, validation_set: ValidationSet) -> list[_SoundscapeResult]:
    duration, found = validation_set.duration, answers.found["event"]
    n_labels = len(validation_set.data.labels["event"])
    per_segment = round(SEGMENT / ROW)
    results = []
    for index in sorted(found):
        mixed = validation_set.soundscape(index)
        events = [(event.label, event.onset, event.offset) for event in mixed.events]
        reference = segment_activity(events, n_labels, duration, SEGMENT)
        steps = found[index][0]
        # Each step of 0.8 s is eight rows of 0.1 s; the last one fills what is left over.
        row = np.arange(len(reference) * per_segment)
        rows = steps[np.minimum(row // ROWS_PER_STEP, len(steps) - 1)]
        curves = rows.reshape(-1, per_segment, n_labels).max(axis=1)
        sources = frozenset(clip.source for clip in mixed.clips)
        results.append(_SoundscapeResult(events, reference, rows, curves, sources))
    return results


def _decoded(
    results: _SoundscapeResult,
    names: Sequence[str],
    threshold: Mapping[str, float],
    duration: float,
) -> list[TimedLabel]:
    rows = results.rows[: int(np.ceil(duration / ROW - 1e-6))]
    events = decode_events(rows, names, ROW, threshold, duration=duration)
    return [(names.index(event.label), event.onset, event.offset) for event in events]
