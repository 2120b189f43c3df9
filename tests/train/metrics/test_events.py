"""Figures of event detection, with sed_eval (tools/sed_eval_reference.py) as the reference."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dcasenet.annotations.segments import TimedLabel, segment_activity
from dcasenet.train.metrics import events as event_metrics
from dcasenet.train.metrics.events import (
    EventScore,
    event_counts,
    score_of,
    segment_counts,
    segment_score,
)

REFERENCE = json.loads((Path(__file__).parent / "sed_eval.json").read_text("utf-8"))
LABELS = "abcd"


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(1).random((50, 80)) < 0.05


def agrees(counts: np.ndarray, expected: dict[str, Any]) -> None:
    """Every figure that is finite in sed_eval is ours."""
    score = score_of(counts[0])
    ours = {
        "f_measure": score.f1,
        "precision": score.precision,
        "recall": score.recall,
        "error_rate": score.error_rate,
        "substitution_rate": score.substitutions / max(score.reference, 1),
        "deletion_rate": score.deletions / max(score.reference, 1),
        "insertion_rate": score.insertions / max(score.reference, 1),
    }
    for name, label in zip(LABELS, counts[1:], strict=True):
        ours[f"f1_{name}"] = score_of(label).f1
        ours[f"er_{name}"] = score_of(label).error_rate
    finite = {name for name, value in expected.items() if value is not None} - {"free_of_ties"}
    assert finite >= {"f_measure", "error_rate"}
    for name in finite:
        assert ours[name] == pytest.approx(expected[name], abs=1e-9), name


@pytest.mark.parametrize("case", REFERENCE["cases"])
def test_segment_figures_are_sed_evals(case: dict[str, Any]) -> None:
    for length, expected in zip(REFERENCE["segments"], case["segment"], strict=True):
        reference, prediction = (
            segment_activity(case[kind], 4, REFERENCE["duration"], length)
            for kind in ("reference", "prediction")
        )
        agrees(segment_counts(reference, prediction), expected)


@pytest.mark.parametrize("case", REFERENCE["cases"])
def test_event_figures_are_sed_evals(case: dict[str, Any]) -> None:
    for (onset, share), expected in zip(REFERENCE["collars"], case["event"], strict=True):
        counts = event_counts(case["reference"], case["prediction"], 4, onset, share)
        if expected["free_of_ties"]:
            agrees(counts, expected)
        assert score_of(counts[0]).f1 == pytest.approx(expected["f_measure"])


def test_most_of_the_reference_cases_are_free_of_ties() -> None:
    free = [expected["free_of_ties"] for case in REFERENCE["cases"] for expected in case["event"]]
    assert np.mean(free) > 0.9


def test_macro_averages_over_the_labels_of_the_reference() -> None:
    counts = np.zeros((4, 4), int)
    counts[1:, :3] = [[1, 1, 1], [0, 2, 0], [0, 0, 5]]  # found, missed, only false
    assert event_metrics.macro(event_metrics.f1(counts), counts) == pytest.approx(0.5)
    assert event_metrics.macro(event_metrics.error_rate(counts), counts) == pytest.approx(0.5)
    assert np.isnan(event_metrics.macro(event_metrics.f1(counts * 0), counts * 0))


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        (0, 0, {"f1": 1, "error_rate": 0, "precision": 1, "recall": 1}),
        (0, 2, {"f1": 0, "error_rate": 2, "precision": 0, "recall": 0, "insertions": 2}),
        (2, 0, {"f1": 0, "error_rate": 1, "precision": 0, "recall": 0, "deletions": 2}),
    ],
)
def test_empty_cases(reference: int, prediction: int, expected: dict[str, float]) -> None:
    def events(number: int) -> list[TimedLabel]:
        return [(0, 2.0 * k, 2.0 * k + 1.0) for k in range(number)]

    by_event = event_counts(events(reference), events(prediction), 1)
    by_segment = segment_counts(
        segment_activity(events(reference), 1, 10.0), segment_activity(events(prediction), 1, 10.0)
    )
    for counts in (by_event[0], by_event[1], by_segment[0], by_segment[1]):
        score = score_of(counts)
        assert {name: getattr(score, name) for name in expected} == expected


def best(reference: list[TimedLabel], predicted: list[TimedLabel]) -> tuple[int, int]:
    """Most hits, then most substitutions, by trying every way to pair the events."""

    def near(true: TimedLabel, found: TimedLabel) -> bool:
        return abs(true[1] - found[1]) <= 0.2 and abs(true[2] - found[2]) <= max(
            0.2, 0.5 * (true[2] - true[1])
        )

    padded = [*predicted, *[None] * len(reference)]
    found = (0, 0)
    for order in itertools.permutations(padded, len(reference)):
        pairs = [t[0] == g[0] for t, g in zip(reference, order, strict=True) if g and near(t, g)]
        found = max(found, (sum(pairs), len(pairs) - sum(pairs)))
    return found


def test_matching_is_optimal() -> None:
    """Overlapping events of one label and of several, where first come first served fails."""
    draw = np.random.default_rng(0)
    several = 0
    for _ in range(150):
        splits = []
        for _ in range(2):
            onsets = draw.uniform(0.0, 0.6, draw.integers(1, 5))
            labels = draw.integers(2, size=len(onsets))
            splits.append([(int(k), a, a + 0.5) for k, a in zip(labels, onsets, strict=True)])
        score = score_of(event_counts(splits[0], splits[1], 2)[0])
        assert (score.hits, score.substitutions) == best(*splits)
        several += score.hits > 1
    assert several > 30


def test_first_come_would_lose_a_hit() -> None:
    reference = [(0, 1.0, 2.0), (0, 1.3, 2.3)]
    prediction = [(0, 1.15, 2.15), (0, 0.9, 1.9)]
    assert score_of(event_counts(reference, prediction, 1)[1]).hits == 2


def test_collars_are_inclusive_free_of_binary_rounding() -> None:
    # 0.8 - 0.6 is above 0.2 in binary.
    assert event_counts([(0, 0.6, 0.8)], [(0, 0.8, 1.0)], 1)[0, 0] == 1
    assert event_counts([(0, 0.6, 0.8)], [(0, 0.81, 1.0)], 1)[0, 0] == 0


@pytest.mark.parametrize(("share", "hits"), [(0.2, 0), (0.5, 1), (None, 1)])
def test_the_offset_collar_grows_with_the_true_length(share: float | None, hits: int) -> None:
    assert event_counts([(0, 1.0, 5.0)], [(0, 1.0, 6.9)], 1, 0.2, share)[0, 0] == hits


def test_offsets_do_not_matter_to_onset_figures() -> None:
    assert event_counts([(0, 1.0, 2.0)], [(0, 1.0, 60.0)], 1, 0.2, None)[0, 0] == 1


def test_segment_f1_is_scikit_learns_micro_f1(truth: np.ndarray) -> None:
    predicted = np.random.default_rng(3).random(truth.shape) < 0.05
    assert segment_score(truth, predicted).f1 == pytest.approx(
        f1_score(truth, predicted, average="micro")
    )


def test_segment_score_by_hand() -> None:
    """Twenty frames of 0.1 s: true 1 s scores are 2/3 and 0.4 (sed_eval)."""
    true = [(0, 0.0, 0.5), (1, 0.9, 1.0), (3, 1.2, 1.8)]
    predicted = [(0, 0.0, 0.5), (2, 1.2, 1.5)]
    score = segment_score(segment_activity(true, 4, 2.0), segment_activity(predicted, 4, 2.0))
    assert score == EventScore(hits=1, reference=3, predicted=2, substitutions=1)
    assert score.error_rate == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("onset", "offset", "expected"),
    [(0.1, 0.1 * 3, [1, 2]), (0.7, 0.9, [7, 8])],  # 0.1 * 3 > 0.3 and 0.7 / 0.1 < 7 in binary
)
def test_times_of_binary_tenths_do_not_inflate_events(
    onset: float, offset: float, expected: list[int]
) -> None:
    active = segment_activity([(0, onset, offset)], 1, 1.0, length=0.1)
    assert np.flatnonzero(active[:, 0]).tolist() == expected


def test_what_lies_outside_the_recording_is_left_out() -> None:
    active = segment_activity([(0, -1.0, 1.0), (0, 2.5, 9.0), (0, 7.0, 8.0)], 1, 3.0)
    assert active[:, 0].tolist() == [True, False, True]


@pytest.mark.parametrize("length", [0.0, -1.0, float("nan")])
def test_no_segment_is_refused(length: float) -> None:
    with pytest.raises(ValueError, match="seconds above 0"):
        segment_activity([], 1, 1.0, length)
