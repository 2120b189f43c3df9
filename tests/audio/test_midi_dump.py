"""MIDI sample dumps: whole ones are decoded, others refused before libsndfile prints of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from dcasenet.audio.io import read
from dcasenet.errors import AudioError

SOUND = np.sin(np.arange(1_200) / 9) / 2


def dump(subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, SOUND, 24_000, subtype, format="SDS")
    return stream.getvalue()


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_a_whole_one_is_decoded(subtype: str, capfd: pytest.CaptureFixture[str]) -> None:
    recording = read(dump(subtype))
    np.testing.assert_allclose(recording.samples[0], SOUND, atol=0.01)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "damaged",
    [
        dump()[:-5],
        dump() + b"more",
        dump()[:500] + b"\x01" + dump()[501:],
        dump()[:148] + bytes(127) + dump()[275:],
        dump() * 2,
        dump()[:21],
        dump()[:21] + dump()[21:] * 4_000,
    ],
    ids=["cut", "more", "changed", "zeros", "twice", "header", "endless"],
)
def test_a_damaged_one_is_refused_without_a_word_on_a_stream(
    damaged: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AudioError, match="sample dump with missing or damaged packets"):
        read(damaged)
    assert capfd.readouterr() == ("", "")
