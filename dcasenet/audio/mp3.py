"""Find the frames of an MP3 file: intact, damaged and missing ones, and what the tag states.

libsndfile trusts the tag in the first frame and leaves the rest to libmpg123, which stops after
1 KiB without a frame and prints to standard error. So the frames are found here, and the decoder
gets only whole frames, a tag with their true number, and silence for frames that cannot be decoded.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.crc import crc16
from dcasenet.audio.mp3_frames import FrameFormat, Tag
from dcasenet.audio.views import BinaryStream, Piece, View, read_at, size_of

# Bytes of the file that are read at a time: at first, and at most.
FIRST_CHUNK, CHUNK = 2**13, 2**20
# Most bytes of a frame up to the end of its side information (header, checksum, 32 bytes), and the
# marker of a tag.
HEAD = 44
# Number of consecutive frames by which MP3 is recognized if there is no other sign of the format.
CHAIN = 4
# Latest position of the first frame in a file without any other sign of its format.
START_WITHIN = 2**16
# An encoder may or may not count its own frame, and a decoder trims 529 samples at the start: sound
# is missing only if at least two frames are.
SLACK_FRAMES = 2
# Most pairs of values in a granule.
MOST_VALUES = 288
# Most positions after damage at which frames are looked for; beyond that the file is not MP3.
MOST_TRIED = 2**16

# Most frames of silence that replace a damaged stretch.
MOST_FILLED = 10_000
# First three bytes of a frame.
_HEADERS = re.compile(rb"(?=\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xeb])")
# How a frame is decoded.
_SOUND, _MUTED, _BLANK = 0, 1, 2


@dataclass
class Stretch:
    """Consecutive frames of one format, written by one encoder.

    Attributes:
        format: The common format.
        tag: The encoder's first frame, which is not among the frames.
        starts: Position of each in the file, (frames,); -1 for one inserted in place of damage.
        thirds: The third byte of each, (frames,).
        states: How each is decoded, (frames,).
        faults: Numbers of frames at which something inside is missing or damaged.
        n_filled: Number of inserted frames.
        n_rest: Bytes after the last frame that are neither a frame nor a tag.
        is_cut: Whether the file ends within a frame.
        is_intact: Whether the encoder's checksum is correct; None if there is none to compare.
    """

    format: FrameFormat
    tag: Tag | None
    starts: NDArray[np.int64]
    thirds: NDArray[np.uint8]
    states: NDArray[np.uint8]
    faults: tuple[int, ...] = ()
    n_filled: int = 0
    n_rest: int = 0
    is_cut: bool = False
    is_intact: bool | None = None

    @property
    def is_torn(self) -> bool:
        """Whether the file ends within a frame, and not in data that is not MP3."""
        return self.is_cut and not self.n_rest

    @property
    def mean_size(self) -> float:
        """Mean length of a frame, in bytes."""
        return float(np.array(self.format.sizes)[self.thirds].mean())

    @property
    def n_samples(self) -> int:
        """Number of samples of its sound."""
        return self._length(len(self.starts))

    @property
    def n_stated(self) -> int | None:
        """Number of samples that its tag states; None if it states none."""
        n_frames = self.tag.n_frames if self.tag else None
        return None if n_frames is None else self._length(n_frames)

    def _length(self, n_frames: int) -> int:
        return max(0, n_frames * self.format.n_samples - (self.tag.n_trimmed if self.tag else 0))

    @property
    def first_fault(self) -> float | None:
        """Time of the first missing or damaged frame, in seconds."""
        if not self.faults:
            return None
        return min(self.faults) * self.format.n_samples / self.format.sample_rate

    def view(self, stream: BinaryStream) -> View:
        """Return the frames as a separate file."""
        pieces = list(self._pieces())
        n_bytes = View(stream, pieces).seek(0, 2)
        head = self.tag.counting(len(self.starts), n_bytes) if self.tag else b""
        if not head and self.format.layer == 3:
            head = self.format.tagged(len(self.starts))
        return View(stream, [head, *pieces])

    def _pieces(self) -> Iterator[Piece]:
        """Yield the frames; consecutive ones of the file are one piece."""
        stops = self.starts + np.array(self.format.sizes)[self.thirds]
        is_sound = self.states == _SOUND
        is_next = is_sound[1:] & is_sound[:-1] & (self.starts[1:] == stops[:-1])
        firsts = np.flatnonzero(np.append(True, ~is_next)).tolist()
        n_front = 4 + self.format.n_side
        for first, end in pairwise([*firsts, len(stops)]):
            start, stop = int(self.starts[first]), int(stops[end - 1])
            if self.states[first] == _SOUND:
                yield start, stop
                continue
            blank = self.format.blank(int(self.thirds[first]))
            if self.states[first] == _BLANK:
                yield blank
            else:  # keep the main data that later frames use
                yield blank[:n_front]
                yield start + n_front, stop


def find_stretches(stream: BinaryStream, start: int) -> list[Stretch]:
    """Find the frames of an MP3 file.

    Args:
        stream: The file.
        start: Position of its first frame.

    Returns:
        Stretches to decode separately: one, or several if files were joined; empty without frames.
    """
    found: list[Stretch] = []
    for frames in _Scanner(stream, start).scan():
        found += _stretches(frames, stream)
    return found


def find_start(stream: BinaryStream, start: int) -> int | None:
    """Find the first frame of a file that does not begin with one, such as a saved broadcast.

    Args:
        stream: The file.
        start: Position at which to begin.

    Returns:
        The position of the frame; None if there are no consecutive frames near the start.
    """
    return _resync(stream, start, min(size_of(stream), start + START_WITHIN))


def skip_tags(stream: BinaryStream, position: int, most: int = 100) -> int:
    """Return the position after the ID3 and APE tags at a position, at most `most` of them."""
    for _ in range(most):
        head = read_at(stream, position, 32)
        if head.startswith(b"ID3") and len(head) >= 10:
            a, b, c, d = head[6:10]
            position += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
        elif head.startswith(b"TAG"):
            position += 128
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            position += int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x20 else 0)
        else:
            break
    return position


@dataclass
class _Frames:
    """Frames of one format, found by their headers.

    Attributes:
        format: The common format.
        starts: Position of each in the file.
        gaps: Number of the frame after each gap, and the bytes in the gap; negative if the frame
            before the gap is cut.
        is_cut: Whether the file ends within a frame, or in data that is not MP3.
    """

    format: FrameFormat
    starts: array[int] = field(default_factory=lambda: array("q"))
    gaps: list[tuple[int, int]] = field(default_factory=list)
    is_cut: bool = False


class _Scanner:
    """Follow the frames of a file from header to header."""

    def __init__(self, stream: BinaryStream, start: int) -> None:
        self._stream, self._size, self._position = stream, size_of(stream), start

    def scan(self) -> Iterator[_Frames]:
        form = FrameFormat.of(read_at(self._stream, self._position, 4))
        while form is not None:
            frames, here = _Frames(form), form
            while form == here:
                self._follow(frames)
                form = self._pass_over(frames)
            yield frames

    def _follow(self, frames: _Frames) -> None:
        """Add the frames that follow each other directly."""
        form, sizes = frames.format, frames.format.sizes
        key, is_mono, take = form.key, form.is_mono, frames.starts.append
        n_bytes = FIRST_CHUNK
        data = read_at(self._stream, self._position, n_bytes)
        while form.starts(data, 0):
            place, last, base = 0, len(data) - 4, self._position
            while place <= last and data[place] == 0xFF and data[place + 1] | 1 == key:
                size = sizes[data[place + 2]]
                if not size or (data[place + 3] >= 0xC0) is not is_mono:
                    break
                take(base + place)
                place += size
            self._position += place
            n_bytes = min(2 * n_bytes, CHUNK)
            data = read_at(self._stream, self._position, n_bytes)
        if self._position > self._size:
            self._position = frames.starts.pop()
            frames.is_cut = True

    def _pass_over(self, frames: _Frames) -> FrameFormat | None:
        """Skip to the next frame; return its format, None at the end."""
        position = skip_tags(self._stream, self._position)
        if position >= self._size or frames.is_cut:
            return None
        form = FrameFormat.of(read_at(self._stream, position, 4))
        if form is not None and (position > self._position or is_chain(self._stream, position)):
            self._position = position
            return form
        # The frame before may be cut, so that the next one begins inside it.
        start = min(frames.starts[-1] + HEAD if frames.starts else position + 1, position)
        found = _resync(self._stream, start, self._size)
        frames.gaps.append((len(frames.starts), (found or self._size) - position))
        if found is None:
            frames.is_cut = True
            return None
        self._position = found
        return FrameFormat.of(read_at(self._stream, found, 4))


def _resync(stream: BinaryStream, start: int, stop: int) -> int | None:
    """Return the position of the first of several consecutive frames."""
    n_bytes, n_tried = FIRST_CHUNK, 0
    while start < stop and n_tried < MOST_TRIED:
        data = read_at(stream, start, min(n_bytes, stop - start))
        for match in _HEADERS.finditer(data):
            n_tried += 1
            if is_chain(stream, start + match.start()):
                return start + match.start()
        start += max(1, len(data) - 3)
        n_bytes = min(2 * n_bytes, CHUNK)
    return None


def is_chain(stream: BinaryStream, position: int) -> bool:
    """Return whether 4 frames in a row, or fewer up to the file's end, begin at a position."""
    form = FrameFormat.of(read_at(stream, position, 4))
    for n_found in range(CHAIN):
        head = read_at(stream, position, 4)
        if form is None or not form.starts(head, 0):
            size = size_of(stream)
            is_end = position == size or (n_found > 1 and skip_tags(stream, position) >= size)
            return n_found > 0 and is_end
        position += form.sizes[head[2]]
    return True


