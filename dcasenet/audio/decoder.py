"""Decode audio files block by block and in full, and report missing or damaged sound."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.libsndfile import (
    BLOCK_VALUES,
    Block,
    DecodeError,
    NotInstalledError,
    SampleSource,
)
from dcasenet.audio.pyav import INSTALL
from dcasenet.audio.resample import Resampler
from dcasenet.audio.sections import Outcome, Unusable, find_sections
from dcasenet.errors import AudioError

File: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"

# Most bytes of a file without seek that are held in memory; larger ones go to a temporary file, up
# to the second number of bytes.
SPOOL_BYTES, MOST_SPOOLED = 2**26, 2**34
# Seconds to wait for the first data from a pipe.
PATIENCE = 10.0


def decode(file: File, source: str) -> tuple[NDArray[np.float32], int, tuple[str, ...]]:
    """Decode a whole file; see `FileReader`.

    Args:
        file: A path, the bytes of a file, or a file opened in binary mode.
        source: Name used in messages.

    Returns:
        Samples, shape (channels, samples), possibly empty; the sample rate in Hz; and warnings.

    Raises:
        AudioError: As in `FileReader`.

    Example:
        >>> import io, soundfile
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
    """Join blocks (channels, samples) into one array in C order; there may be no blocks."""
    parts = list(blocks)
    samples = np.empty((n_channels, sum(part.shape[1] for part in parts)), np.float32)
    return np.concatenate(parts, axis=1, out=samples) if parts else samples


class FileReader:
    """A file, decoded block by block.

    Decodes WAV, FLAC, Ogg, MP3 and other formats of libsndfile; M4A, MP4, WebM, Ogg FLAC, Speex and
    others with the extra ``av``. Integer samples are scaled to [-1, 1) by their width,
    floating-point ones are left as stored. The whole file is decoded, whatever length its header
    states, and so are all recordings of a file that several were joined into. Iterating yields
    blocks (channels, samples), once.

    Args:
        file: A path, the bytes of a file, or a file opened in binary mode. An open file is read
            from its current position, and put back there if it can seek.
        source: Name used in messages.

    Attributes:
        sample_rate: In Hz.
        n_channels: Number of channels.
        n_expected: Number of samples, if known before decoding; else None.
        warnings: After the last block: what is missing, damaged or left out.

    Raises:
        AudioError: The file cannot be read, is not audio, cannot be decoded, is a truncated FLAC
            file, or changes while it is read.
    """

    def __init__(self, file: File, source: str) -> None:
        self._source, self._closing = source, contextlib.ExitStack()
        self.warnings: tuple[str, ...] = ()
        with contextlib.ExitStack() as undoing:
            undoing.push(self._closing)
            self._stream = self._open(file)
            self._before = _state(self._stream)
            with _reporting(source):
                self._sections = find_sections(self._stream, source)
                self._decoder = self._sections[0].open()
            undoing.pop_all()
        self.sample_rate, self.n_channels = self._decoder.sample_rate, self._decoder.n_channels
        known = [section.n_samples or 0 for section in self._sections]
        self.n_expected = sum(known) or self._decoder.n_announced

    def __enter__(self) -> FileReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._decoder.close()
        self._closing.close()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        found: list[str] = []
        for number, section in enumerate(self._sections):
            with _reporting(self._source):
                if number:
                    self._decoder.close()
                    try:
                        self._decoder = section.open()
                    except DecodeError as error:
                        found.append(f"section {number + 1} of the file is left out: {error}.")
                        continue
                n_samples, n_expected = 0, section.n_samples
                if n_expected is None:
                    n_expected = self._decoder.n_announced
                fitted = _Fitted(self._decoder, self.sample_rate, self.n_channels)
                for block in self._decoder.blocks(n_expected):
                    n_samples += len(block)
                    yield from fitted.push(block)
                yield from fitted.close()
                self._check_unchanged()
                found += section.findings(Outcome(self._decoder, n_samples))
        self.warnings = tuple(f"{self._source}: {text}" for text in found)

    def _check_unchanged(self) -> None:
        if _state(self._stream) != self._before:
            raise AudioError(
                f"{self._source} changed while it was read. Wait until it is written completely, "
                "or pass a copy of it."
            )

    def _open(self, file: File) -> BinaryIO:
        if isinstance(file, bytes):
            return io.BytesIO(file)
        if not isinstance(file, str | os.PathLike):
            return self._closing.enter_context(_spooled(file, self._source))
        source = self._source
        if not source or "\0" in source:
            raise AudioError(
                f"The path {source!r} is empty or has a null character. Give the path of an audio "
                "file."
            )
        path = Path(source)
        try:
            if path.is_dir():
                raise AudioError(
                    f"{source} is a directory. Give the audio files in it, one or a list."
                )
            stream: BinaryIO = self._closing.enter_context(_opened(path, source))
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


