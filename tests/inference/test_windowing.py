from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcasenet.inference import windowing
from dcasenet.inference.windowing import (
    LEVEL_SECONDS,
    Chunk,
    Grid,
    OverlapAdd,
    TimeAxis,
    event_grid,
    grid_of,
    level_of,
    placed,
    released_windows,
    sliding_windows,
    trim,
)
from dcasenet.spec import ModelSpec

RATE = 24_000
JOINT = ModelSpec("v3", "joint")
AXIS = TimeAxis.of(JOINT)
LENGTHS = st.integers(1, 200 * RATE)


def test_scene_of_ten_seconds_is_the_authors_three_crops() -> None:
    # Of 239,999 pre-emphasised samples: [:120000], [60000:180000], [-120000:].
    assert released_windows("scene", 240_000, RATE) == [
        (0, 120_001),
        (60_000, 180_001),
        (119_999, 240_000),
    ]


@given(LENGTHS)
def test_scene_windows(n: int) -> None:
    windows = released_windows("scene", n, RATE)
    assert windows[0][0] == 0
    assert windows[-1][1] == n
    if n <= 120_001:
        assert windows == [(0, n)]
    else:
        assert {stop - start for start, stop in windows} == {120_001}
        starts = [start for start, _ in windows]
        assert all(start % 60_000 == 0 for start in starts[:-1])
        assert all(0 < b - a <= 60_000 for a, b in itertools.pairwise(starts))


@given(LENGTHS)
def test_tag_windows(n: int) -> None:
    windows = released_windows("tag", n, RATE)
    assert windows[-1][1] == n
    if n <= 30 * RATE:
        assert windows == [(0, n)]
    else:
        assert {stop - start for start, stop in windows} == {30 * RATE}
        assert [start for start, _ in windows[:-1]] == [
            30 * RATE * i for i in range(len(windows) - 1)
        ]
        assert windows[-2][1] < n


@given(LENGTHS, st.integers(1, 30 * RATE), st.sampled_from([(60.0, 48.0), (10.0, 2.4), (0.8, 0.8)]))
def test_all_windows_but_the_last_are_certain_whatever_follows(
    n: int, more: int, window_and_hop: tuple[float, float]
) -> None:
    for grid in (
        grid_of(JOINT, "scene"),
        grid_of(JOINT, "tag"),
        event_grid(JOINT, *window_and_hop),
    ):
        certain, whole = grid.windows(n)[:-1], grid.windows(n + more)
        assert whole[: len(certain)] == certain
        assert grid.windows(n + more, first=len(certain)) == whole[len(certain) :]
        assert whole[-1][0] >= grid.last(n)
        assert len(certain) == len(whole) or whole[len(certain)][0] >= grid.last(n)


@given(LENGTHS, st.sampled_from([(60.0, 48.0), (10.0, 2.4), (9.6, 9.6), (0.8, 0.8)]))
def test_event_windows(n: int, window_and_hop: tuple[float, float]) -> None:
    window, hop = window_and_hop
    windows = event_grid(JOINT, window, hop).windows(n)
    if n <= window * RATE:
        assert windows == [(0, n)]
        return
    assert all(start % 19_200 == 0 for start, _ in windows)
    last_start, last_stop = windows[-1]
    assert last_stop == n
    assert last_stop - last_start <= window * RATE < last_stop - (last_start - 19_200)
    assert [start for start, _ in windows[:-1]] == [
        round(hop * RATE) * i for i in range(len(windows) - 1)
    ]
    covered = 0
    for start, stop in windows[:-1]:
        assert start <= covered
        covered = start + (stop - start) // 19_200 * 19_200
    assert last_start <= covered


