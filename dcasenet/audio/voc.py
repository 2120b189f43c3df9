"""Read Creative Voice files: joined blocks of samples and silence."""

from __future__ import annotations

import struct

from dcasenet.audio.containers import (
    MOST_CHUNKS,
    Container,
    Encoding,
    Sound,
    nothing_behind,
)
from dcasenet.audio.views import Piece, length_of

# VOC codecs → soundfile's name and bytes of a sample.
_VOC_SUBTYPES = {0: ("PCM_U8", 1), 4: ("PCM_16", 2), 6: ("ALAW", 1), 7: ("ULAW", 1)}
_VOC_END, _VOC_SOUND, _VOC_MORE, _VOC_SILENCE, _VOC_EXTENDED, _VOC_NEW = 0, 1, 2, 3, 8, 9


def read_voc(file: Container) -> Sound | None:
    """Return the sound of a VOC file; None if there is none in a known encoding."""
    head = file.at(file.start, 22)
    if not head.startswith(b"Creative Voice File\x1a") or len(head) < 22:
        return None
    blocks = _VocBlocks(file)
    blocks.follow(file.start + int.from_bytes(head[20:22], "little"))
    if blocks.encoding is None or not blocks.encoding.is_sane:
        return None
    pieces, stated, stop = tuple(blocks.pieces), blocks.n_stated, blocks.stop
    is_known = nothing_behind(file, stop) is not None or file.is_other(stop, blocks.encoding)
    n_rest = 0 if is_known else file.size - stop
    return Sound("VOC", blocks.encoding, pieces, stated, file.start, stop, n_rest)


class _VocBlocks:
    """Join the blocks of a VOC file, of which libsndfile decodes only the first.

    Attributes:
        encoding: The common encoding; a block in another one ends the sound.
        pieces: Positions of the samples; silence as bytes.
        n_stated: Bytes of samples that the blocks state; None if one of them does not.
        stop: Position where they end.
    """

    def __init__(self, file: Container) -> None:
        self._file = file
        self._extended: tuple[int, int] | None = None
        self.encoding: Encoding | None = None
        self.pieces: list[Piece] = []
        self.n_stated: int | None = 0
        self.stop = file.size

    def follow(self, position: int) -> None:
        """Read the blocks from a position on."""
        for _ in range(MOST_CHUNKS):
            block = self._file.at(position, 20)
            if len(block) < 4 or block[0] == _VOC_END:
                self.stop = min(position + 1, self._file.size)
                return
            size = int.from_bytes(block[1:4], "little")
            if not self._add(block, position + 4, size):
                if self._is_end(position):
                    self.stop = position
                elif self.pieces and block[0] > _VOC_NEW:  # the size did not fit in 24 bits
                    self.pieces.append((position, self._file.size))
                return
            position += 4 + size

    def _is_end(self, position: int) -> bool:
        """Return whether another file or a tag begins where a block should be."""
        if self.encoding is None:
            return False
        is_file = nothing_behind(self._file, position) is not None
        return is_file or self._file.is_other(position, self.encoding)

    def _add(self, block: bytes, body: int, size: int) -> bool:
        """Add a block; return whether to read the next one."""
        kind = block[0]
        if kind == _VOC_EXTENDED and len(block) >= 8:
            n_channels = block[7] + 1
            ticks = n_channels * (65_536 - int.from_bytes(block[4:6], "little"))
            self._extended = 256_000_000 // ticks, n_channels
        elif kind in (_VOC_SOUND, _VOC_NEW):
            return self._add_sound(block, body, size)
        elif kind == _VOC_MORE and self.encoding is not None:
            self._take(body, body + size)
        elif kind == _VOC_SILENCE and self.encoding is not None and len(block) >= 7:
            seconds = (int.from_bytes(block[4:6], "little") + 1) * (256 - block[6]) / 1e6
            self.pieces.append(_voc_silence(self.encoding, seconds))
            self._state(length_of(self.pieces[-1]))
        return kind <= _VOC_NEW

    def _add_sound(self, block: bytes, body: int, size: int) -> bool:
        n_head = 12 if block[0] == _VOC_NEW else 2
        encoding = _voc_encoding(block, self._extended)
        if encoding is None or (self.encoding or encoding) != encoding:
            return False
        self.encoding = encoding
        if size <= n_head:  # the recording was interrupted
            self.pieces.append((body + n_head, self._file.size))
            self.n_stated = None
            return False
        self._take(body + n_head, body + size)
        return True

    def _take(self, start: int, stop: int) -> None:
        size = self._file.size
        self.pieces.append((min(start, size), min(stop, size)))
        self._state(stop - start)

    def _state(self, n_bytes: int) -> None:
        self.n_stated = None if self.n_stated is None else self.n_stated + n_bytes


def _voc_encoding(block: bytes, extended: tuple[int, int] | None) -> Encoding | None:
    """Parse the header of a block of sound."""
    if len(block) < 20:
        return None
    if block[0] == _VOC_NEW:
        rate, _, n_channels, code = struct.unpack_from("<IBBH", block, 4)
    else:
        rate, n_channels = extended or (1_000_000 // (256 - block[4]), 1)
        code = block[5]
    if code not in _VOC_SUBTYPES or not n_channels:
        return None
    subtype, width = _VOC_SUBTYPES[code]
    return Encoding(rate, n_channels, width * n_channels, 1, subtype)


def _voc_silence(encoding: Encoding, seconds: float) -> bytes:
    value = {"PCM_U8": b"\x80", "ALAW": b"\xd5", "ULAW": b"\xff"}.get(encoding.subtype or "", b"\0")
    return value * (round(seconds * encoding.sample_rate) * encoding.n_bytes)
