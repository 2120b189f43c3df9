"""Audio that cannot be used is refused in one sentence or three."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from dcasenet.audio.io import read
from dcasenet.errors import AudioError

RATE = 8000
RAMP = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)


def wav(samples: NDArray[Any] = RAMP, rate: int = RATE, subtype: str = "FLOAT") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype=subtype)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0), r"<array> is empty: 1 channel\(s\) of 0 samples\. Give at least one"),
        (np.zeros((2, 0)), r"<array> is empty: 2 channel\(s\) of 0 samples"),
        (np.zeros((0, 5)), "<array> is empty"),
        (np.float32(0.5), r"shape is \(\)\. Accepted are \(samples,\)"),
        (np.zeros((1, 2, 3)), r"shape is \(1, 2, 3\)\. Accepted .* several clips as a list"),
        (np.zeros((8000, 2)), r"8,000 channels of 2 samples.*at most 64.*channels_last=True\."),
        (np.zeros((65, 100)), r"65 channels of 100 samples\. Accepted are at most 64 channels\.$"),
        (np.zeros(5, np.int64), r"int64 has no PCM full scale\. Cast .*np\.int16.*floats in"),
        (np.zeros(5, np.uint64), "uint64 has no PCM full scale"),
        (np.zeros(5, bool), r"type bool is not audio\. Accepted are floats and integers of"),
        (np.zeros(5, complex), "type complex128 is not audio"),
        (np.array([0.5, None]), "type object is not audio"),
        (np.array(["a.wav", "b.wav"]), r"An array of 2 paths is not a single audio.*list\(paths\)"),
        (np.array([Path("a.wav")]), "An array of 1 paths is not a single audio input"),
        (np.array(["a.wav"])[:0], "type <U5 is not audio"),
        (np.full(3, np.longdouble("1e400")), "holds 0 NaN and 3 infinite values"),
        (np.ma.masked_array(RAMP, RAMP > 0.25), r"2,000 masked samples.*audio\.filled\(0\)"),
        (np.array([0, 1e300]), r"peak of 1e\+300 where full scale is 1\. Accepted .*up to 1e\+12"),
        (np.array([0, -1e13], np.float32), r"peak of 1e\+13"),
        (torch.zeros(5, dtype=torch.int64), "int64 has no PCM full scale"),
        (torch.zeros(5, dtype=torch.bool), "type bool is not audio"),
        (torch.zeros(5, dtype=torch.complex64), "type complex64 is not audio"),
        (torch.zeros(5).to_sparse(), r"torch.float32 tensor of shape \(5,\) does not convert"),
        (torch.zeros(5, device="meta"), "does not convert to NumPy.*ordinary float32 tensor"),
    ],
    ids=str,
)
def test_arrays_that_are_not_audio_are_refused(array: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        read(array, RATE)
    assert "\n" not in str(caught.value)


def test_the_channel_hint_goes_both_ways() -> None:
    with pytest.raises(AudioError, match=r"100 channels of 2 samples.*channels_last=False\."):
        read(np.zeros((2, 100)), RATE, channels_last=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_is_refused_with_the_second(dtype: Any) -> None:
    stereo = np.zeros((2, RATE), dtype)
    stereo[1, 6000:6002] = np.nan
    message = r"<array> holds 2 NaN and 0 infinite values, the first at 0\.750 s\. Only finite"
    with pytest.raises(AudioError, match=message):
        read(stereo, RATE)
    stereo[0, [4000, 5000, 7000]] = np.inf, -np.inf, np.inf
    with pytest.raises(AudioError, match=r"2 NaN and 3 infinite values, the first at 0\.500 s"):
        read(stereo, RATE)
    with pytest.raises(AudioError, match=r"0 NaN and 1 infinite values, the first at 0\.000 s"):
        read(np.array([-np.inf], dtype), RATE)
    with pytest.raises(AudioError, match=r"<bytes> holds 2 NaN and 3 infinite values"):
        read(wav(stereo.T.astype(np.float64)))


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (None, r"An array has no sample rate of its own\. Pass it in Hz, for example sample_rate="),
        (999, r"<array> has a sample rate of 999 Hz\. Accepted are 1,000 to 384,000 Hz"),
        (384_001, "sample rate of 384,001 Hz"),
        (0, "sample rate of 0 Hz"),
        (-44_100, "sample rate of -44,100 Hz"),
        (True, "The sample rate is True"),
        pytest.param(10**5000, "an integer of more than 64 bits'. Accepted is", id="huge"),
        (torch.zeros((), device="meta"), "The sample rate is tensor"),
        (44_100.5, r"The sample rate is 44100\.5\. Accepted is a whole number of Hz, 1,000 to 384"),
        (float("nan"), "The sample rate is nan"),
        (float("inf"), "The sample rate is inf"),
        ("44100", "The sample rate is '44100'"),
        (np.array([44_100]), r"The sample rate is array\(\[44100\]\)"),
        (44_100j, "The sample rate is 44100j"),
    ],
)
def test_rates_out_of_range_are_refused(rate: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read(RAMP, rate)


def test_rates_of_files_are_checked_too() -> None:
    with pytest.raises(AudioError, match=r"<bytes> has a sample rate of 500 Hz"):
        read(wav(rate=500))
    with pytest.raises(AudioError, match=r"<bytes> has a sample rate of 400,000 Hz"):
        read(wav(rate=400_000))


def test_two_truths_about_the_rate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav())
    for audio in (path, wav(), io.BytesIO(wav())):
        with pytest.raises(AudioError, match=r"its own sample rate, and 8000 was given .* Leave"):
            read(audio, RATE)
    with pytest.raises(AudioError, match=r"a\.wav states its own sample rate, and 8000"):
        read((path, RATE))  # type: ignore[arg-type]
    with pytest.raises(AudioError, match=r"tuple states 8,000 Hz, and sample_rate=16000 was given"):
        read((RAMP, RATE), 16_000)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (None, r"NoneType is not audio\. Accepted are a path, .* np\.asarray\."),
        (0.5, r"float is not audio"),
        ([0.1, 0.2], r"list is not audio\. .* Convert numbers with np\.asarray"),
        ({"array": RAMP}, "A dictionary with 'array' is not audio"),
        ({}, "A dictionary with nothing is not audio"),
        ({"bytes": None, "path": None}, "A dictionary with 'bytes', 'path' is not audio"),
        ({"a.wav", "b.wav"}, r"set is not a single audio input\. Pass several as list\("),
        ((path for path in ["a.wav"]), "generator is not a single audio input"),
        ("https://example.org/a.wav", r"is a URL, and nothing is downloaded\. Save the file first"),
        ("s3://bucket/a.wav", "is a URL"),
        ("\ud800.wav", "contains characters that no file name can have"),
        ({"array": RAMP, "sampling_rate": "8000"}, "The sample rate is '8000'"),
        ((RATE, RAMP), r"has the sample rate \(8000\) first\. Accepted is \(samples, sample_rate"),
        ((RAMP, RAMP), "A tuple of 2 without a sample rate is not audio"),
        ((RAMP,), "A tuple of 1 without"),
        (([0.1], RATE), "list is not audio"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(audio: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read(audio)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), r"<bytes> is empty: 1 channel\(s\) of 0 samples"),
        (np.zeros((10, 65)), r"<bytes> has 65 channels of 10 samples\. Accepted are at most 64"),
    ],
)
def test_files_are_held_to_the_same_shape(samples: NDArray[Any], message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read(wav(samples))


def test_errors_of_files_name_the_path_as_given(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("this is not audio")
    with pytest.raises(AudioError, match=r"text\.wav cannot be read as audio: .*Accepted are WAV"):
        read(path)
    with pytest.raises(AudioError, match=r"There is no file none\.wav \(looked for /"):
        read("none.wav")
    with pytest.raises(AudioError, match="is a directory"):
        read(tmp_path)
    with pytest.raises(AudioError, match="is empty"):
        read("")
