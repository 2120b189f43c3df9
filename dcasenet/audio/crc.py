"""The CRC-16 that MP3 encoders store of their output, computed many bytes at a time."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint16]

# Rows that a block is cut into; each gets its own checksum, all at once, two bytes at a time.
ROWS = 4096


def crc16(data: bytes, start: int = 0) -> int:
    """Continue the checksum CRC-16/ARC.

    Args:
        data: The bytes that follow.
        start: Checksum of those before.

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
    """Return the update of every checksum by a 16-bit word of zeros, (65536,)."""
    sums = np.arange(2**16, dtype=np.uint16)
    return _bytewise(_bytewise(sums))


@cache
def _short_table() -> list[int]:
    """Return the update of every low byte by one byte of zeros, (256,)."""
    table: list[int] = _bytewise(np.arange(256, dtype=np.uint16)).tolist()
    return table


def _bytewise(sums: Words) -> Words:
    """Update checksums by one byte of zeros."""
    for _ in range(8):
        odd = np.where(sums & np.uint16(1), np.uint16(0xA001), np.uint16(0))
        sums = ((sums >> np.uint16(1)) ^ odd).astype(np.uint16)
    return sums


def _joined(sums: Words, n_words: int) -> int:
    """Join the checksums of rows of equal length, pairs of rows at a time."""
    # The checksum of two rows is that of the second, and of the first with zeros behind it: a
    # linear map, known by what it makes of each bit.
    shifted = _power(n_words)
    while len(sums) > 1:
        sums = _mapped(sums[::2], shifted) ^ sums[1::2]
        shifted = _mapped(shifted, shifted)
    return int(sums[0])


def _power(n_words: int) -> Words:
    """Return the map of `n_words` words of zeros, by repeated squaring."""
    bits: Words = np.uint16(1) << np.arange(16, dtype=np.uint16)
    result, square = bits, _table()[bits]
    while n_words:
        if n_words & 1:
            result = _mapped(result, square)
        square, n_words = _mapped(square, square), n_words >> 1
    return result


def _mapped(sums: Words, images: Words) -> Words:
    """Apply a linear map, given by the images of the 16 bits."""
    chosen = (sums[:, None] >> np.arange(16, dtype=np.uint16)) & 1
    result: Words = np.bitwise_xor.reduce(np.where(chosen, images, np.uint16(0)), axis=1)
    return result
