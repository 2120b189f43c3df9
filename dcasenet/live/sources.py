"""Where live sound comes from: the microphone, standard input, a file at its own speed."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.io import Reader
from dcasenet.audio.validation import check_rate
from dcasenet.errors import AudioError
from dcasenet.live.wav_stream import SampleFormat, read_exactly, read_wav_header

BLOCK_SECONDS = 0.1
# A microphone that gives nothing for so long has been taken away.
SILENT_SECONDS = 5.0
# What waits while the model is busy; beyond it, the oldest is left out.
WAITING_SECONDS = 30.0


class LiveSource(Protocol):
    """Blocks of samples as they come in, until the sound ends or is stopped.

    Attributes:
        name: What to call it.
        sample_rate: In Hz.
    """

    name: str
    sample_rate: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about what has come so far."""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks, (channels, samples)."""

    def __enter__(self) -> LiveSource:
        """Open it."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""


class _Source:
    """A source that closes what it opened."""

    def __init__(self) -> None:
        self._closing = ExitStack()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about what has come so far."""
        return ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()


class Microphone(_Source):
    """A microphone, or any other input that the system has; needs the extra ``live``.

    Blocks that have waited while the model was busy come as one.

    Args:
        device: Name or number of the input; the system's default if None.

    Attributes:
        name: The device's name.
        sample_rate: The device's own, in Hz.
        lost_seconds: How much was left out since the model was too slow, in seconds.

    Raises:
        AudioError: There is no such input.
        ImportError: sounddevice or PortAudio is not installed.
    """

    def __init__(self, device: str | int | None = None) -> None:
        super().__init__()
        self._sounddevice = _sounddevice()
        described = self._described(device)
        self.name = str(described["name"])
        self.sample_rate = round(described["default_samplerate"])
        self.lost_seconds = 0.0
        self._device = described["index"]
        self._n_channels = min(2, int(described["max_input_channels"]))
        self._blocks: queue.Queue[NDArray[np.float32]] = queue.Queue(
            round(WAITING_SECONDS / BLOCK_SECONDS)
        )

    def _described(self, device: str | int | None) -> Any:
        number = int(device) if isinstance(device, str) and device.isdecimal() else device
        try:
            return self._sounddevice.query_devices(number, kind="input")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            names = [
                f"{index}: {found['name']}"
                for index, found in enumerate(self._sounddevice.query_devices())
                if found["max_input_channels"]
            ]
            reason = "No microphone was found." if device is None else f"No input is {device!r}."
            known = f"There are {'; '.join(names)}." if names else "This system has no input."
            raise AudioError(
                f"{reason} {known} A file, or standard input (-), can be given instead."
            ) from error

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whether anything was left out."""
        if not self.lost_seconds:
            return ()
        return (
            f"{self.name}: {self.lost_seconds:.1f} s were left out, since the model was slower "
            "than the sound. Use a faster one, or look less often for early events.",
        )

    def __enter__(self) -> Microphone:
        def take(samples: NDArray[np.float32], *_: object) -> None:
            while True:
                try:
                    return self._blocks.put_nowait(samples.T.copy())
                except queue.Full:
                    left_out = self._blocks.get_nowait()
                    self.lost_seconds += left_out.shape[1] / self.sample_rate

        try:
            self._closing.enter_context(
                self._sounddevice.InputStream(
                    samplerate=self.sample_rate,
                    blocksize=round(BLOCK_SECONDS * self.sample_rate),
                    device=self._device,
                    channels=self._n_channels,
                    dtype="float32",
                    callback=take,
                )
            )
        except self._sounddevice.PortAudioError as error:
            raise AudioError(
                f"The input {self.name} cannot be used: {error}. Close other programs that use it, "
                "or choose another input."
            ) from error
        return self

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks until the input is taken away.

        Raises:
            AudioError: It has given nothing for 5 s.
        """
        while True:
            try:
                blocks = [self._blocks.get(timeout=SILENT_SECONDS)]
            except queue.Empty as error:
                raise AudioError(
                    f"The input {self.name} has given nothing for {SILENT_SECONDS:g} s: it has "
                    "been unplugged or stopped."
                ) from error
            while not self._blocks.empty():
                blocks.append(self._blocks.get_nowait())
            yield np.concatenate(blocks, axis=1)


class StandardInput(_Source):
    """Sound that another program sends: WAV of any length, or samples alone.

    Args:
        stream: Where to read, such as ``sys.stdin.buffer``.
        raw: How the samples are written, where no WAV header says it.
        clock: Gives the time in seconds.

    Raises:
        AudioError: There is neither a header nor `raw`, or the header is of another kind.

    Example:
        >>> import io
        >>> samples = io.BytesIO(bytes(2 * 8_000))
        >>> with StandardInput(samples, SampleFormat(16_000)) as source:
        ...     [block.shape for block in source]
        [(1, 1600), (1, 1600), (1, 1600), (1, 1600), (1, 1600)]
    """

    def __init__(
        self,
        stream: BinaryIO,
        raw: SampleFormat | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.name = "standard input"
        self._stream, self._clock = stream, clock
        self._begin = b""
        begin = read_exactly(stream, 4)
        if begin == b"RIFF":
            self._format = read_wav_header(stream, self.name)
        elif raw is not None:
            self._format, self._begin = raw, begin
        else:
            raise AudioError(
                "Standard input does not begin with a WAV header. Send WAV, such as ffmpeg -i "
                "INPUT -f wav -, or say how its samples are written, such as --rate 48000 "
                "--channels 1 --encoding s16"
                if begin
                else "Standard input is empty. Send WAV, such as ffmpeg -i INPUT -f wav -"
            )
        self.sample_rate = self._format.sample_rate
        check_rate(self.sample_rate, self.name)

    def __enter__(self) -> StandardInput:
        return self

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks of 0.1 s, longer ones while the model is slower, until the sender ends.

        Half a frame at the end is left out.
        """
        size, kept, seconds = self._format.frame_size, self._begin, BLOCK_SECONDS
        while True:
            wanted = size * max(1, round(seconds * self.sample_rate))
            kept += read_exactly(self._stream, wanted - len(kept))
            whole = len(kept) // size * size
            if not whole:
                return
            started = self._clock()
            yield self._format.decode(kept[:whole])
            # What has come in the meantime is waiting.
            seconds = max(BLOCK_SECONDS, self._clock() - started)
            kept = kept[whole:]


