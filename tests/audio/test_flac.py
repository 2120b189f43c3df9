"""FLAC files whose header is wrong, that were joined, or of which frames are missing."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from dcasenet.audio.decoder import decode
from dcasenet.audio.flac import find_flac
from dcasenet.errors import AudioError
from tests.fixtures.recordings import N, encode, signal

FLAC = encode("FLAC")


def with_total(data: bytes, n_samples: int) -> bytes:
    changed = bytearray(data)
    changed[21] = changed[21] & 0xF0 | n_samples >> 32
    changed[22:26] = struct.pack(">I", n_samples & 0xFFFF_FFFF)
    return bytes(changed)


def frame_starts(data: bytes) -> list[int]:
    return [place for place in range(60, len(data) - 1) if data[place : place + 2] == b"\xff\xf8"]


@pytest.mark.parametrize(
    ("n_stated", "warning"),
    [
        (N, None),
        (0, None),
        (N // 5, "the header counts 24,000 frames (1.00 s) and 96,000 more (4.00 s) follow; all"),
        (2 * N, "the header promises 240,000 frames (10.00 s) and the file holds 120,000 (5.00 s)"),
        (2**36 - 1, "the header promises 68,719,476,735 frames"),
    ],
)
def test_all_frames_are_decoded_whatever_the_header_counts(
    n_stated: int, warning: str | None
) -> None:
    samples, _, warnings = decode(with_total(FLAC, n_stated), "a.flac")
    np.testing.assert_array_equal(samples, decode(FLAC, "a.flac")[0])
    assert len(warnings) == (warning is not None)
    assert all((warning or "") in text for text in warnings)


def test_what_follows_the_frames_is_reported() -> None:
    other = encode("OGG", "VORBIS")
    for bits in ("PCM_16", "PCM_24"):
        data = encode("FLAC", bits)
        samples, _, (warning,) = decode(data + other, "a.flac")
        assert samples.shape == (1, N)
        left = int(warning.removeprefix("a.flac: ").split()[0].replace(",", ""))
        assert len(other) - 4096 * 4 < left <= len(other)
        assert warning.endswith("bytes or more at its end are not FLAC data.")
        tags = b"APETAGEX" + struct.pack("<4I8x", 2000, 70_032, 1, 0xA000_0000) + bytes(70_000)
        tags += b"APETAGEX" + struct.pack("<4I8x", 2000, 70_032, 1, 0x8000_0000)
        for rest in (tags, tags + b"TAG" + bytes(125), b"TAG" + bytes(125), b""):
            assert decode(data + rest, "a.flac")[2] == ()


def test_joined_files_are_decoded_one_after_the_other() -> None:
    samples, _, warnings = decode(FLAC + with_total(FLAC, 0) + FLAC, "a.flac")
    assert samples.shape == (1, 3 * N)
    assert warnings == ()


@pytest.mark.parametrize("end", [b"TAG" + bytes(125), b"some text at the end"])
def test_what_other_programs_write_behind_it_is_no_damage(end: bytes) -> None:
    samples, _, warnings = decode(FLAC + end, "a.flac")
    assert samples.shape == (1, N)
    assert warnings == ()


def test_frames_that_are_missing_inside_are_counted() -> None:
    starts = frame_starts(FLAC)
    data = FLAC[: starts[5]] + FLAC[starts[8] :]
    samples, _, (warning,) = decode(data, "a.flac")
    assert samples.shape == (1, N)
    assert "are missing inside, first at " in warning
    assert warning.endswith("they are replaced with silence.")
    (found,) = find_flac(io.BytesIO(data), 0, "a.flac")
    assert found.n_missing > 3_000
    silent = samples[0, found.first_missing : found.first_missing + found.n_missing]
    assert not silent.any()


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_the_frames_are_counted_as_the_header_does(rate: int, subtype: str) -> None:
    samples = np.stack([signal(3 * rate + 17, rate)] * 2, axis=1)
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, subtype, format="FLAC")
    (found,) = find_flac(stream, 0, "a.flac")
    assert found.n_samples == found.n_stated == len(samples)
    assert found.n_missing == 0


def test_a_file_cut_inside_a_frame_is_refused_with_the_second() -> None:
    starts = frame_starts(FLAC)
    promise = r"a\.flac: the header promises 120,000 frames \(5\.00 s\) and decoding stops after "
    with pytest.raises(AudioError, match=promise + r"\d+,\d\d\d \(\d\.\d\d s\)\. The FLAC data is"):
        decode(FLAC[: starts[10] + 500], "a.flac")
    with pytest.raises(AudioError, match=promise + r"0 \(0\.00 s\)"):
        decode(FLAC[: starts[0] + 500], "a.flac")
    with pytest.raises(AudioError, match=r"a\.flac: decoding stops after \d+,\d+ frames \("):
        decode(with_total(FLAC, 0)[: starts[10] + 500], "a.flac")


def test_a_file_cut_between_two_frames_is_decoded_with_a_warning() -> None:
    samples, _, (warning,) = decode(FLAC[: frame_starts(FLAC)[10]], "a.flac")
    assert 0 < samples.shape[1] < N
    assert warning.endswith("the file is truncated, or the header wrong.")


def test_damage_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(FLAC)
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(AudioError, match=r"a\.flac: .* The FLAC data is truncated or damaged"):
        decode(bytes(data), "a.flac")
    assert capfd.readouterr().err == ""


def test_pictures_out_of_proportion_are_refused() -> None:
    picture = b"\x06" + (2**24 - 1).to_bytes(3, "big")

    class Sparse(io.RawIOBase):
        """100 blocks of 16 MiB, of which nothing is in memory."""

        _position, _size = 0, 42 + 100 * (2**24 + 3)

        def seek(self, offset: int, whence: int = 0) -> int:
            self._position = offset + (0, self._position, self._size)[whence]
            return self._position

        def tell(self) -> int:
            return self._position

        def read(self, size: int = -1) -> bytes:
            if self._position < 42:
                return FLAC[self._position : 42]
            is_head = (self._position - 42) % (2**24 + 3) == 0
            return (picture if is_head else b"\0" * 4)[:size]

    with pytest.raises(AudioError, match="more than 64 MiB of pictures and text before the sound"):
        find_flac(Sparse(), 0, "a.flac")
