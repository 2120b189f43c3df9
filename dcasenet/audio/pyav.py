"""Recognize formats that libsndfile does not decode, and decode them with PyAV.

PyAV is optional. The demuxer is always set by name: some of those that FFmpeg would choose itself
open other files or addresses that are named in a malicious file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from dcasenet.audio.libsndfile import BLOCK_VALUES, Block, DecodeError
from dcasenet.audio.views import BinaryStream, read_at, size_of

if TYPE_CHECKING:
    import av

INSTALL = "pip install 'dcasenet[av]'"
# Bytes in which the codec's name is searched.
HEAD = 2**16
# Most bytes that FFmpeg reads to detect the streams.
MOST_PROBED = 2**22
# Most boxes of an MPEG-4 file that are read.
MOST_BOXES = 100_000
# Ticks of FFmpeg's clock in a second.
AV_TIME_BASE = 1_000_000
# Samples by which a length stated in other units may differ.
SLACK = 4096


@dataclass(frozen=True)
class AvFormat:
    """A format that libsndfile does not decode.

    Attributes:
        container: Name of the container.
        codec: Name of the codec, if known; empty if the container implies it.
        demuxer: FFmpeg's name of the container.
    """

    container: str
    codec: str
    demuxer: str

    def __str__(self) -> str:
        return f"{self.codec} in {self.container}" if self.codec else self.container


# First bytes → container and FFmpeg's demuxer.
_MAGIC = {
    b"\x1a\x45\xdf\xa3": ("Matroska or WebM", "matroska"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ("Windows Media", "asf"),
    b"wvpk": ("WavPack", "wv"),
    b"MAC ": ("Monkey's Audio", "ape"),
    b"TTA1": ("True Audio", "tta"),
    b"MPCK": ("Musepack", "mpc8"),
    b"MP+": ("Musepack", "mpc"),
    b"#!AMR": ("AMR", "amr"),
    b"DSD ": ("DSF", "dsf"),
    b"\x0b\x77": ("AC-3", "ac3"),
    b"FLV": ("Flash video", "flv"),
    b"OggS": ("Ogg", "ogg"),
    b"caff": ("CAF", "caf"),
    b"NIST": ("NIST SPHERE", "nistsphere"),
}
# Byte patterns of codecs in the header of a container, the most specific ones first.
_CODECS = {
    "mov": {b"alac": "ALAC", b"Opus": "Opus", b"fLaC": "FLAC", b"ac-3": "AC-3", b"ec-3": "E-AC-3",
            b"samr": "AMR", b".mp3": "MP3", b"mp4a": "AAC"},
    "matroska": {b"A_OPUS": "Opus", b"A_VORBIS": "Vorbis", b"A_AAC": "AAC", b"A_FLAC": "FLAC",
                 b"A_MPEG/L3": "MP3", b"A_AC3": "AC-3", b"A_DTS": "DTS", b"A_PCM": "PCM"},
    "ogg": {b"\x7fFLAC": "FLAC", b"Speex   ": "Speex", b"fLaC": "FLAC"},
    "caf": {b"aac ": "AAC", b"alac": "ALAC", b"opus": "Opus", b"ima4": "IMA ADPCM"},
    "nistsphere": {b"shorten": "Shorten"},
}  # fmt: skip
# Format tags of WAV files that libsndfile does not decode.
_WAV_TAGS = {
    0xFF: "AAC", 0x160: "WMA", 0x161: "WMA", 0x162: "WMA Pro",
    0x163: "WMA Lossless", 0x1610: "AAC", 0x1602: "AAC", 0x2000: "AC-3", 0x2001: "DTS",
    0x704F: "Opus", 0x674F: "Vorbis", 0xF1AC: "FLAC", 0x45: "G.726", 0x64: "G.726",
}  # fmt: skip


def find_av_format(stream: BinaryStream, start: int = 0) -> AvFormat | None:
    """Recognize a format that libsndfile may not decode; None if it is unknown.

    Args:
        stream: The file.
        start: Position after the leading tags.
    """
    head = read_at(stream, start, HEAD)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"skip"):
        return AvFormat("MPEG-4", _codec(stream, head, "mov"), "mov")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return AvFormat("AVI", "", "avi")
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        place = head.find(b"fmt ")
        tag = int.from_bytes(head[place + 8 : place + 10], "little") if place > 0 else 0
        return AvFormat("WAV", _WAV_TAGS[tag], "wav") if tag in _WAV_TAGS else None
    if len(head) > 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return AvFormat("ADTS", "AAC", "aac")
    for magic, (container, demuxer) in _MAGIC.items():
        if head.startswith(magic):
            return AvFormat(container, _codec(stream, head, demuxer), demuxer)
    return None


def find_parts(stream: BinaryStream, av_format: AvFormat) -> list[tuple[int, int]]:
    """Find the files that were joined into one; only MPEG-4 files are searched.

    Args:
        stream: The file.
        av_format: Its format.

    Returns:
        (start, stop) of each in bytes, in order; a single pair if no files were joined.
    """
    size = size_of(stream)
    starts, position, has_index = [0], 0, False
    for _ in range(MOST_BOXES if av_format.demuxer == "mov" else 0):
        head = read_at(stream, position, 16)
        if len(head) < 8:
            break
        n_bytes, name = int.from_bytes(head[:4], "big"), head[4:8]
        if name == b"ftyp" and has_index:
            starts.append(position)
            has_index = False
        has_index = has_index or name == b"moov"
        if n_bytes == 1:  # the size has 64 bits
            n_bytes = int.from_bytes(head[8:], "big")
        if n_bytes < 8:  # the box extends to the end, or is invalid
            break
        position += n_bytes
    return list(pairwise([*starts, size]))


def _codec(stream: BinaryStream, head: bytes, demuxer: str) -> str:
    marks = _CODECS.get(demuxer, {})
    end = read_at(stream, max(0, size_of(stream) - HEAD), HEAD) if demuxer == "mov" else b""
    return next((name for mark, name in marks.items() if mark in head or mark in end), "")


class Av:
    """Decode with FFmpeg, through PyAV; see `dcasenet.audio.libsndfile.SampleSource`.

    Args:
        stream: Binary stream to decode.
        demuxer: FFmpeg's name of the container.

    Raises:
        ImportError: PyAV is not installed.
        DecodeError: FFmpeg cannot open it.
    """

    def __init__(self, stream: BinaryStream, demuxer: str) -> None:
        import av

        self._av = av
        self.is_broken, self.complaint = False, ""
        self._n_damaged = 0
        stream.seek(0)
        try:
            container = av.open(
                cast("BinaryIO", stream),
                format=demuxer,
                options={"probesize": str(MOST_PROBED)},
                io_open=_refuse,
                metadata_errors="replace",
            )
        except (av.FFmpegError, PermissionError) as error:
            raise DecodeError(_reason(error)) from error
        self._container = cast("av.container.InputContainer", container)
        if not self._container.streams.audio:
            self.close()
            raise DecodeError("It has no sound")
        self._stream, *others = self._container.streams.audio
        self.n_others = len(others)
        self.has_others = len(self._container.streams) > 1
        try:
            self.sample_rate, self.n_channels = self._stream.rate or 0, self._stream.channels
        except AttributeError as error:  # FFmpeg does not know the codec
            self.close()
            raise DecodeError("No decoder knows the codec") from error
        if not self.sample_rate or not self.n_channels:
            self.close()
            raise DecodeError("It states no sample rate, or no channels")
        self.n_announced = self._announced()

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Yield the samples; see `SampleSource`."""
        # Encoders pad their last frame; samples beyond the length in the header are cut off.
        waiting: list[Block] = []
        n_waiting = n_given = 0
        for block in self._decoded():
            waiting.append(block)
            n_waiting += len(block)
            if n_waiting * self.n_channels >= BLOCK_VALUES // 4 and n_waiting > SLACK:
                joined = np.concatenate(waiting)
                yield joined[:-SLACK]
                n_given += len(joined) - SLACK
                waiting, n_waiting = [joined[-SLACK:]], SLACK
        if waiting:
            last = np.concatenate(waiting)
            n_over = n_given + n_waiting - (self.n_announced or 0)
            yield last[: n_waiting - n_over] if self.n_announced and 0 < n_over <= SLACK else last

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _decoded(self) -> Iterator[Block]:
        resamplers: dict[tuple[str, str, int], av.AudioResampler] = {}
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                self._n_damaged += 1
                self.complaint = f"{self._n_damaged} packets cannot be decoded"
                continue
            for frame in cast("list[av.AudioFrame]", frames):
                key = frame.format.name, frame.layout.name, frame.sample_rate
                if key not in resamplers:  # the format may change from frame to frame
                    resamplers[key] = self._av.AudioResampler(
                        "flt", self._stream.layout, self.sample_rate
                    )
                for converted in resamplers[key].resample(frame):
                    values = converted.to_ndarray().reshape(-1, self.n_channels)
                    yield values.astype(np.float32, copy=False)

    def _packets(self) -> Iterator[av.Packet[Any]]:
        try:
            yield from self._container.demux(self._stream)
        except self._av.EOFError:
            return
        except self._av.FFmpegError:
            self.is_broken = True

    def _announced(self) -> int | None:
        ticks, base = self._stream.duration, self._stream.time_base
        if ticks is not None and base is not None:
            return round(ticks * base * self.sample_rate)
        ticks = self._container.duration
        return None if ticks is None else round(ticks * self.sample_rate / AV_TIME_BASE)


def _refuse(url: str, *_: Any) -> Any:
    """Refuse to open another file that the file names."""
    raise PermissionError(f"It names another file, {url!r}")


def _reason(error: Exception) -> str:
    """Return FFmpeg's error message, without the error number and the name of the stream."""
    return re.sub(r"^\[Errno [^]]*\] |: '.*'$", "", str(error))
