"""Recordings are decoded once, and anew where what was decoded does not serve."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes import bank
from recipes.bank import SAMPLE_RATE, decode_all
from recipes.recordings import LabeledClip


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, list[LabeledClip]]:
    """Two recordings and one that cannot be decoded."""
    folder = tmp_path / "esc50" / "audio"
    folder.mkdir(parents=True)
    made = LabeledClip("esc50/a.wav", "esc50/dog", "a", "train", "CC0", author="", title="")
    recordings = [replace(made, key=f"esc50/{name}.wav") for name in "abc"]
    random = np.random.default_rng(0)
    for each in recordings[:2]:
        noise = 0.1 * random.standard_normal(SAMPLE_RATE)
        soundfile.write(each.path(tmp_path), noise, SAMPLE_RATE)
    recordings[2].path(tmp_path).write_bytes(b"RIFF")
    return tmp_path, recordings


def keys(decoded: list[bank.Decoded]) -> list[str]:
    return [clip.recording.key for clip in decoded]


def test_what_a_smaller_run_left_is_completed(data: tuple[Path, list[LabeledClip]]) -> None:
    root, recordings = data
    cache = root / "decoded.npz"
    assert keys(decode_all(recordings[:1], root, cache)) == ["esc50/a.wav"]
    assert keys(decode_all(recordings, root, cache)) == ["esc50/a.wav", "esc50/b.wav"]


def test_what_was_decoded_is_read_and_not_decoded_again(
    data: tuple[Path, list[LabeledClip]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recordings = data
    cache = root / "decoded.npz"
    decode_all(recordings, root, cache)
    for each in recordings:
        each.path(root).unlink()
    assert keys(decode_all(recordings, root, cache)) == ["esc50/a.wav", "esc50/b.wav"]
    assert keys(decode_all(recordings[1:], root, cache)) == ["esc50/b.wav"]
    monkeypatch.setattr(bank, "PEAK", 0.5)  # nothing can be decoded in another way any more
    with pytest.raises(ValueError, match="concatenate"):
        decode_all(recordings, root, cache)
