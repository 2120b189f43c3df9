"""WAV, AIFF and the like: what their headers say of the length, and what they hold."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet.audio.decoder import FileReader, decode
from dcasenet.audio.headers import find_sound
from dcasenet.errors import AudioError
from tests.fixtures.recordings import RATE, N, encode, without_tag

# The containers as soundfile names them, and where their size of the samples is: of all in bytes
# but of SPH, which is text, in frames.
KINDS = ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "VOC", "NIST"]
SUBTYPES = {
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
    "WAVEX": ["PCM_16", "PCM_24"],
    "RF64": ["PCM_16", "FLOAT"],
    "W64": ["PCM_U8", "PCM_16", "FLOAT"],
    "AIFF": ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
    "AU": ["PCM_S8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
    "CAF": ["PCM_S8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
    "VOC": ["PCM_U8", "PCM_16", "ULAW", "ALAW"],
    "NIST": ["PCM_16", "PCM_24", "ULAW", "ALAW"],
}
ENDIANS = {("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16")}
ENDIANS |= {("NIST", "PCM_16"), ("CAF", "FLOAT"), ("AU", "FLOAT"), ("WAV", "FLOAT")}


def with_size(kind: str, data: bytes, n_bytes: int) -> bytes:
    """The file, 16-bit mono, with another size of the samples in its header."""
    changed = bytearray(data)
    if kind == "WAV":
        place = data.index(b"data") + 4
        changed[place : place + 4] = struct.pack("<I", n_bytes & 0xFFFF_FFFF)
    elif kind == "RF64":
        place = data.index(b"ds64") + 16
        changed[place : place + 8] = struct.pack("<Q", n_bytes)
        changed[data.index(b"data") + 4 : data.index(b"data") + 8] = b"\xff" * 4
    elif kind == "W64":
        place = data.index(b"data") + 16
        changed[place : place + 8] = struct.pack("<Q", n_bytes + 24 if n_bytes else 0)
    elif kind == "AIFF":
        place = data.index(b"SSND") + 4
        changed[place : place + 4] = struct.pack(">I", n_bytes + 8)
        place = data.index(b"COMM") + 10
        changed[place : place + 4] = struct.pack(">I", n_bytes // 2)
    elif kind == "AU":
        changed[8:12] = struct.pack(">I", n_bytes)
    elif kind == "CAF":
        place = data.index(b"data") + 4
        changed[place : place + 8] = struct.pack(">q", n_bytes + 4 if n_bytes else -1)
    elif kind == "VOC":
        place = int.from_bytes(data[20:22], "little") + 1
        changed[place : place + 3] = (n_bytes + 12).to_bytes(3, "little")
    else:
        text = f"sample_count -i {n_bytes // 2}\n".encode()
        start = data.index(b"sample_count")
        changed[start : data.index(b"\n", start) + 1] = text
        changed = changed[: changed.index(b"end_head") + 9].ljust(1024, b"\0") + data[1024:]
    return bytes(changed)


def plain(kind: str) -> bytes:
    """A 16-bit mono file that ends with its samples."""
    data = encode(kind, "PCM_16")
    # W64 fills up to a multiple of 8 bytes, VOC has a mark of its end.
    return data[: data.rindex(encode("RAW", "PCM_16")[-64:]) + 64] if kind == "W64" else data


@pytest.mark.parametrize("kind", SUBTYPES)
def test_samples_are_found_where_libsndfile_finds_them(kind: str) -> None:
    for subtype in SUBTYPES[kind]:
        for endian in ("LITTLE", "BIG") if (kind, subtype) in ENDIANS else (None,):
            data = encode(kind, subtype, channels=2, endian=endian)
            expected = decode(data, "a")[0]
            (sound,) = find_sound(io.BytesIO(data), "a")
            assert sound.is_whole
            assert sound.encoding.frames(sound.n_bytes) == N
            # A byte more behind a size that is open: the same samples, by our own account of them.
            changed = with_size(kind if kind != "WAVEX" else "WAV", data, 0)
            samples = decode(changed, "a")[0]
            if subtype == "PCM_16" or kind not in ("AIFF", "NIST"):
                np.testing.assert_array_equal(samples[:, :N], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_truncated_is_decoded_with_a_warning(kind: str) -> None:
    data = encode(kind, "PCM_16")
    samples, rate, (warning,) = decode(data[: len(data) // 2], "a.wav")
    held = samples.shape[1]
    assert rate == RATE
    assert N // 2 - 2_100 < held <= N // 2  # CAF has 4 KiB before the sound
    assert warning == (
        f"a.wav: the header promises 120,000 frames (5.00 s) and the file holds {held:,} "
        f"({held / RATE:.2f} s); the file is truncated."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_size_that_is_too_small_is_decoded(kind: str) -> None:
    data = encode(kind, "PCM_16")
    expected = decode(data, "a.wav")[0]
    samples, _, (warning,) = decode(with_size(kind, data, RATE * 2), "a.wav")
    np.testing.assert_array_equal(samples[:, :N], expected)
    assert samples.shape[1] - N < 8
    assert warning.startswith("a.wav: the header counts 24,000 frames (1.00 s) and 96,00")
    assert warning.endswith("more (4.00 s) follow; all are processed.")


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_size_of_nothing_is_decoded(kind: str) -> None:
    data = encode(kind, "PCM_16")
    samples, _, warnings = decode(with_size(kind, data, 0), "a.wav")
    np.testing.assert_array_equal(samples[:, :N], decode(data, "a.wav")[0])
    assert samples.shape[1] - N < 8
    if kind == "WAV":  # as programs that write to a pipe leave it
        assert warnings == ()
    else:
        assert "the header states no length, as when a recorder is stopped; 120,00" in warnings[0]


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "AU", "CAF", "NIST"])
def test_joined_files_are_decoded_one_after_the_other(kind: str) -> None:
    data = encode(kind, "PCM_16")
    samples, _, warnings = decode(data * 3, "a.wav")
    np.testing.assert_array_equal(samples, np.tile(decode(data, "a.wav")[0], 3))
    assert warnings == ()


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF"])
@pytest.mark.parametrize(
    "make_tail",
    [
        lambda order: b"LIST" + struct.pack(f"{order}I4s", 4, b"INFO"),
        lambda order: b"odd " + struct.pack(f"{order}I", 3) + b"abc",
        lambda order: b"odd " + struct.pack(f"{order}I", 3) + b"abc\0" + b"junk\0\0\0\0",
        lambda order: b"TAG" + bytes(125),
        lambda order: b"ID3\4\0\0\0\0\x20\0" + bytes(4096),
        lambda order: bytes(50_000),
        lambda order: b"leftover",
    ],
    ids=["chunk", "odd", "odd padded", "ID3v1", "ID3v2", "zeros", "few bytes"],
)
def test_what_other_programs_write_behind_is_no_sound(
    kind: str, make_tail: Callable[[str], bytes]
) -> None:
    data = encode(kind, "PCM_16")
    samples, _, warnings = decode(data + make_tail(">" if kind == "AIFF" else "<"), "a.wav")
    assert samples.shape == (1, N)
    assert warnings == ()


def test_a_size_that_wrapped_at_four_gibibytes(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    data = encode("WAV", "PCM_16")
    n_bytes = 2**32 + 480_000
    with path.open("wb") as file:
        file.write(with_size("WAV", data[:44], n_bytes))
        file.truncate(44 + n_bytes)  # a hole: nothing is on the disk
        file.seek(44 + n_bytes - 240_000)
        file.write(data[44:])
    began = time.process_time()
    with FileReader(path, str(path)) as reader:
        assert reader.n_expected == n_bytes // 2
    assert time.process_time() - began < 20


def test_adpcm_that_follows_is_reported_to_be_left_out() -> None:
    data = bytearray(encode("WAV", "IMA_ADPCM"))
    place = data.index(b"data") + 4
    half = int.from_bytes(data[place : place + 4], "little") // 2
    data[place : place + 4] = struct.pack("<I", half // 512 * 512)
    warning = decode(bytes(data), "a.wav")[2][-1]
    assert "at the end cannot be decoded and are left out" in warning
    cut = encode("WAV", "MS_ADPCM")
    (warning,) = decode(cut[: len(cut) // 2], "a.wav")[2]
    assert "; the file is truncated" in warning


# VOC, of whose blocks libsndfile decodes the first


def voc(*blocks: tuple[int, bytes]) -> bytes:
    head = b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x010A, 0x1129)
    body = b"".join(bytes([kind]) + len(data).to_bytes(3, "little") + data for kind, data in blocks)
    return head + body + b"\0"


NEW = struct.pack("<IBBH4x", 8_000, 16, 1, 4)
SOUND = (np.arange(8_000, dtype="<i2") % 100).tobytes()


def test_all_blocks_of_a_voc_file_are_decoded() -> None:
    silence = struct.pack("<HB", 7_999, 256 - 125)  # 8,000 samples at 8 kHz
    samples, rate, warnings = decode(
        voc((9, NEW + SOUND), (5, b"a comment\0"), (2, SOUND), (3, silence), (9, NEW + SOUND)), "a"
    )
    expected = np.frombuffer(SOUND, "<i2") / np.float32(2**15)
    assert (rate, warnings) == (8_000, ())
    np.testing.assert_array_equal(samples[0].reshape(4, 8_000)[[0, 1, 3]], [expected] * 3)
    assert not samples[0, 16_000:24_000].any()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16"])
def test_joined_voc_files_and_what_follows_them(subtype: str) -> None:
    data = encode("VOC", subtype)
    one = decode(data, "a.voc")[0]
    for joined in (data * 3, data[: data.rindex(b"Creative") + len(data)]):
        samples, _, warnings = decode(joined, "a.voc")
        np.testing.assert_array_equal(samples, np.tile(one, (1, len(joined) // len(data))))
        assert warnings == ()
    for rest, says in (
        (b"TAG" + bytes(125), ()),
        (bytes(range(1, 250)) * 99, ("bytes are not VOC data.",)),
    ):
        samples, _, warnings = decode(data + b"\0" + rest, "a.voc")
        np.testing.assert_array_equal(samples, one)
        assert len(warnings) == len(says)
        assert all(text in warning for text, warning in zip(says, warnings, strict=True))


def wav(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    ]
    body = b"WAVE" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_every_chunk_of_sound_of_a_wav_file_is_decoded() -> None:
    form = b"fmt ", struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2, 16)
    more = b"data", bytes(1) + SOUND[1:]
    data = wav(form, (b"data", SOUND), (b"LIST", b"odd"), more, (b"LIST", b"INFO"), more)
    samples, _, (warning,) = decode(data, "a.wav")
    expected = np.frombuffer(SOUND + more[1] * 2, "<i2") / np.float32(2**15)
    np.testing.assert_array_equal(samples[0], expected)
    assert "counts 8,000 frames (1.00 s) and 16,000 more (2.00 s) follow" in warning


@pytest.mark.parametrize("subtype", ["G721_32", "G723_24", "G723_40"])
def test_truncated_au_files_of_g721_and_g723(subtype: str) -> None:
    data = encode("AU", subtype, rate=8_000)
    assert not [text for text in decode(data, "a.au")[2] if "4.0 kHz" not in text]
    for part in (data[: len(data) // 2], data[:-100]):
        warning = decode(part, "a.au")[2][0]
        assert "the header promises 40,080 frames (5.01 s)" in warning
        assert "truncated" in warning


def test_a_block_that_is_filled_up_is_no_excess() -> None:
    data = encode("WAV", "GSM610", rate=8_000)
    assert not [text for text in decode(data, "a.wav")[2] if "header" in text]


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "W64", "CAF"])
def test_tags_before_the_container_are_skipped(kind: str) -> None:
    data = encode(kind, "PCM_16")
    tag = b"ID3\x03\0\0" + bytes([0, 0, 8, 0]) + bytes(1024)
    samples, _, warnings = decode(tag + data, "a")
    np.testing.assert_array_equal(samples, decode(data, "a")[0])
    assert warnings == ()


def test_mp3_in_joined_wav_files() -> None:
    mp3 = without_tag(encode("MP3", rate=44_100))
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 8_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    data = wav((b"fmt ", form), (b"data", mp3))
    one = decode(data, "a.wav")[0]
    samples, _, warnings = decode(data * 3, "a.wav")
    assert samples.shape[1] == 3 * one.shape[1]
    assert warnings == ()
    (warning,) = decode(data[: -len(mp3) // 3], "a.wav")[2]
    assert "truncated" in warning


def test_old_blocks_of_a_voc_file_are_decoded() -> None:
    byte_sound = bytes(range(100, 156)) * 100
    extended = struct.pack("<HBB", 65_536 - 256_000_000 // (2 * 8_000), 0, 1)
    old = bytes([256 - 125, 0])
    samples, rate, _ = decode(voc((1, old + byte_sound), (2, byte_sound)), "a")
    assert (rate, samples.shape) == (8_000, (1, 11_200))
    samples, rate, _ = decode(voc((8, extended), (1, old + byte_sound), (2, byte_sound)), "a")
    assert (rate, samples.shape) == (8_000, (2, 5_600))


def test_a_voc_file_over_16_mebibytes() -> None:
    sound = SOUND * 1_100  # over 2**24 bytes, so that the size wraps
    size = (len(NEW) + len(sound)) % 2**24
    data = voc()[:-1] + b"\x09" + size.to_bytes(3, "little") + NEW + sound
    samples, _, (warning,) = decode(data, "a.voc")
    assert samples.shape == (1, len(sound) // 2)
    assert "more (" in warning


# Headers out of proportion


def many_chunks(n_chunks: int) -> bytes:
    head, data = encode("WAV", "PCM_16")[:36], encode("WAV", "PCM_16")[36:]
    return head + b"junk\0\0\0\0" * n_chunks + data


def test_chunks_out_of_proportion_are_refused_quickly() -> None:
    assert decode(many_chunks(9_000), "a.wav")[0].shape == (1, N)
    began = time.process_time()
    with pytest.raises(AudioError, match="more than 64 MiB, or 10,000 chunks, before the sound"):
        decode(many_chunks(1_250_000), "a.wav")
    assert time.process_time() - began < 5


def test_a_gigantic_chunk_before_the_sound_is_refused(tmp_path: Path) -> None:
    path, data = tmp_path / "a.wav", encode("WAV", "PCM_16")
    with path.open("wb") as file:
        file.write(data[:36] + b"junk" + struct.pack("<I", 2**30))
        file.seek(2**30, io.SEEK_CUR)
        file.write(data[36:])
    with pytest.raises(AudioError, match="before the sound"):
        decode(path, str(path))


def test_a_header_that_demands_the_impossible_sets_nothing_aside() -> None:
    fmt = struct.pack("<HHIIHH", 1, 64, 1_000, 256_000, 256, 32)
    data = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0" + fmt + b"data" + struct.pack("<I", 2**30)
    samples, _, (warning,) = decode(data + b"\1" * 2_560, "a.wav")
    assert samples.shape == (64, 10)
    assert warning.endswith("; the file is truncated.")
