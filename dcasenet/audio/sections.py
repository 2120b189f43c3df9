"""Divide a file into sections that are decoded separately, and warn of problems in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from dcasenet.audio import midi_dump
from dcasenet.audio.containers import Sound, kind_of
from dcasenet.audio.flac import FlacStream, find_flac
from dcasenet.audio.headers import find_mpeg, find_sound
from dcasenet.audio.libsndfile import (
    DecodeError,
    Isolated,
    Libsndfile,
    NotInstalledError,
    SampleSource,
)
from dcasenet.audio.mp3 import (
    SLACK_FRAMES,
    Stretch,
    find_start,
    find_stretches,
    is_chain,
    skip_tags,
)
from dcasenet.audio.ogg import Link, find_links
from dcasenet.audio.pyav import INSTALL, Av, AvFormat, find_av_format, find_parts
from dcasenet.audio.views import BinaryStream, View, read_at, size_of
from dcasenet.errors import AudioError

# Most bytes of pictures and text accepted before the sound of an Ogg stream.
MOST_HEADER = 2**26
# Most tags accepted before the sound.
MOST_TAGS = 100
# Smallest missing length that is reported, in seconds: containers state it in their own units, and
# encoders add padding.
LEAST_MISSING = 0.2


class Unusable(Exception):  # noqa: N818 - describes a file, not an error of the program
    """The decoded part of a section is unusable; the message is the reason, without the file."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of decoding a section.

    Attributes:
        source: The decoder, after its last block.
        n_samples: Number of decoded samples.
    """

    source: SampleSource
    n_samples: int

    def seconds(self, n_samples: int) -> str:
        """Return a length as text, in seconds."""
        return f"{n_samples / self.source.sample_rate:.2f} s"

    def length(self, n_samples: int) -> str:
        """Return a length as text, in frames and seconds."""
        return f"{n_samples:,} frames ({self.seconds(n_samples)})"

    def short_of(self, n_stated: int) -> str:
        """Return a warning that the header states more than there is."""
        held = f"{self.n_samples:,} ({self.seconds(self.n_samples)})"
        return f"the header promises {self.length(n_stated)} and the file holds {held}"

    def more_than(self, n_stated: int) -> str:
        """Return a warning that the header states less than there is."""
        more = self.n_samples - n_stated
        return (
            f"the header counts {self.length(n_stated)} and {more:,} more ({self.seconds(more)}) "
            "follow; all are processed."
        )

    def left_out(self, n_there: int) -> Iterator[str]:
        """Yield a warning if samples in the file could not be decoded."""
        n_left = n_there - self.n_samples
        if n_left > 0:
            yield f"{self.length(n_left)} at the end cannot be decoded and are left out."


class Section(ABC):
    """A part of a file that is decoded separately."""

    @abstractmethod
    def open(self) -> SampleSource:
        """Open the decoder.

        Raises:
            DecodeError: The section cannot be decoded.
            OSError: The section cannot be read.
        """

    @property
    def n_samples(self) -> int | None:
        """Number of samples, if known before decoding."""
        return None

    @abstractmethod
    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Yield warnings, as sentences about the file without its name.

        Raises:
            Unusable: The decoded part is unusable.
        """


