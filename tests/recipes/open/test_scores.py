import json
from dataclasses import asdict

import numpy as np
import pytest

from dcasenet.annotations.segments import segment_activity
from dcasenet.spec import STEP
from dcasenet.train.engine.validation import Answers
from recipes.open.data import OpenData
from recipes.open.scores import grade, tune_thresholds
from recipes.open.validation import ValidationSet

DURATION = 20.0


@pytest.fixture(scope="module")
def validation_set(small: OpenData) -> ValidationSet:
    return ValidationSet(small, "test", n_soundscapes=4, duration=DURATION)


@pytest.fixture
def perfect(validation_set: ValidationSet) -> Answers:
    """The truth as answers: an event is active in every step that it touches."""
    answers, data = Answers(), validation_set.data
    for task in ("scene", "tag"):
        index_of, n_labels = data.index_of(task), len(data.labels[task])
        for index, clip in enumerate(validation_set.clips):
            if clip.label in index_of:
                row = np.eye(n_labels, dtype=np.float32)[index_of[clip.label]]
                answers.found[task][index] = [row, row]
    for number in range(validation_set.n_soundscapes):
        events = [(e.label, e.onset, e.offset) for e in validation_set.soundscape(number).events]
        active = segment_activity(events, len(data.labels["event"]), DURATION, STEP)
        answers.found["event"][number] = [active.astype(np.float32)]
    return answers


def test_the_truth_is_graded_best(perfect: Answers, validation_set: ValidationSet) -> None:
    graded = grade(perfect, validation_set)
    for task, name in (("scene", "accuracy"), ("scene", "macro_recall"), ("tag", "lwlrap")):
        assert graded[task].figures[name] == 1
    assert set(graded["scene"].per_label.values()) == {1.0}
    events = graded["event"]
    assert events.figures["segment_f1_1s"] > 0.7  # steps of 0.8 s reach into the next second
    assert events.units == 4
    assert events.recordings >= 4


def test_event_figures_follow_from_decoded_events(
    perfect: Answers, validation_set: ValidationSet
) -> None:
    """Onsets at steps of 0.8 s are within 0.8 s of the truth, and seldom within 0.2 s."""
    figures = grade(perfect, validation_set)["event"].figures
    assert figures["event_f1_800ms"] > 0.8
    assert figures["event_f1_200ms"] < figures["event_f1_800ms"]
    assert figures["event_error_rate_200ms"] > figures["event_error_rate_800ms"]


def test_thresholds_decide_which_events_are_found(
    perfect: Answers, validation_set: ValidationSet
) -> None:
    for steps in perfect.found["event"].values():
        steps[0] *= 0.62
    nothing = grade(perfect, validation_set, 0.7)["event"].figures
    assert (nothing["segment_f1_1s"], nothing["event_error_rate_200ms"]) == (0, 1)
    tuned = tune_thresholds(perfect, validation_set)
    assert max(tuned) == 0.6
    assert grade(perfect, validation_set, tuned)["event"].figures["event_f1_800ms"] > 0.8


def test_intervals_come_when_requested(perfect: Answers, validation_set: ValidationSet) -> None:
    for index in [*perfect.found["scene"]][::2]:
        perfect.found["scene"][index] = [np.zeros_like(perfect.found["scene"][index][0])]
    assert all(not given.intervals for given in grade(perfect, validation_set).values())
    for task, given in grade(perfect, validation_set, with_intervals=True).items():
        assert set(given.intervals) == set(given.figures), task
        for name, (low, high) in given.intervals.items():
            assert low <= given.figures[name] <= high
        assert "NaN" not in json.dumps(asdict(given)["intervals"])
    scene = grade(perfect, validation_set, with_intervals=True)["scene"]
    assert scene.intervals["accuracy"].low < scene.intervals["accuracy"].high


def test_a_task_without_answers_has_no_grade(
    perfect: Answers, validation_set: ValidationSet
) -> None:
    perfect.found["tag"].clear()
    assert set(grade(perfect, validation_set)) == {"scene", "event"}
