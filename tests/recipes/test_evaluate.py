"""The plain baseline learns what can be told apart, and its figures stand beside a model's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from recipes import baseline, evaluate
from recipes.bank import SAMPLE_RATE, Decoded, in_split
from recipes.baseline import Baseline
from recipes.evaluate import Answers, EvaluationSet, Table
from recipes.labels import LabelSets
from recipes.soundscapes import Scape, make_soundscapes

AUDIOSET = ("Speech", "Dog", "Rain", "Waves, surf")


@pytest.fixture(scope="module")
def split(decoded: Sequence[Decoded], labels: LabelSets) -> EvaluationSet:
    return EvaluationSet(decoded, labels, AUDIOSET, n_soundscapes=1)


@pytest.fixture(scope="module")
def fitted(split: EvaluationSet) -> Baseline:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "N_TRAIN", 3)
        patch.setattr(baseline, "N_WATCHED", 1)
        return baseline.choose(split.decoded, split.labels, split.tags)


@pytest.fixture(scope="module")
def table(split: EvaluationSet, fitted: Baseline) -> Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "choose", lambda *_: fitted)
        patch.setattr(
            EvaluationSet, "soundscapes", lambda own: {"soundscapes": soundscapes(own)}
        )  # of the office there are none
        return evaluate.evaluate_baseline(split)


def soundscapes(split: EvaluationSet) -> list[Scape]:
    return make_soundscapes(split.decoded, split.labels, "test", split.n_soundscapes)


def test_the_baseline_learns_what_can_be_told_apart(table: Table) -> None:
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
    assert tag.shape == (18, 4)
    assert not tag[:, 0].any()
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


def test_a_tag_of_ones_own_is_read_in_audiosets_column(split: EvaluationSet) -> None:
    """Three tags of one's own: the truth of each recording is the answer."""
    clips = in_split(split.decoded, "test")
    own = np.array([[float(i in (split.labels.tags_of(c.recording) or ())) for i in range(3)]
                    for c in clips])  # fmt: skip
    tag = np.zeros((len(clips), len(AUDIOSET)))
    tag[:, 1:] = own
    figures = evaluate.clip_figures(Answers(tag, None), clips, split.labels, AUDIOSET)
    assert figures["map"] == [1.0, 1.0, 1.0]
    wrong = evaluate.clip_figures(Answers(tag[:, ::-1], None), clips, split.labels, AUDIOSET)
    assert wrong["map"] != [1.0, 1.0, 1.0]


def test_models_stand_beside_one_another(table: Table) -> None:
    text = evaluate.render({"baseline": table, "nothing": {"test": {"map": [0.25, 0.125, 0.5]}}})
    lines = text.splitlines()
    assert lines[0] == "| | figure | baseline | nothing |"
    (line,) = (line for line in lines if line.startswith("| test | map |"))
    assert line.endswith("| 0.250 (0.125–0.500) |")
    (line,) = (line for line in lines if line.startswith("| soundscapes | segment_f1_1s |"))
    assert line.endswith("|  |")