class Samples(Section):
    """Uncompressed samples: WAV, AIFF and similar formats."""

    def __init__(self, stream: BinaryStream, sound: Sound) -> None:
        self._stream, self._sound = stream, sound

    def open(self) -> SampleSource:
        """Open the decoder; skip libsndfile's reader of the container where it would not work."""
        sound, encoding = self._sound, self._sound.encoding
        if sound.is_whole or encoding.subtype is None:
            try:
                return Libsndfile(View(self._stream, [(sound.start, sound.stop)]))
            except DecodeError:
                if encoding.subtype is None:
                    raise
        return Libsndfile(
            View(self._stream, sound.pieces),
            format="RAW",
            samplerate=encoding.sample_rate,
            channels=encoding.n_channels,
            subtype=encoding.subtype,
            endian=encoding.endian,
        )

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self._sound.encoding.frames(self._sound.n_bytes)

    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Compare the length in the header with the file."""
        sound = self._sound
        if sound.n_rest:
            yield f"the last {sound.n_rest:,} bytes are not {sound.kind} data."
        n_stated = None if sound.n_stated is None else sound.encoding.frames(sound.n_stated)
        if n_stated is None:
            if sound.kind != "WAV":  # programs that write WAV to a pipe state no length, either
                yield (
                    "the header states no length, as when a recorder is stopped; "
                    f"{outcome.length(outcome.n_samples)} follow and are processed."
                )
        elif outcome.n_samples < n_stated:
            yield f"{outcome.short_of(n_stated)}; the file is truncated."
            return
        elif outcome.n_samples > n_stated + sound.encoding.n_frames - sound.encoding.is_plain:
            yield outcome.more_than(n_stated)
        yield from outcome.left_out(self.n_samples)


class Flac(Section):
    """A FLAC stream."""

    def __init__(self, stream: BinaryStream, flac: FlacStream) -> None:
        self._stream, self._flac = stream, flac

    def open(self) -> SampleSource:
        """Open the decoder, whatever length the header states."""
        return Libsndfile(self._flac.view(self._stream))

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self._flac.n_samples

    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Compare the total in the header with the frames; see `Section.findings`."""
        flac, held = self._flac, outcome.n_samples
        if outcome.source.is_broken and held < flac.n_samples:
            stops = f"decoding stops after {outcome.length(held)}"
            if flac.n_stated:
                promise = f"the header promises {outcome.length(flac.n_stated)}"
                stops = f"{promise} and {stops.replace(' frames', '')}"
            raise Unusable(
                f"{stops}. The FLAC data is truncated or damaged: give an intact copy, or save "
                "what another program can recover of it as WAV."
            )
        if flac.n_missing:
            yield (
                f"{outcome.length(flac.n_missing)} are missing inside, first at "
                f"{outcome.seconds(flac.first_missing)}; they are replaced with silence."
            )
        if flac.n_rest:
            yield f"{flac.n_rest:,} bytes or more at its end are not FLAC data."
        if 0 < flac.n_stated < held:
            yield outcome.more_than(flac.n_stated)
        elif held < flac.n_stated:
            yield f"{outcome.short_of(flac.n_stated)}; the file is truncated, or the header wrong."


