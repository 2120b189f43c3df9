"""Find the links of an Ogg file: recordings in a row, of which libsndfile reads only the first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from dcasenet.audio.mp3 import skip_tags
from dcasenet.audio.views import BinaryStream, Piece, View, read_at, size_of

# Bytes of the file that are read at a time, and the length of the longest page.
CHUNK, LONGEST_PAGE = 2**20, 27 + 255 + 255 * 255
# First bytes of the first packet of a stream → codec.
CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"fLaC": "FLAC",
    b"Speex   ": "Speex",
}
FIRST, LAST = 2, 4  # flags of a page: first and last of its stream


@dataclass
class Link:
    """One recording of a file: the pages of one stream.

    Attributes:
        codec: Its codec.
        start: Position in bytes where it begins.
        pieces: Positions of its pages.
        n_header: Bytes of the pages before the first with sound.
        granule: Granule position of the last page: the end in samples, as the codec counts them.
        granule_at_gap: Granule position before the first missing page; None if none is missing.
        is_ended: Whether its last page has the end-of-stream flag.
        n_others: Number of other streams with sound that are multiplexed with it.
        n_rest: For the last link, bytes of the file after it that are neither Ogg nor tags.
    """

    codec: str
    start: int
    serial: int
    pieces: list[Piece] = field(default_factory=list)
    n_header: int = 0
    granule: int = 0
    granule_at_gap: int | None = None
    is_ended: bool = False
    n_others: int = 0
    n_rest: int = 0
    _number: int = -1

    def add(self, page: _Page) -> None:
        """Add the next page of its stream."""
        if page.number != self._number + 1 and self._number >= 0 and self.granule_at_gap is None:
            self.granule_at_gap = self.granule
        self._number = page.number
        last = self.pieces[-1] if self.pieces else b""
        if isinstance(last, tuple) and last[1] == page.start:
            self.pieces[-1] = (last[0], page.stop)
        else:
            self.pieces.append((page.start, page.stop))
        if page.granule > 0:  # -1 if no packet ends on the page
            self.granule = page.granule
        elif not self.granule:
            self.n_header += page.stop - page.start
        self.is_ended = bool(page.flags & LAST)

    def view(self, stream: BinaryStream) -> View:
        """Return it as a separate file."""
        return View(stream, self.pieces)


@dataclass(frozen=True)
class _Page:
    start: int
    stop: int
    flags: int
    granule: int
    serial: int
    number: int


def find_links(stream: BinaryStream) -> tuple[list[Link], int]:
    """Find the links of an Ogg file.

    Args:
        stream: The file.

    Returns:
        The links with sound, in order, and the number of bytes that do not belong to any page.
    """
    links: list[Link] = []
    current: Link | None = None
    is_head, n_pages, stop = False, 0, 0
    size = size_of(stream)
    for page in _pages(stream, size):
        n_pages += page.stop - page.start
        stop = page.stop
        if page.flags & FIRST:
            if not is_head:  # a first page after other pages begins a new link
                current, is_head = None, True
            codec = _codec(stream, page)
            if codec and current is None:
                current = Link(codec, page.start, page.serial)
                links.append(current)
            elif codec and current is not None:
                current.n_others += 1
        else:
            is_head = False
        if current is not None and page.serial == current.serial:
            current.add(page)
    if links and links[-1].is_ended:  # else the rest is a truncated page
        links[-1].n_rest = max(0, size - skip_tags(stream, stop))
    return links, size - n_pages


def _pages(stream: BinaryStream, size: int) -> Iterator[_Page]:
    position = 0
    base, data = 0, b""
    while position < size:
        if position - base + LONGEST_PAGE > len(data) and base + len(data) < size:
            base, data = position, read_at(stream, position, CHUNK)
        place = data.find(b"OggS", position - base)
        if place < 0:
            position = max(position + 1, base + len(data) - 3)
            if base + len(data) >= size:
                return
            continue
        if place > position - base:
            position = base + place
            continue
        page = _page(data, place, base)
        if page is None or page.stop > size:
            position += 4
            continue
        yield page
        position = page.stop


def _page(data: bytes, place: int, base: int) -> _Page | None:
    if len(data) < place + 27:
        return None
    version, flags, granule, serial, number, n_segments = struct.unpack_from(
        "<BBqII4xB", data, place + 4
    )
    table = data[place + 27 : place + 27 + n_segments]
    if version or len(table) < n_segments:
        return None
    stop = base + place + 27 + n_segments + sum(table)
    return _Page(base + place, stop, flags, granule, serial, number)


def _codec(stream: BinaryStream, page: _Page) -> str | None:
    """Return the codec of a stream, from its first page; None if it is not sound."""
    head = read_at(stream, page.start, 27 + 255 + 8)
    packet = head[27 + head[26] :]
    return next((name for magic, name in CODECS.items() if packet.startswith(magic)), None)
