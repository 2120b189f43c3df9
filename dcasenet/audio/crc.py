"""The CRC-16 of an MP3 file as encoders store it, computed for many rows of bytes at once."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint16]

# Rows that a block is cut into; their checksums are updated together, two bytes at a time.
ROWS = 4096


def crc16(data: bytes, start: int = 0) -> int:
    """Return the checksum CRC-16/ARC, optionally continuing an earlier one.

    Args:
        data: The next bytes.
        start: Checksum of the bytes before them.

    Example:
        >>> hex(crc16(b"123456789"))
        '0xbb3d'
        >>> crc16(b"6789", crc16(b"12345")) == crc16(b"123456789")
        True
    """
    n_words = len(data) // (2 * ROWS)
    n_by_rows = 2 * ROWS * n_words
    if n_by_rows:
        table = _table()
        columns = np.frombuffer(data, "<u2", ROWS * n_words).reshape(ROWS, n_words).T.copy()
        sums = np.zeros(ROWS, np.uint16)
        sums[0] = start
        for column in columns:
            sums = table[sums ^ column]
        start = _joined(sums, n_words)
    single = _short_table()
    for byte in data[n_by_rows:]:
        start = single[(start ^ byte) & 0xFF] ^ (start >> 8)
    return start


@cache
def _table() -> Words:
    """Return the update of every 16-bit checksum by two zero bytes, shape (65536,)."""
    sums = np.arange(2**16, dtype=np.uint16)
    return _bytewise(_bytewise(sums))


@cache
def _short_table() -> list[int]:
    """Return the update of every 8-bit checksum by one zero byte, 256 values."""
    table: list[int] = _bytewise(np.arange(256, dtype=np.uint16)).tolist()
    return table


def _bytewise(sums: Words) -> Words:
    """Update checksums by one zero byte."""
    for _ in range(8):
        odd = np.where(sums & np.uint16(1), np.uint16(0xA001), np.uint16(0))
        sums = ((sums >> np.uint16(1)) ^ odd).astype(np.uint16)
    return sums


def _joined(sums: Words, n_words: int) -> int:
    """Combine the checksums of rows of equal length, in pairs."""
    # The checksum of two rows is the XOR of that of the second and of that of the first followed by
    # zeros: a linear map, given by its images of the 16 bits.
    shifted = _power(n_words)
    while len(sums) > 1:
        sums = _mapped(sums[::2], shifted) ^ sums[1::2]
        shifted = _mapped(shifted, shifted)
    return int(sums[0])


def _power(n_words: int) -> Words:
    """Return the linear map that appends `n_words` zero words, by repeated squaring."""
    bits: Words = np.uint16(1) << np.arange(16, dtype=np.uint16)
    result, square = bits, _table()[bits]
    while n_words:
        if n_words & 1:
            result = _mapped(result, square)
        square, n_words = _mapped(square, square), n_words >> 1
    return result


def _mapped(sums: Words, images: Words) -> Words:
    """Apply a linear map, given by its images of the 16 bits."""
    chosen = (sums[:, None] >> np.arange(16, dtype=np.uint16)) & 1
    result: Words = np.bitwise_xor.reduce(np.where(chosen, images, np.uint16(0)), axis=1)
    return result