class Mp3(Section):
    """Frames of MP3 audio.

    Args:
        stream: The file.
        stretch: The frames.
        is_broadcast: Whether it is a saved broadcast, which begins and may end within a frame.
    """

    def __init__(
        self, stream: BinaryStream, stretch: Stretch, *, is_broadcast: bool = False
    ) -> None:
        self._stream, self._stretch, self._is_broadcast = stream, stretch, is_broadcast

    def open(self) -> SampleSource:
        """Open the decoder, in another process unless the frames are known to be intact."""
        view = self._stretch.view(self._stream)
        if not self._stretch.is_intact:
            try:
                return Isolated(view)
            except OSError:  # no process can be started
                view.seek(0)
        return Libsndfile(view)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self._stretch.n_samples

    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Compare the tag with the frames, and yield warnings of damage."""
        stretch, n_stated = self._stretch, self._stretch.n_stated
        slack = SLACK_FRAMES * stretch.format.n_samples
        n_missing = (n_stated or 0) - stretch.n_samples
        if stretch.first_fault is not None:
            yield self._damage(outcome, n_missing if n_missing > slack else 0)
        elif n_missing > slack:
            where = "the file is truncated"
            if not stretch.is_cut:  # the file ends with a whole frame
                where = "the rest is missing at the end or inside, so that later times may be early"
            yield f"{outcome.short_of(n_stated or 0)}; {where}."
        elif n_stated is not None and n_missing < -slack:
            yield outcome.more_than(n_stated)
        elif stretch.is_intact is False:
            yield (
                "the encoder's checksum does not match: the MP3 data is damaged, or was changed, "
                "inside, and sound there may be wrong."
            )
        elif "error" in outcome.source.complaint:
            yield "the MP3 data is damaged inside, and sound there may be wrong."
        is_torn = stretch.is_torn and not self._is_broadcast
        if is_torn and n_missing <= slack and (n_stated is None or n_missing > 0):
            yield "the file ends within a frame; it may be truncated."
        if stretch.n_rest > 2 * stretch.mean_size:
            yield f"the last {stretch.n_rest:,} bytes are not MP3 data."
        if outcome.n_samples < stretch.n_samples - slack:
            yield from outcome.left_out(stretch.n_samples)

    def _damage(self, outcome: Outcome, n_missing: int) -> str:
        stretch = self._stretch
        text = f"the MP3 data is damaged inside, first at {stretch.first_fault:.2f} s"
        if n_missing:
            there = "there or at the end" if stretch.is_cut else "there"
            return (
                f"{text}; {outcome.seconds(n_missing)} are missing {there}, so that later times "
                "are early."
            )
        if stretch.n_filled:
            n_filled = stretch.n_filled * stretch.format.n_samples
            return f"{text}; {outcome.seconds(n_filled)} there are replaced with silence."
        later = "" if stretch.n_stated is not None else ", and later times may be early"
        return f"{text}; what cannot be decoded is silence{later}."


class OggLink(Section):
    """A link of an Ogg file."""

    def __init__(self, stream: BinaryStream, link: Link, n_junk: int) -> None:
        self._stream, self._link, self._n_junk = stream, link, n_junk

    def open(self) -> SampleSource:
        """Open the decoder."""
        return Libsndfile(self._link.view(self._stream))

    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Compare the time of the last page with the decoded length."""
        link, n_stated = self._link, outcome.source.n_announced or 0
        if outcome.n_samples < n_stated:
            is_inside = link.granule_at_gap is not None or self._n_junk or link.is_ended
            yield outcome.short_of(n_stated) + (
                "; pages are missing or damaged inside, so that later times are early."
                if is_inside
                else "; the file is truncated."
            )
        elif link.granule_at_gap is not None:
            yield "pages are missing inside, so that later times may be early."
        if link.n_rest:
            yield f"the last {link.n_rest:,} bytes are not Ogg data."
        if not link.is_ended:
            yield "the file ends without an end-of-stream mark; it may be truncated."
        if link.n_others:
            yield f"{link.n_others} more streams of sound run along and are left out."


