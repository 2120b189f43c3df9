"""The frames of a FLAC file: how many there are, and whether one is missing.

libsndfile believes the total in the header, stops there, and puts silence where frames are missing
without a word. So the frames are counted here by their numbers, and the decoder gets no total.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dcasenet.audio.views import BinaryStream, View, read_at, size_of
from dcasenet.errors import AudioError

# Bytes of the file that are looked at together, and those of a frame's header at most.
CHUNK, HEAD = 2**20, 16
# Bytes of a frame besides header and samples at most: of each channel's kind, and a checksum.
FOOT = 32
# Pictures and texts before the sound, at most, in bytes.
MOST_METADATA = 2**26
# Marker, then the first block of metadata: 34 bytes on the stream, whether or not others follow.
MARKER = b"fLaC"
FIRST_BLOCKS = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
# Samples of a block by their code, where the header does not have them itself.
_BLOCKS = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}}
_BLOCKS |= {code: 256 << code - 8 for code in range(8, 16)}


@dataclass
class FlacStream:
    """One FLAC stream of a file.

    Attributes:
        start: Where it begins, in bytes.
        stop: Where it ends.
        n_stated: Samples as its header states; 0 where that is open.
        n_samples: Samples of the frames that are there, with those missing between them.
        n_missing: Samples of frames missing between others.
        first_missing: Where they are missing for the first time, in samples.
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
        """Return it as a file of its own whose header leaves the length open."""
        head = bytearray(read_at(stream, self.start, 42))
        head[21] &= 0xF0  # the total is 36 bits
        head[22:26] = bytes(4)
        return View(stream, [bytes(head), (self.start + 42, self.stop)])


def find_flac(stream: BinaryStream, start: int, source: str) -> list[FlacStream]:
    """Find the streams of a FLAC file: one, unless files were joined.

    Args:
        stream: The file.
        start: Where the marker ``fLaC`` is.
        source: Name of the file in messages.

    Raises:
        AudioError: The header holds more than 64 MiB of pictures and texts.
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
    """Return where the tags of other formats at the end begin."""
    if read_at(stream, max(0, size - 128), 3) == b"TAG":
        size -= 128
    foot = read_at(stream, max(0, size - 32), 32)
    if foot.startswith(b"APETAGEX"):
        n_bytes = int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
        size -= n_bytes if n_bytes < size else 0
    return size


def _sample_bits(head: bytes) -> int:
    """Return how many bits a sample has, of all channels together."""
    n_channels = (head[20] >> 1 & 7) + 1
    return n_channels * (((head[20] & 1) << 4 | head[21] >> 4) + 1)


def _starts(stream: BinaryStream, position: int, size: int) -> Iterator[int]:
    """Find further streams."""
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
                f"{source} has more than {MOST_METADATA // 2**20} MiB of pictures and texts "
                "before the sound. Accepted are files with less: remove them, for example with "
                "metaflac --remove-all."
            )
        if len(head) < 4 or head[0] & 0x80:
            break
    return position


def _count(flac: FlacStream, stream: BinaryStream, position: int, sample_bits: int) -> None:
    """Follow the frames by their numbers."""
    expected, end = 0, flac.stop
    other: tuple[int, int] | None = None  # a frame that may follow a gap, if the next one agrees
    for place, first, n_samples in _frames(stream, position, flac.stop):
        if first != expected:
            if other is None or first != sum(other) or first < expected:
                other = first, n_samples
                continue
            flac.first_missing = flac.first_missing if flac.n_missing else expected
            flac.n_missing += other[0] - expected
        expected, other = first + n_samples, None
        # At most, samples take what they take uncoded, and a bit more for a channel's difference.
        end = place + HEAD + n_samples * (sample_bits + 1) // 8 + FOOT
    flac.n_samples, flac.n_rest = expected, max(0, flac.stop - end)


def _frames(stream: BinaryStream, position: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Find what looks like a frame's header: its place, number of its first sample, how many."""
    sync = read_at(stream, position, 2)
    if sync not in (b"\xff\xf8", b"\xff\xf9"):
        return
    block = 0  # samples of a block, by which frames of equal length are numbered
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
    """Read a frame's number and how many samples it has; None if it is no header."""
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
