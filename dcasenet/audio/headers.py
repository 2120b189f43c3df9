"""What the headers of files with plain samples say of the length, and what the files hold.

libsndfile takes the lesser of the two without a word. Recorders that lose power leave sizes of 0,
those of more than 4 GiB wrap, and what is cut is less than it says.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from dcasenet.audio.views import Piece, Stream, length_of, read_at, size_of
from dcasenet.errors import AudioError

# Bytes and chunks before the sound, at most.
MOST_METADATA, MOST_CHUNKS = 2**26, 10_000
# Channels that libsndfile takes.
MOST_CHANNELS = 1024
# What follows the sound by less, in seconds, is no sound but a writer's leftover.
LEAST_EXCESS = 0.05
# What other programs put behind the sound.
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS")
# Bytes of the rest of a file that are looked at together.
CHUNK = 2**20
# WAV files that may be longer than 4 GiB.
_LONG_RIFF = (b"RF64", b"BW64")


@dataclass(frozen=True)
class Encoding:
    """How samples are stored.

    Attributes:
        sample_rate: In Hz.
        n_channels: How many channels.
        n_bytes: Bytes of a block, and so many frames are in it: 1 but for ADPCM.
        n_frames: Frames of a block.
        subtype: soundfile's name for them; None where only libsndfile's reader of the container
            can decode them.
        is_big: Whether the first byte is the highest.
    """

    sample_rate: int
    n_channels: int
    n_bytes: int
    n_frames: int = 1
    subtype: str | None = None
    is_big: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether a block is one frame; of others, the last may be filled up."""
        return self.n_frames == 1

    @property
    def is_sane(self) -> bool:
        """Whether libsndfile would take it."""
        return 0 < self.sample_rate < 2**31 and 0 < self.n_channels <= MOST_CHANNELS

    @property
    def endian(self) -> Literal["BIG", "LITTLE"]:
        """The same, as soundfile names it."""
        return "BIG" if self.is_big else "LITTLE"

    def frames(self, n_bytes: int) -> int:
        """Return how many frames are in some bytes."""
        return n_bytes // self.n_bytes * self.n_frames

    def seconds(self, n_bytes: int) -> float:
        """Return how long some bytes are."""
        return self.frames(n_bytes) / self.sample_rate