def _opened(path: Path, source: str) -> BinaryIO:
    """Open a file; for a pipe without a writer, wait at most `PATIENCE` seconds."""
    mode = path.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise AudioError(f"{source} is a device. Give the path of an audio file.")
    if not stat.S_ISFIFO(mode):
        return path.open("rb")
    stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - given away
    if not _is_readable(stream):
        stream.close()
        raise AudioError(
            f"{source} is a pipe to which nothing was written for {PATIENCE:g} s. Start the "
            "program that writes to it first, or give a file."
        )
    os.set_blocking(stream.fileno(), True)
    return stream


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _is_readable(stream: BinaryIO) -> bool:
    return bool(select.select([stream], [], [], PATIENCE)[0])


class _Fitted:
    """Convert a section to the rate and the number of channels of the first section."""

    def __init__(self, decoder: SampleSource, sample_rate: int, n_channels: int) -> None:
        self._n_channels = n_channels
        self._is_resampled = decoder.sample_rate != sample_rate
        self._resampler = Resampler(decoder.sample_rate, sample_rate, "soxr")

    def push(self, block: Block) -> Iterator[NDArray[np.float32]]:
        """Convert a block (samples, channels); yield blocks (channels, samples)."""
        samples = np.ascontiguousarray(block.T)  # later steps are faster per channel
        if len(samples) != self._n_channels:
            samples = np.repeat(samples.mean(axis=0, keepdims=True), self._n_channels, axis=0)
        yield self._resampler.push(samples) if self._is_resampled else samples

    def close(self) -> Iterator[NDArray[np.float32]]:
        """Yield the rest."""
        if self._is_resampled:
            yield self._resampler.close()


@contextlib.contextmanager
def _reporting(source: str) -> Iterator[None]:
    """Raise errors of decoding as `AudioError` with the name of the file."""
    try:
        yield
    except NotInstalledError as error:
        raise AudioError(f"{source} cannot be read here. {error}") from error
    except DecodeError as error:
        raise AudioError(
            f"{source} cannot be read as audio: {error}. Accepted are WAV, FLAC, Ogg, MP3 and "
            f"others that libsndfile reads, and M4A, MP4, WebM and others with PyAV ({INSTALL}); "
            "convert other formats, for example with ffmpeg."
        ) from error
    except Unusable as error:
        raise AudioError(f"{source}: {error}") from error
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: OSError) -> AudioError:
    return AudioError(
        f"{source} cannot be read: {error.strerror or error}. Give a file that you may read."
    )


def _state(stream: BinaryIO) -> tuple[int, int] | None:
    """Return size and modification time of a file on disk; None for a file in memory."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # a file in memory
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _spooled(file: BinaryIO, source: str) -> BinaryIO:
    """Return a copy of a file from its current position on, on disk if it is large.

    A file that can seek is put back to that position.
    """
    copy: BinaryIO = io.BytesIO()
    try:
        can_seek = hasattr(file, "seekable") and file.seekable()
        position = file.tell() if can_seek else None
        for content in _contents(file):
            if not isinstance(content, bytes):
                raise AudioError(
                    f"{source} returns {type(content).__name__} instead of bytes. Open it in "
                    'binary mode: open(path, "rb").'
                )
            copy.write(content)
            if isinstance(copy, io.BytesIO) and copy.tell() > SPOOL_BYTES:
                in_memory, copy = copy, cast("BinaryIO", TemporaryFile())  # noqa: SIM115
                copy.write(in_memory.getbuffer())
            if copy.tell() > MOST_SPOOLED:
                raise AudioError(
                    f"{source} is longer than {MOST_SPOOLED // 2**30} GiB, or never ends. Save "
                    "it to a file."
                )
        if position is not None:
            file.seek(position)
    except (OSError, ValueError) as error:  # ValueError: a closed file
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"{source} cannot be read: {error}. Give an open binary file.") from error
    if position and not copy.tell():
        raise AudioError(f"{source} is at its end. Call its seek(0) first.")
    copy.seek(0)
    return copy


def _contents(file: BinaryIO) -> Iterator[bytes]:
    if not hasattr(file, "seekable"):  # an object that may have no method but read()
        yield file.read()
        return
    while content := file.read(BLOCK_VALUES):
        yield content
