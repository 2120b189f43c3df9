from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcasenet import Event, decode_events
from dcasenet.inference.events import EventDecoder, thresholds_for


def curve(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_one_event() -> None:
    assert decode_events(curve(0.1, 0.9, 0.7, 0.2), ["dog"], 0.1, 0.3) == [
        Event("dog", 0.1, 0.3, pytest.approx(0.8))
    ]


def test_active_is_strictly_above() -> None:
    assert decode_events(np.array([[0.5], [0.5]]), ["dog"], 0.1, 0.5) == []
    assert len(decode_events(np.array([[0.5], [0.5]]), ["dog"], 0.1, 0.49)) == 1


def test_events_touching_both_ends() -> None:
    found = decode_events(curve(0.9, 0.1, 0.9), ["dog"], 0.1, 0.3)
    assert [(e.onset, e.offset) for e in found] == [(0.0, 0.1), (0.2, 0.3)]


def test_earliest_first_then_offset_then_label_order() -> None:
    probabilities = np.array([[0.0, 0.9, 0.9], [0.9, 0.9, 0.9], [0.9, 0.9, 0.0]])
    found = decode_events(probabilities, ["c", "b", "a"], 1.0, 0.3)
    assert [(e.label, e.onset, e.offset) for e in found] == [
        ("a", 0.0, 2.0),
        ("b", 0.0, 3.0),
        ("c", 1.0, 3.0),
    ]


def test_order_is_median_threshold_gaps_then_duration() -> None:
    # The median of 3 frames removes the lone spike and fills the lone hole; what is left is one
    # run, then a gap of 2 frames and another, too short one that only closing the gap saves.
    spike_and_hole = curve(0, 0.9, 0, 0, 0.9, 0.9, 0, 0.9, 0.9, 0, 0, 0.9, 0.9)
    plain = decode_events(spike_and_hole, ["x"], 0.1, 0.5)
    assert [(e.onset, e.offset) for e in plain] == [
        (0.1, 0.2), (0.4, 0.6), (0.7, 0.9), (1.1, 1.3),
    ]  # fmt: skip
    options = {"median": 0.3, "min_duration": 0.3}
    assert [
        (e.onset, e.offset)
        for e in decode_events(spike_and_hole, ["x"], 0.1, 0.5, **options, min_gap=0.3)
    ] == [(0.4, 1.3)]
    assert [
        (e.onset, e.offset) for e in decode_events(spike_and_hole, ["x"], 0.1, 0.5, **options)
    ] == [(0.4, 0.9)]


def test_gaps_and_durations_exactly_at_the_limit_stay() -> None:
    values = curve(0.9, 0.9, 0.9, 0, 0, 0, 0.9)
    found = decode_events(values, ["x"], 0.1, 0.5, min_gap=0.3, min_duration=0.3)
    assert [(e.onset, e.offset) for e in found] == [(0.0, 0.3)]
    found = decode_events(values, ["x"], 0.1, 0.5, min_gap=0.31, min_duration=0.3)
    assert [(e.onset, e.offset) for e in found] == [(0.0, 0.7)]


def test_hysteresis_lets_an_event_last_and_makes_none() -> None:
    #                      a       last         none             last
    curves = curve(0.1, 0.3, 0.9, 0.3, 0.3, 0.1, 0.3, 0.3, 0.1, 0.3, 0.9)
    found = decode_events(curves, ["dog"], 0.1, 0.5, hysteresis=0.5)
    assert [(e.onset, e.offset) for e in found] == [(0.1, 0.5), (0.9, 1.1)]
    assert found[0].probability == pytest.approx(np.mean([0.3, 0.9, 0.3, 0.3]))
    without = decode_events(curves, ["dog"], 0.1, 0.5)
    assert [(e.onset, e.offset) for e in without] == [(0.2, 0.3), (1.0, 1.1)]


def test_hysteresis_comes_before_gaps_and_durations() -> None:
    curves = curve(0.3, 0.9, 0.1, 0.3, 0.1, 0.9, 0.3)  # what is never active closes no gap
    options = {"hysteresis": 0.5, "min_duration": 0.2}
    found = decode_events(curves, ["dog"], 0.1, 0.5, **options)
    assert [(e.onset, e.offset) for e in found] == [(0.0, 0.2), (0.5, 0.7)]
    closed = decode_events(curves, ["dog"], 0.1, 0.5, min_gap=0.4, **options)
    assert [(e.onset, e.offset) for e in closed] == [(0.0, 0.7)]


@given(
    arrays(np.float32, (24, 2), elements=st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8])),
    st.lists(st.integers(0, 24), max_size=6),
    st.sampled_from([0.2, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.3]),
)
def test_pieces_give_the_events_of_the_whole(
    probabilities: np.ndarray, cuts: list[int], hysteresis: float, median: float, gap: float
) -> None:
    whole = decode_events(probabilities, "ab", 0.1, 0.5, median, gap, hysteresis=hysteresis)
    decoder = EventDecoder("ab", 0.1, 0.5, median, gap, hysteresis=hysteresis)
    pieces = np.split(probabilities, sorted(cuts))
    found = [event for piece in pieces for event in decoder.push(piece)]
    assert decoder.in_order([*found, *decoder.close(2.4)]) == [
        Event(e.label, e.onset, e.offset, pytest.approx(e.probability)) for e in whole
    ]


