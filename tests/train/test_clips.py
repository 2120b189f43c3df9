import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dcasenet.errors import DcasenetError
from dcasenet.train.clips import decode
from dcasenet.train.open_split import Clip

MakeClip = Callable[..., Clip]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A good stereo file at 48 kHz, a silent one, a broken one; a fourth is missing."""
    audio = tmp_path / "esc50" / "audio"
    audio.mkdir(parents=True)
    left = np.full(48_000, 0.5)
    soundfile.write(audio / "good.wav", np.stack([left, 0 * left], axis=1), 48_000)
    soundfile.write(audio / "silent.wav", np.zeros(4_800), 48_000)
    (audio / "broken.wav").write_bytes(b"RIFF but no sound")
    return tmp_path


def test_unusable_clips_are_named_and_left_out(
    root: Path, make_clip: MakeClip, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("broken.wav", "good.wav", "silent.wav", "missing.wav")
    broken, good, silent, missing = (make_clip(name, "esc50/dog") for name in names)
    with caplog.at_level(logging.WARNING, "dcasenet"):
        store = decode(root, [broken, good, silent, missing], root / "cache", 24_000)
    assert [clip in store for clip in (broken, good, silent, missing)] == [
        False,
        True,
        False,
        False,
    ]
    assert all(name in caplog.text for name in ("broken.wav", "silent.wav", "missing.wav"))
    waveform = store.waveform(good)
    assert waveform.shape == (24_000,)
    assert waveform[1_000:-1_000] == pytest.approx(0.25, abs=1e-3)


def test_clips_are_decoded_once(root: Path, make_clip: MakeClip) -> None:
    good = make_clip("good.wav", "esc50/dog")
    first = decode(root, [good], root / "cache", 24_000).waveform(good).copy()
    (root / "esc50" / "audio" / "good.wav").unlink()
    assert np.array_equal(decode(root, [good], root / "cache", 24_000).waveform(good), first)


def test_nothing_readable_is_an_error(tmp_path: Path, make_clip: MakeClip) -> None:
    with pytest.raises(DcasenetError, match="None of the 1 clips"):
        decode(tmp_path, [make_clip("missing.wav", "esc50/dog")], tmp_path / "cache", 24_000)
