"""Redaction: speech is gone and nothing else, in every format, however long."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet.errors import AudioError, JobError, TaskNotAvailableError
from dcasenet.inference import redact as module
from dcasenet.inference.redact import PAD, redact, silenced, speech_labels
from dcasenet.results import Events
from dcasenet.spec import ModelSpec

RATE = 44_100
SPEECH = (2.0, 3.0)  # seconds


class Listener:
    """A model that has detected speech in a recording of 6 s."""

    spec = ModelSpec("v3", "listener", events=("dog", "speech"))

    def detect_events(self, path: Path) -> Events:
        info = soundfile.info(path)
        curve = np.zeros((round(10 * info.duration), 2), np.float32)
        curve[20:30, 1] = 0.2
        curve[50:55, 0] = 0.9
        return Events(
            items=(),
            labels=self.spec.events,
            probabilities=curve,
            hop=0.1,
            resolution=0.4,  # less than PAD
            duration=info.duration,
            source=str(path),
        )


@pytest.fixture
def model() -> Any:
    return Listener()


@pytest.fixture
def noise() -> np.ndarray:
    """6 s of stereo, full scale."""
    return np.random.default_rng(0).uniform(-1, 1, (2, 6 * RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        (".wav", "PCM_16"),
        (".wav", "PCM_24"),
        (".wav", "PCM_U8"),
        (".wav", "FLOAT"),
        (".flac", "PCM_16"),
        (".flac", "PCM_24"),
        (".aiff", "PCM_16"),
        (".caf", "PCM_32"),
        (".rf64", "PCM_16"),
    ],
)
def test_only_speech_is_silenced_and_the_rest_is_the_originals(
    model: Any, noise: np.ndarray, write_wav: Callable[..., Path], suffix: str, subtype: str
) -> None:
    path = write_wav(f"a{suffix}", noise, RATE, subtype=subtype)
    found = redact(model, path)
    assert found.spans == (pytest.approx((2 - PAD, 3 + PAD)),)
    assert found.silenced == pytest.approx(1 + 2 * PAD)
    assert found.output == str(path.with_name(f"a.redacted{suffix}"))
    before, after = soundfile.info(path), soundfile.info(found.output)
    for name in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(before, name) == getattr(after, name)
    original, copy = (soundfile.read(name, dtype="float32")[0] for name in (path, found.output))
    first, last = round((2 - PAD) * RATE), round((3 + PAD) * RATE)
    assert not copy[first:last].any()
    fade = round(0.005 * RATE) + 1
    np.testing.assert_array_equal(copy[: first - fade], original[: first - fade])
    np.testing.assert_array_equal(copy[last + fade :], original[last + fade :])
    beside = copy[first - fade : first]
    assert np.abs(beside).max() > 0
    assert (np.abs(beside) <= np.abs(original[first - fade : first])).all()


@pytest.mark.parametrize("suffix", [".ogg", ".mp3", ".opus"])
def test_lossy_formats(model: Any, noise: np.ndarray, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    soundfile.write(path, 0.1 * noise.T, 48_000, **kind)
    found = redact(model, path)
    assert soundfile.info(found.output).subtype == soundfile.info(path).subtype
    copy = soundfile.read(found.output)[0]
    loud = np.abs(copy[round(1.7 * 48_000) : round(3.3 * 48_000)]).max()
    assert loud < 1e-3 < np.abs(copy).max()


def test_a_recording_of_many_blocks_is_as_one_block() -> None:
    whole = np.random.default_rng(0).standard_normal((2, 10_000)).astype(np.float32)
    spans = [(0.0, 0.1), (1.2, 1.3), (4.95, 5.0)]
    (wanted,) = silenced([whole], spans, 2_000)
    parts = [*silenced(np.split(whole, [7, 190, 205, 2_500, 9_999], axis=1), spans, 2_000)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), wanted)
    assert not wanted[:, :200].any()
    assert not wanted[:, 2_400:2_600].any()
    assert not wanted[:, 9_900:].any()
    assert wanted[:, 212:2_388].tolist() == whole[:, 212:2_388].tolist()


def test_options_decide_what_is_silenced(
    model: Any, noise: np.ndarray, write_wav: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_wav("a.wav", noise, RATE)
    assert redact(model, path, tmp_path / "b.wav", threshold=0.3).spans == ()
    assert redact(model, path, tmp_path / "c.wav", pad=0).spans == (pytest.approx(SPEECH),)
    both = redact(model, path, tmp_path / "d.wav", labels=["dog", "speech"], pad=1.5)
    assert both.spans == (pytest.approx((0.5, 6.0)),)  # what overlaps is one
    assert json.loads(both.to_json())["labels"] == ["dog", "speech"]


def test_files_that_are_there_are_not_replaced(
    model: Any, noise: np.ndarray, write_wav: Callable[..., Path]
) -> None:
    path = write_wav("a.wav", noise, RATE)
    there = path.with_name("a.redacted.wav")
    there.write_text("somebody's")
    with pytest.raises(JobError, match=r"a\.redacted\.wav exists already"):
        redact(model, path)
    assert there.read_text() == "somebody's"
    redact(model, path, overwrite=True)
    assert soundfile.info(there).frames == 6 * RATE
    content, link = path.read_bytes(), path.with_name("link.wav")
    link.symlink_to(path)
    for output in (path, link):
        with pytest.raises(JobError, match="is the recording itself, which is never replaced"):
            redact(model, path, output, overwrite=True)
    assert path.read_bytes() == content
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.redacted.wav", "a.wav", "link.wav"]


def test_outputs_that_cannot_be_written(
    model: Any, noise: np.ndarray, write_wav: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_wav("a.wav", noise, RATE)
    for output, says in (
        (tmp_path / "none" / "b.wav", "none"),
        (tmp_path / "b.xyz", "suffix '.xyz'"),
        (tmp_path / "b.opus", "cannot be written"),  # no Opus has 44.1 kHz
    ):
        with pytest.raises(JobError, match=says):
            redact(model, path, output)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises((AudioError, soundfile.LibsndfileError)):
        redact(model, tmp_path / "bad.wav")


def test_a_wav_that_is_too_long_becomes_rf64(
    model: Any, noise: np.ndarray, write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav("a.wav", noise, RATE)
    monkeypatch.setattr(module, "WAV_LIMIT", 1_000_000)
    output = redact(model, path).output
    assert soundfile.info(output).format == "RF64"


def test_what_counts_as_speech() -> None:
    spec = ModelSpec("v3", "mine", events=("dog", "female_speech", "male_speech"))
    assert speech_labels(spec) == ("female_speech", "male_speech")
    assert speech_labels(spec, ["dog"]) == ("dog",)
    with pytest.raises(ValueError, match="no event 'cat'"):
        speech_labels(spec, ["cat"])
    with pytest.raises(ValueError, match="no event of speech"):
        speech_labels(ModelSpec("v3", "mine", events=("dog",)))
    with pytest.raises(TaskNotAvailableError):
        speech_labels(ModelSpec("v3", "mine", tasks=("scene",)))
    with pytest.raises(ValueError, match=r"pad=-1 is out of range"):
        redact(Listener(), "a.wav", pad=-1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"threshold=2 is out of range"):
        redact(Listener(), "a.wav", threshold=2)  # type: ignore[arg-type]
