"""MP3 files that were joined, cut, damaged or saved from the radio: all is decoded, or said."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet.audio import libsndfile
from dcasenet.audio.crc import crc16
from dcasenet.audio.decoder import FileReader, decode
from dcasenet.audio.mp3 import find_stretches
from dcasenet.errors import AudioError
from tests.fixtures.recordings import RATE, SECONDS, N, encode, encode_by_av, without_tag

MP3 = encode("MP3", rate=RATE)
STEREO = encode("MP3", channels=2, rate=44_100, bitrate_mode="CONSTANT")
VARIABLE = encode("MP3", rate=44_100, bitrate_mode="VARIABLE", compression_level=0.5)
COUNT = slice(21, 25)  # where MP3, of MPEG 2 and mono, has the number of its frames


def with_count(data: bytes, factor: float) -> bytes:
    changed = bytearray(data)
    assert data[13:17] in (b"Xing", b"Info")
    (count,) = struct.unpack(">I", data[COUNT])
    changed[COUNT] = struct.pack(">I", int(count * factor))
    return bytes(changed)


@pytest.fixture(autouse=True)
def nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> object:
    yield
    assert capfd.readouterr().err == ""


def test_the_encoders_own_checksum_proves_a_file_intact() -> None:
    for data in (MP3, STEREO, VARIABLE):
        (stretch,) = find_stretches(io.BytesIO(data), 0)
        assert stretch.is_intact
        assert not stretch.faults
        assert stretch.n_samples == stretch.n_stated


@pytest.mark.parametrize("n_bytes", [0, 1, 8191, 8192, 30_001])
def test_the_checksum_is_that_of_the_definition(n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).bytes(n_bytes)
    expected = 0x1234
    for byte in data:
        expected ^= byte
        for _ in range(8):
            expected = expected >> 1 ^ (0xA001 if expected & 1 else 0)
    assert crc16(data, 0x1234) == expected


def test_a_count_that_is_too_small_ends_nothing() -> None:
    samples, _, (warning,) = decode(with_count(MP3, 0.5), "a.mp3")
    assert samples.shape == (1, N)
    assert "the header counts" in warning
    assert warning.endswith("more (2.54 s) follow; all are processed.")


def test_joined_files_are_decoded_one_after_the_other() -> None:
    samples, _, warnings = decode(MP3 + MP3, "a.mp3")
    assert samples.shape == (1, 2 * N)
    assert warnings == ()
    np.testing.assert_array_equal(samples[:, :N], samples[:, N:])


def test_joined_files_of_other_rates_and_channels_are_fitted_to_the_first() -> None:
    samples, rate, warnings = decode(MP3 + STEREO, "a.mp3")
    assert rate == RATE
    assert warnings == ()
    assert samples.shape == (1, 2 * N)
    left = decode(STEREO, "b.mp3")[0].mean(axis=0)
    assert abs(np.std(samples[0, N:]) / np.std(left) - 1) < 0.05


def test_joined_files_with_tags_between_them_are_no_damage() -> None:
    id3 = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)
    samples, _, warnings = decode(id3 + MP3 + b"TAG" + bytes(125) + id3 + MP3, "a.mp3")
    assert samples.shape == (1, 2 * N)
    assert warnings == ()


def test_joined_files_without_tags_are_decoded_as_one() -> None:
    data = without_tag(MP3)
    samples, _, warnings = decode(MP3 + data, "a.mp3")
    assert 2 * N <= samples.shape[1] <= 2 * N + 2_000
    assert "the header counts" in warnings[0]
    assert "more (5.0" in warnings[0]


def test_a_file_that_ends_within_a_frame_may_be_truncated() -> None:
    for data in (without_tag(STEREO)[:-300], MP3[:-1]):
        (warning,) = decode(data, "a.mp3")[2]
        assert warning == "a.mp3: the file ends within a frame; it may be truncated."
    assert decode(STEREO + b"TAG" + bytes(125), "a.mp3")[2] == ()


@pytest.mark.parametrize("offset", [1, 100, 250])
def test_a_broadcast_saved_from_the_middle_of_a_frame_is_decoded(offset: int) -> None:
    data = without_tag(STEREO)
    samples, rate, warnings = decode(data[5_000 + offset : -500], "radio.mp3")
    assert rate == 44_100
    assert warnings == ()
    assert samples.shape[1] / rate > SECONDS - 0.6


def zeroed(data: bytearray, place: int, size: int) -> None:
    data[place : place + size] = bytes(size)


def overwritten(data: bytearray, place: int, size: int) -> None:
    data[place : place + size] = np.random.default_rng(place).bytes(size)


def cut(data: bytearray, place: int, size: int) -> None:
    del data[place : place + size]


def set_to_ones(data: bytearray, place: int, size: int) -> None:
    data[place : place + size] = b"\xff" * size


def flipped(data: bytearray, place: int, size: int) -> None:
    data[place] ^= 1 << size % 8


DAMAGES = [zeroed, overwritten, cut, set_to_ones, flipped]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("data", [MP3, STEREO, VARIABLE], ids=["mono", "stereo", "variable"])
def test_damage_inside_is_always_noticed(
    data: bytes, damage: Callable[[bytearray, int, int], None]
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(data)
        place, size = int(rng.integers(1_500, len(data) - 4_000)), int(rng.integers(1, 3_000))
        damage(damaged, place, size)
        stretches = find_stretches(io.BytesIO(bytes(damaged)), 0)
        assert any(
            stretch.faults
            or stretch.is_intact is False
            or (stretch.n_samples < (stretch.n_stated or 0) and not stretch.is_cut)
            for stretch in stretches
        )


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_inside_is_warned_of_as_inside(
    damage: Callable[[bytearray, int, int], None],
) -> None:
    rng = np.random.default_rng(2)
    for _ in range(3):
        damaged = bytearray(STEREO)
        damage(damaged, int(rng.integers(20_000, 60_000)), 2_500)
        samples, rate, warnings = decode(bytes(damaged), "a.mp3")
        assert any("inside" in warning for warning in warnings)
        assert samples.shape[1] / rate > SECONDS - 0.5


def test_what_is_cut_out_makes_later_times_early() -> None:
    damaged = bytearray(STEREO)
    cut(damaged, 30_000, 8_000)
    samples, rate, (warning,) = decode(bytes(damaged), "a.mp3")
    assert warning.startswith("a.mp3: the MP3 data is damaged inside, first at 1.9")
    assert warning.endswith("are missing there, so that later times are early.")
    assert "; 0.52 s are" in warning
    assert SECONDS - 0.55 < samples.shape[1] / rate < SECONDS - 0.5


def test_what_is_overwritten_keeps_its_place() -> None:
    intact = decode(STEREO, "a.mp3")[0]
    damaged = bytearray(STEREO)
    zeroed(damaged, 30_000, 8_000)
    samples, rate, (warning,) = decode(bytes(damaged), "a.mp3")
    assert "s there are replaced with silence" in warning
    assert samples.shape == intact.shape
    half = intact.shape[1] // 2 + rate // 2
    np.testing.assert_allclose(samples[:, half:], intact[:, half:], atol=1e-6)


def test_a_truncated_file_is_not_called_damaged() -> None:
    samples, rate, (warning,) = decode(STEREO[: len(STEREO) // 2], "a.mp3")
    assert warning.startswith(
        "a.mp3: the header promises 220,500 frames (5.00 s) and the file hold"
    )
    assert warning.endswith("; the file is truncated.")
    assert 2.4 < samples.shape[1] / rate < 2.5


def test_the_second_half_is_no_mp3() -> None:
    damaged = STEREO[:40_000] + bytes(len(STEREO) - 40_000)
    warnings = decode(damaged, "a.mp3")[2]
    assert any("bytes are not MP3 data" in warning for warning in warnings)


def test_frames_alone_do_not_make_an_mp3() -> None:
    with pytest.raises(AudioError, match="It has no complete frame"):
        decode(MP3[:300], "a.mp3")
    with pytest.raises(AudioError, match="more than 100 ID3 tags"):
        decode(b"ID3\4\0\0\0\0\0\0" * 200_000 + MP3, "a.mp3")


@pytest.fixture
def no_helper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    waiting: list[Any] = []
    monkeypatch.setattr(libsndfile._Helper, "_waiting", waiting)
    yield
    for helper in waiting:
        helper.end()


@pytest.mark.usefixtures("no_helper")
def test_where_no_process_can_be_started_it_is_decoded_in_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libsndfile.sys, "executable", "")
    samples, _, warnings = decode(without_tag(MP3), "a.mp3")
    assert N <= samples.shape[1] < N + 2_000
    assert warnings == ()


@pytest.mark.usefixtures("no_helper")
def test_a_decoder_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libsndfile, "_START", "import os; os.abort()")
    with pytest.raises(AudioError, match="The decoder crashed"):
        decode(without_tag(MP3), "a.mp3")
    monkeypatch.undo()
    assert decode(without_tag(MP3), "a.mp3")[2] == ()


@pytest.mark.usefixtures("no_helper")
def test_one_process_decodes_one_file_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    data, popen = without_tag(MP3), subprocess.Popen
    started: list[Any] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(libsndfile.subprocess, "Popen", start)
    first = decode(data, "a.mp3")[0]
    np.testing.assert_array_equal(decode(data, "a.mp3")[0], first)
    (process,) = started
    with FileReader(data, "a.mp3") as reader:  # which is left in the middle
        next(iter(reader))
    assert started == [process]
    assert process.poll() is not None
    with ThreadPoolExecutor(3) as pool:
        for samples, *_ in pool.map(decode, [data] * 6, ["a.mp3"] * 6):
            np.testing.assert_array_equal(samples, first)
    (process,) = (one for one in started if one.poll() is None)
    process.kill()
    process.wait()
    np.testing.assert_array_equal(decode(data, "a.mp3")[0], first)


def test_layer_two_is_decoded() -> None:
    tone = 0.3 * np.sin(np.arange(44_100) / 20)
    data = encode_by_av(tone, "mp2", "mp2", 44_100)
    samples, rate, warnings = decode(data, "a.mp2")
    assert rate == 44_100
    assert warnings == ()
    assert 44_100 <= samples.shape[1] < 48_000


def test_a_long_one_in_small_blocks_is_decoded_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every frame of loud noise borrows of the frames before it: none is decoded without them."""
    stream = io.BytesIO()
    noise = np.random.default_rng(0).standard_normal(16_000 * 60).astype(np.float32) / 10
    soundfile.write(stream, noise, 16_000, format="MP3")
    whole, *_ = decode(stream.getvalue(), "a.mp3")
    monkeypatch.setattr(libsndfile, "BLOCK_VALUES", 10_007)
    pieces, _, warnings = decode(stream.getvalue(), "a.mp3")
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    assert warnings == ()


def test_a_damaged_first_frame_is_no_sound() -> None:
    """What stands before the encoder's tag in its frame makes libmpg123 take it for sound."""
    damaged = bytearray(MP3)
    damaged[6:9] = b"\xff\xff\xff"
    samples, _, warnings = decode(bytes(damaged), "a.mp3")
    assert samples.shape == decode(MP3, "a.mp3")[0].shape
    assert warnings == ()


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\x03\x00" + bytes(range(256)) * 20,
        b"\xff\xf3\x00\x00" + bytes(3_000),
        MP3[:4] + b"ftypM4A " + bytes(6_000),
    ],
    ids=["no header", "free format", "another container"],
)
def test_what_only_looks_like_it_is_refused_without_a_word(data: bytes) -> None:
    with pytest.raises(AudioError, match="cannot be read as audio"):
        decode(data, "a.mp3")
