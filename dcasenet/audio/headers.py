"""Read from the headers of uncompressed files where the samples are and how many there should be.

libsndfile takes the smaller of the stated and the actual length without a warning. A recorder that
loses power leaves a size of 0, the size of a file over 4 GiB overflows, and a truncated file is
shorter than its header states.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

from dcasenet.audio.containers import (
    LONG_RIFF,
    MOST_CHUNKS,
    Container,
    ContainerChunk,
    Encoding,
    Kind,
    ReadChunk,
    Sound,
    chunks_behind,
    kind_of,
    nothing_behind,
)
from dcasenet.audio.views import BinaryStream, read_at, size_of
from dcasenet.audio.voc import read_voc


def find_sound(stream: BinaryStream, source: str) -> list[Sound]:
    """Find the samples of a file: of one recording, or of several if files were joined.

    Args:
        stream: The file.
        source: Name used in messages.

    Returns:
        The sounds; empty for other formats, and for files whose errors libsndfile reports.

    Raises:
        AudioError: There are more than 64 MiB, or 10,000 chunks, before the sound.
    """
    found: list[Sound] = []
    position, size = 0, size_of(stream)
    while position < size and len(found) < MOST_CHUNKS:
        kind = kind_of(read_at(stream, position, 40))
        if kind is None:
            break
        sound = READERS[kind](Container(stream, position, size, source))
        if sound is None or not sound.n_bytes:
            break
        found.append(sound)
        position = sound.stop
    return found


def find_mpeg(stream: BinaryStream, source: str) -> list[tuple[int, int]]:
    """Find the MPEG frames in a WAV file, or in several WAV files that were joined.

    Args:
        stream: The file.
        source: Name used in messages.

    Returns:
        (start, stop) in bytes of each file's frames; empty if it contains anything else.

    Raises:
        AudioError: As in `find_sound`.
    """
    found: list[tuple[int, int]] = []
    position, size = 0, size_of(stream)
    while position < size and len(found) < MOST_CHUNKS:
        file = Container(stream, position, size, source)
        if kind_of(file.at(position, 40)) != "WAV":
            break
        piece = _mpeg_of_wav(file)
        if piece is None:
            break
        found.append(piece)
        rest = chunks_behind(_riff_chunk("<"), 8, (piece[1] % 2, 0, 1))
        position = rest(file, piece[1]) or size
    return found


def _mpeg_of_wav(file: Container) -> tuple[int, int] | None:
    is_mpeg = False
    for chunk in file.chunks(file.start + 12, 8, _riff_chunk("<")):
        if chunk.name == b"fmt ":
            is_mpeg = int.from_bytes(file.at(chunk.body, 2), "little") in _WAV_MPEG
        if chunk.name == b"data" and is_mpeg:
            return chunk.body, min(chunk.body + chunk.size, file.size)
    return None


def _riff_chunk(order: str) -> ReadChunk:
    def read(head: bytes, position: int) -> ContainerChunk | None:
        if len(head) < 8:
            return None
        name, size = struct.unpack(f"{order}4sI", head)
        return ContainerChunk(name, position + 8, size, position + 8 + size + size % 2)

    return read


def _wav(file: Container) -> Sound | None:
    head = file.at(file.start, 4)
    order, kind = ">" if head == b"RIFX" else "<", "RF64" if head in LONG_RIFF else "WAV"
    read = _riff_chunk(order)
    encoding, long_size = None, 0
    for chunk in file.chunks(file.start + 12, 8, read):
        if chunk.name == b"ds64":
            body = file.at(chunk.body, 16)
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) == 16 else 0
        if chunk.name == b"fmt ":
            encoding = _wav_encoding(file.at(chunk.body, min(chunk.size, 40)), order)
        if chunk.name == b"data":
            # Writers that cannot seek leave a size near 2³¹ or 2³²; RF64 has the size in ds64.
            is_open = 0x7FFF_0000 <= chunk.size <= 0x8000_FFFF or chunk.size >= 0xFFFF_0000
            size = long_size if is_open else chunk.size
            if is_open and not long_size and chunk.body + chunk.size <= file.size:
                size = chunk.size
            rest = chunks_behind(read, 8, (chunk.size % 2, 0, 1))
            if not size and rest(file, chunk.body) is not None:
                return None  # there is no sound
            sound = file.sound(kind, encoding, chunk.body, size or None, rest)
            return sound and _with_more(file, read, sound, chunk.next)
    return None


def _with_more(file: Container, read: ReadChunk, sound: Sound, position: int) -> Sound:
    """Add further chunks of sound, which libsndfile ignores."""
    pieces = list(sound.pieces)
    for _ in range(MOST_CHUNKS):
        chunk = read(file.at(position, 8), position)
        if chunk is None or position >= sound.stop:
            break
        if chunk.name == b"data":
            pieces.append((chunk.body, min(chunk.body + chunk.size, sound.stop)))
        position = chunk.next
    return dataclasses.replace(sound, pieces=tuple(pieces))


# RIFF format tags → bits of a sample → soundfile's names.
_WAV_SUBTYPES: dict[int, dict[int, str]] = {
    1: {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"},
    3: {32: "FLOAT", 64: "DOUBLE"},
    6: {8: "ALAW"},
    7: {8: "ULAW"},
}
# Format tags of MPEG layers I and II, and of layer III.
_WAV_MPEG = (0x50, 0x55)
# Format tags of encodings in blocks of several frames: Microsoft's ADPCM, IMA ADPCM, GSM 6.10.
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


def _aiff(file: Container) -> Sound | None:
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
            rest = chunks_behind(read, 8, (chunk.size % 2, 0, 1))
            place = chunk.body + 8 + offset
            return file.sound("AIFF", encoding, place, stated or None, rest)
    return None


# Compression types of AIFF-C → soundfile's name ("" for PCM, where the bits decide), and whether
# samples are little-endian.
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
# AU encodings of G.721 and G.723 → bytes of 120 samples.
_AU_BLOCKS = {23: 60, 25: 45, 26: 75}


def _au(file: Container) -> Sound | None:
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
    return file.sound("AU", encoding, file.start + place, stated, nothing_behind)


def _w64_chunk(head: bytes, position: int) -> ContainerChunk | None:
    if len(head) < 24:
        return None
    size = int.from_bytes(head[16:24], "little")  # including this header
    return ContainerChunk(
        head[:4], position + 24, max(0, size - 24), position + max(24, size + -size % 8)
    )


def _w64(file: Container) -> Sound | None:
    encoding = None
    for chunk in file.chunks(file.start + 40, 24, _w64_chunk):
        if chunk.name == b"fmt ":
            encoding = _wav_encoding(file.at(chunk.body, min(chunk.size, 40)), "<")
        if chunk.name == b"data":
            rest = chunks_behind(_w64_chunk, 24, (-chunk.size % 8, 0))
            return file.sound("W64", encoding, chunk.body, chunk.size or None, rest)
    return None


def _caf_chunk(head: bytes, position: int) -> ContainerChunk | None:
    if len(head) < 12:
        return None
    name, size = struct.unpack(">4sq", head)
    return ContainerChunk(name, position + 12, size, position + 12 + max(0, size))


def _caf(file: Container) -> Sound | None:
    encoding = None
    for chunk in file.chunks(file.start + 8, 12, _caf_chunk):
        if chunk.name == b"desc":
            encoding = _caf_encoding(file.at(chunk.body, 32))
        if chunk.name == b"data":  # its first 4 bytes are an edit count
            stated = chunk.size - 4 if chunk.size > 4 else None
            rest = chunks_behind(_caf_chunk, 12, (0,))
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


def _sph(file: Container) -> Sound | None:
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
    return file.sound("SPH", encoding, place, stated or None, nothing_behind)


# The function that reads the header of each kind.
READERS: dict[Kind, Callable[[Container], Sound | None]] = {
    "WAV": _wav, "AIFF": _aiff, "W64": _w64, "AU": _au, "CAF": _caf, "VOC": read_voc, "SPH": _sph,
}  # fmt: skip
