"""Decode audio files with soundfile, and notice when they hold less than their header promises."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from dcasenet.errors import AudioError

# Values decoded at once: 4 MiB of float32. Headers can lie about the length, so no more is
# set aside on their word.
BLOCK_VALUES = 2**20
# libsndfile gives this many frames for a FLAC stream whose header leaves the length open ...
UNKNOWN_FRAMES = 2**63 - 1
# ... and at its end fails to seek (SFE_PSF_FSEEK) instead of decoding nothing more.
SEEK_FAILED = 39
# An MP3 without one whole frame is, to libsndfile, a file that does not exist (SFE_BAD_FILE).
BAD_FILE = 7
# Encoders differ by a frame in whether the count includes its own, and decoders in what they trim
# at the start (529 samples): an MP3 is short only from two frames of 1,152 samples on.
MP3_SLACK = 2 * 1152
# RIFF format tags whose blocks are single frames: PCM, float, A-law, µ-law, extensible.
FRAMEWISE_TAGS = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)


def decode(
    file: str | os.PathLike[str] | bytes | BinaryIO, source: str
) -> tuple[NDArray[np.float32], int, tuple[str, ...]]:
    """Decode a file: WAV, FLAC, Ogg, MP3 and whatever else libsndfile recognises by its content.

    Integer samples are scaled to [-1, 1) by their width, floating-point ones are left as stored.

    Args:
        file: Its path, its bytes, or the file opened for reading bytes. An open one is read from
            where it stands and, if it can seek, put back there.
        source: What messages call it.

    Returns:
        Samples, shape (channels, samples), possibly none; the sample rate in Hz; and a warning
        if the file holds fewer frames than it promises (WAV by the size of the ``data`` chunk,
        MP3 by the count in its first frame).

    Raises:
        AudioError: It cannot be read, its content is not audio or cannot be decoded, or it is a
            FLAC file cut short.

    Example:
        >>> stream = io.BytesIO()
        >>> soundfile.write(stream, np.zeros((441, 2)), 44_100, format="FLAC")
        >>> samples, sample_rate, warnings = decode(stream.getvalue(), "<flac>")
        >>> samples.shape, sample_rate, warnings
        ((2, 441), 44100, ())
    """
    if isinstance(file, bytes):
        return _decode_stream(io.BytesIO(file), source)
    if not isinstance(file, str | os.PathLike):
        return _decode_stream(io.BytesIO(_content(file, source)), source)
    if not source or "\0" in source:
        raise AudioError(f"The path {source!r} names nothing. Give the path of an audio file.")
    path = Path(source)
    try:
        if path.is_dir():
            raise AudioError(f"{source} is a directory. Give the audio files in it, one or a list.")
        with path.open("rb") as stream:
            return _decode_stream(stream, source)
    except FileNotFoundError as error:
        raise AudioError(
            f"There is no file {source} (looked for {path.absolute()}). Give the path of an audio "
            "file."
        ) from error
    except OSError as error:
        raise AudioError(
            f"{source} cannot be read: {error.strerror or error}. Give a file that you may read."
        ) from error


def _content(file: BinaryIO, source: str) -> bytes:
    """What a binary file holds from where it stands; if it can seek, it stands there again."""
    try:
        can_seek = hasattr(file, "seekable") and file.seekable()
        position = file.tell() if can_seek else None
        content = file.read()
        if position is not None:
            file.seek(position)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise AudioError(f"{source} cannot be read: {error}. Give an open binary file.") from error
    if not isinstance(content, bytes):
        raise AudioError(
            f"{source} gives {type(content).__name__} where bytes are needed. Open it in binary "
            'mode: open(path, "rb").'
        )
    if position and not content:
        raise AudioError(f"{source} stands at its end. Call its seek(0) first.")
    return content


def _decode_stream(
    stream: BinaryIO, source: str
) -> tuple[NDArray[np.float32], int, tuple[str, ...]]:
    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    stream, is_counted = _settle_length(stream, source)
    with _open(stream, source) as file:
        samples, is_broken = _read_all(file)
        sample_rate, kind, promised = file.samplerate, file.format, file.frames
    if kind in ("WAV", "WAVEX", "RF64"):
        promised = _riff_frames(stream)
    elif promised == UNKNOWN_FRAMES or (kind == "MP3" and not is_counted):
        promised = 0
    warning = _compare(samples.shape[1], promised, sample_rate, kind, is_broken, source)
    return samples, sample_rate, (warning,) if warning else ()


def _compare(
    held: int, promised: int, sample_rate: int, kind: str, is_broken: bool, source: str
) -> str:
    """What to warn of, given the frames held and promised (0: nothing is); maybe nothing."""
    have = f"{held:,} ({held / sample_rate:.2f} s)"
    promise = f"the header promises {promised:,} frames ({promised / sample_rate:.2f} s)"
    is_short = held < promised - (MP3_SLACK if kind == "MP3" else 0)
    if is_broken and kind != "MP3":
        if promised:
            # libFLAC puts silence where a checksum fails, and complains only in the end.
            stop = f"stops after {have}" if held < promised else "meets damage on the way"
            where = f"{promise} and decoding {stop}"
        else:
            where = f"decoding stops after frame {have}"
        raise AudioError(
            f"{source}: {where}. The {kind} data is truncated or damaged: give an intact copy, or "
            "save what another program can recover of it as WAV."
        )
    if is_short:
        return f"{source}: {promise} and the file holds {have}; the rest is missing."
    if is_broken and not promised:
        return f"{source}: decoding stops after frame {have}; what follows there is not MP3 data."
    return ""


class _Source:
    """A stream as soundfile wants it, without its name (.raw would be taken at its word)."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read, self.tell, self._seek = stream.read, stream.tell, stream.seek

    def seek(self, offset: int, whence: int) -> None:
        # Damaged files send libsndfile before the start. It copes, as soundfile then reports the
        # old position; an exception would be printed on stderr.
        with contextlib.suppress(OSError, ValueError):
            self._seek(offset, whence)


