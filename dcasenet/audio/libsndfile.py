"""Decode a stream with libsndfile: in this process, or in one of its own where it may complain."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, Any, ClassVar, Protocol, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

import dcasenet
from dcasenet.audio.views import BinaryStream

# Values decoded at once: 4 MiB of float32. Headers can lie about the length, so no more is
# set aside on their word.
BLOCK_VALUES = 2**20
# libsndfile gives this many frames for a FLAC stream whose header leaves the length open.
UNKNOWN_FRAMES = 2**63 - 1
# An MP3 without one whole frame is, to libsndfile, a file that does not exist (SFE_BAD_FILE).
BAD_FILE = 7
# What a decoder in a process of its own writes: rate, channels and announced samples (no channels:
# bytes of a message), then blocks after their lengths, and one of these.
HEAD, LENGTH = struct.Struct("<iiq"), struct.Struct("<q")
ENDED, BROKEN = 0, -1
# Bytes of complaints that are read; more of the same tells nothing.
MOST_COMPLAINTS = 2**16
# Such processes that wait for another stream, at most: starting one takes longer than most streams.
MOST_WAITING = 1
# Bytes of a stream that such a process holds in memory, and those that it takes at once.
MOST_IN_MEMORY, MOST_AT_ONCE = 2**26, 2**20

Block = NDArray[np.float32]


class DecodeError(Exception):
    """A stream cannot be opened; the message says why, as the decoder has it."""


class NotInstalledError(DecodeError):
    """It could be decoded if something were installed; the message says what to type."""


class SampleSource(Protocol):
    """A stream that is being decoded.

    Attributes:
        sample_rate: In Hz.
        n_channels: How many channels.
        n_announced: Samples that the decoder expects; None if it does not know.
        is_broken: Whether decoding stopped at an error. It is complete after the last block, as is
            the next one.
        complaint: What the decoder complained of on the way.
    """

    sample_rate: int
    n_channels: int
    n_announced: int | None
    is_broken: bool
    complaint: str

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Return the samples in blocks (samples, channels), once.

        Args:
            n_expected: How many samples there are; None if that is not known.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class Libsndfile:
    """libsndfile in this process; see `Source`.

    Args:
        stream: Binary stream to decode.
        options: What soundfile cannot find out by itself.

    Raises:
        DecodeError: It is nothing that libsndfile reads.
        OSError: It cannot be read.
    """

    complaint = ""

    def __init__(self, stream: BinaryStream, **options: Any) -> None:
        self._bytes = _Bytes(stream)
        self._bytes.seek(0, os.SEEK_SET)
        try:
            self._file = _Forwards(self._bytes, **options)
        except soundfile.LibsndfileError as error:
            if self._bytes.error is not None:
                raise self._bytes.error from error
            reason = error.error_string.rstrip(". ")
            raise DecodeError(
                "It has no whole frame" if error.code == BAD_FILE else reason
            ) from error
        self.sample_rate, self.n_channels = self._file.samplerate, self._file.channels
        frames = self._file.frames
        self.n_announced = None if frames == UNKNOWN_FRAMES else frames
        self.is_broken = False

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Return the samples; see `Source`."""
        limit = max(1, BLOCK_VALUES // self.n_channels)
        n_frames = n_read = limit if n_expected is None else min(n_expected + 1, limit)
        while n_read == n_frames and not self.is_broken:
            block = np.full((n_frames, self.n_channels), np.nan, np.float32)
            try:
                n_read = len(self._file.read(out=block))
            except soundfile.LibsndfileError:
                # What was decoded before the failure is in the block; how much, nobody tells.
                n_read = int(np.count_nonzero(~np.isnan(block[:, -1])))
                self.is_broken = True
            if self._bytes.error is not None:
                raise self._bytes.error
            if n_read:
                yield block[:n_read]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Isolated:
    """libsndfile in a process of its own, whose standard error is read; see `Source`.

    Args:
        stream: Binary stream to decode.

    Raises:
        DecodeError: It is nothing that libsndfile reads, or the process died of it.
        OSError: No such process can be started, or the stream cannot be read.
    """

    def __init__(self, stream: BinaryStream) -> None:
        self.is_broken, self.complaint = False, ""
        helper = _Helper.idle()
        self._helper: _Helper | None = helper
        with contextlib.ExitStack() as undoing:
            undoing.callback(self.close)
            helper.send(stream)
            head = helper.read(HEAD.size)
            if len(head) < HEAD.size:
                raise DecodeError("The decoder died of it")
            self.sample_rate, self.n_channels, size = HEAD.unpack(head)
            if not self.n_channels:
                raise DecodeError(helper.read(size).decode("utf-8", "replace"))
            undoing.pop_all()
        self.n_announced: int | None = None if size < 0 else size

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Return the samples; see `Source`."""
        while self._helper is not None:
            head = self._helper.read(LENGTH.size)
            (length,) = LENGTH.unpack(head) if len(head) == LENGTH.size else (BROKEN,)
            if length > 0:
                values = np.frombuffer(self._helper.read(length * self.n_channels * 4), np.float32)
                whole = values[: len(values) // self.n_channels * self.n_channels]
                yield whole.reshape(-1, self.n_channels)
                continue
            self.is_broken = length == BROKEN
            self.complaint = self._helper.complaint()
            if self.is_broken:
                self.close()
            else:
                self._helper.give_back()
                self._helper = None

    def close(self) -> None:
        """End the process, if it is not done with the stream."""
        if self._helper is not None:
            self._helper.end()
            self._helper = None


class _Helper:
    """A process that decodes one stream after the other.

    It ends with this process, however that ends: it then finds the end of its input.
    """

    _waiting: ClassVar[list[_Helper]] = []

    def __init__(self) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("This program is no Python that could be started once more.")
        self._owner, self._n_read = os.getpid(), 0
        self._errors = TemporaryFile()  # noqa: SIM115 - it is closed with the process
        # The path is that of this process, which saves it a third of the time to start.
        path = [str(Path(dcasenet.__file__).parents[1]), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, json.dumps(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)
        atexit.register(self.end)

    @classmethod
    def idle(cls) -> _Helper:
        """Return one that has nothing to do."""
        while cls._waiting:
            with contextlib.suppress(IndexError):  # another thread was faster
                helper = cls._waiting.pop()
                if helper._owner == os.getpid() and helper._process.poll() is None:
                    return helper
                helper.end()
        return cls()

    def give_back(self) -> None:
        """Keep it for the next stream, unless enough are kept."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(self)
        else:
            self.end()

    def send(self, stream: BinaryStream) -> None:
        """Hand it a stream to decode."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        try:
            self._input.write(LENGTH.pack(size))
            copyfileobj(cast("IO[bytes]", stream), self._input)
            self._input.flush()
        except BrokenPipeError as error:
            raise DecodeError("The decoder died of it") from error

    def read(self, size: int) -> bytes:
        """Return so many bytes of its output; fewer if it died."""
        return self._output.read(size)

    def complaint(self) -> str:
        """Return what it wrote to standard error since the last call."""
        self._errors.seek(self._n_read)
        data = self._errors.read()
        self._n_read += len(data)
        return data[:MOST_COMPLAINTS].decode("utf-8", "replace").strip()

    def end(self) -> None:
        """End it."""
        atexit.unregister(self.end)
        if self._owner == os.getpid():  # and not in a fork, whose it is not
            self._process.kill()
            self._process.wait()
        for stream in (self._input, self._output, self._errors):
            with contextlib.suppress(OSError):  # what it did not read cannot be written any more
                stream.close()


_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    f"from {__name__} import serve; serve()"
)


def serve() -> None:
    """Decode streams from standard input to standard output; what such a process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that it serves
    with open(0, "rb", closefd=False) as stream, open(1, "wb", closefd=False) as output:
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            (size,) = LENGTH.unpack(head)
            with SpooledTemporaryFile(MOST_IN_MEMORY) as copy:
                while size > 0:
                    data = stream.read(min(size, MOST_AT_ONCE))
                    if not data:
                        return
                    copy.write(data)
                    size -= len(data)
                _serve(cast("BinaryStream", copy), output)
            output.flush()


def _serve(stream: BinaryStream, output: IO[bytes]) -> None:
    try:
        source = Libsndfile(stream)
    except (DecodeError, OSError) as error:
        message = str(error).encode()
        output.write(HEAD.pack(0, 0, len(message)) + message)
        return
    announced = -1 if source.n_announced is None else source.n_announced
    output.write(HEAD.pack(source.sample_rate, source.n_channels, announced))
    for block in source.blocks(source.n_announced):
        output.write(LENGTH.pack(len(block)) + block.tobytes())
    output.write(LENGTH.pack(BROKEN if source.is_broken else ENDED))
    source.close()


class _Forwards(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read to its end.

    soundfile seeks to where it stands after each read of a file that can seek. libmpg123 then
    decodes frames without what they borrow of earlier ones, and complains.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class _Bytes:
    """A stream as soundfile wants it, without its name (.raw would be taken at its word)."""

    def __init__(self, stream: BinaryStream) -> None:
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
