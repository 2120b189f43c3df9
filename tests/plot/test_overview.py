"""What is drawn of a recording does not depend on how it was read, and says what there is."""

from __future__ import annotations

import numpy as np
import pytest

from dcasenet.plot.overview import DYNAMIC_RANGE, N_FFT, mel_filters, overview

RATE = 24_000


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(7 * RATE + 123) * 0.1).astype(np.float32)


@pytest.mark.parametrize("pieces", [2, 7, 977, 3_000])
@pytest.mark.parametrize("columns", [60, 1_000])
def test_pieces_make_no_difference(sound: np.ndarray, pieces: int, columns: int) -> None:
    duration = len(sound) / RATE
    whole = overview([sound], RATE, duration, columns)
    cut = overview(np.array_split(sound, pieces), RATE, duration, columns)
    np.testing.assert_allclose(cut.mel_db, whole.mel_db, atol=1e-4)
    np.testing.assert_array_equal(cut.envelope, whole.envelope)


def test_envelope_is_the_extremes_of_each_column(sound: np.ndarray) -> None:
    seen = overview([sound[: 6 * RATE]], RATE, 6.0, 60)
    columns = sound[: 6 * RATE].reshape(4 * 60, -1)
    np.testing.assert_array_equal(seen.envelope[:, 0], columns.min(axis=1))
    np.testing.assert_array_equal(seen.envelope[:, 1], columns.max(axis=1))


@pytest.mark.parametrize("hertz", [100, 440, 1_000, 5_000, 11_000])
def test_a_tone_is_at_its_frequency_and_time(hertz: int) -> None:
    tone = np.zeros(4 * RATE, np.float32)
    tone[RATE : 2 * RATE] = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)
    seen = overview([tone], RATE, 4.0, 80)
    band = int(seen.mel_db.max(axis=1).argmax())
    nearest = int(np.abs(seen.frequencies - hertz).argmin())
    assert abs(band - nearest) <= 1
    loud = np.flatnonzero(seen.mel_db[band] > -6)
    assert (loud[0], loud[-1]) == (20, 39)


def test_levels_are_relative_to_the_loudest(sound: np.ndarray) -> None:
    half = sound.copy()
    half[len(half) // 2 :] *= 0.01  # 40 dB
    seen = overview([half], RATE, len(half) / RATE, 100)
    assert seen.mel_db.max() == 0.0
    assert seen.mel_db.min() >= -DYNAMIC_RANGE
    difference = seen.mel_db[:, 10:40].mean() - seen.mel_db[:, 60:90].mean()
    assert difference == pytest.approx(40, abs=1)


@pytest.mark.parametrize("n_samples", [1, 2, 255, 256, 257, 1_025])
def test_the_shortest(sound: np.ndarray, n_samples: int) -> None:
    seen = overview([sound[:n_samples]], RATE, n_samples / RATE, 1_000)
    assert np.isfinite(seen.mel_db).all()
    assert len(seen.envelope) == n_samples
    assert seen.envelope.min() == sound[:n_samples].min()


def test_silence_is_dark() -> None:
    seen = overview([np.zeros(RATE, np.float32)], RATE, 1.0, 100)
    assert (seen.mel_db == -DYNAMIC_RANGE).all()
    assert (seen.envelope == 0).all()


def test_a_duration_that_is_a_little_off(sound: np.ndarray) -> None:
    for duration in (len(sound) / RATE - 0.01, len(sound) / RATE + 0.01):
        seen = overview([sound], RATE, duration, 100)
        assert seen.mel_db.shape == (64, 100)
        assert np.isfinite(seen.mel_db).all()


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_every_band_sees_something(rate: int) -> None:
    filters = mel_filters(rate)
    assert filters.shape == (N_FFT // 2 + 1, 64)
    np.testing.assert_allclose(filters.sum(axis=0), 1.0)
