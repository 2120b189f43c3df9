import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    label_ranking_average_precision_score,
)

from dcasenet.train import metrics


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
    assert metrics.lwlrap(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_lwlrap_counts_ties_against() -> None:
    truth = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], bool)
    scores = np.array([[0.9, 0.8, 0.7, 0.1], [0.5, 0.5, 0.2, 0.1], [0.2, 0.9, 0.1, 0.2]])
    assert metrics.lwlrap(scores, truth) == pytest.approx(0.625)  # reference.md, section 5a


def test_lwlrap_without_labels_is_nan(scores: np.ndarray) -> None:
    assert np.isnan(metrics.lwlrap(scores, np.zeros_like(scores, dtype=bool)))


@pytest.mark.parametrize("decimals", [8, 1])
def test_average_precision_is_scikit_learns(
    scores: np.ndarray, truth: np.ndarray, decimals: int
) -> None:
    scores = scores.round(decimals)
    found = metrics.average_precisions(scores, truth)
    for label in np.flatnonzero(truth.any(axis=0)):
        expected = average_precision_score(truth[:, label], scores[:, label])
        assert found[label] == pytest.approx(expected, abs=1e-12)
    assert metrics.mean_average_precision(scores, truth) == pytest.approx(np.nanmean(found))


def test_labels_without_examples_are_left_out() -> None:
    found = metrics.average_precisions(np.eye(2), np.array([[True, False], [False, False]]))
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert np.isnan(metrics.mean_average_precision(np.eye(2), np.zeros((2, 2), bool)))


def test_accuracy_is_scikit_learns(scores: np.ndarray) -> None:
    true = np.random.default_rng(2).integers(80, size=50)
    expected = accuracy_score(true, scores.argmax(axis=1))
    assert metrics.accuracy(scores, true) == pytest.approx(expected)
    assert np.isnan(metrics.accuracy(scores[:0], true[:0]))


def test_segment_f1_is_scikit_learns_micro_f1(truth: np.ndarray) -> None:
    predicted = np.random.default_rng(3).random(truth.shape) < 0.05
    expected = f1_score(truth, predicted, average="micro")
    assert metrics.segment_score(truth, predicted).f1 == pytest.approx(expected)


def test_segment_score_of_the_reference_by_hand() -> None:
    """Twenty frames of 0.1 s, from reference.md section 5c: true 1 s scores are 2/3 and 0.4."""
    true = [(0, 0.0, 0.5), (1, 0.9, 1.0), (3, 1.2, 1.8)]
    given = [(0, 0.0, 0.5), (2, 1.2, 1.5)]
    score = metrics.segment_score(
        metrics.segment_activity(true, 4, 2.0), metrics.segment_activity(given, 4, 2.0)
    )
    assert score.error_rate == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(0.4)


def test_segment_score_by_definition(truth: np.ndarray) -> None:
    predicted = np.random.default_rng(4).random(truth.shape) < 0.1
    substitutions = deletions = insertions = 0
    for true, given in zip(truth, predicted, strict=True):
        false_positives = int((given & ~true).sum())
        false_negatives = int((true & ~given).sum())
        substitutions += min(false_positives, false_negatives)
        deletions += max(0, false_negatives - false_positives)
        insertions += max(0, false_positives - false_negatives)
    expected = (substitutions + deletions + insertions) / truth.sum()
    assert metrics.segment_score(truth, predicted).error_rate == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "prediction", "f1", "error_rate"),
    [([0, 0], [0, 0], 1.0, 0.0), ([0, 0], [1, 1], 0.0, 2.0), ([1, 1], [0, 0], 0.0, 1.0)],
)
def test_empty_cases(
    reference: list[int], prediction: list[int], f1: float, error_rate: float
) -> None:
    score = metrics.segment_score(np.array([reference]) == 1, np.array([prediction]) == 1)
    assert (score.f1, score.error_rate) == (f1, error_rate)


def test_times_of_binary_tenths_do_not_inflate_events() -> None:
    # 0.1 * 3 is above 0.3 in binary.
    active = metrics.segment_activity([(0, 0.1, 0.1 * 3)], 1, 1.0, length=0.1)
    assert np.flatnonzero(active[:, 0]).tolist() == [1, 2]
