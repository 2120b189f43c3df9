"""Channels become one, or stay; what cancels is taken from the louder channel."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from dcasenet.audio.io import Reader, read
from dcasenet.audio.preprocess import Downmix, StreamedAudio, mono, prepare
from dcasenet.errors import AudioError
from dcasenet.spec import ModelSpec
from tests.fixtures.recordings import RATE, signal

SPEC = ModelSpec("v3", "mine")
LEFT = signal()
RIGHT = np.random.default_rng(1).uniform(-0.3, 0.3, len(LEFT)).astype(np.float32)


def mixed(samples: np.ndarray, size: int, channels: Any = "mix") -> np.ndarray:
    downmix = Downmix(RATE, len(samples), channels)
    parts = [
        downmix.push(samples[:, start : start + size]) for start in range(0, samples.shape[1], size)
    ]
    return np.concatenate([*parts, downmix.close()], axis=1)


@pytest.mark.parametrize("size", [777, 2_400, 50_000, len(LEFT)])
def test_channels_are_averaged_whatever_the_blocks(size: int) -> None:
    stereo = np.stack([LEFT, RIGHT])
    np.testing.assert_array_equal(mixed(stereo, size)[0], stereo.mean(axis=0))


def test_channels_stay_or_one_is_chosen() -> None:
    stereo = np.stack([LEFT, RIGHT])
    np.testing.assert_array_equal(mixed(stereo, 1_000, "each"), stereo)
    np.testing.assert_array_equal(mixed(stereo, 1_000, 0)[0], LEFT)
    np.testing.assert_array_equal(mixed(stereo, 1_000, np.int64(1))[0], RIGHT)
    with pytest.raises(AudioError, match=r"has 2 channels, and channels=2 .* 0 to 1, 'mix'"):
        Downmix(RATE, 2, 2)


@pytest.mark.parametrize("size", [777, 2_400, len(LEFT)])
@pytest.mark.parametrize("gain", [-1.0, -0.9])
def test_what_cancels_is_taken_from_the_louder_channel(gain: float, size: int) -> None:
    out = mixed(np.stack([LEFT, gain * LEFT]).astype(np.float32), size)[0]
    np.testing.assert_array_equal(out, LEFT)
    quiet = np.stack([LEFT, -0.1 * LEFT, -2.9 * LEFT, 2 * LEFT]).astype(np.float32)
    np.testing.assert_array_equal(mixed(quiet, size)[0], quiet[2])


def test_only_the_part_that_cancels_is_taken_otherwise() -> None:
    half = len(LEFT) // 2
    right = np.concatenate((LEFT[:half], -LEFT[half:]))
    stereo = np.stack([LEFT, right])
    downmix = Downmix(RATE, 2)
    out = np.concatenate([downmix.push(stereo), downmix.close()], axis=1)[0]
    np.testing.assert_allclose(out, LEFT, atol=1e-6)
    (finding,) = downmix.findings("a.wav")
    assert finding.kind == "antiphase"
    assert "in 2.5 of 5.0 s; the louder one is used there" in finding.message


def test_silence_does_not_cancel() -> None:
    downmix = Downmix(RATE, 2)
    downmix.push(np.zeros((2, RATE), np.float32))
    downmix.close()
    assert downmix.findings("a") == []


def test_mono_is_what_a_model_gets() -> None:
    recording = read(np.stack([LEFT, -LEFT]), RATE)
    np.testing.assert_array_equal(mono(recording), LEFT)
    np.testing.assert_array_equal(mono(recording, channels=1), -LEFT)
    loaded = prepare(recording, SPEC)
    np.testing.assert_array_equal(loaded.waveforms, LEFT[None])
    assert "cancel each other" in loaded.info.warnings[0]


def test_low_rates_are_resampled_in_pieces() -> None:
    """24 times as many samples: no block is larger than from any other rate."""
    samples = np.sin(np.arange(3_000_000) / 5)
    with Reader(samples, 1_000) as reader:
        sizes = [block.size for block in StreamedAudio(reader, SPEC).blocks()]
    assert max(sizes) <= 2**20 + 24_000
    assert sum(sizes) == 72_000_000


def test_no_more_is_loaded_than_allowed() -> None:
    stream = StreamedAudio(read(LEFT, RATE), SPEC)
    assert stream.load(most=len(LEFT) - 1) is None
    loaded = StreamedAudio(read(LEFT, RATE), SPEC).load(most=len(LEFT))
    assert loaded is not None
    assert loaded.n_samples == len(LEFT)


def test_a_limit_of_duration_is_kept_before_anything_is_read() -> None:
    began = time.process_time()
    with pytest.raises(AudioError, match=r"is 27\.8 h long or longer, and the limit is 24\.0 h"):
        Reader(np.zeros(100_000_000, np.int8), 1_000, max_duration=86_400)
    assert time.process_time() - began < 1
