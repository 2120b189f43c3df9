"""Every format, intact and damaged."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from dcasenet.audio.decoder import decode
from dcasenet.errors import AudioError
from tests.fixtures.noise_and_tone import RATE, SIGNAL, N, encode


class Pipe(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._stream.readinto(buffer)


@pytest.mark.parametrize(
    ("kind", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 2**-7), ("WAV", "PCM_16", 2**-15), ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-24), ("WAV", "FLOAT", 2**-24), ("WAV", "DOUBLE", 2**-24),
        ("WAV", "ULAW", 0.02), ("WAV", "IMA_ADPCM", 0.5), ("WAVEX", "PCM_16", 2**-15),
        ("RF64", "PCM_16", 2**-15), ("FLAC", "PCM_16", 2**-15), ("FLAC", "PCM_24", 2**-23),
        ("AIFF", "PCM_16", 2**-15), ("OGG", "VORBIS", 0.3), ("MP3", None, 0.3),
    ],
)  # fmt: skip
def test_every_format_is_decoded_without_a_warning(
    kind: str, subtype: str | None, error: float
) -> None:
    samples, rate, warnings = decode(encode(kind, subtype), "<bytes>")
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    assert rate == RATE
    assert warnings == ()
    assert samples.shape[0] == 1
    assert np.abs(samples[0, N // 2 : N] - SIGNAL[N // 2 :]).max() <= error + 2**-24


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_channels_come_first_and_long_files_in_one_piece(kind: str) -> None:
    values = np.random.default_rng(1).integers(-(2**15), 2**15, (400_000, 6), dtype=np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, values, 8000, format=kind)
    samples, rate, warnings = decode(stream.getvalue(), "<bytes>")
    assert (rate, warnings) == (8000, ())
    assert samples.flags.c_contiguous
    np.testing.assert_array_equal(samples, values.T / np.float32(2**15))


def test_path_bytes_and_files_give_the_same(tmp_path: Path) -> None:
    data = encode("FLAC")
    path = tmp_path / "a.raw"  # the name does not count
    path.write_bytes(data)
    expected = decode(data, "<bytes>")[0]
    stream = io.BytesIO(b"abc" + data)
    stream.seek(3)
    files: list[Any] = [path, str(path), stream, io.BufferedReader(Pipe(data))]
    for file in files:
        np.testing.assert_array_equal(decode(file, str(path))[0], expected)
    assert stream.tell() == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    path, data = tmp_path / "pipe", encode("WAV")
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    samples = decode(path, str(path))[0]
    writer.join()
    np.testing.assert_array_equal(samples, decode(data, "<bytes>")[0])


def test_a_file_that_is_only_readable_will_do() -> None:
    class Readable:
        def read(self) -> bytes:
            return encode("WAV")

    assert decode(Readable(), "<file>")[0].shape == (1, N)  # type: ignore[arg-type]


# What is damaged


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_U8"), ("WAV", "DOUBLE"), ("WAVEX", "PCM_24"), ("RF64", "FLOAT")],
)
def test_truncated_wav_of_any_kind_is_noticed(kind: str, subtype: str) -> None:
    data = encode(kind, subtype)
    (warning,) = decode(data[: len(data) // 2], "a.wav")[2]
    assert "promises 441,000 frames (10.00 s) and the file holds 220,4" in warning


def test_damaged_ogg_is_answered_with_a_warning() -> None:
    data = bytearray(encode("OGG"))
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    samples, _, (warning,) = decode(bytes(data), "a.ogg")
    assert N // 2 < samples.shape[1] < N
    assert "a.ogg: the header promises 441,000 frames (10.00 s) and the file holds" in warning


# What cannot be read


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"There is no file nowhere\.wav \(looked for /.*Give the"):
        decode("nowhere.wav", "nowhere.wav")
    path = tmp_path / "a.wav" / "b.wav"
    path.parent.write_bytes(b"")
    with pytest.raises(AudioError, match=r"b\.wav cannot be read: Not a directory"):
        decode(path, str(path))
    with pytest.raises(AudioError, match=r"cannot be read: File name too long"):
        decode("a" * 1000, "a" * 1000)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode("WAV"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(AudioError, match=r"cannot be read: Permission denied\. Give a file"):
        decode(path, str(path))


def test_directory_and_empty_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"is a directory\. Give the audio files in it"):
        decode(tmp_path, str(tmp_path))
    for path in ("", "a\0.wav"):
        with pytest.raises(AudioError, match=r"The path '.*' is empty .*Give the path"):
            decode(path, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.wav is empty \(0 bytes\)"),
        (b"This is not audio.\n" * 50, "Format not recognised"),
        (b"RIFF", "a.wav cannot be read as audio"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a.wav cannot be read as audio"),
        (bytes(1000), "Format not recognised"),
        (b"\xff\xfb\x90\xc4", "a.wav cannot be read as audio"),
        (b"ID3", "a.wav cannot be read as audio"),
        (b"\xff\xfeU\0T\0F\0-\0001\0006\0" * 50, "It has no complete frame"),
        (encode("MP3")[:300], "It has no complete frame"),
        (encode("OGG")[:1000], "malformed"),
    ],
    ids=["empty", "text", "RIFF", "WAVE", "zeros", "a frame", "ID3", "tags", "MP3", "Ogg"],
)
def test_what_is_not_audio_is_refused(
    content: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        decode(content, "a.wav")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_wrong_files_are_refused() -> None:
    stream = io.BytesIO(encode("WAV"))
    stream.seek(0, io.SEEK_END)
    with pytest.raises(AudioError, match=r"is at its end\. Call its seek\(0\)"):
        decode(stream, "<file>")
    stream.close()
    with pytest.raises(AudioError, match=r"cannot be read: I/O operation on closed file"):
        decode(stream, "<file>")
    with pytest.raises(AudioError, match=r'returns str instead of bytes.*open\(path, "rb"\)'):
        decode(io.StringIO("text"), "<file>")  # type: ignore[arg-type]


def test_damage_anywhere_gives_samples_or_an_audio_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(2)
    kinds: list[tuple[str, NDArray[np.float64]]] = [
        (kind, SIGNAL[: RATE // 4]) for kind in ("WAV", "RF64", "FLAC", "OGG", "MP3", "AIFF")
    ]
    for kind, signal in kinds:
        stream = io.BytesIO()
        soundfile.write(stream, signal, RATE, format=kind)
        for _ in range(60):
            data = bytearray(stream.getvalue()[: rng.integers(1, 2 * stream.tell())])
            for position in rng.integers(0, min(len(data), rng.choice([100, 10**6])), 5):
                data[position] = rng.integers(256)
            try:
                samples, _, _ = decode(bytes(data), "a")
            except AudioError:
                continue
            assert samples.ndim == 2
    assert "Traceback" not in capfd.readouterr().err
