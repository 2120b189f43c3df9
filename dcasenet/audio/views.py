"""View parts of a binary file, and bytes between them, as one file."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Protocol, TypeAlias

# Bytes of its own, or (start, stop) of a part of the file.
Piece: TypeAlias = "bytes | tuple[int, int]"


# Bytes that a decoder may leave unread without a warning, such as padding.
LEAST_UNREAD = 2**16


class BinaryStream(Protocol):
    """The methods of a binary file that are used."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes; all if negative."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position."""

    def tell(self) -> int:
        """Return the position."""


class View(io.RawIOBase):
    """Pieces of a file, read as one file without copying them.

    Attributes:
        n_read: Number of bytes read, counting repeated reads.

    Example:
        >>> View(io.BytesIO(b"old rest"), [b"new ", (4, 8), b"!"]).read()
        b'new rest!'
    """

    def __init__(self, stream: BinaryStream, pieces: Iterable[Piece]) -> None:
        self._stream = stream
        self._pieces = [piece for piece in pieces if length_of(piece)]
        self._starts = [0, *accumulate(map(length_of, self._pieces))]
        self._position = self.n_read = 0

    @property
    def n_unread(self) -> int:
        """Least number of bytes that were not read; 0 if there are few."""
        size = self._starts[-1]
        n_unread = size - self.n_read
        return n_unread if n_unread > max(LEAST_UNREAD, size // 10) else 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position."""
        position = offset + {0: 0, 1: self._position, 2: self._starts[-1]}[whence]
        if position < 0:
            raise ValueError(f"There is no position {position}.")
        self._position = position
        return position

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        """Read into a buffer: fewer bytes than its length only at the end."""
        filled = 0
        while filled < len(buffer) and self._position < self._starts[-1]:
            data = self._from_piece(len(buffer) - filled)
            if not data:  # the file has been shortened
                break
            buffer[filled : filled + len(data)] = data
            filled += len(data)
            self._position += len(data)
        self.n_read += filled
        return filled

    def _from_piece(self, size: int) -> bytes:
        index = bisect_right(self._starts, self._position) - 1
        piece, offset = self._pieces[index], self._position - self._starts[index]
        if isinstance(piece, bytes):
            return piece[offset : offset + size]
        start, stop = piece[0] + offset, piece[1]
        self._stream.seek(start)
        return self._stream.read(min(size, stop - start))


def read_at(stream: BinaryStream, position: int, size: int) -> bytes:
    """Read up to `size` bytes from a position."""
    stream.seek(position)
    return stream.read(size)


def size_of(stream: BinaryStream) -> int:
    """Return the length of a file in bytes, and keep its position."""
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return size


def length_of(piece: Piece) -> int:
    """Return the number of bytes in a piece."""
    return len(piece) if isinstance(piece, bytes) else max(0, piece[1] - piece[0])
