"""Answers of an examination against the truth: the figures that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.spec import TASKS, Task
from dcasenet.train import metrics
from dcasenet.train.evaluate import Answers, Examination
from dcasenet.windows import ROW, steps_to_rows

SEGMENT = 1.0  # seconds
UNTUNED = 0.3  # threshold before tuning: the authors'
# Thresholds that tuning chooses from, 0.05 to 0.9.
GRID = tuple(round(0.05 * k, 2) for k in range(1, 19))
ROUNDS = 5  # over all labels, at most; two or three are enough


@dataclass(frozen=True)
class Grade:
    """The figures of one task.

    Attributes:
        figures: Name → value, 0 to 1 (error rates 0 and up).
        per_label: Label → recall of a scene, average precision of a tag, segment-based F1 of an
            event; nan for a label that nothing in the examination carries.
        recordings: Number of source recordings behind the figures.
    """

    figures: dict[str, float]
    per_label: dict[str, float]
    recordings: int


def grade(
    answers: Answers, examination: Examination, thresholds: Sequence[float] | float = UNTUNED
) -> dict[Task, Grade]:
    """Compare answers to every question of an examination with the truth.

    Args:
        answers: What was answered.
        examination: What was asked.
        thresholds: Probability above which an event is active, for all labels or for each.
    """
    graded = {
        "scene": _grade_scene(answers, examination),
        "tag": _grade_tag(answers, examination),
        "event": _grade_event(answers, examination, thresholds),
    }
    return {task: graded[task] for task in TASKS}


def tune_thresholds(answers: Answers, examination: Examination) -> tuple[float, ...]:
    """Choose each event's threshold so that the overall segment-based F1 is highest.

    From the best common threshold, each label's own is chosen in turn, until none changes. (By
    each label's own F1, labels that are hardly recognised get low thresholds, and their many false
    alarms spoil the whole.) Of equally good thresholds, the highest.
    """
    reference, curves, _ = _event_material(answers, examination)

    def f1(thresholds: NDArray[np.float64]) -> float:
        return metrics.segment_score(reference, curves > thresholds).f1

    n_labels = reference.shape[1]
    chosen = max((np.full(n_labels, level) for level in GRID), key=lambda t: (f1(t), t[0]))
    for _ in range(ROUNDS):
        before = chosen
        for label in range(n_labels):
            others = np.arange(n_labels) != label
            trials = [np.where(others, chosen, level) for level in GRID]
            chosen = trials[max(range(len(GRID)), key=lambda k: (f1(trials[k]), k))]
        if np.array_equal(before, chosen):
            break
    return tuple(chosen.tolist())


def _grade_scene(answers: Answers, examination: Examination) -> Grade:
    scores, truth, recordings = _clip_material(answers, examination, "scene")
    names = examination.data.names("scene")
    recall = {
        name: metrics.accuracy(scores[truth == k], truth[truth == k])
        for k, name in enumerate(names)
    }
    figures = {
        "accuracy": metrics.accuracy(scores, truth),
        "macro_recall": float(np.nanmean([*recall.values()])),
    }
    return Grade(figures, recall, recordings)


def _grade_tag(answers: Answers, examination: Examination) -> Grade:
    scores, truth, recordings = _clip_material(answers, examination, "tag")
    true = truth[:, None] == np.arange(scores.shape[1])
    precisions = metrics.average_precisions(scores, true)
    figures = {
        "lwlrap": metrics.lwlrap(scores, true),
        "map": metrics.mean_average_precision(scores, true),
        "top1_accuracy": metrics.accuracy(scores, truth),
    }
    names = examination.data.names("tag")
    return Grade(figures, dict(zip(names, precisions.tolist(), strict=True)), recordings)


def _grade_event(
    answers: Answers, examination: Examination, thresholds: Sequence[float] | float
) -> Grade:
    reference, curves, recordings = _event_material(answers, examination)
    active = curves > np.asarray(thresholds)
    score = metrics.segment_score(reference, active)
    per_label = {
        name: metrics.segment_score(reference[:, [k]], active[:, [k]]).f1
        if reference[:, k].any()
        else float("nan")
        for k, name in enumerate(examination.data.names("event"))
    }
    figures = {"segment_f1_1s": score.f1, "segment_error_rate_1s": score.error_rate}
    return Grade(figures, per_label, recordings)


def _clip_material(
    answers: Answers, examination: Examination, task: Task
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Give the scores (recordings, labels), the true index of each, the number of sources."""
    found, clips = answers.found[task], examination.clips
    index_of = examination.data.index_of(task)
    asked = sorted(found)
    join = np.mean if task == "scene" else np.max
    scores = np.stack([join(np.stack(found[i]), axis=0) for i in asked]).astype(np.float64)
    truth = np.array([index_of[clips[i].label] for i in asked])
    return scores, truth, len({clips[i].source for i in asked})


def _event_material(
    answers: Answers, examination: Examination
) -> tuple[NDArray[np.bool_], NDArray[np.float32], int]:
    """Give truth and highest probability per segment, (segments, labels), and number of sources."""
    duration, found = examination.duration, answers.found["event"]
    n_labels = len(examination.data.labels["event"])
    per_segment = round(SEGMENT / ROW)
    truths: list[NDArray[np.bool_]] = []
    curves: list[NDArray[np.float32]] = []
    sources: set[str] = set()
    for number in sorted(found):
        mixed = examination.soundscape(number)
        events = [(event.label, event.onset, event.offset) for event in mixed.events]
        truths.append(metrics.segment_activity(events, n_labels, duration, SEGMENT))
        rows = steps_to_rows(found[number][0], len(truths[-1]) * per_segment)
        curves.append(rows.reshape(-1, per_segment, n_labels).max(axis=1))
        sources.update(clip.source for clip in mixed.clips)
    return np.concatenate(truths), np.concatenate(curves), len(sources)
