"""Ogg files of several links, with pages missing, or with other streams along."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from dcasenet.audio.decoder import decode
from dcasenet.audio.ogg import find_links
from dcasenet.errors import AudioError
from tests.fixtures.recordings import RATE, N, encode

VORBIS = encode("OGG", "VORBIS")
OPUS = encode("OGG", "OPUS")


def pages(data: bytes) -> list[bytes]:
    parts = data.split(b"OggS")
    return [b"OggS" + part for part in parts[1:]]


def foreign_pages(serial: int) -> list[bytes]:
    """The first and the last page of a stream of pictures."""
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, 2, 0, serial, 0, 0, 1)
    last = struct.pack("<4sBBqIIIB", b"OggS", 0, 4, 5, serial, 1, 0, 1)
    return [head + bytes([7]) + b"\x80theora", last + bytes([7]) + b"picture"]


@pytest.mark.parametrize("data", [VORBIS, OPUS], ids=["vorbis", "opus"])
def test_every_link_is_decoded(data: bytes) -> None:
    one = decode(data, "a.ogg")[0]
    samples, rate, warnings = decode(data * 3, "a.ogg")
    assert (rate, warnings) == (RATE, ())
    assert samples.shape == (1, 3 * one.shape[1])
    np.testing.assert_array_equal(samples[:, -N:], one[:, -N:])


def test_what_follows_the_last_link_is_reported() -> None:
    (warning,) = decode(VORBIS + OPUS + encode("WAV"), "a.ogg")[2]
    assert warning == f"a.ogg: the last {len(encode('WAV')):,} bytes are not Ogg data."
    assert decode(VORBIS + b"TAG" + bytes(125), "a.ogg")[2] == ()


def test_links_of_other_codecs_rates_and_channels_are_fitted_to_the_first() -> None:
    stereo = encode("OGG", "VORBIS", channels=2, rate=44_100)
    samples, rate, warnings = decode(OPUS + stereo + VORBIS, "a.ogg")
    assert (rate, warnings) == (RATE, ())
    assert abs(samples.shape[1] - 3 * N) < 3_000
    wide, rate, _ = decode(stereo + VORBIS, "a.ogg")
    assert (len(wide), rate) == (2, 44_100)
    np.testing.assert_array_equal(wide[0, 230_000:], wide[1, 230_000:])


def test_streams_that_run_along_are_passed_over() -> None:
    picture, last = foreign_pages(77)
    first, *rest = pages(VORBIS)
    mixed = b"".join([picture, first, *rest[:3], last, *rest[3:]])
    samples, _, warnings = decode(mixed, "a.ogv")
    assert warnings == ()
    np.testing.assert_array_equal(samples, decode(VORBIS, "a.ogg")[0])


def test_a_second_stream_of_sound_is_reported_to_be_left_out() -> None:
    first, *rest = pages(VORBIS)
    other = [page[:14] + b"\1\2\3\4" + page[18:] for page in pages(VORBIS)]
    mixed = b"".join([first, other[0], *rest, *other[1:]])
    samples, _, (warning,) = decode(mixed, "a.ogg")
    assert samples.shape == (1, N)
    assert warning == "a.ogg: 1 more streams of sound run along and are left out."


def test_missing_pages_are_reported_to_be_missing_inside() -> None:
    all_pages = pages(encode("OGG", "VORBIS", rate=44_100))
    middle = len(all_pages) // 2
    _, _, warnings = decode(b"".join(all_pages[:middle] + all_pages[middle + 1 :]), "a.ogg")
    assert "inside, so that later times" in warnings[0]


def test_a_file_that_is_cut_is_reported_to_be() -> None:
    samples, _, warnings = decode(VORBIS[: len(VORBIS) * 2 // 3], "a.ogg")
    assert 0 < samples.shape[1] < N
    assert warnings[-1] == (
        "a.ogg: the file ends without an end-of-stream mark; it may be truncated."
    )


def test_headers_out_of_proportion_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcasenet.audio.sections.MOST_HEADER", 1_000)
    with pytest.raises(AudioError, match=r"a\.ogg has more than 0 MiB of pictures and text"):
        decode(VORBIS, "a.ogg")


def test_a_later_link_that_cannot_be_decoded_is_reported_to_be_left_out() -> None:
    broken = b"".join(pages(VORBIS)[:1])
    samples, _, (warning,) = decode(VORBIS + broken, "a.ogg")
    assert samples.shape == (1, N)
    assert warning.startswith("a.ogg: section 2 of the file is left out: ")


def test_bytes_between_pages_are_counted() -> None:
    first, *rest = pages(VORBIS)
    links, n_junk = find_links(io.BytesIO(b"".join([first, b"junk" * 10, *rest, b"end"])))
    assert (len(links), n_junk) == (1, 43)