@pytest.mark.parametrize(
    ("window", "hop", "message"),
    [
        (0.5, 0.8, r"window=0.5 is out of range"),
        (10.0, 1.0, r"hop=1.0 does not fit.*0.8 to 9.6"),
        (10.0, 0.0, r"hop=0.0 does not fit"),
        (10.0, 10.4, r"hop=10.4 does not fit"),
        (float("nan"), 0.8, r"window=nan"),
        (float("inf"), 48.0, r"window=inf"),
        (30.0, 48.0, r"hop=48.0 does not fit.*give a hop that is"),
    ],
)
def test_windows_that_do_not_work_are_refused(window: float, hop: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        event_grid(JOINT, window, hop)


def joined(parts: list[np.ndarray], firsts: list[int], *, at_once: bool) -> np.ndarray:
    """The joined steps, taken at the end or as soon as they are final."""
    overlap_add, taken = OverlapAdd(), []
    for part, first in zip(parts, firsts, strict=True):
        if not at_once:
            taken.append(overlap_add.take(before=first))
        overlap_add.add(first, part)
    taken.append(overlap_add.take())
    return np.concatenate([steps for steps in taken if len(steps)])


@pytest.mark.parametrize("at_once", [True, False])
@given(
    st.integers(1, 40),
    st.integers(2, 12),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_join_gives_back_what_was_cut(
    at_once: bool, n_steps: int, size: int, hop: int, seed: int
) -> None:
    whole = np.random.default_rng(seed).random((n_steps, 3), dtype=np.float32)
    hop = min(hop, size)
    last = max(0, n_steps - size)
    firsts = sorted({*range(0, last, hop), last})
    parts = [whole[first : first + size] for first in firsts]
    np.testing.assert_allclose(joined(parts, firsts, at_once=at_once), whole, atol=1e-6)


def test_overlaps_fade_from_one_window_to_the_next() -> None:
    early, late = np.zeros((6, 1), np.float32), np.ones((6, 1), np.float32)
    whole = joined([early, late], [0, 3], at_once=False)[:, 0]
    np.testing.assert_allclose(whole, [0, 0, 0, 1 / 6, 1 / 2, 5 / 6, 1, 1, 1], atol=1e-6)


def test_rows_repeat_each_step_eight_times_and_the_tail_takes_the_last() -> None:
    steps = np.array([[1.0], [2.0]], dtype=np.float32)
    assert AXIS.rows(steps, 21)[:, 0].tolist() == [1.0] * 8 + [2.0] * 13
    assert AXIS.rows(steps[:1], 3)[:, 0].tolist() == [1.0] * 3


def in_silence(n_before: int, n_after: int, n: int = 4 * RATE) -> np.ndarray:
    sound = np.random.default_rng(0).standard_normal((1, n)).astype(np.float32)
    return np.pad(sound, ((0, 0), (n_before, n_after)))


def cut(waveforms: np.ndarray, grid: Grid, block: int = 5_000) -> list[Chunk]:
    blocks = np.split(waveforms, range(block, waveforms.shape[1], block), axis=1)
    return list(sliding_windows(blocks, {"tag": grid}))


TRIMMED = Grid(size=10 * RATE, hop=9 * RATE, step=RATE // 4, shortest=5 * RATE)


@pytest.mark.parametrize("gain", [1e-3, 1.0])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_silence_around_a_sound_changes_nothing(gain: float, offset: float) -> None:
    (alone,) = cut(gain * in_silence(0, 0) + offset, TRIMMED)
    for before, after in ((3, 0), (0, 4), (2, 3)):
        padded = gain * in_silence(before * RATE, after * RATE) + offset
        (chunk,) = cut(padded.astype(np.float32), TRIMMED)
        assert chunk.window == (0, (4 + before + after) * RATE)
        assert chunk.active == (before * RATE, (before + 4) * RATE)
        np.testing.assert_allclose(chunk.waveforms, alone.waveforms, atol=1e-6)


def test_silence_inside_stays() -> None:
    sound = in_silence(0, 0, RATE)
    (chunk,) = cut(np.concatenate((sound, np.zeros_like(sound), sound), axis=1), TRIMMED)
    assert chunk.active == (0, 3 * RATE)


@pytest.mark.parametrize("before", [0, 8, 9, 9.5, 12, 18.5])
def test_a_window_that_its_neighbor_has_all_of_is_left_out(before: float) -> None:
    chunks = cut(in_silence(round(before * RATE), 20 * RATE, n=RATE // 2), TRIMMED)
    sounding = [chunk for chunk in chunks if chunk.waveforms.any()]
    assert [chunk.active for chunk in sounding] == [(before * RATE, (before + 0.5) * RATE)]


def test_all_of_a_silent_recording_is_read() -> None:
    chunks = cut(np.zeros((1, 30 * RATE), np.float32), TRIMMED)
    assert [chunk.active for chunk in chunks] == TRIMMED.windows(30 * RATE)


def test_released_windows_are_not_trimmed() -> None:
    (chunk,) = cut(in_silence(RATE, RATE), grid_of(JOINT, "tag"))
    assert chunk.active == chunk.window == (0, 6 * RATE)


def test_a_window_is_trimmed_once_for_all_outputs_of_a_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trimmed: list[int] = []

    def counted(waveforms: np.ndarray, step: int) -> tuple[int, int]:
        trimmed.append(step)
        return trim(waveforms, step)

    monkeypatch.setattr(windowing, "trim", counted)
    # The last output has another grid, and windows of its own.
    grids = {**dict.fromkeys(("scene", "tag", "event"), TRIMMED), "embedding": Grid(5, 5, 1, 1)}
    (one, other) = sliding_windows([in_silence(0, 0, 5)], grids)
    assert (one.outputs, other.outputs) == ({"scene", "tag", "event"}, {"embedding"})
    assert trimmed == [TRIMMED.step, 1]


@pytest.mark.parametrize("shape", [(1, 100), (1, 50_001), (2, 50_001)])
def test_the_level_is_that_of_the_loudest_moment_to_the_last_bit(shape: tuple[int, int]) -> None:
    waveforms = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 1
    given = waveforms.copy()
    size = min(round(LEVEL_SECONDS * RATE), shape[1])
    centered = waveforms - waveforms.mean(axis=1, keepdims=True)
    powers = [
        np.square(part).mean(axis=1).max()
        for part in np.split(centered, range(size, shape[1], size), axis=1)
        if part.shape[1] == size
    ]
    assert level_of(waveforms, RATE) == round(10 * float(np.log10(max(powers))), 3)
    np.testing.assert_array_equal(waveforms, given)


def test_steps_of_silence_are_zero_wherever_the_windows_end() -> None:
    joined = OverlapAdd()
    joined.add(0, placed(np.ones((20, 1), np.float32), (0, 100), (20, 50), 10))
    rows = TimeAxis(sample_rate=10, step_samples=10, rows_per_step=2).rows(joined.take(), 40)
    assert rows[:, 0].tolist() == 4 * [0.0] + 6 * [1.0] + 30 * [0.0]
