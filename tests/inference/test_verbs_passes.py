"""What the network runs, and the same answer however that is arranged."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dcasenet import (
    Analysis,
    SoundModel,
)

RATE = 24_000
Noise = Callable[..., np.ndarray]
WriteWav = Callable[..., Path]


def assert_same(one: Analysis, two: Analysis, atol: float = 1e-5) -> None:
    for mine, other in (
        (one.scene.windows, two.scene.windows),
        (one.scene.values, two.scene.values),
        (one.tags.values, two.tags.values),
        (one.events.probabilities, two.events.probabilities),
    ):
        np.testing.assert_allclose(mine, other, atol=atol)


class Counting(SoundModel):
    """A model that notes what its network runs."""

    def __init__(self, model: SoundModel) -> None:
        super().__init__(model.spec, model.frontend, model.network)
        self.calls: list[tuple[tuple[int, ...], tuple[str, ...]]] = []

    def infer(self, waveforms, tasks, backbone="tag"):  # type: ignore[no-untyped-def]
        self.calls.append((waveforms.shape, tuple(tasks)))
        return super().infer(waveforms, tasks, backbone)


def test_events_up_to_the_window_are_one_pass(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(61 * RATE)
    counting = Counting(tiny_model)
    counting.detect_events(waveform[: 60 * RATE], RATE)
    assert [shape for shape, _ in counting.calls] == [(1, 60 * RATE)]
    counting.calls.clear()
    events = counting.detect_events(waveform, RATE)
    lengths = sorted(shape[1] for shape, _ in counting.calls for _ in range(shape[0]))
    assert lengths == [round(59.4 * RATE), 60 * RATE]  # from 1.6 s on at most 60 s remain
    assert events.probabilities.shape == (610, 3)


@pytest.mark.parametrize("seconds", [0.01, 3, 12, 65])
def test_analyze_equals_the_verbs(tiny_model: SoundModel, noise: Noise, seconds: float) -> None:
    waveform = noise(round(seconds * RATE))
    together = tiny_model.analyze(waveform, RATE)
    apart = Analysis(
        tiny_model.classify_scene(waveform, RATE),
        tiny_model.tag(waveform, RATE),
        tiny_model.detect_events(waveform, RATE),
        duration=seconds,
    )
    assert_same(together, apart)
    assert together.events.items == pytest.approx(apart.events.items)
    assert together.duration == pytest.approx(seconds)


def test_passes_with_the_same_input_are_made_once(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    counting.analyze(noise(4 * RATE), RATE)
    assert counting.calls == [((1, 4 * RATE), ("scene", "tag", "event"))]
    counting.calls.clear()
    counting.analyze(noise(10 * RATE), RATE)
    assert sorted(counting.calls) == [
        ((1, 10 * RATE), ("tag", "event")),
        ((3, 120_001), ("scene",)),
    ]


def test_every_kind_of_input_gives_one_answer(
    tiny_model: SoundModel, noise: Noise, write_wav: WriteWav
) -> None:
    samples = noise(2 * RATE)
    path = write_wav("a.wav", samples, subtype="FLOAT")
    kinds = [
        path,
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        (samples, RATE),
        (torch.from_numpy(samples), RATE),
        (samples[None], RATE),
        (samples.astype(np.float64), RATE),
    ]
    expected = tiny_model.analyze(samples, sample_rate=RATE)
    for kind in kinds:
        assert_same(tiny_model.analyze(kind), expected)
    with path.open("rb") as file:
        assert_same(tiny_model.analyze(file), expected)
    assert_same(tiny_model.analyze(samples[:, None], RATE, channels_last=True), expected)


def mixed_lengths(noise: Noise) -> list[np.ndarray]:
    seconds: Sequence[float] = (0.02, 1, 1, 4.9, 12, 12, 33, 62)
    return [noise(round(s * RATE), seed) for seed, s in enumerate(seconds)]


def test_batch_equals_singles(tiny_model: SoundModel, noise: Noise) -> None:
    waveforms = mixed_lengths(noise)
    for together, waveform in zip(tiny_model.analyze(waveforms, RATE), waveforms, strict=True):
        assert_same(together, tiny_model.analyze(waveform, RATE))


def test_equal_lengths_share_a_batch(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    counting.tag([noise(RATE, seed) for seed in range(5)], RATE)
    assert [shape for shape, _ in counting.calls] == [(5, RATE)]


def test_no_batch_is_longer_than_a_minute(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    counting.tag([noise(25 * RATE, seed) for seed in range(5)], RATE)
    assert sorted(shape[0] for shape, _ in counting.calls) == [1, 2, 2]


def test_many_channels_share_batches_of_a_minute(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    channels = np.stack([noise(20 * RATE, seed) for seed in range(7)])
    counting.detect_events(channels, RATE, channels="each")
    assert [shape[0] for shape, _ in counting.calls] == [3, 3, 1]


def test_sixteen_threads_get_the_serial_answers(tiny_model: SoundModel, noise: Noise) -> None:
    waveforms = [noise(3 * RATE + 1_000 * i, i) for i in range(16)]
    serial = [tiny_model.analyze(waveform, RATE) for waveform in waveforms]
    answers: dict[int, Analysis] = {}
    barrier = threading.Barrier(16)

    def infer(index: int) -> None:
        barrier.wait()
        answers[index] = tiny_model.analyze(waveforms[index], RATE)

    threads = [threading.Thread(target=infer, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(serial):
        assert_same(answers[index], expected)
