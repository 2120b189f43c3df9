"""Thresholds of the best F1, within a range."""

import numpy as np
import pytest

from dcasenet.train.metrics.thresholds import best_thresholds


@pytest.fixture
def segments() -> tuple[np.ndarray, np.ndarray]:
    """A label that is told apart at 0.4, and one whose probabilities say nothing."""
    rng = np.random.default_rng(0)
    truth = rng.random((400, 2)) < (0.3, 0.02)
    told = np.where(truth[:, 0], rng.uniform(0.45, 1.0, 400), rng.uniform(0.0, 0.35, 400))
    return truth, np.stack((told, rng.random(400)), axis=1).astype(np.float32)


def test_a_label_that_is_told_apart_is_cut_between(
    segments: tuple[np.ndarray, np.ndarray],
) -> None:
    assert 0.35 <= best_thresholds(*segments)[0] <= 0.45


def test_one_that_is_not_is_raised_to_the_highest_and_no_further(
    segments: tuple[np.ndarray, np.ndarray],
) -> None:
    assert best_thresholds(*segments)[1] >= 0.85
    assert best_thresholds(*segments, lowest=0.25, highest=0.6)[1] <= 0.6
    assert best_thresholds(*segments, lowest=0.5)[0] >= 0.5