@dataclass(frozen=True)
class _Heads:
    """Values in the headers and the side information of frames, (frames,) each.

    Attributes:
        thirds: The third byte.
        has_tag: Whether the frame has a tag instead of sound.
        n_front: Bytes before the main data.
        n_borrowed: Bytes of its main data that are in earlier frames.
        n_bits: Length of its main data in bits.
        is_bad: Whether the side information is invalid.
    """

    thirds: NDArray[np.uint8]
    has_tag: NDArray[np.bool_]
    n_front: NDArray[np.int64]
    n_borrowed: NDArray[np.int64]
    n_bits: NDArray[np.int64]
    is_bad: NDArray[np.bool_]

    def part(self, first: int, stop: int) -> _Heads:
        """Return the values of the frames from `first` to `stop`."""
        return _Heads(**{name: values[first:stop] for name, values in vars(self).items()})


def _stretches(frames: _Frames, stream: BinaryStream) -> Iterator[Stretch]:
    """Divide consecutive frames where another encoder's tag begins."""
    if not frames.starts:
        return
    heads, starts, form = _heads(frames, stream), np.array(frames.starts), frames.format
    bounds = sorted({0, *np.flatnonzero(heads.has_tag).tolist(), len(starts)})
    for first, stop in pairwise(bounds):
        tag = None
        if heads.has_tag[first]:
            size = form.sizes[heads.thirds[first]]
            tag = Tag.of(read_at(stream, int(starts[first]), size), form.n_side)
            first += 1
        if first < stop:
            gaps = [(index - first, n) for index, n in frames.gaps if first < index <= stop]
            found = _settled(form, tag, starts[first:stop], heads.part(first, stop), gaps)
            found.is_cut = frames.is_cut and stop == len(starts)
            found.is_intact = _is_intact(found, stream)
            yield found


