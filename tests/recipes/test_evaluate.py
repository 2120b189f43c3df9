"""The plain baseline learns what can be told apart, and its figures stand beside a model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dcasenet.results import Analysis, Scene, Tags
from dcasenet.spec import ModelSpec
from recipes import baseline, evaluate
from recipes.bank import SAMPLE_RATE, Decoded
from recipes.baseline import Baseline
from recipes.evaluate import EvaluationSet, MetricTable, Predictions
from recipes.labels import LabelSets, labeled_classes, taught_tags
from recipes.soundscapes import make_soundscapes


@pytest.fixture(scope="module")
def split(decoded: Sequence[Decoded], labels: LabelSets) -> EvaluationSet:
    return EvaluationSet(decoded, labels, n_soundscapes=1)


@pytest.fixture(scope="module")
def fitted(split: EvaluationSet) -> Baseline:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "N_TRAIN", 3)
        patch.setattr(baseline, "N_WATCHED", 1)
        return baseline.choose(split.decoded, split.labels)


@pytest.fixture(scope="module")
def table(split: EvaluationSet, fitted: Baseline) -> MetricTable:
    answers = {"baseline": Predictions(*fitted.answer(split.clips))}
    found = evaluate.clip_tables(answers, split)["baseline"]
    scapes = make_soundscapes(split.decoded, split.labels, "test", split.n_soundscapes)
    detected = evaluate.event_table(lambda s: fitted.detect(s.waveform), scapes, split.labels)
    return found | {"soundscapes": detected}


def test_the_baseline_learns_what_can_be_told_apart(table: MetricTable) -> None:
    for name in ("scene_accuracy", "lwlrap", "map", "top1_accuracy"):
        value = table["test"][name]
        assert isinstance(value, list)
        assert value[0] > 0.95
    f1 = table["soundscapes"]["segment_f1_1s"]
    assert isinstance(f1, list)
    assert f1[0] > 0.6
    assert table["test"]["tag_classes"] == 3  # nobody speaks


def test_what_no_recording_is_labeled_with_has_no_probability(
    split: EvaluationSet, fitted: Baseline
) -> None:
    tag, scene = fitted.answer(split.clips)
    assert tag.shape == (18, 527)
    assert (tag.any(axis=0)).sum() == 3
    np.testing.assert_allclose(scene.sum(axis=1), 1.0)


def test_rows_of_events_are_about_the_second_around() -> None:
    waveform = np.zeros(5 * SAMPLE_RATE, np.float32)
    waveform[2 * SAMPLE_RATE : 3 * SAMPLE_RATE] = np.random.default_rng(0).uniform(
        -0.5, 0.5, SAMPLE_RATE
    )
    rows = baseline.statistics_over_time(waveform)
    assert rows.shape == (25, 256)
    loud = rows[:, :128].mean(axis=1)
    assert np.argmax(loud) in (11, 12, 13)  # 2.5 s is the end of row 12
    np.testing.assert_allclose(loud[:7], loud[0], atol=1e-3)
    np.testing.assert_allclose(loud[18:], loud[0], atol=1e-3)


def right_answers(split: EvaluationSet) -> Predictions:
    own = labeled_classes([clip.recording for clip in split.clips], split.labels)
    assert [taught_tags()[i] for i in np.flatnonzero(own.any(axis=0))] == [
        "Dog",
        "Rain",
        "Waves, surf",
    ]
    return Predictions(own.astype(np.float64), None)


def test_the_truth_is_right(split: EvaluationSet) -> None:
    right = right_answers(split)
    figures = evaluate.clip_figures(right, split.clips, split.labels)
    assert figures["map"] == [1.0, 1.0, 1.0]
    wrong = right._replace(tag=right.tag[::-1])
    assert evaluate.clip_figures(wrong, split.clips, split.labels)["map"] != [1.0, 1.0, 1.0]


def test_who_lacks_tags_is_compared_over_those_that_all_have(split: EvaluationSet) -> None:
    right = right_answers(split)
    lacking = right._replace(tag=right.tag * (np.array(taught_tags()) != "Rain"))
    tables = evaluate.clip_tables({"all": right, "two": lacking}, split)
    assert set(tables["all"]) == {"test", "tags in common"}
    assert tables["two"]["tags in common"] == tables["all"]["tags in common"]
    assert tables["two"]["test"]["tag_classes"] == tables["all"]["test"]["tag_classes"] == 3
    assert tables["two"]["test"]["map"] < tables["all"]["test"]["map"] == [1.0, 1.0, 1.0]
    assert tables["two"]["tags in common"]["tag_classes"] == 2


def test_a_models_own_tags_are_read_in_audiosets_columns(split: EvaluationSet) -> None:
    class Model:
        """Says dog with 0.75 and a tag that is part of an AudioSet class with 1."""

        spec = ModelSpec("v3", "x", scenes=("here",), tags=("dog", "can opening"))

        def analyze(self, waveform: np.ndarray, sample_rate: int) -> Analysis:
            assert sample_rate == SAMPLE_RATE
            values = np.array([[0.75, 1.0]], np.float32)
            tags = Tags(self.spec.tags, values[0], values, np.array([[0.0, 1.0]]))
            one = np.ones((1, 1), np.float32)
            return Analysis(Scene(("here",), one[0], one, np.array([[0.0, 1.0]])), tags, None)

    model: Any = Model()
    tag, scene = evaluate.predict(model, split)
    assert scene is None  # its places are others
    assert np.flatnonzero(tag[0]).tolist() == [taught_tags().index("Dog")]
    assert tag[0].max() == 0.75


def test_models_stand_beside_one_another(table: MetricTable) -> None:
    text = evaluate.render({"baseline": table, "nothing": {"test": {"map": [0.25, 0.125, 0.5]}}})
    lines = text.splitlines()
    assert lines[0] == "| | figure | baseline | nothing |"
    (line,) = (line for line in lines if line.startswith("| test | map |"))
    assert line.endswith("| 0.250 (0.125–0.500) |")
    (line,) = (line for line in lines if line.startswith("| soundscapes | segment_f1_1s |"))
    assert line.endswith("|  |")
