"""Decode audio files with soundfile, and notice when they hold less than their header promises."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, TypeAlias, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from dcasenet.audio.headers import Stream, riff_frames, settle_length
from dcasenet.errors import AudioError

File: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"

# Values decoded at once: 4 MiB of float32. Headers can lie about the length, so no more is
# set aside on their word.
BLOCK_VALUES = 2**20
# Bytes of a file that cannot seek which are held in memory; beyond, they go to a temporary file.
SPOOL_BYTES = 2**26
# libsndfile gives this many frames for a FLAC stream whose header leaves the length open ...
UNKNOWN_FRAMES = 2**63 - 1
# ... and at its end fails to seek (SFE_PSF_FSEEK) instead of decoding nothing more.
SEEK_FAILED = 39
# An MP3 without one whole frame is, to libsndfile, a file that does not exist (SFE_BAD_FILE).
BAD_FILE = 7
# Encoders differ by a frame in whether the count includes its own, and decoders in what they trim
# at the start (529 samples): an MP3 is short only from two frames of 1,152 samples on.
MP3_SLACK = 2 * 1152


def decode(file: File, source: str) -> tuple[NDArray[np.float32], int, tuple[str, ...]]:
    """Decode a whole file; see `FileReader`.

    Args:
        file: Its path, its bytes, or the file opened for reading bytes.
        source: What messages call it.

    Returns:
        Samples, shape (channels, samples), possibly none; the sample rate in Hz; and a warning
        if the file holds fewer frames than it promises.

    Raises:
        AudioError: As in `FileReader`.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> soundfile.write(stream, np.zeros((441, 2)), 44_100, format="FLAC")
        >>> samples, sample_rate, warnings = decode(stream.getvalue(), "<flac>")
        >>> samples.shape, sample_rate, warnings
        ((2, 441), 44100, ())
    """
    with FileReader(file, source) as reader:
        samples = gather(reader, reader.n_channels)
        return samples, reader.sample_rate, reader.warnings


def gather(blocks: Iterable[NDArray[np.float32]], n_channels: int) -> NDArray[np.float32]:
    """Join blocks (channels, samples), possibly none, into one array in C order."""
    parts = list(blocks)
    samples = np.empty((n_channels, sum(part.shape[1] for part in parts)), np.float32)
    return np.concatenate(parts, axis=1, out=samples) if parts else samples


class FileReader:
    """A file that is decoded block by block: WAV, FLAC, Ogg, MP3 and what else libsndfile knows.

    Integer samples are scaled to [-1, 1) by their width, floating-point ones are left as stored.
    Iterating gives blocks (channels, samples), once.

    Args:
        file: Its path, its bytes, or the file opened for reading bytes. An open one is read from
            where it stands and, if it can seek, put back there.
        source: What messages call it.

    Attributes:
        sample_rate: In Hz.
        n_channels: How many channels.
        promised: How many frames libsndfile makes out beforehand.
        warnings: After the last block: a warning if the file holds fewer frames than it promises
            (WAV by the size of the ``data`` chunk, MP3 by the count in its first frame).

    Raises:
        AudioError: The file cannot be read, its content is not audio or cannot be decoded, it is
            a FLAC file cut short, or it changes while it is read.
    """

    def __init__(self, file: File, source: str) -> None:
        self._source, self._closing = source, contextlib.ExitStack()
        self.warnings: tuple[str, ...] = ()
        with contextlib.ExitStack() as undoing:
            undoing.push(self._closing)
            self._stream = self._open(file)
            self._before = _state(self._stream)
            self._settled, self._is_counted = settle_length(self._stream, source)
            self._bytes = _Bytes(self._settled)
            self._file = self._closing.enter_context(_sound_file(self._bytes, source))
            undoing.pop_all()
        self.sample_rate, self.n_channels = self._file.samplerate, self._file.channels
        self.promised = self._file.frames

    def __enter__(self) -> FileReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        n_frames = min(self._file.frames + 1, max(1, BLOCK_VALUES // self.n_channels))
        held, is_broken, n_read = 0, False, n_frames
        while n_read == n_frames and not is_broken:
            block = np.full((n_frames, self.n_channels), np.nan, np.float32)
            try:
                n_read = len(self._file.read(out=block))
            except soundfile.LibsndfileError as error:
                # What was decoded before the failure is in the block; how much, nobody tells.
                n_read = int(np.count_nonzero(~np.isnan(block[:, -1])))
                is_open = self._file.frames == UNKNOWN_FRAMES and error.code == SEEK_FAILED
                is_broken = not is_open
            held += n_read
            if n_read < n_frames or is_broken:
                self._check(held, is_broken)
            if n_read:
                yield block[:n_read].T

    def _check(self, held: int, is_broken: bool) -> None:
        """Compare what the file held with what it promised, once it has been read."""
        if self._bytes.error is not None:
            raise _unreadable(self._source, self._bytes.error)
        if _state(self._stream) != self._before:
            raise AudioError(
                f"{self._source} changed while it was read. Give a file that nothing else writes "
                "to, or a copy of it."
            )
        promised = self.promised
        if self._file.format in ("WAV", "WAVEX", "RF64"):
            promised = riff_frames(self._settled)
        elif promised == UNKNOWN_FRAMES or (self._file.format == "MP3" and not self._is_counted):
            promised = 0
        facts = (self.sample_rate, self._file.format, is_broken, self._source)
        warning = _compare(held, promised, *facts)
        self.warnings = (warning,) if warning else ()

    def _open(self, file: File) -> BinaryIO:
        if isinstance(file, bytes):
            return io.BytesIO(file)
        if not isinstance(file, str | os.PathLike):
            return self._closing.enter_context(_spooled(file, self._source))
        source = self._source
        if not source or "\0" in source:
            raise AudioError(f"The path {source!r} names nothing. Give the path of an audio file.")
        path = Path(source)
        try:
            if path.is_dir():
                raise AudioError(
                    f"{source} is a directory. Give the audio files in it, one or a list."
                )
            stream: BinaryIO = self._closing.enter_context(path.open("rb"))
            if not stream.seekable():
                stream = self._closing.enter_context(_spooled(stream, source))
        except FileNotFoundError as error:
            raise AudioError(
                f"There is no file {source} (looked for {path.absolute()}). Give the path of an "
                "audio file."
            ) from error
        except OSError as error:
            raise _unreadable(source, error) from error
        return stream


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


class _Bytes:
    """A stream as soundfile wants it, without its name (.raw would be taken at its word)."""

    def __init__(self, stream: Stream) -> None:
        self.tell, self._read, self._seek = stream.tell, stream.read, stream.seek
        self.error: OSError | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._read(size)
        except OSError as error:  # an exception would be printed on stderr, and the rest be silent
            self.error = error
            return b""

    def seek(self, offset: int, whence: int) -> None:
        # Damaged files send libsndfile before the start. It copes, as soundfile then reports the
        # old position; an exception would be printed on stderr.
        with contextlib.suppress(OSError, ValueError):
            self._seek(offset, whence)


def _sound_file(stream: _Bytes, source: str) -> soundfile.SoundFile:
    stream.seek(0, os.SEEK_SET)
    try:
        return soundfile.SoundFile(stream)
    except soundfile.LibsndfileError as error:
        if stream.error is not None:
            raise _unreadable(source, stream.error) from error
        reason = error.error_string.rstrip(". ")
        if error.code == BAD_FILE:
            reason = "It has no whole frame"
        raise AudioError(
            f"{source} cannot be read as audio: {reason}. Accepted are WAV, FLAC, Ogg and MP3; "
            "convert other formats, for example with ffmpeg."
        ) from error


def _unreadable(source: str, error: OSError) -> AudioError:
    return AudioError(
        f"{source} cannot be read: {error.strerror or error}. Give a file that you may read."
    )


def _state(stream: BinaryIO) -> tuple[int, int] | None:
    """Size and time of change of a file on disk, by which a change shows."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # it is in memory
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _spooled(file: BinaryIO, source: str) -> BinaryIO:
    """A copy of a file from where it stands, on disk if it is large.

    A file that can seek is put back there.
    """
    copy: BinaryIO = io.BytesIO()
    try:
        can_seek = hasattr(file, "seekable") and file.seekable()
        position = file.tell() if can_seek else None
        for content in _contents(file):
            if not isinstance(content, bytes):
                raise AudioError(
                    f"{source} gives {type(content).__name__} where bytes are needed. Open it in "
                    'binary mode: open(path, "rb").'
                )
            copy.write(content)
            if isinstance(copy, io.BytesIO) and copy.tell() > SPOOL_BYTES:
                in_memory, copy = copy, cast("BinaryIO", TemporaryFile())  # noqa: SIM115
                copy.write(in_memory.getbuffer())
        if position is not None:
            file.seek(position)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"{source} cannot be read: {error}. Give an open binary file.") from error
    if position and not copy.tell():
        raise AudioError(f"{source} stands at its end. Call its seek(0) first.")
    copy.seek(0)
    return copy


def _contents(file: BinaryIO) -> Iterator[bytes]:
    if not hasattr(file, "seekable"):  # then it may be no more than something with read()
        yield file.read()
        return
    while content := file.read(BLOCK_VALUES):
        yield content