def _heads(frames: _Frames, stream: BinaryStream) -> _Heads:
    parts = []
    starts = np.array(frames.starts)
    first = 0
    while first < len(starts):
        stop = int(np.searchsorted(starts, starts[first] + CHUNK))
        base = int(starts[first])
        data = read_at(stream, base, int(starts[stop - 1]) + HEAD - base)
        padded = np.frombuffer(data + bytes(HEAD), np.uint8)
        table = padded[(starts[first:stop] - base)[:, None] + np.arange(HEAD)]
        parts.append(_heads_of(table, frames.format))
        first = stop
    return _Heads(
        **{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])}
    )


def _heads_of(table: NDArray[np.uint8], form: FrameFormat) -> _Heads:
    """Parse the first `HEAD` bytes of frames, (frames, `HEAD`)."""
    n_frames = len(table)
    nothing = np.zeros(n_frames, np.int64)
    if form.layer != 3:
        none = np.zeros(n_frames, np.bool_)
        return _Heads(table[:, 2], none, nothing, nothing, nothing, none)
    has_sum = table[:, 1] & 1 == 0
    side = np.where(has_sum[:, None], table[:, 6:38], table[:, 4:36])
    bits = np.unpackbits(side[:, : form.n_side], axis=1)
    n_channels, n_granules = form.n_channels, 2 if form.is_mpeg1 else 1
    place = 9 + (5 if form.is_mono else 3) + 4 * n_channels if form.is_mpeg1 else 8 + n_channels
    n_bits, is_bad = nothing, np.zeros(n_frames, np.bool_)
    for _ in range(n_granules * n_channels):
        n_bits = n_bits + _number(bits, place, 12)
        is_bad |= _number(bits, place + 12, 9) > MOST_VALUES
        switch = place + (33 if form.is_mpeg1 else 38)  # with a switch, block type 0 is reserved
        is_bad |= (bits[:, switch] == 1) & (_number(bits, switch + 1, 2) == 0)
        place += 59 if form.is_mpeg1 else 63
    marker = table[:, 4 + form.n_side : 8 + form.n_side]
    has_tag = _is_text(marker, b"Xing") | _is_text(marker, b"Info")
    return _Heads(
        thirds=table[:, 2],
        has_tag=has_tag | _is_text(table[:, 36:40], b"VBRI"),
        n_front=4 + form.n_side + 2 * has_sum.astype(np.int64),
        n_borrowed=_number(bits, 0, 9 if form.is_mpeg1 else 8),
        n_bits=n_bits,
        is_bad=is_bad,
    )


