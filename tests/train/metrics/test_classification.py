import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    label_ranking_average_precision_score,
    precision_score,
    recall_score,
)

from dcasenet.train.metrics import classification


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(0).random((50, 80))


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(1).random((50, 80)) < 0.05


@pytest.mark.parametrize("decimals", [8, 1])  # free of ties, and full of them
def test_lwlrap_is_scikit_learns(scores: np.ndarray, truth: np.ndarray, decimals: int) -> None:
    scores = scores.round(decimals)
    expected = label_ranking_average_precision_score(truth, scores, sample_weight=truth.sum(axis=1))
    assert classification.lwlrap(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_lwlrap_counts_ties_against() -> None:
    truth = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], bool)
    scores = np.array([[0.9, 0.8, 0.7, 0.1], [0.5, 0.5, 0.2, 0.1], [0.2, 0.9, 0.1, 0.2]])
    assert classification.lwlrap(scores, truth) == pytest.approx(0.625)  # scikit-learn's


def test_lwlrap_without_labels_is_nan(scores: np.ndarray) -> None:
    assert np.isnan(classification.lwlrap(scores, np.zeros_like(scores, dtype=bool)))


@pytest.mark.parametrize("decimals", [8, 1])
def test_average_precision_is_scikit_learns(
    scores: np.ndarray, truth: np.ndarray, decimals: int
) -> None:
    scores = scores.round(decimals)
    found = classification.average_precisions(scores, truth)
    for label in np.flatnonzero(truth.any(axis=0)):
        expected = average_precision_score(truth[:, label], scores[:, label])
        assert found[label] == pytest.approx(expected, abs=1e-12)
    assert classification.mean_average_precision(scores, truth) == pytest.approx(np.nanmean(found))


def test_labels_without_examples_are_left_out() -> None:
    found = classification.average_precisions(np.eye(2), np.array([[True, False], [False, False]]))
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert np.isnan(classification.mean_average_precision(np.eye(2), np.zeros((2, 2), bool)))


def test_accuracy_is_scikit_learns(scores: np.ndarray) -> None:
    true = np.random.default_rng(2).integers(80, size=50)
    expected = accuracy_score(true, scores.argmax(axis=1))
    assert classification.accuracy(scores, true) == pytest.approx(expected)
    assert np.isnan(classification.accuracy(scores[:0], true[:0]))


def test_confusions_are_scikit_learns() -> None:
    draw = np.random.default_rng(3)
    scores, true = draw.random((60, 5)), draw.integers(5, size=60)
    found = classification.confusion(scores, true)
    answered = scores.argmax(axis=1)
    assert found.counts.tolist() == confusion_matrix(true, answered).tolist()
    assert found.recall == pytest.approx(recall_score(true, answered, average=None))
    assert found.precision == pytest.approx(precision_score(true, answered, average=None))
    assert found.accuracy == pytest.approx(classification.accuracy(scores, true))


def test_confusion_of_a_label_that_does_not_occur_is_nan() -> None:
    found = classification.confusion(np.array([[0.2, 0.8, 0.0]]), np.array([0]))
    assert np.isnan(found.recall).tolist() == [False, True, True]
    assert np.isnan(found.precision).tolist() == [True, False, True]
    assert np.isnan(classification.confusion(np.ones((0, 2)), np.ones(0, int)).accuracy)


def test_lwlrap_is_the_weighted_mean_of_its_labels(scores: np.ndarray, truth: np.ndarray) -> None:
    truth[:, 3] = False
    found = classification.lwlrap_by_label(scores, truth)
    assert found.weights.sum() == pytest.approx(1.0)
    assert np.isnan(found.per_label[3])
    assert found.value == pytest.approx(np.nansum(found.weights * found.per_label))
    own = classification.lwlrap_by_label(scores[truth[:, 0]], truth[truth[:, 0]])
    assert found.per_label[0] == pytest.approx(own.per_label[0])


def test_weights_repeat_examples(scores: np.ndarray, truth: np.ndarray) -> None:
    times = np.random.default_rng(5).integers(4, size=(3, len(truth)))
    found = classification.average_precisions(scores, truth, times.astype(float))
    for row, repeated in zip(found, times, strict=True):
        index = np.repeat(np.arange(len(truth)), repeated)
        expected = classification.average_precisions(scores[index], truth[index])
        assert row == pytest.approx(expected, nan_ok=True)