class PacedFile(_Source):
    """A recording at the speed at which it sounds, as if it happened now.

    Args:
        path: The recording.
        clock: Gives the time in seconds.
        sleep: Waits so many seconds.

    Raises:
        AudioError: It cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.name = os.fspath(path)
        self._clock, self._sleep = clock, sleep
        self._reader = self._closing.enter_context(Reader(path))
        self.sample_rate = self._reader.sample_rate

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about the recording, complete after the last block."""
        return self._reader.warnings

    def __enter__(self) -> PacedFile:
        return self

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks of 0.1 s or more, each when its last sample has sounded."""
        size = round(BLOCK_SECONDS * self.sample_rate)
        begin, n_samples = self._clock(), 0
        for samples in self._reader:
            start = 0
            while start < samples.shape[1]:
                late = round((self._clock() - begin) * self.sample_rate) - n_samples
                block = samples[:, start : start + max(size, late)]
                start += block.shape[1]
                n_samples += block.shape[1]
                self._sleep(max(0.0, begin + n_samples / self.sample_rate - self._clock()))
                yield block


def _sounddevice() -> Any:
    try:
        import sounddevice  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "The microphone needs the package sounddevice. Type: pip install 'dcasenet[live]'"
        ) from error
    except OSError as error:  # the package is there, the library is not
        raise ImportError(
            "The microphone needs PortAudio, which this system lacks. On Debian and Ubuntu type: "
            "sudo apt install libportaudio2"
        ) from error
    return sounddevice