def _open(stream: BinaryIO, source: str) -> soundfile.SoundFile:
    stream.seek(0)
    try:
        return soundfile.SoundFile(_Source(stream))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(". ")
        if error.code == BAD_FILE:
            reason = "It has no whole frame"
        raise AudioError(
            f"{source} cannot be read as audio: {reason}. Accepted are WAV, FLAC, Ogg and MP3; "
            "convert other formats, for example with ffmpeg."
        ) from error


def _read_all(file: soundfile.SoundFile) -> tuple[NDArray[np.float32], bool]:
    """Samples (channels, samples), and whether the decoder gave up before the end."""
    blocks = []
    n_frames = min(file.frames + 1, max(1, BLOCK_VALUES // file.channels))
    while True:
        block = np.full((n_frames, file.channels), np.nan, np.float32)
        is_broken = False
        try:
            n_read = len(file.read(out=block))
        except soundfile.LibsndfileError as error:
            # What was decoded before the failure is in the block; how much, nobody tells.
            n_read = int(np.count_nonzero(~np.isnan(block[:, -1])))
            is_broken = not (file.frames == UNKNOWN_FRAMES and error.code == SEEK_FAILED)
        blocks.append(block[:n_read].T)
        if is_broken or n_read < n_frames:
            n_total = sum(block.shape[1] for block in blocks)
            samples = np.empty((file.channels, n_total), np.float32)
            return np.concatenate(blocks, axis=1, out=samples), is_broken


def _settle_length(stream: BinaryIO, source: str) -> tuple[BinaryIO, bool]:
    """Keep libsndfile from misjudging the length; and whether an MP3 itself states it."""
    start = stream.read(4)
    if not start:
        raise AudioError(f"{source} is empty (0 bytes). Give a file that holds audio.")
    if start == b"RIFF" and _riff_data(stream)[0] == 0:
        # A recorder that was killed leaves the size 0: libsndfile then reads to the end of the
        # file if the RIFF size is 8, else nothing. What reads like a chunk's name is no audio.
        following = stream.read(4)
        if following and not following.rstrip().isalnum():
            stream.seek(8)
            return io.BytesIO(start + struct.pack("<I", 8) + stream.read()), False
    if start.startswith((b"ID3", b"\xff")):
        data = bytearray(start + stream.read())
        while data.startswith(b"ID3") and len(data) >= 10:  # tags of any size are in the way
            a, b, c, d = data[6:10]
            del data[: 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[5] & 0x10 else 0)]
        is_counted = _count_mp3(data)
        return io.BytesIO(data), is_counted
    return stream, False


def _riff_data(stream: BinaryIO) -> tuple[int, int]:
    """Size of the data chunk and of a frame, in bytes (0: unknown); leaves the stream there."""
    stream.seek(0)
    order = ">" if stream.read(12).startswith(b"RIFX") else "<"
    frame_size = long_size = 0
    while len(head := stream.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        if name == b"data":
            # Writers that cannot go back leave a size next to 2³¹ or 2³²; RF64 has it in ds64.
            is_open = 0x7FFF_0000 <= size <= 0x8000_FFFF or size >= 0xFFFF_0000
            return (long_size if is_open else size), frame_size
        body = stream.read(min(size, 16))
        if name == b"ds64" and len(body) == 16:
            (long_size,) = struct.unpack_from("<Q", body, 8)
        if name == b"fmt " and len(body) == 16:
            tag, block_size = struct.unpack_from(f"{order}H10xH", body)
            frame_size = block_size if tag in FRAMEWISE_TAGS else 0
        stream.seek(size + size % 2 - len(body), io.SEEK_CUR)
    return 0, 0


def _riff_frames(stream: BinaryIO) -> int:
    size, frame_size = _riff_data(stream)
    return size // frame_size if frame_size else 0


def _count_mp3(data: bytearray) -> bool:
    """Make the first frame state how many follow; return whether it did so by itself.

    libsndfile believes a Xing tag. Without one it takes the first frame's bit rate for all and
    drops the rest without a word (most of the file where the rate varies), so such a file gets
    a tag with more frames than it can hold: decoding then ends where the data ends. A VBRI tag,
    which libsndfile does not know, is rewritten as Xing.
    """
    header = int.from_bytes(data[:4], "big")
    version, layer, rate = header >> 19 & 3, header >> 17 & 3, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or rate == 3:
        return False  # not a frame of layer III
    is_mono, is_mpeg1 = header >> 6 & 3 == 3, version == 3
    side_info = 32 if is_mpeg1 and not is_mono else 9 if is_mono and not is_mpeg1 else 17
    tag = 4 + side_info
    marker = bytes(data[tag : tag + 4])
    has_xing = marker in (b"Xing", b"Info")
    if has_xing and data[tag + 7] & 1 and any(data[tag + 8 : tag + 12]):
        if data[tag + 7] & 2:  # mpg123 prints a complaint if the size in bytes is not true
            struct.pack_into(">I", data, tag + 12, len(data))
        return True
    has_vbri = data[36:40] == b"VBRI"
    if has_vbri:
        (n_frames,) = struct.unpack_from(">I", data, 50)
    else:
        n_frames = len(data) // 24  # bytes of the shortest frame: 8 kbit/s at 24 kHz
    if not (has_xing or has_vbri):
        data[:0] = _blank_mp3_frame(header)
    # Zeros up to where the tag's delay and padding end: none are known.
    xing = struct.pack(">4sII", b"Xing", 1, n_frames)
    data[4 : tag + 48] = bytes(side_info) + xing + bytes(36)
    return has_vbri


def _blank_mp3_frame(header: int) -> bytes:
    """A silent frame of layer III like the one with this header, at 128 (MPEG 2: 80) kbit/s."""
    version = header >> 19 & 3
    sample_rate = (44_100, 48_000, 32_000)[header >> 10 & 3] >> {3: 0, 2: 1, 0: 2}[version]
    size = 144 * 128_000 // sample_rate if version == 3 else 72 * 80_000 // sample_rate
    # Bits 12-15 are the bit rate's index, 9 the padding; 16 means that no checksum follows.
    header = header & ~0xF200 | 0x1_9000
    return header.to_bytes(4, "big") + bytes(size - 4)
