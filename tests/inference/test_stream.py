"""Sound that comes in blocks: the same answers as of the whole, in time, in bounded memory."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcasenet import AudioError, Event, SoundModel, TaskNotAvailableError
from dcasenet.inference.stream import Provisional, Stream, StreamUpdate
from dcasenet.inference.verbs import SoundVerbs

RATE = 24_000
WINDOW, HOP = 10.0, 2.4
EVENTS = ("low", "high")

Bursts = Callable[..., np.ndarray]


def blocks(samples: np.ndarray, lengths: Sequence[int]) -> Iterator[np.ndarray]:
    start = 0
    while start < samples.shape[-1]:
        for length in lengths:
            yield samples[..., start : start + length]
            start += length


def processed_in(stream: Stream, samples: np.ndarray, lengths: Sequence[int]) -> StreamUpdate:
    processed = StreamUpdate()
    for block in blocks(samples, lengths):
        processed += stream.push(block)
    return processed + stream.close()


def assert_events(found: Sequence[Event], expected: Sequence[Event]) -> None:
    found = sorted(found, key=lambda e: (e.onset, e.offset, EVENTS.index(e.label)))
    assert [(e.label, e.onset, e.offset) for e in found] == [
        (e.label, e.onset, e.offset) for e in expected
    ]
    np.testing.assert_allclose(
        [e.probability for e in found], [e.probability for e in expected], atol=1e-4
    )


# What is detected


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.one_of(
        st.floats(0.001, 45),
        st.sampled_from([0.8, 9.9, 10.0, 10.00005, 12.4, 14.8, 17.2, 30.0, 31.0]),
    ),
    rate=st.sampled_from([8_000, 24_000, 44_100]),
    lengths=st.lists(st.integers(1, 200_000), min_size=1, max_size=4),
    options=st.sampled_from(
        [
            {},
            {"median": 1.7},
            {"min_gap": 1.0, "min_duration": 1.6},
            {"median": 2.5, "min_gap": 3.0, "threshold": {"low": 0.4}},
        ]
    ),
    seed=st.integers(0, 50),
)
def test_any_blocks_give_the_events_of_the_whole(
    model: SoundVerbs[Any],
    seconds: float,
    rate: int,
    lengths: list[int],
    options: Any,
    seed: int,
    bursts: Bursts,
) -> None:
    samples = bursts(max(seconds, 1 / rate), rate, seed)
    expected = model.detect_events(samples, rate, window=WINDOW, hop=HOP, **options)
    processed = processed_in(model.stream(rate, **options), samples, [*lengths, 20_000])
    assert_events(processed.events, expected)


def test_there_is_something_to_find(model: SoundVerbs[Any], bursts: Bursts) -> None:
    events = model.detect_events(bursts(40), RATE, window=WINDOW, hop=HOP)
    assert {e.label for e in events} == set(EVENTS)
    assert len(events) > 10


@pytest.mark.parametrize("seconds", [0.3, 5.0, 7.6, 30.0, 30.1, 65.0])
def test_scenes_and_tags_are_those_of_the_verbs_windows(
    model: SoundVerbs[Any], seconds: float, bursts: Bursts
) -> None:
    samples = bursts(seconds)
    processed = processed_in(model.stream(RATE), samples, [7_000])
    for found, whole in (
        (processed.scenes, model.classify_scene(samples, RATE)),
        (processed.tags, model.tag(samples, RATE)),
    ):
        np.testing.assert_allclose(np.concatenate([w.windows for w in found]), whole.windows)
        np.testing.assert_allclose(np.concatenate([w.times for w in found]), whole.times)


def test_a_network_of_torch_gives_the_same_as_of_the_whole(
    tiny_model: SoundModel, noise: Callable[..., np.ndarray]
) -> None:
    stereo = np.stack([noise(14 * RATE), noise(14 * RATE, 1)])
    curve = tiny_model.detect_events(stereo, RATE, window=WINDOW, hop=HOP).probabilities[:, 0]
    levels = np.unique(curve)
    widest = int(np.diff(levels).argmax())
    options = {"threshold": {"dog": float(levels[widest : widest + 2].mean())}}
    expected = tiny_model.detect_events(stereo, RATE, window=WINDOW, hop=HOP, **options)
    stream = tiny_model.stream(RATE, **options)
    found = processed_in(stream, stereo, [50_000]).events
    dogs = [event for event in expected if event.label == "dog"]
    assert dogs
    assert [event for event in found if event.label == "dog"] == [
        Event(e.label, e.onset, e.offset, pytest.approx(e.probability, abs=1e-4)) for e in dogs
    ]


def test_kinds_of_samples_may_change_from_block_to_block(
    model: SoundVerbs[Any], bursts: Bursts
) -> None:
    whole = bursts(12)
    integers = (whole * 2**15).astype(np.int16)
    expected = processed_in(model.stream(RATE), integers / np.float32(2**15), [RATE])
    stream = model.stream(RATE)
    processed = StreamUpdate()
    for index, block in enumerate(blocks(integers, [RATE])):
        kinds = (block, block[None], torch.from_numpy(block), (block / 2**15), block[:, None])
        processed += stream.push(kinds[index % 5], channels_last=index % 5 == 4)
    processed += stream.close()
    assert_events(processed.events, sorted(expected.events, key=lambda e: (e.onset, e.offset)))


# When it is detected


@pytest.mark.parametrize(("window", "hop"), [(10.0, 2.4), (10.0, 9.6), (4.0, 0.8)])
def test_latency_is_at_most_window_and_hop(
    model: SoundVerbs[Any], window: float, hop: float, bursts: Bursts
) -> None:
    stream = model.stream(44_100, window=window, hop=hop)
    block = 441
    latencies = [
        stream.duration - event.offset
        for samples in blocks(bursts(60, 44_100), [block])
        for event in stream.push(samples).events
    ]
    assert len(latencies) > 10
    # A block, and what the resampler looks ahead, come on top.
    assert max(latencies) <= window + 0.05
    assert max(latencies) <= window + hop


def test_what_median_and_gap_look_ahead_comes_on_top(
    model: SoundVerbs[Any], bursts: Bursts
) -> None:
    stream = model.stream(RATE, median=1.7, min_gap=2.0)
    latencies = [
        stream.duration - event.offset
        for samples in blocks(bursts(90), [240])
        for event in stream.push(samples).events
    ]
    assert len(latencies) > 3
    assert WINDOW < max(latencies) <= WINDOW + 1.7 / 2 + 2.0 + 0.8 + 0.05


def test_memory_does_not_grow(model: SoundVerbs[Any], bursts: Bursts) -> None:
    def held(seconds: int) -> int:
        stream = model.stream(RATE, median=1.7, min_gap=1.0)
        stream.push(bursts(1))
        tracemalloc.start()
        for _ in range(seconds):
            stream.push(bursts(1))
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return kept

    assert held(240) <= held(100) + 100_000 < 12e6


# What is reported early


def events_of(early: Provisional | None) -> list[tuple[str, float, float]]:
    assert early
    assert not any(event.final for event in early.events)
    return [(event.label, event.onset, event.offset) for event in early.events]


@pytest.mark.parametrize("options", [{}, {"median": 1.7}, {"min_gap": 1.0, "min_duration": 1.6}])
def test_what_is_reported_early_is_what_closing_would_give(
    model: SoundVerbs[Any], options: Any, bursts: Bursts
) -> None:
    samples = bursts(23)
    stream = model.stream(RATE, latency=1.0, **options)
    n_reported = 0
    for index, block in enumerate(blocks(samples, [9_999])):
        early = stream.push(block).provisional
        if early is None or index % 4:
            continue
        n_samples = round(early.time * RATE)
        cut = model.stream(RATE, **options)
        cut.push(samples[:n_samples])
        cut.close()
        assert events_of(early) == [(e.label, e.onset, e.offset) for e in cut.rest.events]
        n_reported += len(early.events)
        whole = model.tag(samples[:n_samples][-10 * RATE :], RATE)
        if n_samples <= 10 * RATE:
            assert early.tags
            np.testing.assert_allclose(early.tags.values, whole.values, atol=1e-6)
    assert n_reported > 10


@pytest.mark.parametrize("rate", [8_000, RATE, 44_100])
def test_every_event_is_reported_within_a_second_of_its_onset(
    model: SoundVerbs[Any], rate: int, bursts: Bursts
) -> None:
    stream = model.stream(rate, latency=1.0)
    first_reported: dict[tuple[str, float], float] = {}
    final: list[Event] = []
    for block in blocks(bursts(60, rate), [rate // 50]):
        processed = stream.push(block)
        for event in processed.provisional.events if processed.provisional else ():
            first_reported.setdefault((event.label, event.onset), stream.duration)
        final += processed.events
    final += stream.close().events
    assert len(final) > 10
    late = [first_reported[e.label, e.onset] - e.onset for e in final]
    assert 0.8 <= max(late) <= 1.0
    assert all(event.final for event in final)


def test_with_one_grid_every_event_is_reported_within_a_second_of_its_onset(
    loudness: type[SoundVerbs[Any]], bursts: Bursts
) -> None:
    model = loudness(one_grid=True)  # type: ignore[call-arg]
    samples = bursts(40)
    stream = model.stream(RATE, latency=1.0)
    first_reported: dict[tuple[str, float], float] = {}
    final: list[Event] = []
    for block in blocks(samples, [RATE // 50]):
        processed = stream.push(block)
        for event in processed.provisional.events if processed.provisional else ():
            assert not event.final
            first_reported.setdefault((event.label, event.onset), stream.duration)
        final += processed.events
    before_the_end = len(final)
    final += stream.close().events
    assert before_the_end > 10
    assert_events(final, model.detect_events(samples, RATE))
    # Where windows are joined, an onset may still move by steps; the event was still reported.
    for event in final:
        reported = [
            time - event.onset
            for (label, onset), time in first_reported.items()
            if label == event.label and abs(onset - event.onset) <= 2 * model.spec.step + 1e-6
        ]
        assert reported, event
        assert min(reported) <= 1.0


def test_what_was_reported_early_is_corrected(loudness: type[SoundVerbs[Any]]) -> None:
    samples = np.zeros(20 * RATE, np.float32)
    samples[5 * RATE : 8 * RATE] = np.random.default_rng(0).standard_normal(3 * RATE) * 0.5
    stream = loudness().stream(RATE, latency=1.0)
    updates = [stream.push(block) for block in blocks(samples, [RATE // 10])]
    reported = [
        event.offset
        for update in updates
        for event in (update.provisional.events if update.provisional else ())
        if event.label == "low"
    ]
    final = [event for update in updates for event in update.events if event.label == "low"]
    assert reported[0] < 6.5  # it was under way
    under_way = [
        any(event.label == "low" for event in update.provisional.under_way)
        for update in updates
        if update.provisional
    ]
    first = under_way.index(True)
    assert under_way[first:].index(False) > 10
    assert not any(under_way[first + under_way[first:].index(False) :])
    assert [(event.onset, event.offset) for event in final] == [(4.8, 8.0)]


def test_nobody_looks_more_often_than_needed(model: SoundVerbs[Any], bursts: Bursts) -> None:
    samples = bursts(20)
    assert not any(model.stream(RATE).push(block).provisional for block in blocks(samples, [480]))
    looks = [
        model_stream.push(block).provisional is not None
        for model_stream in [model.stream(RATE, latency=1.88)]
        for block in blocks(samples, [480])
    ]
    assert sum(looks) == 19  # the first after 1.8 s
    assert looks.index(True) * 480 / RATE == pytest.approx(1.8, abs=0.05)


def test_tasks_that_a_model_lacks_are_not_reported_early(
    bursts: Bursts, loudness: type[SoundVerbs[Any]]
) -> None:
    early = loudness(tasks=("scene",)).stream(RATE, latency=1.0).push(bursts(12)).provisional
    assert early
    assert early.scene
    assert (early.tags, early.events) == (None, ())


# Faults


def test_silence_is_answered(model: SoundVerbs[Any]) -> None:
    processed = processed_in(model.stream(RATE), np.zeros(12 * RATE), [RATE])
    assert all(np.isfinite(scene.values).all() for scene in processed.scenes)
    assert {event.label for event in processed.events} == {"high"}


def test_a_block_that_cannot_be_used_changes_nothing(
    model: SoundVerbs[Any], bursts: Bursts
) -> None:
    samples = bursts(13)
    expected = processed_in(model.stream(RATE), samples, [30_000])
    stream = model.stream(RATE)
    processed = StreamUpdate()
    for block in blocks(samples, [30_000]):
        processed += stream.push(block)
        bad = block.copy()
        bad[10] = np.nan
        at = (stream._n_samples + 10) / RATE
        with pytest.raises(AudioError, match=rf"<stream> holds 1 NaN .* at {at:.3f} s"):
            stream.push(bad)
        with pytest.raises(AudioError, match="2 channels, where those before had 1"):
            stream.push(np.stack([block, block]))
        with pytest.raises(AudioError, match="int64 has no PCM full scale"):
            stream.push(np.zeros(10, np.int64))
        with pytest.raises(AudioError, match="list is not a block of samples"):
            stream.push([0.1])  # type: ignore[arg-type]
    assert processed + stream.close() == processed + stream.rest
    assert_events((processed + stream.rest).events, sorted(expected.events, key=lambda e: e.onset))


def test_nothing_gives_nothing(model: SoundVerbs[Any]) -> None:
    stream = model.stream(RATE)
    assert not stream.push(np.zeros(0))
    assert not stream.close()
    with pytest.raises(AudioError, match="0 channels"):
        model.stream(RATE).push(np.zeros((0, 5)))


def test_a_closed_stream_refuses_more(model: SoundVerbs[Any], bursts: Bursts) -> None:
    with model.stream(RATE) as stream:
        stream.push(bursts(3))
    assert stream.rest.events
    assert not stream.close()
    with pytest.raises(ValueError, match=r"closed\. Open another one: model\.stream"):
        stream.push(bursts(1))


def test_a_fault_in_the_network_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch, bursts: Bursts, loudness: type[SoundVerbs[Any]]
) -> None:
    model = loudness()
    stream = model.stream(RATE)

    def fail(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(stream._decoder, "_infer", fail)
    with pytest.raises(MemoryError), stream:
        stream.push(bursts(11))
    assert not stream.rest
    with pytest.raises(ValueError, match="closed"):
        stream.push(bursts(1))


@pytest.mark.parametrize(
    ("rate", "options", "message"),
    [
        (999, {}, "999 Hz"),
        (RATE, {"hop": 1.0}, "hop=1.0"),
        (RATE, {"median": -1.0}, "median=-1.0"),
        (RATE, {"latency": 0.8}, "latency=0.8 .* more than 0.88 s"),
        (RATE, {"threshold": {"lwo": 0.5}}, "Did you mean 'low'"),
    ],
)
def test_options_that_make_no_sense(
    model: SoundVerbs[Any], rate: int, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.stream(rate, **options)


def test_tasks_that_a_model_lacks_are_not_answered(
    bursts: Bursts, loudness: type[SoundVerbs[Any]]
) -> None:
    model = loudness(tasks=("tag",))
    processed = processed_in(model.stream(RATE), bursts(12), [RATE])
    assert (processed.scenes, processed.events, len(processed.tags)) == ((), (), 1)
    with pytest.raises(TaskNotAvailableError):
        model.classify_scene(bursts(1), RATE)


def test_many_streams_share_a_model(tiny_model: SoundModel, bursts: Bursts) -> None:
    recordings = [bursts(11.5, seed=seed) for seed in range(4)]
    alone = [processed_in(tiny_model.stream(RATE, threshold=0.0), r, [60_000]) for r in recordings]
    together: dict[int, StreamUpdate] = {}

    def process(index: int) -> None:
        stream = tiny_model.stream(RATE, threshold=0.0)
        together[index] = processed_in(stream, recordings[index], [60_000])

    threads = [threading.Thread(target=process, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(alone):
        for found, of_one in zip(together[index].scenes, expected.scenes, strict=True):
            np.testing.assert_allclose(found.values, of_one.values, atol=1e-5)
        assert [e.label for e in together[index].events] == [e.label for e in expected.events]
