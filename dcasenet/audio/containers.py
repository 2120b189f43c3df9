"""Containers of uncompressed samples: how samples are stored, where they end, what follows them.

`kind_of` recognizes a container; the modules `headers` and `voc` read its header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from dcasenet.audio.views import BinaryStream, Piece, length_of, read_at
from dcasenet.errors import AudioError

# Most bytes and chunks accepted before the sound.
MOST_METADATA, MOST_CHUNKS = 2**26, 10_000
# Most channels that libsndfile accepts.
MOST_CHANNELS = 1024
# Data after the sound that is shorter than this, in seconds, is a leftover of the writer.
LEAST_EXCESS = 0.05
# Markers of tags that other programs append to the sound.
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS")
# Bytes of the rest of a file that are read at a time.
CHUNK = 2**20
# WAV files that may be longer than 4 GiB.
LONG_RIFF = (b"RF64", b"BW64")
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_WAVE = b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"

Kind = Literal["WAV", "AIFF", "W64", "AU", "CAF", "VOC", "SPH"]
# Containers that are recognized by their first four bytes.
_KINDS: dict[bytes, Kind] = {
    b".snd": "AU", b"dns.": "AU", b"caff": "CAF", b"Crea": "VOC", b"NIST": "SPH",
}  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """How samples are stored.

    Attributes:
        sample_rate: In Hz.
        n_channels: Number of channels.
        n_bytes: Bytes of a block.
        n_frames: Frames of a block: 1 except for ADPCM.
        subtype: soundfile's name of the encoding; None if only libsndfile's reader of the container
            can decode it.
        is_big: Whether samples are big-endian.
    """

    sample_rate: int
    n_channels: int
    n_bytes: int
    n_frames: int = 1
    subtype: str | None = None
    is_big: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether a block is one frame; otherwise the last block may be padded."""
        return self.n_frames == 1

    @property
    def is_sane(self) -> bool:
        """Whether libsndfile accepts the rate and the number of channels."""
        return 0 < self.sample_rate < 2**31 and 0 < self.n_channels <= MOST_CHANNELS

    @property
    def endian(self) -> Literal["BIG", "LITTLE"]:
        """The byte order, as soundfile names it."""
        return "BIG" if self.is_big else "LITTLE"

    def frames(self, n_bytes: int) -> int:
        """Return the number of frames in `n_bytes` bytes."""
        return n_bytes // self.n_bytes * self.n_frames

    def seconds(self, n_bytes: int) -> float:
        """Return the duration of `n_bytes` bytes, in seconds."""
        return self.frames(n_bytes) / self.sample_rate


@dataclass(frozen=True)
class Sound:
    """Uncompressed samples in a file.

    Attributes:
        kind: The container, such as ``"WAV"``.
        encoding: How the samples are stored.
        pieces: Where the samples are.
        n_stated: Bytes of samples according to the header; None if it does not say.
        start: Position in the file where the container begins.
        stop: Position in the file where the container ends.
        n_rest: Number of unrecognized bytes after the sound.
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
        """Bytes of samples in the file."""
        return sum(map(length_of, self.pieces))

    @property
    def is_whole(self) -> bool:
        """Whether the samples are in one piece, as long as the header states."""
        return len(self.pieces) == 1 and self.n_bytes == self.n_stated


def kind_of(head: bytes) -> Kind | None:
    """Return the kind of container that begins with `head`, its first 40 bytes; None if unknown."""
    if head[:4] in (b"RIFF", b"RIFX", *LONG_RIFF) and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head.startswith(_W64_RIFF) and head[24:40] == _W64_WAVE:
        return "W64"
    return _KINDS.get(head[:4])


@dataclass(frozen=True)
class Container:
    """A container within a file.

    Attributes:
        stream: The file.
        start: Where the container begins.
        size: Size of the file in bytes.
        source: Name used in messages.
    """

    stream: BinaryStream
    start: int
    size: int
    source: str

    def at(self, position: int, n_bytes: int) -> bytes:
        """Return `n_bytes` bytes at a position of the file; fewer at its end."""
        return read_at(self.stream, position, n_bytes)

    def sound(
        self, kind: str, encoding: Encoding | None, place: int, stated: int | None, rest: Rest
    ) -> Sound | None:
        """Return the samples from `place` to their stated or actual end, if they are valid."""
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
        if n_rest >= 2**32 and n_rest % 2**32 < 8:  # the size did not fit in 32 bits
            return False
        while position < self.size:
            data = self.at(position, CHUNK)
            if data.count(0) < len(data):
                return False
            position += len(data) or CHUNK
        return True

    def chunks(self, position: int, head: int, read: ReadChunk) -> Iterator[ContainerChunk]:
        """Yield the chunks from a position on.

        Raises:
            AudioError: There are too many chunks, or too many bytes in them.
        """
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
            "before the sound. Save it again with another program."
        )


@dataclass(frozen=True)
class ContainerChunk:
    """A named chunk of a container.

    Attributes:
        name: Its name.
        body: Position in the file where its content begins.
        size: Size of its content in bytes.
        next: Position in the file where the next chunk begins.
    """

    name: bytes
    body: int
    size: int
    next: int


ReadChunk = Callable[[bytes, int], "ContainerChunk | None"]
# From the end of the sound to where the next container begins or the file ends; None if there is
# anything but chunks between.
Rest = Callable[[Container, int], "int | None"]


def nothing_behind(file: Container, position: int) -> int | None:
    """Return `position` if the file ends or another container begins there, else None."""
    if position == file.size or kind_of(file.at(position, 40)) is not None:
        return position
    return None


def chunks_behind(read: ReadChunk, head: int, pads: tuple[int, ...]) -> Rest:
    """Return a `Rest` that accepts chunks up to the end of the file or to another container."""

    def rest(file: Container, position: int) -> int | None:
        for pad in pads:
            place = position + pad
            for _ in range(MOST_CHUNKS):
                if file.size - place < head or kind_of(file.at(place, 40)) is not None:
                    return min(place, file.size)
                chunk = read(file.at(place, head), place)
                is_name = chunk is not None and all(32 <= byte < 127 for byte in chunk.name)
                # The last chunk may lack its padding byte.
                if chunk is None or not is_name or chunk.body + chunk.size > file.size:
                    break
                place = chunk.next
        return None

    return rest
