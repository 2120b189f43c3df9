"""The forms in which libraries hand audio over."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from dcasenet.audio.io import is_single, read
from dcasenet.errors import AudioError
from tests.fixtures.recordings import RATE, encode, signal

WAV = encode("WAV", "FLOAT")
SIGNAL = signal()


@dataclass
class Samples:
    """What a decoder of torchcodec gives."""

    data: torch.Tensor
    sample_rate: int
    pts_seconds: float = 0.0


class Decoder:
    """A decoder of torchcodec; that of datasets is one, too, and a dictionary as well."""

    def get_all_samples(self) -> Samples:
        return Samples(torch.from_numpy(SIGNAL)[None], RATE)

    def __getitem__(self, key: str) -> Any:
        return {"array": SIGNAL, "sampling_rate": RATE}[key]


@pytest.mark.parametrize(
    "audio",
    [
        {"array": SIGNAL, "sampling_rate": RATE},
        {"array": SIGNAL, "sampling_rate": RATE, "path": "gone.wav"},
        {"array": SIGNAL.tolist(), "sampling_rate": np.int64(RATE)},
        {"array": torch.from_numpy(SIGNAL), "sampling_rate": RATE},
        {"bytes": WAV, "path": None},
        {"bytes": WAV, "path": "a.wav"},
        {"bytes": bytearray(WAV)},
        bytearray(WAV),
        memoryview(WAV),
        memoryview(bytearray(WAV)),
        Decoder(),
        Decoder().get_all_samples(),
    ],
    ids=lambda audio: type(audio).__name__,
)
def test_every_form_gives_the_same_samples(audio: Any) -> None:
    recording = read(audio)
    assert is_single(audio)
    assert recording.sample_rate == RATE
    np.testing.assert_array_equal(recording.samples, SIGNAL[None])
    assert recording.warnings == ()


def test_a_dictionary_may_hold_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    for form in ({"bytes": None, "path": str(path)}, {"path": path}):
        recording = read(form)
        assert recording.source == str(path)
        np.testing.assert_array_equal(recording.samples, SIGNAL[None])


def test_messages_call_bytes_by_the_path_that_they_came_from() -> None:
    assert read({"bytes": WAV, "path": "somewhere/a.wav"}).source == "somewhere/a.wav"
    with pytest.raises(AudioError, match=r"somewhere/a\.wav is empty \(0 bytes\)"):
        read({"bytes": b"", "path": "somewhere/a.wav"})


def test_two_rates_are_refused() -> None:
    with pytest.raises(AudioError, match="The dictionary states 24,000 Hz, and sample_rate=16000"):
        read({"array": SIGNAL, "sampling_rate": RATE}, 16_000)
    with pytest.raises(AudioError, match="The decoder states 24,000 Hz"):
        read(Decoder(), 16_000)
    with pytest.raises(AudioError, match="states its own sample rate"):
        read({"bytes": WAV}, RATE)
    assert read(Decoder(), RATE).sample_rate == RATE


def test_a_sound_file_is_told_what_to_do() -> None:
    with (
        soundfile.SoundFile(io.BytesIO(WAV)) as file,
        pytest.raises(AudioError, match=r"A soundfile\.SoundFile is not accepted\. Pass the file"),
    ):
        read(file)  # type: ignore[arg-type]


def test_the_decoder_of_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    pytest.importorskip("torchcodec", reason="torchcodec is not installed")
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    data = datasets.Dataset.from_dict({"audio": [str(path)]})
    cast = data.cast_column("audio", datasets.Audio())
    np.testing.assert_allclose(read(cast[0]["audio"]).samples, SIGNAL[None], atol=1e-4)


def test_pandas_is_told_to_make_a_list() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with pytest.raises(AudioError, match=r"Series is not a single audio.*Pass several as list"):
        read(pandas.Series(["a.wav", "b.wav"]))
