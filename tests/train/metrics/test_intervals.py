import time

import numpy as np
import pytest

from dcasenet.train.metrics import classification as metrics
from dcasenet.train.metrics import events
from dcasenet.train.metrics.figures import event_figures, scene_figures, tag_figures
from dcasenet.train.metrics.intervals import (
    draws,
    interval_by_index,
    intervals,
    mean_of_ratios,
    number,
    percentile,
    ratio,
    values,
)


@pytest.fixture
def clips() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores, true labels and recordings of 300 clips of 100 recordings."""
    draw = np.random.default_rng(0)
    truth = draw.integers(10, size=300)
    scores = draw.standard_normal((300, 10)) + 1.5 * np.eye(10)[truth]
    return scores, truth, [f"recording {k}" for k in draw.integers(100, size=300)]


def test_figures_are_those_of_metrics(clips: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    scores, truth, recordings = clips
    of, true = number(recordings), truth[:, None] == np.arange(10)
    n = of.max() + 1
    scene = values(scene_figures(scores, truth, of), n)
    assert scene["accuracy"] == pytest.approx(metrics.accuracy(scores, truth))
    assert scene["macro_recall"] == pytest.approx(metrics.confusion(scores, truth).recall.mean())
    tag = values(tag_figures(scores, true, of), n)
    assert tag["lwlrap"] == pytest.approx(metrics.lwlrap(scores, true))
    assert tag["map"] == pytest.approx(metrics.mean_average_precision(scores, true))
    assert tag["top1_accuracy"] == pytest.approx(metrics.accuracy(scores, truth))


def test_weights_and_indices_give_the_same_interval(
    clips: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    """The fast way, by sums of recordings, against taking every resample's clips in turn."""
    scores, truth, recordings = clips
    of, true = number(recordings), truth[:, None] == np.arange(10)
    figures = scene_figures(scores, truth, of) | tag_figures(scores, true, of)
    fast = intervals(figures, of.max() + 1, n_resamples=60)
    slow = {
        "accuracy": lambda i: metrics.accuracy(scores[i], truth[i]),
        "macro_recall": lambda i: float(np.nanmean(metrics.confusion(scores[i], truth[i]).recall)),
        "lwlrap": lambda i: metrics.lwlrap(scores[i], true[i]),
        "map": lambda i: metrics.mean_average_precision(scores[i], true[i]),
    }
    for name, figure in slow.items():
        expected = interval_by_index(figure, recordings, n_resamples=60)
        assert fast[name] == pytest.approx(expected), name
        assert fast[name].low < values(figures, of.max() + 1)[name] < fast[name].high


def test_event_figures_resample_whole_soundscapes() -> None:
    draw = np.random.default_rng(1)
    reference, prediction = draw.random((2, 12, 30, 4)) < 0.2
    pairs = [*zip(reference, prediction, strict=True)]
    counts = np.stack([events.segment_counts(*pair) for pair in pairs])

    def pooled(index: np.ndarray) -> events.EventScore:
        return events.segment_score(
            np.concatenate(reference[index]), np.concatenate(prediction[index])
        )

    found = intervals(event_figures("segment", "1s", counts), 12, n_resamples=50)
    f1 = interval_by_index(lambda i: pooled(i).f1, range(12), n_resamples=50)
    error_rate = interval_by_index(lambda i: pooled(i).error_rate, range(12), n_resamples=50)
    assert found["segment_f1_1s"] == pytest.approx(f1)
    assert found["segment_error_rate_1s"] == pytest.approx(error_rate)


def test_copies_of_a_recording_make_no_interval_narrower() -> None:
    right = np.random.default_rng(2).random(40) < 0.6
    alone = ratio(right.astype(float), np.ones(40))
    copied = ratio(10.0 * right, np.full(40, 10.0))
    found = intervals({"alone": alone, "copied": copied}, 40)
    assert found["alone"] == pytest.approx(found["copied"])
    low, high = found["alone"]
    normal = 2 * 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 40)
    assert high - low == pytest.approx(normal, rel=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    draw = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        sample = (draw.random(80) < 0.7).astype(float)
        low, high = intervals({"share": ratio(sample, np.ones(80))}, 80, 400, seed)["share"]
        held += low <= 0.7 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_the_seed_decides() -> None:
    assert np.array_equal(draws(20, 5, seed=1), draws(20, 5, seed=1))
    assert not np.array_equal(draws(20, 5, seed=1), draws(20, 5, seed=2))


def test_labels_that_nothing_drawn_has_are_left_out() -> None:
    figure = mean_of_ratios(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0], [0, 2]]))
    weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    assert figure(weights) == pytest.approx([0.75, 1.0, np.nan], nan_ok=True)


def test_one_recording_says_nothing() -> None:
    assert intervals({"share": ratio(np.ones(1), np.ones(1))}, 1) == {}
    assert intervals({"share": ratio(np.ones(2), np.zeros(2))}, 2) == {}
    assert np.isnan(percentile(np.array([np.nan])).low)


def test_a_thousand_resamples_of_three_hundred_recordings_take_seconds() -> None:
    draw = np.random.default_rng(4)
    truth = draw.integers(50, size=600)
    scores, of = draw.random((600, 50)), np.repeat(np.arange(300), 2)
    started = time.process_time()
    found = intervals(tag_figures(scores, truth[:, None] == np.arange(50), of), 300)
    assert set(found) == {"lwlrap", "map", "top1_accuracy"}
    assert time.process_time() - started < 10