@dataclass(frozen=True)
class Sound:
    """Plain samples in a file.

    Attributes:
        kind: The container, such as ``"WAV"``.
        encoding: How they are stored.
        pieces: Where they are.
        n_stated: Their bytes as the header says; None where it leaves that open.
        start: Where in the file their container begins, ...
        stop: ... and ends.
        n_rest: Bytes after the sound of which nothing is known.
    """

    kind: str
    encoding: Encoding
    pieces: tuple[Piece, ...]
    n_stated: int | None
    start: int
    stop: int
    n_rest: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes that are there."""
        return sum(map(length_of, self.pieces))

    @property
    def is_whole(self) -> bool:
        """Whether there is as much as the header states, in one piece."""
        return len(self.pieces) == 1 and self.n_bytes == self.n_stated


def find_sound(stream: Stream, source: str) -> list[Sound]:
    """Find the samples of a file: of one recording, unless files were joined.

    Args:
        stream: The file.
        source: What messages call it.

    Returns:
        Nothing for other formats, and where libsndfile shall say what is wrong.

    Raises:
        AudioError: There is more than 64 MiB, or 10,000 chunks, before the sound.
    """
    found: list[Sound] = []
    position, size = 0, size_of(stream)
    while position < size and len(found) < MOST_CHUNKS:
        head = read_at(stream, position, 40)
        read = _reader(head)
        if read is None:
            break
        sound = read(_File(stream, position, size, source))
        if sound is None or not sound.n_bytes:
            break
        found.append(sound)
        position = sound.stop
    return found


def find_mpeg(stream: Stream, source: str) -> list[tuple[int, int]]:
    """Find the MPEG frames that a WAV file, or several that were joined, holds.

    Args:
        stream: The file.
        source: What messages call it.

    Returns:
        (start, stop) in bytes of each; nothing if it holds something else.

    Raises:
        AudioError: As in `find_sound`.
    """
    found: list[tuple[int, int]] = []
    position, size = 0, size_of(stream)
    while position < size and len(found) < MOST_CHUNKS:
        file = _File(stream, position, size, source)
        if _reader(file.at(position, 40)) is not _wav:
            break
        piece = _mpeg_of_wav(file)
        if piece is None:
            break
        found.append(piece)
        rest = _chunks_behind(_riff_chunk("<"), 8, (piece[1] % 2, 0, 1))
        position = rest(file, piece[1]) or size
    return found


def _mpeg_of_wav(file: _File) -> tuple[int, int] | None:
    is_mpeg = False
    for chunk in file.chunks(file.start + 12, 8, _riff_chunk("<")):
        if chunk.name == b"fmt ":
            is_mpeg = int.from_bytes(file.at(chunk.body, 2), "little") in _WAV_MPEG
        if chunk.name == b"data" and is_mpeg:
            return chunk.body, min(chunk.body + chunk.size, file.size)
    return None


def is_container(head: bytes) -> bool:
    """Return whether a file that begins so is one of plain samples."""
    return _reader(head) is not None


def _reader(head: bytes) -> Callable[[_File], Sound | None] | None:
    """Return what reads a container that begins so."""
    if head[:4] in (b"RIFF", b"RIFX", *_LONG_RIFF) and head[8:12] == b"WAVE":
        return _wav
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff
    if head.startswith(_W64_RIFF) and head[24:40] == _W64_WAVE:
        return _w64
    readers = {b".snd": _au, b"dns.": _au, b"caff": _caf, b"Crea": _voc, b"NIST": _sph}
    return readers.get(head[:4])


@dataclass(frozen=True)
class _File:
    """A container within a file."""

    stream: Stream
    start: int
    size: int
    source: str

    def at(self, position: int, n_bytes: int) -> bytes:
        return read_at(self.stream, position, n_bytes)

    def sound(
        self, kind: str, encoding: Encoding | None, place: int, stated: int | None, rest: _Rest
    ) -> Sound | None:
        """Settle where samples end that begin at a place and are so many bytes as stated."""
        if encoding is None or place > self.size or not encoding.is_sane:
            return None
        stop = container_stop = self.size
        if stated is not None and place + stated <= self.size:
            end = place + stated
            follows = rest(self, end)
            if follows is not None:
                stop, container_stop = end, follows
            elif self.is_other(end, encoding):
                stop = end
        return Sound(kind, encoding, ((place, stop),), stated, self.start, container_stop)

    def is_other(self, position: int, encoding: Encoding) -> bool:
        """Return whether the rest of the file is a leftover, zeros, or tags of other formats."""
        n_rest = self.size - position
        if encoding.seconds(n_rest) < LEAST_EXCESS or self.at(position, 8).startswith(TAGS):
            return True
        if n_rest >= 2**32 and n_rest % 2**32 < 8:  # 32 bits were not enough for the size
            return False
        while position < self.size:
            data = self.at(position, CHUNK)
            if data.count(0) < len(data):
                return False
            position += len(data) or CHUNK
        return True

    def chunks(self, position: int, head: int, read: _ReadChunk) -> Iterator[_Chunk]:
        """Follow chunks from a position on, and refuse what goes on without end."""
        for _ in range(MOST_CHUNKS):
            chunk = read(self.at(position, head), position)
            if chunk is None:
                return
            yield chunk
            position = chunk.next
            if position - self.start > MOST_METADATA:
                break
        raise AudioError(
            f"{self.source} has more than {MOST_METADATA // 2**20} MiB, or {MOST_CHUNKS:,} chunks, "
            "before the sound. Accepted are files with less: save it anew with another program."
        )


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    body: int
    size: int
    next: int


_ReadChunk = Callable[[bytes, int], "_Chunk | None"]
# Where the next container begins, or the file ends, if what lies between is chunks; else None.
_Rest = Callable[[_File, int], "int | None"]


def _nothing(file: _File, position: int) -> int | None:
    """After sound in containers that have nothing behind it."""
    if position == file.size or _reader(file.at(position, 40)) is not None:
        return position
    return None


def _riff_chunk(order: str) -> _ReadChunk:
    def read(head: bytes, position: int) -> _Chunk | None:
        if len(head) < 8:
            return None
        name, size = struct.unpack(f"{order}4sI", head)
        return _Chunk(name, position + 8, size, position + 8 + size + size % 2)

    return read


def _chunks_behind(read: _ReadChunk, head: int, pads: tuple[int, ...]) -> _Rest:
    """Return a check that chunks follow up to the end, or up to another container."""

    def rest(file: _File, position: int) -> int | None:
        for pad in pads:
            place = position + pad
            for _ in range(MOST_CHUNKS):
                if file.size - place < head or _reader(file.at(place, 40)) is not None:
                    return min(place, file.size)
                chunk = read(file.at(place, head), place)
                is_name = chunk is not None and all(32 <= byte < 127 for byte in chunk.name)
                # The last chunk may lack the byte that makes its length even.
                if chunk is None or not is_name or chunk.body + chunk.size > file.size:
                    break
                place = chunk.next
        return None

    return rest


def _wav(file: _File) -> Sound | None:
    head = file.at(file.start, 4)
    order, kind = ">" if head == b"RIFX" else "<", "RF64" if head in _LONG_RIFF else "WAV"
    read = _riff_chunk(order)
    encoding, long_size = None, 0
    for chunk in file.chunks(file.start + 12, 8, read):
        if chunk.name == b"ds64":
            body = file.at(chunk.body, 16)
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) == 16 else 0
        if chunk.name == b"fmt ":
            encoding = _wav_encoding(file.at(chunk.body, min(chunk.size, 40)), order)
        if chunk.name == b"data":
            # Writers that cannot go back leave a size next to 2³¹ or 2³²; RF64 has it in ds64.
            is_open = 0x7FFF_0000 <= chunk.size <= 0x8000_FFFF or chunk.size >= 0xFFFF_0000
            size = long_size if is_open else chunk.size
            if is_open and not long_size and chunk.body + chunk.size <= file.size:
                size = chunk.size
            rest = _chunks_behind(read, 8, (chunk.size % 2, 0, 1))
            if not size and rest(file, chunk.body) is not None:
                return None  # there is no sound
            sound = file.sound(kind, encoding, chunk.body, size or None, rest)
            return sound and _with_more(file, read, sound, chunk.next)
    return None


def _with_more(file: _File, read: _ReadChunk, sound: Sound, position: int) -> Sound:
    """Add the chunks of sound behind the first, which libsndfile leaves out."""
    pieces = list(sound.pieces)
    for _ in range(MOST_CHUNKS):
        chunk = read(file.at(position, 8), position)
        if chunk is None or position >= sound.stop:
            break
        if chunk.name == b"data":
            pieces.append((chunk.body, min(chunk.body + chunk.size, sound.stop)))
        position = chunk.next
    return dataclasses.replace(sound, pieces=tuple(pieces))


# RIFF format tags → soundfile's names by the bits of a sample.
_WAV_SUBTYPES: dict[int, dict[int, str]] = {
    1: {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"},
    3: {32: "FLOAT", 64: "DOUBLE"},
    6: {8: "ALAW"},
    7: {8: "ULAW"},
}
# Tags of MPEG layers I and II, and of layer III.
_WAV_MPEG = (0x50, 0x55)
# Tags of blocks of several frames: of IMA and Microsoft's ADPCM, and of GSM 6.10.
_WAV_BLOCKS = (0x02, 0x11, 0x31)


def _wav_encoding(body: bytes, order: str) -> Encoding | None:
    if len(body) < 16:
        return None
    tag, n_channels, rate, _, n_bytes, bits = struct.unpack_from(f"{order}HHIIHH", body)
    if tag == 0xFFFE and len(body) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", body, 24)
    if not n_channels or not n_bytes:
        return None
    if tag in _WAV_BLOCKS and len(body) >= 20:
        (n_frames,) = struct.unpack_from(f"{order}H", body, 18)
        return Encoding(rate, n_channels, n_bytes, n_frames) if n_frames else None
    if tag not in _WAV_SUBTYPES:
        return None
    width = -(-bits // 8)
    subtype = _WAV_SUBTYPES[tag].get(8 * width)
    return Encoding(rate, n_channels, width * n_channels or n_bytes, 1, subtype, order == ">")


def _aiff(file: _File) -> Sound | None:
    read = _riff_chunk(">")
    encoding, n_frames = None, 0
    for chunk in file.chunks(file.start + 12, 8, read):
        if chunk.name == b"COMM":
            body = file.at(chunk.body, 22).ljust(22, b"\0")
            n_frames = int.from_bytes(body[2:6], "big")
            encoding = _aiff_encoding(body, chunk.size >= 22)
        if chunk.name == b"SSND":
            offset = int.from_bytes(file.at(chunk.body, 4), "big")
            stated = max(0, chunk.size - 8 - offset)
            if encoding:
                stated = max(stated, n_frames * encoding.n_bytes)
            rest = _chunks_behind(read, 8, (chunk.size % 2, 0, 1))
            place = chunk.body + 8 + offset
            return file.sound("AIFF", encoding, place, stated or None, rest)
    return None


# Compression types of AIFF-C → soundfile's name (of PCM by its bits: ""), and whether it is
# little-endian.
_AIFF_SUBTYPES = {
    b"NONE": ("", False), b"twos": ("", False), b"in24": ("", False), b"in32": ("", False),
    b"sowt": ("", True), b"42ni": ("", True), b"23ni": ("", True), b"raw ": ("PCM_U8", False),
    b"fl32": ("FLOAT", False), b"FL32": ("FLOAT", False), b"fl64": ("DOUBLE", False),
    b"FL64": ("DOUBLE", False), b"alaw": ("ALAW", False), b"ALAW": ("ALAW", False),
    b"ulaw": ("ULAW", False), b"ULAW": ("ULAW", False),
}  # fmt: skip
_PCM = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_WIDTHS = {"PCM_U8": 1, "ALAW": 1, "ULAW": 1, "FLOAT": 4, "DOUBLE": 8}


def _aiff_encoding(body: bytes, is_compressed: bool) -> Encoding | None:
    n_channels, _, bits = struct.unpack_from(">HIH", body)
    exponent, mantissa = struct.unpack_from(">HQ", body, 8)
    exponent = (exponent & 0x7FFF) - 16_383 - 63
    rate = mantissa >> -exponent if -64 < exponent <= 0 else 0
    subtype, is_little = _AIFF_SUBTYPES.get(
        body[18:22] if is_compressed else b"NONE", (None, False)
    )
    if subtype is None or not n_channels:
        return None
    width = _WIDTHS.get(subtype, -(-bits // 8))
    subtype = subtype or _PCM.get(width)
    return Encoding(rate, n_channels, width * n_channels, 1, subtype, not is_little)


# AU encodings → soundfile's names and bytes of a sample.
_AU_SUBTYPES = {
    1: ("ULAW", 1), 2: ("PCM_S8", 1), 3: ("PCM_16", 2), 4: ("PCM_24", 3), 5: ("PCM_32", 4),
    6: ("FLOAT", 4), 7: ("DOUBLE", 8), 27: ("ALAW", 1),
}  # fmt: skip
# Those of G.721 and G.723 → bytes of 120 samples.
_AU_BLOCKS = {23: 60, 25: 45, 26: 75}


def _au(file: _File) -> Sound | None:
    head = file.at(file.start, 24)
    is_big = head.startswith(b".snd")
    if len(head) < 24:
        return None
    place, size, code, rate, n_channels = struct.unpack_from(">5I" if is_big else "<5I", head, 4)
    if code in _AU_BLOCKS and n_channels == 1:
        encoding = Encoding(rate, 1, _AU_BLOCKS[code], 120)
    elif code in _AU_SUBTYPES and n_channels:
        subtype, width = _AU_SUBTYPES[code]
        encoding = Encoding(rate, n_channels, width * n_channels, 1, subtype, is_big)
    else:
        return None
    stated = None if size in (0, 0xFFFF_FFFF) else size
    return file.sound("AU", encoding, file.start + place, stated, _nothing)


_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_WAVE = b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


def _w64_chunk(head: bytes, position: int) -> _Chunk | None:
    if len(head) < 24:
        return None
    size = int.from_bytes(head[16:24], "little")  # with this head
    return _Chunk(head[:4], position + 24, max(0, size - 24), position + max(24, size + -size % 8))


def _w64(file: _File) -> Sound | None:
    encoding = None
    for chunk in file.chunks(file.start + 40, 24, _w64_chunk):
        if chunk.name == b"fmt ":
            encoding = _wav_encoding(file.at(chunk.body, min(chunk.size, 40)), "<")
        if chunk.name == b"data":
            rest = _chunks_behind(_w64_chunk, 24, (-chunk.size % 8, 0))
            return file.sound("W64", encoding, chunk.body, chunk.size or None, rest)
    return None


def _caf_chunk(head: bytes, position: int) -> _Chunk | None:
    if len(head) < 12:
        return None
    name, size = struct.unpack(">4sq", head)
    return _Chunk(name, position + 12, size, position + 12 + max(0, size))


def _caf(file: _File) -> Sound | None:
    encoding = None
    for chunk in file.chunks(file.start + 8, 12, _caf_chunk):
        if chunk.name == b"desc":
            encoding = _caf_encoding(file.at(chunk.body, 32))
        if chunk.name == b"data":  # which begins with a count of edits, 4 bytes
            stated = chunk.size - 4 if chunk.size > 4 else None
            rest = _chunks_behind(_caf_chunk, 12, (0,))
            return file.sound("CAF", encoding, chunk.body + 4, stated, rest)
    return None


def _caf_encoding(body: bytes) -> Encoding | None:
    if len(body) < 32:
        return None
    rate, code, flags, n_bytes, n_frames, n_channels, bits = struct.unpack(">d4s5I", body)
    is_sane = n_channels and n_bytes and n_frames == 1 and 0 < rate < 2**31
    if not is_sane or code not in (b"lpcm", b"alaw", b"ulaw"):
        return None
    pcm = {32: "FLOAT", 64: "DOUBLE"}.get(bits) if flags & 1 else _PCM.get(bits // 8)
    subtype = pcm if code == b"lpcm" else code.decode().upper()
    return Encoding(int(rate), n_channels, n_bytes, 1, subtype, not flags & 2)


# VOC codecs → soundfile's names, and bytes of a sample.
_VOC_SUBTYPES = {0: ("PCM_U8", 1), 4: ("PCM_16", 2), 6: ("ALAW", 1), 7: ("ULAW", 1)}
_VOC_END, _VOC_SOUND, _VOC_MORE, _VOC_SILENCE, _VOC_EXTENDED, _VOC_NEW = 0, 1, 2, 3, 8, 9


def _voc(file: _File) -> Sound | None:
    head = file.at(file.start, 22)
    if not head.startswith(b"Creative Voice File\x1a") or len(head) < 22:
        return None
    blocks = _VocBlocks(file)
    blocks.follow(file.start + int.from_bytes(head[20:22], "little"))
    if blocks.encoding is None or not blocks.encoding.is_sane:
        return None
    pieces, stated, stop = tuple(blocks.pieces), blocks.n_stated, blocks.stop
    is_known = _nothing(file, stop) is not None or file.is_other(stop, blocks.encoding)
    n_rest = 0 if is_known else file.size - stop
    return Sound("VOC", blocks.encoding, pieces, stated, file.start, stop, n_rest)


class _VocBlocks:
    """Join the blocks of a VOC file, of which libsndfile decodes the first.

    Attributes:
        encoding: That of all; sound of another one ends it.
        pieces: Where the samples are; silence as bytes.
        n_stated: Their bytes as the blocks say; None where one leaves that open.
        stop: Where they end.
    """

    def __init__(self, file: _File) -> None:
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
                elif self.pieces and block[0] > _VOC_NEW:  # 24 bits were not enough for the size
                    self.pieces.append((position, self._file.size))
                return
            position += 4 + size

    def _is_end(self, position: int) -> bool:
        """Return whether another file, or tags, are where a block should be."""
        if self.encoding is None:
            return False
        is_file = _nothing(self._file, position) is not None
        return is_file or self._file.is_other(position, self.encoding)

    def _add(self, block: bytes, body: int, size: int) -> bool:
        """Take a block; tell whether the next one counts."""
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
        if size <= n_head:  # its writer was stopped
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
    """Read the head of a block of sound."""
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


def _sph(file: _File) -> Sound | None:
    """Read a NIST SPHERE header, which is text."""
    lines = file.at(file.start, 1024).split(b"\n")
    if len(lines) < 2 or not lines[1].strip().isdigit():
        return None
    values: dict[bytes, bytes] = {}
    for line in lines[2:]:
        parts = line.split(None, 2)
        if len(parts) == 3:
            values[parts[0]] = parts[2].strip()
    numbers = {name: int(value) for name, value in values.items() if value.isdigit()}
    rate, n_channels = numbers.get(b"sample_rate", 0), numbers.get(b"channel_count", 1)
    width = numbers.get(b"sample_n_bytes", 0)
    coding = values.get(b"sample_coding", b"pcm")
    subtype = {b"pcm": _PCM.get(width), b"ulaw": "ULAW", b"alaw": "ALAW"}.get(coding)
    if not rate or not n_channels or not width or coding not in (b"pcm", b"ulaw", b"alaw"):
        return None
    is_big = values.get(b"sample_byte_format", b"01").startswith(b"1")
    encoding = Encoding(rate, n_channels, width * n_channels, 1, subtype, is_big)
    stated = numbers.get(b"sample_count", 0) * encoding.n_bytes
    place = file.start + int(lines[1])
    return file.sound("SPH", encoding, place, stated or None, _nothing)
