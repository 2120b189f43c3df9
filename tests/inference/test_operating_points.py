"""Thresholds by what they achieve, held to counting by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dcasenet import ModelSpec, SoundModel
from dcasenet.inference.operating_points import NEVER, choose, limits_for, parse
from dcasenet.spec import CURVE_THRESHOLDS, OperatingCurve

LIMITS = np.array(CURVE_THRESHOLDS)


def curve(precision: np.ndarray, recall: np.ndarray) -> OperatingCurve:
    return OperatingCurve(tuple(precision.tolist()), tuple(recall.tolist()))


@pytest.fixture
def spec() -> ModelSpec:
    rising = curve(LIMITS, 1 - LIMITS)
    return ModelSpec(
        "v3",
        "mine",
        events=("dog", "cat"),
        thresholds={"dog": 0.3, "cat": 0.4},
        curves={"dog": rising},
    )


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("precision@0.9", 0.9),  # the lowest that reaches it, for its recall is the highest
        ("precision@0.905", 0.91),
        ("recall@0.9", 0.1),
        ("recall@0.895", 0.1),
        ("f1", 0.5),
        ("recall@1", 0.01),  # none reaches it: the highest recall that there is
        ("precision@1", NEVER),
        ("precision@1.0", NEVER),
    ],
)
def test_a_point_on_a_curve(point: str, expected: float) -> None:
    assert choose(curve(LIMITS, 1 - LIMITS), point) == expected


def test_of_equally_good_thresholds() -> None:
    steps = np.where(LIMITS < 0.5, 0.5, 1.0), np.where(LIMITS < 0.7, 0.8, 0.4)
    assert choose(curve(*steps), "precision@0.9") == 0.69
    assert choose(curve(*steps), "recall@0.8") == 0.69
    assert choose(curve(*steps), "f1") == 0.6  # of 0.5 to 0.69


def test_limits_of_a_spec(spec: ModelSpec) -> None:
    assert limits_for(spec, None) == {"dog": 0.3, "cat": 0.4}
    assert limits_for(spec, 0.7) == {"dog": 0.7, "cat": 0.7}
    # A label without a curve keeps its own threshold.
    assert limits_for(spec, "precision@0.9") == {"dog": 0.9, "cat": 0.4}
    assert limits_for(spec, {"dog": "recall@0.9", "cat": 0.2}) == {"dog": 0.1, "cat": 0.2}
    assert limits_for(spec, {"cat": "f1"}) == {"dog": 0.3, "cat": 0.4}
    assert limits_for(dataclasses.replace(spec, tasks=("scene",)), "f1") == {}


@pytest.mark.parametrize(
    "point", ["f2", "precision", "precision@", "precision@1.5", "recall@0", "recall@0.9.1", "0.4"]
)
def test_what_is_no_point(spec: ModelSpec, point: str) -> None:
    with pytest.raises(ValueError, match=r"no operating point\. Accepted are"):
        parse(point)
    with pytest.raises(ValueError, match=r"no operating point\. Accepted are"):
        limits_for(spec, {"dog": point})


def test_a_name_that_is_no_event(spec: ModelSpec) -> None:
    with pytest.raises(ValueError, match="Did you mean 'dog'"):
        limits_for(spec, {"dgo": "f1"})


def test_a_checkpoint_without_curves_says_what_to_type(tiny_model: SoundModel) -> None:
    with pytest.raises(ValueError, match=r"stores none.*model\.calibrate\('labels\.csv'\)"):
        tiny_model.detect_events(np.zeros(24_000), 24_000, threshold="precision@0.9")


def test_the_verbs_take_points(tiny_model: SoundModel, spec: ModelSpec) -> None:
    from dcasenet.inference.model import SoundModel as Model

    own = dataclasses.replace(tiny_model.spec, curves={"dog": spec.curves["dog"]})
    model = Model(own, tiny_model.frontend, tiny_model.network)
    noise = np.random.default_rng(0).standard_normal(48_000) * 0.1
    events = model.detect_events(noise, 24_000, threshold="precision@0.9")
    assert events.thresholds == {"dog": 0.9, "door knock": 0.3, "speech": 0.3}
    analysis = model.analyze(noise, 24_000, threshold={"dog": "recall@0.9"})
    assert analysis.events is not None
    assert analysis.events.thresholds["dog"] == 0.1


def test_curves_travel_with_a_spec(spec: ModelSpec) -> None:
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    "curves",
    [
        {"dog": {"precision": [0.5] * 98, "recall": [0.5] * 99}},
        {"dog": {"precision": [0.5] * 99, "recall": [2.0] * 99}},
        {"dog": {"precision": [0.5] * 99}},
        {"bird": {"precision": [0.5] * 99, "recall": [0.5] * 99}},
        {"dog": None},
        [1],
    ],
)
def test_curves_that_are_none_are_refused(spec: ModelSpec, curves: object) -> None:
    from dcasenet import WeightsError

    with pytest.raises(WeightsError):
        ModelSpec.from_dict({**spec.to_dict(), "curves": curves})
