"""Audio that can be used: samples, rates, warnings."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from dcasenet.audio.io import Reader, Recording, is_single, read
from dcasenet.audio.libsndfile import BLOCK_VALUES
from dcasenet.audio.preprocess import mono

RATE = 8000
RAMP = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)


# What is said of any recording at this rate.
NARROW = "there is no sound above 4.0 kHz"


def wav(samples: NDArray[Any] = RAMP, rate: int = RATE, subtype: str = "FLOAT") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype=subtype)
    return stream.getvalue()


# What is answered


def test_every_kind_of_input_gives_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "ramp.wav"
    path.write_bytes(wav())
    with path.open("rb") as opened:
        recordings = {
            str(path): [read(str(path)), read(path), read(opened), read(opened)],
            "<bytes>": [read(wav())],
            "<file>": [read(io.BytesIO(wav()))],
            "<array>": [
                read(RAMP, RATE),
                read((RAMP, RATE)),
                read((RAMP, RATE), RATE),
                read(torch.from_numpy(RAMP), RATE),
                read((torch.from_numpy(RAMP), RATE)),
            ],
        }
    for source, of_source in recordings.items():
        for recording in of_source:
            np.testing.assert_array_equal(recording.samples, RAMP[None])
            assert recording.samples.dtype == np.float32
            assert (recording.sample_rate, recording.duration) == (RATE, 1.0)
            assert recording.source == source
            assert [NARROW in warning for warning in recording.warnings] == [True]


def test_files_without_a_path_are_called_file() -> None:
    with tempfile.TemporaryFile() as numbered:  # its name is a number
        numbered.write(wav())
        numbered.seek(0)
        assert read(numbered).source == "<file>"


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (np.int8, [-128, 0, 64, 127]),
        (np.int16, [-(2**15), 0, 2**14, 2**15 - 1]),
        (np.int32, [-(2**31), 0, 2**30, 2**31 - 1]),
        (np.uint8, [0, 128, 192, 255]),
        (np.uint16, [0, 2**15, 2**15 + 2**14, 2**16 - 1]),
        (np.uint32, [0, 2**31, 2**31 + 2**30, 2**32 - 1]),
        (">i2", [-(2**15), 0, 2**14, 2**15 - 1]),
    ],
)
def test_integers_are_scaled_by_their_type(dtype: Any, values: list[int]) -> None:
    array = np.array(values, dtype)
    step = 2.0 ** (1 - 8 * array.itemsize)
    recording = read(array, RATE)
    assert recording.samples[0].tolist() == [-1, 0, 0.5, np.float32(1 - step)]


def test_wide_integers_are_rounded_once() -> None:
    assert read(np.array([2**31 + 1], np.uint32), RATE).samples[0, 0] == 2.0**-31


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_integers_in_files_and_arrays_have_one_scale(subtype: str) -> None:
    values = np.array([-(2**31), -(2**24), 0, 2**24, 2**30], np.int32)
    from_file = read(wav(values, subtype=subtype)).samples
    np.testing.assert_array_equal(from_file, read(values, RATE).samples)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
def test_floats_are_taken_as_they_are(dtype: Any) -> None:
    values = np.array([-1.25, 0, 0.5], dtype)
    assert read(values, RATE).samples[0].tolist() == [-1.25, 0, 0.5]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_float_type_are_read(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.5, -0.25], [0.0, 1.0]], dtype=dtype, requires_grad=True)
    assert read(tensor, RATE).samples.tolist() == [[0.5, -0.25], [0, 1]]
    assert read(torch.tensor([-128, 64], dtype=torch.int8), RATE).samples.tolist() == [[-1, 0.5]]


def test_channels_last_turns_arrays_and_leaves_the_rest() -> None:
    stereo = np.stack([RAMP, -RAMP], axis=1)
    np.testing.assert_array_equal(read(stereo, RATE, channels_last=True).samples, stereo.T)
    np.testing.assert_array_equal(
        read(torch.from_numpy(stereo), RATE, channels_last=True).samples, stereo.T
    )
    np.testing.assert_array_equal(read(wav(stereo), channels_last=True).samples, stereo.T)
    np.testing.assert_array_equal(read(RAMP, RATE, channels_last=True).samples, RAMP[None])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_arrays_of_any_layout_are_read_alike_in_blocks_of_c_order(dtype: Any) -> None:
    # Longer than a block, clipped, louder on the left, and over full scale.
    rng = np.random.default_rng(0)
    samples = np.clip(rng.standard_normal((BLOCK_VALUES, 2)) * (0.6, 0.2), -1, 1)
    samples = (samples * (30_000 if dtype is np.int16 else 2)).astype(dtype)
    first = np.ascontiguousarray(samples.T)
    strided = np.repeat(first, 2, axis=1)[:, ::2]
    expected = read(first, RATE)
    assert expected.n_samples == BLOCK_VALUES
    for array, channels_last in (
        (samples, True),
        (strided, False),
        (np.asfortranarray(first), False),
    ):
        with Reader(array, RATE, channels_last=channels_last) as reader:
            blocks = list(reader)
        assert len(blocks) == 2
        assert all(block.flags.c_contiguous and block.dtype == np.float32 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected.samples)
        assert reader.warnings == expected.warnings
        assert not any(np.shares_memory(block, array) for block in blocks)


def test_mono_is_the_mean_of_the_channels() -> None:
    six = np.arange(24, dtype=np.float32).reshape(6, 4) / 24
    np.testing.assert_allclose(mono(read(six, RATE)), six.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(mono(read(RAMP, RATE)), RAMP)
    assert mono(read(six, RATE)).dtype == np.float32


@pytest.mark.parametrize("rate", [1000, 8000, 192_000, 384_000])
@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
@pytest.mark.parametrize("n", [1, 100])
def test_one_sample_silence_and_dc_are_answered(n: int, value: float, rate: int) -> None:
    recording = read(np.full(n, value), rate)
    assert recording.samples.tolist() == [[value] * n]
    assert recording.duration == n / rate
    assert read(wav(np.full(n, value), rate)).samples.tolist() == [[value] * n]


@pytest.mark.parametrize("rate", [44_100, 44_100.0, np.int32(44_100), np.float32(44_100),
                                  np.array(44_100), torch.tensor(44_100)])  # fmt: skip
def test_whole_numbers_of_any_type_are_rates(rate: Any) -> None:
    for recording in (read(RAMP, rate), read((RAMP, rate))):
        assert recording.sample_rate == 44_100
        assert type(recording.sample_rate) is int


@pytest.mark.parametrize("channels_last", [False, True])
@given(
    array=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.uint8]),
        arrays.array_shapes(min_dims=1, max_dims=2, max_side=20),
        elements={"min_value": 0, "max_value": 1},
    )
)
@settings(max_examples=30, deadline=None)
def test_the_input_is_neither_modified_nor_shared(array: NDArray[Any], channels_last: bool) -> None:
    before = array.copy()
    array.setflags(write=False)
    samples = read(array, RATE, channels_last=channels_last).samples
    assert samples.flags.c_contiguous
    assert samples.flags.writeable
    assert not np.shares_memory(samples, array)
    np.testing.assert_array_equal(array, before)


def test_a_recording_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read(RAMP, RATE).sample_rate = 1  # type: ignore[misc]


# What is answered with a warning


def about_the_peak(recording: Recording) -> list[str]:
    return [warning for warning in recording.warnings if "the peak is" in warning]


def test_loud_floats_look_like_integers() -> None:
    loud = read(RAMP * 65_536, RATE)
    (warning,) = about_the_peak(loud)
    assert warning.startswith("<array>: the peak is 32768 where full scale is 1; if these are int")
    np.testing.assert_array_equal(loud.samples[0], RAMP * 65_536)
    assert about_the_peak(read(wav(RAMP * 65_536)))[0].startswith("<bytes>: the peak is 32768")
    assert about_the_peak(read(RAMP * -3.1, RATE))
    assert not about_the_peak(read(RAMP * 2.9, RATE))
    assert not about_the_peak(read(wav(RAMP * 2.9)))


def test_warnings_of_the_file_and_of_the_samples_add_up() -> None:
    missing, loud, *_ = read(wav(RAMP * 10)[: 2 * RATE]).warnings
    assert missing.startswith("<bytes>: the header promises 8,000 frames (1.00 s)")
    assert loud.startswith("<bytes>: the peak is 5 ")


# Single or several


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        ("a.wav", True), (Path("a.wav"), True), (b"RIFF", True), (io.BytesIO(), True),
        (RAMP, True), (torch.zeros(5), True), ((RAMP, 8000), True), ((torch.zeros(5), 8e3), True),
        ((RAMP, np.int64(8000)), True), ((RAMP, np.array(8000)), True), ((8000, RAMP), True),
        ([], False), ((), False), (["a.wav"], False), (("a.wav", "b.wav"), False),
        ((RAMP, RAMP), False), ([(RAMP, 8000)], False), (((RAMP, 8000), (RAMP, 8000)), False),
        ((RAMP, 8000, 1), False), ((RAMP, np.str_("8000")), False), ((RAMP,), False),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_one_audio_is_told_from_several(audio: object, expected: bool) -> None:
    assert is_single(audio) is expected


def test_reading_and_resampling_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    script = (
        "import sys; sys.modules['torch'] = None\n"  # importing it would fail
        "from dcasenet.audio.io import read\n"
        "from dcasenet.audio.preprocess import mono\n"
        "from dcasenet.audio.resample import resample\n"
        "waveform = resample(mono(read('a.wav')), 8000, 24000, 'sinc')\n"
        "assert waveform.shape == (24000,)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
