"""The authors' score, against numbers that their own code gave for the same activity."""

import numpy as np
import pytest

from dcasenet.annotations.segments import segment_activity
from dcasenet.train.metrics.events import segment_score
from dcasenet.train.paper.segment_score import paper_blocks, paper_segment_score


@pytest.fixture
def sparse() -> tuple[np.ndarray, np.ndarray]:
    """A minute of 14 labels: the truth, and as prediction the truth with false alarms."""
    draw = np.random.default_rng(123)
    truth = draw.random((600, 14)) < 0.02
    return truth, truth | (draw.random((600, 14)) < 0.01)


def true_segments(frames: np.ndarray, length: float) -> np.ndarray:
    events = [(k, 0.1 * row, 0.1 * (row + 1)) for row, k in np.argwhere(frames)]
    return segment_activity(events, frames.shape[1], 0.1 * len(frames), length)


@pytest.mark.parametrize(
    ("block", "error_rate", "f1"), [(50, 0.155963, 0.927660), (10, 0.315068, 0.863905)]
)
def test_the_authors_figures(
    sparse: tuple[np.ndarray, np.ndarray], block: int, error_rate: float, f1: float
) -> None:
    score = paper_segment_score(*sparse, block)
    assert score.error_rate == pytest.approx(error_rate, abs=1e-6)
    assert score.f1 == pytest.approx(f1, abs=1e-6)


@pytest.mark.parametrize(
    ("length", "error_rate", "f1"), [(1.0, 0.316456, 0.863388), (5.0, 0.153153, 0.928870)]
)
def test_true_segments_of_the_same_activity_score_otherwise(
    sparse: tuple[np.ndarray, np.ndarray], length: float, error_rate: float, f1: float
) -> None:
    truth, prediction = sparse
    score = segment_score(true_segments(truth, length), true_segments(prediction, length))
    assert score.error_rate == pytest.approx(error_rate, abs=1e-6)
    assert score.f1 == pytest.approx(f1, abs=1e-6)


@pytest.fixture
def by_hand() -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.zeros((20, 4), bool), np.zeros((20, 4), bool)
    truth[:5, 0] = prediction[:5, 0] = True
    truth[9, 1] = True
    prediction[12:15, 2] = True
    truth[12:18, 3] = True
    return truth, prediction


def test_an_event_in_a_blocks_last_frame_is_lost(by_hand: tuple[np.ndarray, np.ndarray]) -> None:
    score = paper_segment_score(*by_hand, block=10)
    assert score.error_rate == pytest.approx(0.5)
    assert score.f1 == pytest.approx(0.5)


def test_a_short_last_block_counts_in_f1_alone(by_hand: tuple[np.ndarray, np.ndarray]) -> None:
    score = paper_segment_score(*by_hand)
    assert np.isnan(score.error_rate)
    assert score.f1 == pytest.approx(0.4)


def test_a_tail_is_in_thirteen_blocks_of_f1_and_twelve_of_the_error_rate() -> None:
    truth = np.ones((625, 1), bool)
    prediction = truth.copy()
    prediction[600:] = False
    assert paper_blocks(truth, whole=False).shape == (13, 1)
    assert paper_blocks(truth, whole=True).shape == (12, 1)
    score = paper_segment_score(truth, prediction)
    assert score.error_rate == 0
    assert score.f1 == pytest.approx(2 * 12 / 25)


def test_without_a_reference_it_is_as_the_authors_left_it() -> None:
    nothing = np.zeros((100, 2), bool)
    assert np.isnan(paper_segment_score(nothing, nothing).error_rate)
    assert paper_segment_score(nothing, ~nothing).error_rate == np.inf
    assert paper_segment_score(nothing, ~nothing).f1 == 0


def test_a_block_of_one_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        paper_segment_score(np.ones((3, 1), bool), np.ones((3, 1), bool), block=1)
