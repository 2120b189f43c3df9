"""What the headers of WAV and MP3 files say of the length, put right for libsndfile."""

from __future__ import annotations

import io
import struct
from typing import Protocol

from dcasenet.errors import AudioError

# RIFF format tags whose blocks are single frames: PCM, float, A-law, µ-law, extensible.
FRAMEWISE_TAGS = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)
# Bytes of an MP3 file that are looked at, and those up to where the longest tag ends.
MP3_HEAD, SHORTEST_HEAD = 4096, 84


class Stream(Protocol):
    """What is needed of a binary file."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most so many bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position."""

    def tell(self) -> int:
        """Give the position."""


class Spliced(io.RawIOBase):
    """Another beginning before the rest of a file, of which nothing is copied.

    Example:
        >>> Spliced(b"new ", io.BytesIO(b"old rest"), 4).read()
        b'new rest'
    """

    def __init__(self, head: bytes, stream: Stream, start: int) -> None:
        self._head, self._stream, self._start = head, stream, start
        self._size = len(head) + max(0, size_of(stream) - start)
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position."""
        position = offset + {0: 0, 1: self._position, 2: self._size}[whence]
        if position < 0:
            raise ValueError(f"There is no position {position}.")
        self._position = position
        return position

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        """Read what is at the position."""
        data = self._head[self._position : self._position + len(buffer)]
        if len(data) < len(buffer):  # libsndfile takes fewer bytes for the end of the file
            self._stream.seek(self._start + max(0, self._position - len(self._head)))
            data += self._stream.read(len(buffer) - len(data))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def size_of(stream: Stream) -> int:
    """Give the length of a file in bytes; leave it where it stands."""
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return size


def settle_length(stream: Stream, source: str) -> tuple[Stream, bool]:
    """Keep libsndfile from misjudging the length of a file.

    Args:
        stream: The file, at its start.
        source: What messages call it.

    Returns:
        The file as libsndfile is to see it; and, of an MP3, whether it states its length itself.

    Raises:
        AudioError: It is empty.
    """
    start = stream.read(4)
    if not start:
        raise AudioError(f"{source} is empty (0 bytes). Give a file that holds audio.")
    if start == b"RIFF" and _riff_data(stream)[0] == 0:
        # A recorder that was killed leaves the size 0: libsndfile then reads to the end of the
        # file if the RIFF size is 8, else nothing. What reads like a chunk's name is no audio.
        following = stream.read(4)
        if following and not following.rstrip().isalnum():
            return Spliced(start + struct.pack("<I", 8), stream, 8), False
    if start.startswith((b"ID3", b"\xff")):
        first = _after_id3(stream)
        stream.seek(first)
        head = bytearray(stream.read(MP3_HEAD))
        rest = first + len(head)
        is_counted = _count_mp3(head, size_of(stream) - first)
        return Spliced(bytes(head), stream, rest), is_counted
    return stream, False


def _after_id3(stream: Stream) -> int:
    """Give where the tags at the start end, which may be of any size."""
    first = 0
    while True:
        stream.seek(first)
        head = stream.read(10)
        if not (head.startswith(b"ID3") and len(head) == 10):
            return first
        a, b, c, d = head[6:10]
        first += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)


def _riff_data(stream: Stream) -> tuple[int, int]:
    """Size of the data chunk and of a frame, in bytes (0: unknown); leaves the stream there."""
    stream.seek(0)
    order = ">" if stream.read(12).startswith(b"RIFX") else "<"
    frame_size = long_size = 0
    while len(head := stream.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        if name == b"data":
            # Writers that cannot go back leave a size next to 2³¹ or 2³²; RF64 has it in ds64.
            is_open = 0x7FFF_0000 <= size <= 0x8000_FFFF or size >= 0xFFFF_0000
            return (long_size if is_open else size), frame_size
        body = stream.read(min(size, 16))
        if name == b"ds64" and len(body) == 16:
            (long_size,) = struct.unpack_from("<Q", body, 8)
        if name == b"fmt " and len(body) == 16:
            tag, block_size = struct.unpack_from(f"{order}H10xH", body)
            frame_size = block_size if tag in FRAMEWISE_TAGS else 0
        stream.seek(size + size % 2 - len(body), io.SEEK_CUR)
    return 0, 0


def riff_frames(stream: Stream) -> int:
    """Count the frames that a WAV file promises; 0 if it leaves that open."""
    size, frame_size = _riff_data(stream)
    return size // frame_size if frame_size else 0


def _count_mp3(data: bytearray, size: int) -> bool:
    """Make the first frame state how many follow; return whether it did so by itself.

    Args:
        data: The start of an MP3 file, changed in place.
        size: Length of the file, in bytes.

    libsndfile believes a Xing tag. Without one it takes the first frame's bit rate for all and
    drops the rest without a word (most of the file where the rate varies), so such a file gets
    a tag with more frames than it can hold: decoding then ends where the data ends. A VBRI tag,
    which libsndfile does not know, is rewritten as Xing.
    """
    header = int.from_bytes(data[:4], "big")
    version, layer, rate = header >> 19 & 3, header >> 17 & 3, header >> 10 & 3
    is_frame = header >> 21 == 0x7FF and version != 1 and layer == 1 and rate != 3
    if not is_frame or len(data) < SHORTEST_HEAD:
        return False  # no frame of layer III, or none that is whole
    is_mono, is_mpeg1 = header >> 6 & 3 == 3, version == 3
    side_info = 32 if is_mpeg1 and not is_mono else 9 if is_mono and not is_mpeg1 else 17
    tag = 4 + side_info
    marker = bytes(data[tag : tag + 4])
    has_xing = marker in (b"Xing", b"Info")
    if has_xing and data[tag + 7] & 1 and any(data[tag + 8 : tag + 12]):
        if data[tag + 7] & 2:  # mpg123 prints a complaint if the size in bytes is not true
            struct.pack_into(">I", data, tag + 12, size)
        return True
    has_vbri = data[36:40] == b"VBRI"
    if has_vbri:
        (n_frames,) = struct.unpack_from(">I", data, 50)
    else:
        n_frames = size // 24  # bytes of the shortest frame: 8 kbit/s at 24 kHz
    if not (has_xing or has_vbri):
        data[:0] = _blank_mp3_frame(header)
    # Zeros up to where the tag's delay and padding end: none are known.
    xing = struct.pack(">4sII", b"Xing", 1, n_frames)
    data[4 : tag + 48] = bytes(side_info) + xing + bytes(36)
    return has_vbri


def _blank_mp3_frame(header: int) -> bytes:
    """A silent frame of layer III like the one with this header, at 128 (MPEG 2: 80) kbit/s."""
    version = header >> 19 & 3
    sample_rate = (44_100, 48_000, 32_000)[header >> 10 & 3] >> {3: 0, 2: 1, 0: 2}[version]
    size = 144 * 128_000 // sample_rate if version == 3 else 72 * 80_000 // sample_rate
    # Bits 12-15 are the bit rate's index, 9 the padding; 16 means that no checksum follows.
    header = header & ~0xF200 | 0x1_9000
    return header.to_bytes(4, "big") + bytes(size - 4)
