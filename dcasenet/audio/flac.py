"""Count the frames of a FLAC file, and find missing ones.

libsndfile trusts the total in the header, stops there, and replaces missing frames with silence
without a warning. So frames are counted here by their numbers, and the decoder gets no total.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dcasenet.audio.views import BinaryStream, View, read_at, size_of
from dcasenet.errors import AudioError

# Bytes of the file that are read at a time, and the longest header of a frame.
CHUNK, HEAD = 2**20, 16
# Most bytes of a frame besides its header and samples: the kind of each channel, and a checksum.
FOOT = 32
# Most bytes of pictures and text accepted before the sound.
MOST_METADATA = 2**26
# The marker, and the first bytes of the metadata block after it: STREAMINFO of 34 bytes, which may
# or may not be the last block.
MARKER = b"fLaC"
FIRST_BLOCKS = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
# Code in the header of a frame → its block size, where the header has no explicit one.
_BLOCKS = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}}
_BLOCKS |= {code: 256 << code - 8 for code in range(8, 16)}


@dataclass
class FlacStream:
    """One FLAC stream of a file.

    Attributes:
        start: Position of its first byte.
        stop: Position of its end.
        n_stated: Number of samples according to its header; 0 if it does not say.
        n_samples: Number of samples in its frames, plus those of frames missing between them.
        n_missing: Number of samples of frames missing between others.
        first_missing: Where the first missing frame begins, in samples.
        n_rest: Bytes after the last frame that are not FLAC data.
    """

    start: int
    stop: int
    n_stated: int
    n_samples: int = 0
    n_missing: int = 0
    first_missing: int = 0
    n_rest: int = 0

    def view(self, stream: BinaryStream) -> View:
        """Return it as a separate file whose header does not state the length."""
        head = bytearray(read_at(stream, self.start, 42))
        head[21] &= 0xF0  # the total is 36 bits
        head[22:26] = bytes(4)
        return View(stream, [bytes(head), (self.start + 42, self.stop)])


def find_flac(stream: BinaryStream, start: int, source: str) -> list[FlacStream]:
    """Find the streams of a FLAC file: one, or several if files were joined.

    Args:
        stream: The file.
        start: Position of the marker ``fLaC``.
        source: Name of the file in messages.

    Raises:
        AudioError: There are more than 64 MiB of metadata before the sound.
    """
    size = size_of(stream)
    size = _before_tags(stream, size)
    sound = _after_metadata(stream, start, size, source)
    bounds = [start, *_starts(stream, sound, size), size]
    found = []
    for first, stop in pairwise(bounds):
        head = read_at(stream, first, 42)
        if len(head) < 42:
            break
        flac = FlacStream(first, stop, int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF)
        _count(flac, stream, _after_metadata(stream, first, stop, source), _sample_bits(head))
        found.append(flac)
    return found


def _before_tags(stream: BinaryStream, size: int) -> int:
    """Return the position where tags of other formats at the end begin."""
    if read_at(stream, max(0, size - 128), 3) == b"TAG":
        size -= 128
    foot = read_at(stream, max(0, size - 32), 32)
    if foot.startswith(b"APETAGEX"):
        n_bytes = int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
        size -= n_bytes if n_bytes < size else 0
    return size


def _sample_bits(head: bytes) -> int:
    """Return the number of bits of a frame's sample, all channels together."""
    n_channels = (head[20] >> 1 & 7) + 1
    return n_channels * (((head[20] & 1) << 4 | head[21] >> 4) + 1)


def _starts(stream: BinaryStream, position: int, size: int) -> Iterator[int]:
    """Yield the positions of further streams."""
    while position < size:
        data = read_at(stream, position, min(CHUNK, size - position))
        place = data.find(MARKER)
        while place >= 0:
            if data[place + 4 : place + 8] in FIRST_BLOCKS:
                yield position + place
            place = data.find(MARKER, place + 1)
        position += max(1, len(data) - 7)


def _after_metadata(stream: BinaryStream, start: int, stop: int, source: str) -> int:
    position = start + 4
    while position < stop:
        head = read_at(stream, position, 4)
        position += 4 + int.from_bytes(head[1:], "big")
        if position - start > MOST_METADATA:
            raise AudioError(
                f"{source} has more than {MOST_METADATA // 2**20} MiB of pictures and text "
                "before the sound. Remove them, for example with metaflac --remove-all."
            )
        if len(head) < 4 or head[0] & 0x80:
            break
    return position


def _count(flac: FlacStream, stream: BinaryStream, position: int, sample_bits: int) -> None:
    """Count the samples of the frames and of those missing between them, by their numbers."""
    expected, end = 0, flac.stop
    other: tuple[int, int] | None = None  # a frame after a possible gap; the next one confirms it
    for place, first, n_samples in _frames(stream, position, flac.stop):
        if first != expected:
            if other is None or first != sum(other) or first < expected:
                other = first, n_samples
                continue
            flac.first_missing = flac.first_missing if flac.n_missing else expected
            flac.n_missing += other[0] - expected
        expected, other = first + n_samples, None
        # At most the uncoded size of the samples, with one more bit for a difference of channels.
        end = place + HEAD + n_samples * (sample_bits + 1) // 8 + FOOT
    flac.n_samples, flac.n_rest = expected, max(0, flac.stop - end)


def _frames(stream: BinaryStream, position: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield position, first sample and number of samples of each possible header of a frame."""
    sync = read_at(stream, position, 2)
    if sync not in (b"\xff\xf8", b"\xff\xf9"):
        return
    block = 0  # block size by which frames of equal length are numbered
    while position < stop:
        data = read_at(stream, position, min(CHUNK, stop - position))
        place = data.find(sync)
        while place >= 0 and (place + HEAD <= len(data) or position + len(data) >= stop):
            found = _header(data[place : place + HEAD])
            if found is not None:
                number, n_samples = found
                block = block or n_samples
                yield position + place, number if sync[1] & 1 else number * block, n_samples
            place = data.find(sync, place + 2)
        position += place if place > 0 else max(1, len(data) - 1)


def _header(head: bytes) -> tuple[int, int] | None:
    """Read a frame's number and number of samples from its header; None if it is not a header."""
    if len(head) < 6 or head[3] & 1:
        return None
    lead = head[4]
    n_more = 0 if lead < 0x80 else 7 - (lead ^ 0xFF).bit_length()
    if lead >= 0x80 and not 0 < n_more < 7:
        return None
    number = lead & (0x7F if not n_more else 0x3F >> n_more)
    end = 5 + n_more
    for byte in head[5:end]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    code = head[2] >> 4
    n_block = {6: 1, 7: 2}.get(code, 0)
    n_samples = (
        int.from_bytes(head[end : end + n_block], "big") + 1 if n_block else _BLOCKS.get(code)
    )
    end += n_block + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if n_samples is None or end >= len(head) or _crc8(head[:end]) != head[end]:
        return None
    return number, n_samples


def _crc8(data: bytes) -> int:
    checksum = 0
    for byte in data:
        checksum = _CRC8[checksum ^ byte]
    return checksum


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = byte << 1 ^ (0x107 if byte & 0x80 else 0)
    return byte


_CRC8 = bytes(map(_crc8_of, range(256)))
