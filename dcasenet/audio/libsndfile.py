"""Decode a stream with libsndfile, in this process or in a process of its own."""

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

# Most values decoded at once: 4 MiB of float32. Headers may state a wrong length, so that no more
# memory is reserved.
BLOCK_VALUES = 2**20
# libsndfile's number of frames for a FLAC stream whose header does not state the length.
UNKNOWN_FRAMES = 2**63 - 1
# libsndfile reports an MP3 file without a complete frame as one that does not exist (SFE_BAD_FILE).
BAD_FILE = 7
# Output of a decoder process: rate, channels and announced samples (with 0 channels: the number of
# bytes of a message), then blocks, each after its length, and one of these two end marks.
HEAD, LENGTH = struct.Struct("<iiq"), struct.Struct("<q")
ENDED, BROKEN = 0, -1
# Most bytes of error output that are read.
MOST_COMPLAINTS = 2**16
# Most idle processes kept for another stream: starting one takes longer than most streams.
MOST_WAITING = 1
# Most bytes of a stream that such a process holds in memory, and those it reads at a time.
MOST_IN_MEMORY, MOST_AT_ONCE = 2**26, 2**20

Block = NDArray[np.float32]


class DecodeError(Exception):
    """A stream cannot be opened; the message is the decoder's reason."""


class NotInstalledError(DecodeError):
    """A stream needs an optional package; the message names the command that installs it."""


class SampleSource(Protocol):
    """A stream that is being decoded.

    Attributes:
        sample_rate: In Hz.
        n_channels: Number of channels.
        n_announced: Number of samples that the decoder expects; None if unknown.
        is_broken: Whether decoding stopped at an error. Valid after the last block, as is
            `complaint`.
        complaint: Error output of the decoder.
    """

    sample_rate: int
    n_channels: int
    n_announced: int | None
    is_broken: bool
    complaint: str

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Return the samples in blocks (samples, channels), once.

        Args:
            n_expected: Number of samples; None if unknown.
        """

    def close(self) -> None:
        """Free the resources of the decoder."""


class Libsndfile:
    """Decode with libsndfile in this process; see `SampleSource`.

    Args:
        stream: Binary stream to decode.
        options: Arguments of `soundfile.SoundFile` for a stream without a header.

    Raises:
        DecodeError: libsndfile does not recognize the format.
        OSError: The stream cannot be read.
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
                "It has no complete frame" if error.code == BAD_FILE else reason
            ) from error
        self.sample_rate, self.n_channels = self._file.samplerate, self._file.channels
        frames = self._file.frames
        self.n_announced = None if frames == UNKNOWN_FRAMES else frames
        self.is_broken = False

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Yield the samples; see `SampleSource`."""
        limit = max(1, BLOCK_VALUES // self.n_channels)
        n_frames = n_read = limit if n_expected is None else min(n_expected + 1, limit)
        while n_read == n_frames and not self.is_broken:
            block = np.full((n_frames, self.n_channels), np.nan, np.float32)
            try:
                n_read = len(self._file.read(out=block))
            except soundfile.LibsndfileError:
                # The samples before the failure are in the block, but their number is not reported.
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
    """Decode with libsndfile in another process and read its standard error; see `SampleSource`.

    Args:
        stream: Binary stream to decode.

    Raises:
        DecodeError: libsndfile does not recognize the format, or the process crashed.
        OSError: The process cannot be started, or the stream cannot be read.
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
                raise DecodeError("The decoder crashed")
            self.sample_rate, self.n_channels, size = HEAD.unpack(head)
            if not self.n_channels:
                raise DecodeError(helper.read(size).decode("utf-8", "replace"))
            undoing.pop_all()
        self.n_announced: int | None = None if size < 0 else size

    def blocks(self, n_expected: int | None) -> Iterator[Block]:
        """Yield the samples; see `SampleSource`."""
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
        """End the process if it has not finished the stream."""
        if self._helper is not None:
            self._helper.end()
            self._helper = None


class _Helper:
    """A process that decodes one stream after another.

    It ends when this process does, since its standard input is then closed.
    """

    _waiting: ClassVar[list[_Helper]] = []

    def __init__(self) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("This program is not a Python interpreter that can be started again.")
        self._owner, self._n_read = os.getpid(), 0
        self._errors = TemporaryFile()  # noqa: SIM115 - closed with the process
        # Passing on the module path of this process makes starting a third faster.
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
        """Return an idle process; start one if there is none."""
        while cls._waiting:
            with contextlib.suppress(IndexError):  # another thread took it
                helper = cls._waiting.pop()
                if helper._owner == os.getpid() and helper._process.poll() is None:
                    return helper
                helper.end()
        return cls()

    def give_back(self) -> None:
        """Keep the process for the next stream, or end it if enough are idle."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(self)
        else:
            self.end()

    def send(self, stream: BinaryStream) -> None:
        """Send a stream to the process."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        try:
            self._input.write(LENGTH.pack(size))
            copyfileobj(cast("IO[bytes]", stream), self._input)
            self._input.flush()
        except BrokenPipeError as error:
            raise DecodeError("The decoder crashed") from error

    def read(self, size: int) -> bytes:
        """Return `size` bytes of its output; fewer if it crashed."""
        return self._output.read(size)

    def complaint(self) -> str:
        """Return its standard error since the last call."""
        self._errors.seek(self._n_read)
        data = self._errors.read()
        self._n_read += len(data)
        return data[:MOST_COMPLAINTS].decode("utf-8", "replace").strip()

    def end(self) -> None:
        """End the process."""
        atexit.unregister(self.end)
        if self._owner == os.getpid():  # not in a fork, which does not own the process
            self._process.kill()
            self._process.wait()
        for stream in (self._input, self._output, self._errors):
            with contextlib.suppress(OSError):  # closing flushes data that it did not read
                stream.close()


_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    f"from {__name__} import serve; serve()"
)


def serve() -> None:
    """Decode streams from standard input to standard output, in the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
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
    """A file that is only read forwards.

    After each read of a file that can seek, soundfile seeks to the current position. libmpg123 then
    decodes frames without the data that they share with earlier frames, and reports errors.
    """

    def seekable(self) -> bool:
        """Return False, so that soundfile does not seek."""
        return False


class _Bytes:
    """A stream for soundfile, without a name (from the suffix .raw it would guess the format)."""

    def __init__(self, stream: BinaryStream) -> None:
        self.tell, self._read, self._seek = stream.tell, stream.read, stream.seek
        self.error: OSError | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._read(size)
        except OSError as error:  # soundfile would print an exception and return silence
            self.error = error
            return b""

    def seek(self, offset: int, whence: int) -> None:
        # Damaged files make libsndfile seek before the start. soundfile then reports the old
        # position, which is harmless, while an exception would be printed to standard error.
        with contextlib.suppress(OSError, ValueError):
            self._seek(offset, whence)
