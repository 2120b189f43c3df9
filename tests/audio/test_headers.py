"""The lengths that WAV and MP3 files state, and what they hold."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet.audio.decoder import decode
from tests.fixtures.noise_and_tone import RATE, SIGNAL, N, encode


def mp3(**options: Any) -> bytes:
    return encode("MP3", bitrate_mode="VARIABLE", compression_level=0.5, **options)


def without_tag(data: bytes) -> bytes:
    """The MP3 without its first frame, which holds the tag."""
    return data[data.index(data[:2], 4) :]


def with_vbri(data: bytes) -> bytes:
    """The MP3 with the tag that Fraunhofer's encoder writes."""
    rest = without_tag(data)
    frame = bytearray(data[: len(data) - len(rest)])
    n_frames = int.from_bytes(frame[29:33], "big")
    frame[4:] = bytes(len(frame) - 4)
    struct.pack_into(">4sHHHII", frame, 36, b"VBRI", 1, 0, 75, len(data), n_frames)
    return bytes(frame) + rest


def wav(data_size: int | None = None, riff_size: int | None = None, order: str = "<") -> bytearray:
    """A 16-bit mono WAV of the signal whose header may lie."""
    samples = (SIGNAL * 2**15).astype(f"{order}i2").tobytes()
    data_size = len(samples) if data_size is None else data_size
    riff_size = 36 + len(samples) if riff_size is None else riff_size
    name = b"RIFX" if order == ">" else b"RIFF"
    chunk = struct.pack(f"{order}HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    head = name + struct.pack(f"{order}I", riff_size) + b"WAVEfmt " + struct.pack(f"{order}I", 16)
    return bytearray(head + chunk + b"data" + struct.pack(f"{order}I", data_size) + samples)


@pytest.mark.parametrize("order", ["<", ">"])
def test_truncated_wav_is_answered_with_a_warning(order: str) -> None:
    data = wav(order=order)
    samples, _, warnings = decode(bytes(data[: 44 + N]), "a.wav")
    assert samples.shape == (1, N // 2)
    assert warnings == (
        "a.wav: the header promises 441,000 frames (10.00 s) and the file holds 220,500 (5.00 s); "
        "the file is truncated.",
    )


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF024, 0x80000000, 0xFFFFFFDB, 0])
@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
def test_sizes_of_streaming_writers_promise_nothing(size: int, riff_size: int) -> None:
    samples, _, warnings = decode(bytes(wav(size, riff_size)), "a.wav")
    assert samples.shape == (1, N)
    assert warnings == ()


def test_chunks_around_the_data_are_no_audio() -> None:
    data = wav()
    tail = b"LIST" + struct.pack("<I4s", 4, b"INFO")
    odd = b"junk" + struct.pack("<I", 3) + b"abc\0"
    around = bytes(data[:36]) + odd + bytes(data[36:]) + tail
    assert decode(around, "a.wav")[0].shape == (1, N)
    assert decode(around, "a.wav")[2] == ()
    (warning,) = decode(around[: len(around) // 2], "a.wav")[2]
    assert "promises 441,000 frames" in warning
    assert decode(bytes(wav(0)[:44]) + tail, "a.wav")[0].size == 0


def test_truncated_mp3_is_answered_with_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    data = mp3()
    samples, _, warnings = decode(data[: len(data) * 3 // 4], "a.mp3")
    assert 0 < samples.shape[1] < N
    assert warnings == (
        f"a.mp3: the header promises 441,000 frames (10.00 s) and the file holds "
        f"{samples.shape[1]:,} ({samples.shape[1] / RATE:.2f} s); the file is truncated.",
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rate", [8000, 24_000, 44_100])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_intact_mp3_never_warns(mode: str, rate: int) -> None:
    data = encode("MP3", rate=rate, bitrate_mode=mode)
    id3 = b"ID3\x04\x00\x00" + struct.pack(">4B", 0, 0, 1, 2) + bytes(130)
    id3_with_footer = b"ID3\x04\x00\x10" + struct.pack(">4B", 0, 0, 1, 2) + bytes(140)
    bare = without_tag(data)
    for front in (b"", id3, id3 + id3_with_footer):
        for end in (b"", b"TAG" + bytes(125)):
            assert decode(front + data + end, "a.mp3")[0].shape == (1, N)
            assert decode(front + data + end, "a.mp3")[2] == ()
            samples, _, warnings = decode(front + bare + end, "a.mp3")
            assert warnings == ()
            assert N <= samples.shape[1] < N + 3000


@pytest.mark.parametrize(("extra", "expected"), [(0, 0), (1, 0), (10, 1)])
def test_an_mp3_may_count_the_frame_of_its_tag(extra: int, expected: int) -> None:
    data = bytearray(mp3())
    data[32] += extra
    assert len(decode(bytes(data), "a.mp3")[2]) == expected


def test_mp3_without_a_count_is_decoded_to_its_end() -> None:
    """libsndfile alone stops after 1.8 s of this one: the first frames have the most bits."""
    data = mp3()
    bare = without_tag(data)
    assert soundfile.info(io.BytesIO(bare)).frames < N // 4
    expected = decode(data, "a.mp3")[0]
    no_count = data.replace(b"Xing\0\0\0\x0f", b"Xing\0\0\0\0", 1)
    for variant in (bare, no_count):
        samples = decode(variant, "a.mp3")[0]
        lag = int.from_bytes(data[21 + 141 : 21 + 143], "big") >> 4  # encoder delay: not known here
        assert np.abs(samples[0, lag : lag + N] - expected[0]).max() < 1e-5


def test_vbri_counts_too() -> None:
    data = with_vbri(mp3())
    samples, _, warnings = decode(data, "a.mp3")
    assert samples.shape[1] >= N
    assert warnings == ()
    (warning,) = decode(data[: len(data) * 3 // 4], "a.mp3")[2]
    assert "the file is truncated" in warning
