from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcasenet.audio.resample import resample
from tests.parity.golden import clips

Method = Literal["soxr", "sinc"]
METHODS: tuple[Method, ...] = ("soxr", "sinc")


def tone(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * frequency * time).astype(np.float32)


def amplitude(samples: np.ndarray) -> float:
    """Amplitude of a steady tone, away from the edges."""
    edge = len(samples) // 10
    return float(np.sqrt(2 * np.mean(np.square(samples[edge:-edge], dtype=np.float64))))


def test_sinc_gives_the_numbers_of_the_authors_resampler() -> None:
    k = np.arange(44_100)
    samples = ((k * 7919) % 2003 / 2003 - 0.5).astype(np.float32)
    output = resample(samples, 44_100, 24_000, "sinc")
    expected = [-0.1607494, 0.4415384, 0.1790666, 0.0012030]
    np.testing.assert_allclose(output[[0, 1, 1000, 23_999]], expected, atol=1e-6)


@pytest.mark.parametrize("clip", clips("native"))
def test_sinc_gives_the_waveforms_the_authors_network_read(
    clip: str, golden: dict[str, np.ndarray]
) -> None:
    native, rate = golden[f"{clip}/native"], int(golden[f"{clip}/native_rate"])
    expected = golden[f"{clip}/wave24k"]
    output = resample(native, rate, 24_000, "sinc")
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() < 1e-5


@pytest.mark.parametrize("rates", [(44_100, 24_000), (44_101, 24_000), (8000, 11_025), (3, 2)])
def test_sinc_equals_the_formula_written_out(rates: tuple[int, int]) -> None:
    source, target = rates
    samples = np.random.default_rng(0).uniform(-1, 1, 300).astype(np.float32)
    output = resample(samples, source, target, "sinc")
    base = 0.99 * min(source, target) / source  # cut-off over the input's Nyquist frequency
    position = np.arange(len(output))[:, None] * source / target
    time = np.clip((np.arange(300) - position) * base, -6, 6)
    expected = (np.sinc(time) * np.cos(np.pi * time / 12) ** 2 * base) @ samples
    np.testing.assert_allclose(output, expected, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_and_expected", [(441_000, 240_000), (13_231, 7201), (1, 1)])
def test_lengths_of_the_authors_clips(method: Method, n_and_expected: tuple[int, int]) -> None:
    n, expected = n_and_expected
    assert resample(np.ones(n, np.float32), 44_100, 24_000, method).shape == (expected,)


@given(
    n=st.integers(1, 2000),
    source=st.integers(1000, 384_000),
    target=st.one_of(st.integers(1000, 48_000), st.sampled_from([24_000, 384_000])),
    method=st.sampled_from(METHODS),
)
@settings(max_examples=50, deadline=None)
def test_any_rates_give_the_ceiling_of_the_length(
    n: int, source: int, target: int, method: Method
) -> None:
    output = resample(np.ones((2, n), np.float32), source, target, method)
    assert output.shape == (2, -(-n * target // source))
    assert output.dtype == np.float32
    assert np.isfinite(output).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", [8000, 16_000, 22_050, 44_100, 44_101, 48_000, 192_000])
def test_a_tone_under_the_cut_off_survives(method: Method, source: int) -> None:
    frequency = 0.7 * min(source, 24_000) / 2
    output = resample(tone(frequency, source), source, 24_000, method)
    assert amplitude(output) == pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(output[2000:-2000], tone(frequency, 24_000)[2000:-2000], atol=0.01)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", [44_100, 44_101, 48_000, 192_000, 384_000])
def test_a_tone_above_the_new_nyquist_frequency_dies(method: Method, source: int) -> None:
    output = resample(tone(15_500, source), source, 24_000, method)
    assert amplitude(output) < {"soxr": 1e-4, "sinc": 0.01}[method]


@pytest.mark.parametrize("method", METHODS)
def test_leading_axes_are_resampled_row_by_row(method: Method) -> None:
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((2, 3, 5000)).astype(np.float32)
    output = resample(samples, 44_100, 24_000, method)
    for row, expected in zip(output.reshape(6, -1), samples.reshape(6, -1), strict=True):
        np.testing.assert_allclose(row, resample(expected, 44_100, 24_000, method), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_resampling_is_linear(method: Method) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 3000)).astype(np.float32)
    both = resample(2 * a - b, 48_000, 24_000, method)
    apart = 2 * resample(a, 48_000, 24_000, method) - resample(b, 48_000, 24_000, method)
    np.testing.assert_allclose(both, apart, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_input_is_not_modified_and_need_not_be_contiguous(method: Method) -> None:
    frames = np.random.default_rng(3).standard_normal((4000, 2)).astype(np.float32)
    frames.setflags(write=False)
    output = resample(frames.T, 44_100, 24_000, method)
    np.testing.assert_array_equal(
        output, resample(np.ascontiguousarray(frames.T), 44_100, 24_000, method)
    )
    assert output.flags.c_contiguous


def test_equal_rates_give_the_input_itself() -> None:
    samples = np.ones((1, 10), np.float32)
    assert resample(samples, 24_000, 24_000, "sinc") is samples


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'linear'\. Choose one of 'soxr', 'sinc'"):
        resample(np.ones(10, np.float32), 44_100, 24_000, "linear")  # type: ignore[arg-type]
