"""Read live sound from a microphone, from standard input, or from a file at playback speed."""

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
# A microphone that gives no samples for so long counts as disconnected.
SILENT_SECONDS = 5.0
# Sound that waits while the model is busy; beyond it, the oldest is dropped.
WAITING_SECONDS = 30.0


class LiveSource(Protocol):
    """A source of blocks of samples, until the sound ends or is stopped.

    Attributes:
        name: Name in messages.
        sample_rate: In Hz.
    """

    name: str
    sample_rate: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems of the sound received so far."""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks, (channels, samples)."""

    def __enter__(self) -> LiveSource:
        """Open the source."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""


class _Source:
    """A base for sources, which closes what they opened."""

    def __init__(self) -> None:
        self._closing = ExitStack()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems of the sound received so far."""
        return ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()


class Microphone(_Source):
    """A microphone or another audio input of the system; needs the extra ``live``.

    Blocks that waited while the model was busy are joined to one.

    Args:
        device: Name or number of the input; None for the system's default.

    Attributes:
        name: Name of the device.
        sample_rate: Rate of the device, in Hz.
        lost_seconds: Duration of sound dropped because the model was too slow, in seconds.

    Raises:
        AudioError: The input does not exist.
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
        """A message if sound was dropped."""
        if not self.lost_seconds:
            return ()
        return (
            f"{self.name}: {self.lost_seconds:.1f} s were dropped, since the model was slower "
            "than the sound. Use a faster model, or compute early events less often.",
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
        """Yield blocks until the input is disconnected.

        Raises:
            AudioError: There were no samples for 5 s.
        """
        while True:
            try:
                blocks = [self._blocks.get(timeout=SILENT_SECONDS)]
            except queue.Empty as error:
                raise AudioError(
                    f"The input {self.name} gave no samples for {SILENT_SECONDS:g} s: it has "
                    "been unplugged or stopped."
                ) from error
            while not self._blocks.empty():
                blocks.append(self._blocks.get_nowait())
            yield np.concatenate(blocks, axis=1)


class StandardInput(_Source):
    """Sound from another program: WAV of any length, or samples without a header.

    Args:
        stream: The stream to read, such as ``sys.stdin.buffer``.
        raw: Format of the samples, if there is no WAV header.
        clock: Returns the time in seconds.

    Raises:
        AudioError: There is neither a header nor `raw`, or the header's format is not supported.

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
                "INPUT -f wav -, or state the format of the samples, such as --rate 48000 "
                "--channels 1 --encoding s16"
                if begin
                else "Standard input is empty. Send WAV, such as ffmpeg -i INPUT -f wav -"
            )
        self.sample_rate = self._format.sample_rate
        check_rate(self.sample_rate, self.name)

    def __enter__(self) -> StandardInput:
        return self

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks of 0.1 s, or longer ones while the model is slower, until the input ends.

        An incomplete frame at the end is dropped.
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
            # Read what arrived in the meantime.
            seconds = max(BLOCK_SECONDS, self._clock() - started)
            kept = kept[whole:]


class PacedFile(_Source):
    """A recording that is read at playback speed, as if it were live.

    Args:
        path: The recording.
        clock: Returns the time in seconds.
        sleep: Waits for a number of seconds.

    Raises:
        AudioError: The recording cannot be read.
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
        """Problems of the recording, complete after the last block."""
        return self._reader.warnings

    def __enter__(self) -> PacedFile:
        return self

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield blocks of 0.1 s or more, each at the time of its last sample."""
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
    except OSError as error:  # the package is installed, the library is not
        raise ImportError(
            "The microphone needs PortAudio, which this system lacks. On Debian and Ubuntu type: "
            "sudo apt install libportaudio2"
        ) from error
    return sounddevice