class Other(Section):
    """A section in another format of libsndfile."""

    def __init__(self, stream: BinaryStream) -> None:
        self._view = View(stream, [(0, size_of(stream))])

    def open(self) -> SampleSource:
        """Open the decoder."""
        return Libsndfile(self._view)

    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Compare the announced with the decoded length; see `Section.findings`."""
        n_stated = outcome.source.n_announced or 0
        if outcome.source.is_broken:
            raise Unusable(
                f"decoding stops after {outcome.length(outcome.n_samples)}. The data is truncated "
                "or damaged: give an intact copy, or save what another program can recover of it "
                "as WAV."
            )
        if outcome.n_samples < n_stated:
            yield f"{outcome.short_of(n_stated)}; the file is truncated."
        yield from _unread(self._view)


class ByAv(Section):
    """A section decoded by PyAV."""

    def __init__(self, stream: BinaryStream, av_format: AvFormat) -> None:
        self._view, self._format = View(stream, [(0, size_of(stream))]), av_format

    def open(self) -> SampleSource:
        """Open the decoder."""
        try:
            return Av(self._view, self._format.demuxer)
        except ImportError as error:
            raise NotInstalledError(
                f"It is {self._format}, which needs PyAV. Type: {INSTALL}"
            ) from error

    def findings(self, outcome: Outcome) -> Iterator[str]:
        """Compare the stated with the decoded length."""
        if isinstance(outcome.source, Av):
            yield from self._left_out(outcome.source)
        n_stated = outcome.source.n_announced or 0
        n_missing = n_stated - outcome.n_samples
        is_short = n_missing > LEAST_MISSING * outcome.source.sample_rate
        if outcome.source.complaint:
            later = f", and {outcome.seconds(n_missing)} are missing" if is_short else ""
            yield f"the data is damaged inside: {outcome.source.complaint}{later}."
        elif is_short:
            yield f"{outcome.short_of(n_stated)}; the file is truncated."
        elif outcome.source.is_broken:
            yield "decoding stops at an error; the file may be truncated."

    def _left_out(self, source: Av) -> Iterator[str]:
        if source.n_others:
            yield f"{source.n_others} more streams of sound run along and are left out."
        elif not source.has_others and not source.is_broken:
            yield from _unread(self._view)


def _unread(view: View) -> Iterator[str]:
    """Yield a warning if the decoder did not use a large part of a file."""
    if view.n_unread:
        yield f"{view.n_unread:,} bytes, which may hold more sound, are left out."


def find_sections(stream: BinaryStream, source: str) -> list[Section]:
    """Find the sections of a file, in order: one, or several if files were joined.

    Args:
        stream: The file.
        source: Name used in messages.

    Raises:
        AudioError: The file is empty, or the data before the audio is too large.
        DecodeError: The file is not audio.
    """
    if not read_at(stream, 0, 1):
        raise AudioError(f"{source} is empty (0 bytes). Give a file that contains audio.")
    start = skip_tags(stream, 0, MOST_TAGS)
    # Containers of uncompressed samples do not allow tags before them.
    if start and kind_of(read_at(stream, start, 40)) is not None:
        stream = View(stream, [(start, size_of(stream))])
    sounds = find_sound(stream, source)
    if sounds:
        return [Samples(stream, sound) for sound in sounds]
    mpeg = find_mpeg(stream, source)
    if mpeg:
        return [part for piece in mpeg for part in _mp3(View(stream, [piece]), 0)] or _no_frame()
    return _compressed(stream, source)


def _compressed(stream: BinaryStream, source: str) -> list[Section]:
    """Find the sections of a file in a compressed format."""
    start = skip_tags(stream, 0, MOST_TAGS)
    head = read_at(stream, start, 36)
    if head.startswith(b"ID3") and len(head) >= 10:
        raise AudioError(
            f"{source} begins with more than {MOST_TAGS} ID3 tags. Save it again with another "
            "program."
        )
    if head.startswith(b"fLaC"):
        return [Flac(stream, flac) for flac in find_flac(stream, start, source)] or [Other(stream)]
    if head.startswith(b"OggS"):
        return _ogg(stream, source)
    if head.startswith(midi_dump.MAGIC) and not midi_dump.is_whole(stream):
        raise DecodeError("It is a MIDI sample dump with missing or damaged packets")
    av_format = find_av_format(stream, start)
    is_mpeg = head[:1] == b"\xff" and head[1:2] >= b"\xe0"  # libsndfile assumes MPEG
    if av_format is not None and (is_mpeg or not _is_decodable(stream)):
        return [ByAv(View(stream, [part]), av_format) for part in find_parts(stream, av_format)]
    if start or is_mpeg:
        return _mp3(stream, start) or _no_frame()
    if not _is_decodable(stream):
        found = _mp3(stream, start)  # a saved broadcast may begin within a frame
        if found:
            return found
    return [Other(stream)]


def _ogg(stream: BinaryStream, source: str) -> list[Section]:
    links, n_junk = find_links(stream)
    if any(link.n_header > MOST_HEADER for link in links):
        raise AudioError(
            f"{source} has more than {MOST_HEADER // 2**20} MiB of pictures and text before the "
            "sound. Save it again with another program."
        )
    found: list[Section] = []
    for link in links:
        if link.codec in ("Vorbis", "Opus"):
            found.append(OggLink(stream, link, n_junk))
        else:
            found.append(ByAv(link.view(stream), AvFormat("Ogg", link.codec, "ogg")))
    return found or [Other(stream)]


def _mp3(stream: BinaryStream, start: int) -> list[Section]:
    is_whole = is_chain(stream, start)
    first = start if is_whole else find_start(stream, start)
    found = [] if first is None else find_stretches(stream, first)
    return [Mp3(stream, stretch, is_broadcast=not is_whole) for stretch in found]


def _no_frame() -> list[Section]:
    raise DecodeError("It has no complete frame")


def _is_decodable(stream: BinaryStream) -> bool:
    """Return whether libsndfile recognizes the format."""
    try:
        Other(stream).open().close()
    except DecodeError:
        return False
    return True
