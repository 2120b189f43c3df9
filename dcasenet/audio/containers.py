"""Containers of uncompressed samples: how samples are stored, where they end, what follows.

Which container a file is, `kind_of` says; what each has in its header, `headers` and `voc`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from dcasenet.audio.views import BinaryStream, Piece, length_of, read_at
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
LONG_RIFF = (b"RF64", b"BW64")
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_WAVE = b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"

Kind = Literal["WAV", "AIFF", "W64", "AU", "CAF", "VOC", "SPH"]
# The first four bytes of those that are known by them.
_KINDS: dict[bytes, Kind] = {
    b".snd": "AU", b"dns.": "AU", b"caff": "CAF", b"Crea": "VOC", b"NIST": "SPH",
}  # fmt: skip


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


def kind_of(head: bytes) -> Kind | None:
    """Return which container of plain samples begins so, by its first 40 bytes."""
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
        size: Bytes of the file.
        source: Name used in messages.
    """

    stream: BinaryStream
    start: int
    size: int
    source: str

    def at(self, position: int, n_bytes: int) -> bytes:
        """Return the bytes at a position of the file; fewer at its end."""
        return read_at(self.stream, position, n_bytes)

    def sound(
        self, kind: str, encoding: Encoding | None, place: int, stated: int | None, rest: Rest
    ) -> Sound | None:
        """Return the samples that begin at `place`, with their end as stated or as found."""
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

    def chunks(self, position: int, head: int, read: ReadChunk) -> Iterator[ContainerChunk]:
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
            "before the sound. Accepted are files with less: save it again with another program."
        )


@dataclass(frozen=True)
class ContainerChunk:
    """A named part of a container.

    Attributes:
        name: Its name.
        body: Where its content begins in the file.
        size: Bytes of that.
        next: Where the next chunk begins.
    """

    name: bytes
    body: int
    size: int
    next: int


ReadChunk = Callable[[bytes, int], "ContainerChunk | None"]
# Where the next container begins, or the file ends, if what lies between is chunks; else None.
Rest = Callable[[Container, int], "int | None"]


def nothing_behind(file: Container, position: int) -> int | None:
    """After sound in containers that have nothing behind it."""
    if position == file.size or kind_of(file.at(position, 40)) is not None:
        return position
    return None


def chunks_behind(read: ReadChunk, head: int, pads: tuple[int, ...]) -> Rest:
    """Return a check that chunks follow up to the end, or up to another container."""

    def rest(file: Container, position: int) -> int | None:
        for pad in pads:
            place = position + pad
            for _ in range(MOST_CHUNKS):
                if file.size - place < head or kind_of(file.at(place, 40)) is not None:
                    return min(place, file.size)
                chunk = read(file.at(place, head), place)
                is_name = chunk is not None and all(32 <= byte < 127 for byte in chunk.name)
                # The last chunk may lack the byte that makes its length even.
                if chunk is None or not is_name or chunk.body + chunk.size > file.size:
                    break
                place = chunk.next
        return None

    return rest
