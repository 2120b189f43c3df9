import logging
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet.audio.resample import resample
from dcasenet.errors import DcasenetError
from dcasenet.train.data import decoding
from dcasenet.train.data import store as clips
from dcasenet.train.data.dataset import Example
from dcasenet.train.data.store import WaveformStore, decode_examples

RATE = 24_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A good stereo file at 48 kHz, a silent one, a broken one, an empty one; one is missing."""
    audio = tmp_path / "esc50" / "audio"
    audio.mkdir(parents=True)
    left = np.full(48_000, 0.5)
    soundfile.write(audio / "good.wav", np.stack([left, 0 * left], axis=1), 48_000)
    soundfile.write(audio / "silent.wav", np.zeros(4_800), 48_000)
    (audio / "broken.wav").write_bytes(b"RIFF but no sound")
    (audio / "empty.wav").touch()
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files read so far."""
    seen: list[Path] = []
    real = decoding.read

    def read(path: Path) -> object:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(decoding, "read", read)
    return seen


def tones(path: Path, n_channels: int, rate: int = RATE) -> Path:
    """A file whose channel c is full of (c + 1) / 8."""
    values = (np.arange(n_channels) + 1) / 8
    soundfile.write(path, np.tile(values, (rate // 10, 1)), rate)
    return path


def test_unusable_files_are_named_counted_and_left_out(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audio = root / "esc50" / "audio"
    names = ("broken.wav", "good.wav", "silent.wav", "missing.wav", "empty.wav")
    examples = [Example(audio / name) for name in names]
    with caplog.at_level(logging.WARNING, "dcasenet"):
        store = decode_examples(examples, root / "cache", RATE)
    assert [example in store for example in examples] == [False, True, False, False, False]
    assert len(store) == 1
    reasons = {Path(key).name: why for key, why in store.left_out}
    assert list(reasons) == ["broken.wav", "silent.wav", "missing.wav", "empty.wav"]
    for name, why in {"silent": "silent", "missing": "no file", "empty": "empty"}.items():
        assert why in reasons[f"{name}.wav"]
    assert all(f"{audio / name} is left out" in caplog.text for name in reasons)
    assert "4 of 5 recordings are left out" in caplog.text
    with pytest.raises(KeyError, match="silent"):
        store.waveform(examples[2])


def test_a_waveform_is_mono_resampled_and_read_only(root: Path) -> None:
    example = Example(root / "esc50" / "audio" / "good.wav")
    waveform = decode_examples([example], root / "cache", RATE).waveform(example)
    assert (waveform.shape, waveform.dtype) == ((24_000,), np.float32)
    assert waveform[1_000:-1_000] == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(ValueError, match="read-only"):
        waveform[0] = 1


def test_channels_of_a_file_are_examples_and_the_file_is_read_once(
    tmp_path: Path, reads: list[Path]
) -> None:
    path = tones(tmp_path / "four.wav", 4)
    examples = [Example(path, channel=channel) for channel in (0, 1, 2, 3, 4)]
    store = decode_examples(examples, tmp_path / "cache", RATE)
    for channel in range(4):
        assert np.all(store.waveform(examples[channel]) == (channel + 1) / 8)
    assert [key for key, _ in store.left_out] == [f"{path}:4"]
    assert "4 channel(s)" in store.left_out[0][1]
    assert reads == [path]


@pytest.mark.parametrize("method", ["soxr", "sinc"])
def test_the_method_is_the_requested_one(tmp_path: Path, method: decoding.Method) -> None:
    example = Example(tones(tmp_path / "a.wav", 1, 44_100))
    store = decode_examples([example], tmp_path / "cache", RATE, method)
    expected = resample(np.full(4_410, 1 / 8, np.float32), 44_100, RATE, method)
    assert np.array_equal(store.waveform(example), expected)


def test_a_data_set_is_decoded_once(tmp_path: Path, reads: list[Path]) -> None:
    examples = [Example(tones(tmp_path / f"{n}.wav", n)) for n in (1, 2, 3)]
    first, again = (decode_examples(examples, tmp_path / "cache", RATE) for _ in "ab")
    assert len(reads) == 3
    assert [len(first.waveform(e)) for e in examples] == [2_400] * 3
    assert all(np.array_equal(first.waveform(e), again.waveform(e)) for e in examples)


def test_whatever_the_samples_depend_on_is_part_of_the_cache(
    tmp_path: Path, reads: list[Path]
) -> None:
    path = tones(tmp_path / "a.wav", 2)
    cache = tmp_path / "cache"
    time = path.stat().st_mtime_ns

    def at(number: int, rate: int = RATE, method: decoding.Method = "soxr", **how: bool) -> None:
        decode_examples([Example(path)], cache, rate, method, **how)
        assert len(reads) == number

    at(1)
    at(2, rate=8_000)
    at(3, method="sinc")
    at(4, keep_silent=True)
    decode_examples([Example(path, channel=1)], cache, RATE)
    os.utime(path, ns=(time, time + 1_000_000))
    at(6)
    tones(path, 3)
    os.utime(path, ns=(time, time + 1_000_000))
    at(7)


@pytest.mark.parametrize("of", ["__version__", "soxr", "soundfile", "version"])
def test_another_version_of_what_decodes_decodes_anew(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    examples = [Example(tones(tmp_path / "a.wav", 1, 48_000))]
    decode_examples(examples, tmp_path / "cache", RATE)
    another: Any = {
        "__version__": "9.9",
        "soxr": SimpleNamespace(__version__="9.9", __libsoxr_version__="9.9"),
        "soundfile": SimpleNamespace(__libsndfile_version__="9.9"),
        "version": lambda package: "9.9",
    }[of]
    monkeypatch.setattr(clips, of, another)
    decode_examples(examples, tmp_path / "cache", RATE)
    assert len(reads) == 2


def test_silence_can_be_kept(root: Path) -> None:
    example = Example(root / "esc50" / "audio" / "silent.wav")
    store = decode_examples([example], root / "cache", RATE, keep_silent=True)
    assert store.waveform(example).shape == (2_400,)
    assert store.left_out == ()


def test_a_half_made_cache_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    examples = [Example(tones(tmp_path / f"{n}.wav", n)) for n in (1, 2)]

    def full(text: str) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(clips.json, "dumps", full)
        with pytest.raises(DcasenetError, match=r"cannot be kept in .*cache: No space left"):
            decode_examples(examples, tmp_path / "cache", RATE)
    assert len(decode_examples(examples, tmp_path / "cache", RATE)) == 2
    assert len(reads) == 4
    assert not list((tmp_path / "cache").glob(".*.tmp"))


def test_a_store_is_handed_to_another_process_without_its_samples(tmp_path: Path) -> None:
    example = Example(tones(tmp_path / "a.wav", 1, 48_000))
    store = decode_examples([example, Example(tmp_path / "b.wav")], tmp_path / "cache", RATE)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1_000
    again: WaveformStore = pickle.loads(pickled)
    assert np.array_equal(again.waveform(example), store.waveform(example))
    assert (again.sample_rate, again.left_out) == (RATE, store.left_out)


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"None of the 1 recordings .*missing\.wav"):
        decode_examples([Example(tmp_path / "missing.wav")], tmp_path / "cache", RATE)
    with pytest.raises(DcasenetError, match="nothing to decode"):
        decode_examples([], tmp_path / "cache", RATE)