def test_an_event_is_given_as_soon_as_its_probability_has_fallen() -> None:
    decoder = EventDecoder(["dog"], 0.1, 0.5, hysteresis=0.5)
    assert decoder.push(curve(0.3, 0.9, 0.3)) == []
    assert [e.offset for e in decoder.push(curve(0.1))] == [0.3]
    assert decoder.push(curve(0.3, 0.3)) == []
    assert decoder.close() == []


def test_probability_is_the_mean_of_the_given_ones() -> None:
    (event,) = decode_events(curve(0.9, 0.1, 0.8), ["x"], 0.1, 0.5, median=0.3, min_gap=1.0)
    assert event.probability == pytest.approx(0.6)


def test_no_offset_exceeds_the_duration() -> None:
    (event,) = decode_events(curve(0.9, 0.9), ["x"], 0.1, 0.5, duration=0.1375)
    assert event.offset == 0.1375


def test_min_duration_counts_what_the_recording_has() -> None:
    options = {"min_duration": 0.15, "duration": 0.12}
    assert decode_events(curve(0.9, 0.9), ["x"], 0.1, 0.5, **options) == []


def test_no_frames_and_no_labels() -> None:
    assert decode_events(np.zeros((0, 2)), ["a", "b"], 0.1, 0.5, median=0.5) == []
    assert decode_events(np.zeros((4, 0)), [], 0.1, 0.5) == []


@given(
    arrays(np.float32, (30, 3), elements=st.floats(0, 1, width=32)),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 2),
)
def test_whatever_the_numbers_events_are_sane(
    probabilities: np.ndarray, threshold: float, median: float, gap: float, shortest: float
) -> None:
    before = probabilities.copy()
    found = decode_events(probabilities, "abc", 0.1, threshold, median, gap, shortest)
    np.testing.assert_array_equal(probabilities, before)
    assert [e.onset for e in found] == sorted(e.onset for e in found)
    for event in found:
        assert 0 <= event.onset < event.offset <= 3.0
        assert event.offset - event.onset >= shortest - 1e-6
        assert 0 <= event.probability <= 1
    for label in "abc":
        own = [e for e in found if e.label == label]
        for one, two in itertools.pairwise(own):
            assert two.onset - one.offset >= max(gap, 0.1) - 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), ["a"], 0.1), r"shape \(3,\); give \(frames, labels\)"),
        ((np.zeros((3, 2)), ["a"], 0.1), r"one column for each of the 1 labels"),
        ((np.zeros((3, 1)), ["a"], 0.0), r"hop=0.0"),
        ((np.zeros((3, 1)), ["a"], 0.1, 1.5), r"threshold=1.5 is out of range; give 0 to 1"),
        ((np.zeros((3, 1)), ["a"], 0.1, float("nan")), r"threshold=nan"),
        ((np.zeros((3, 1)), ["a"], 0.1, {"b": 0.5}), r"no event 'b'"),
        ((np.zeros((3, 2)), ["a", "b"], 0.1, {"b": 0.5}), r"No threshold is given for a"),
        ((np.zeros((3, 1)), ["a"], 0.1, 0.3, -1.0), r"median=-1.0"),
        ((np.zeros((3, 1)), ["a"], 0.1, 0.3, 0.0, float("inf")), r"min_gap=inf"),
        ((np.zeros((3, 1)), ["a"], 0.1, 0.3, 0.0, 0.0, -0.1), r"min_duration=-0.1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_events(*arguments)


@pytest.mark.parametrize("hysteresis", [0.0, 1.1, float("nan")])
def test_a_hysteresis_out_of_range_is_refused(hysteresis: float) -> None:
    with pytest.raises(ValueError, match=r"hysteresis=.* is out of range; give 0.05 to 1"):
        decode_events(np.zeros((3, 1)), ["a"], 0.1, hysteresis=hysteresis)


def test_threshold_names_are_guessed() -> None:
    with pytest.raises(ValueError, match="Did you mean 'door knock'"):
        thresholds_for(["door knock", "dog"], {"doorknock": 0.2}, {"dog": 0.3, "door knock": 0.3})
    assert thresholds_for(["a", "b"], None, {"a": 0.1, "b": 0.2}) == {"a": 0.1, "b": 0.2}
    assert thresholds_for(["a", "b"], 0.4, {"a": 0.1, "b": 0.2}) == {"a": 0.4, "b": 0.4}


@pytest.mark.parametrize("wrong", [2.0, -0.1, float("nan"), float("inf")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    probabilities = np.full((4, 1), 0.5)
    probabilities[2] = wrong
    with pytest.raises(ValueError, match="give 0 to 1"):
        decode_events(probabilities, ["dog"], 0.1)


def test_a_median_that_takes_all_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="give 0 to 60 seconds"):
        decode_events(np.zeros((4, 1)), ["dog"], 0.1, median=1e9)