def _number(bits: NDArray[np.uint8], first: int, n_bits: int) -> NDArray[np.int64]:
    weights = 1 << np.arange(n_bits - 1, -1, -1)
    number: NDArray[np.int64] = bits[:, first : first + n_bits] @ weights
    return number


def _is_text(table: NDArray[np.uint8], text: bytes) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (table == np.frombuffer(text, np.uint8)).all(axis=1)
    return same


def _settled(
    form: FrameFormat,
    tag: Tag | None,
    starts: NDArray[np.int64],
    heads: _Heads,
    gaps: list[tuple[int, int]],
) -> Stretch:
    """Decide how each frame is decoded, so that the decoder reports no errors."""
    n_frames, sizes = len(starts), np.array(form.sizes)[heads.thirds]
    inside = [(index, n) for index, n in gaps if index < n_frames]
    states = np.full(n_frames, _SOUND, np.uint8)
    faults = {index for index, _ in inside}
    if form.layer == 3:
        is_bad, is_lost, breaks = _unusable(heads, sizes, sorted(faults))
        states[is_bad | is_lost] = _MUTED
        faults |= {*np.flatnonzero(is_bad).tolist(), *breaks}
    for index, _ in gaps:  # damage begins within the frame before the gap
        states[index - 1] = _BLANK
    # Overwritten frames are replaced by silence of the same length, so that later times are right.
    counts = [max(0, round(n / float(sizes.mean()))) for _, n in inside]
    places = [
        index
        for (index, _), count in zip(inside, counts, strict=True)
        for _ in range(count if count <= MOST_FILLED else 0)
    ]
    before = np.searchsorted(places, sorted(faults)) if places else np.zeros(len(faults), int)
    return Stretch(
        format=form,
        tag=tag,
        starts=np.insert(starts, places, -1),
        thirds=np.insert(heads.thirds, places, heads.thirds[0]),
        states=np.insert(states, places, _BLANK),
        faults=tuple(int(index + n) for index, n in zip(sorted(faults), before, strict=True)),
        n_filled=len(places),
        n_rest=sum(max(0, n) for index, n in gaps if index == n_frames),
    )


def _unusable(
    heads: _Heads, sizes: NDArray[np.int64], gaps: list[int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[int]]:
    """Find frames of layer III that cannot be decoded.

    The main data of all frames form one stream; those of a frame may begin in an earlier one.

    Returns:
        Whether the side information of each frame is invalid; whether main data of each frame is
        missing; and the numbers of valid frames before which others are missing.
    """
    room = sizes - heads.n_front
    ends = np.cumsum(room)
    begins = ends - room
    own_begin = begins - heads.n_borrowed
    own_end = own_begin + (heads.n_bits + 7) // 8
    is_bad = heads.is_bad | (own_end > ends)
    is_lost = own_begin < _latest(begins, gaps)
    is_usable = ~(is_bad | is_lost)
    overlaps = (own_begin[1:] < own_end[:-1]) & is_usable[1:] & is_usable[:-1]
    breaks: list[int] = (np.flatnonzero(overlaps) + 1).tolist()
    if breaks:
        is_lost = own_begin < _latest(begins, [*gaps, *breaks])
    return is_bad, is_lost, breaks


def _latest(begins: NDArray[np.int64], gaps: list[int]) -> NDArray[np.int64]:
    """Return, for each frame, the position from which on its main data is available."""
    firsts = np.zeros(len(begins), np.int64)
    firsts[gaps] = begins[gaps]
    return np.maximum.accumulate(firsts)


def _is_intact(stretch: Stretch, stream: BinaryStream) -> bool | None:
    """Verify the encoder's checksum; None if there is none or its data is incomplete."""
    tag, starts = stretch.tag, stretch.starts
    if tag is None or not tag.n_summed or stretch.faults:
        return None
    start, stop = int(starts[0]), int(starts[-1]) + stretch.format.sizes[stretch.thirds[-1]]
    if stop - start != tag.n_summed:
        return None
    checksum = 0
    for position in range(start, stop, CHUNK):
        checksum = crc16(read_at(stream, position, min(CHUNK, stop - position)), checksum)
    return checksum == tag.checksum
