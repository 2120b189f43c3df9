"""Any audio that a caller may hand in, turned into a checked `Recording`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio import decoder
from dcasenet.audio.libsndfile import BLOCK_VALUES, UNKNOWN_FRAMES
from dcasenet.audio.validation import (
    Levels,
    arranged,
    as_array,
    check_channels,
    check_rate,
    number,
    scaled,
    whole_rate,
)
from dcasenet.errors import AudioError
from dcasenet.types import Audio

ACCEPTED = (
    "Accepted are a path, a binary file, bytes, a NumPy array or torch tensor with sample_rate=, "
    "or a tuple (samples, sample_rate)."
)


class Reader:
    """One audio of any accepted kind, read and checked block by block; see `read`.

    Iterating gives blocks (channels, samples), float32, once. A fault that shows only on the way,
    such as NaN samples in the middle, is raised there.

    Args:
        audio: As in `read`.
        sample_rate: As in `read`.
        channels_last: As in `read`.
        place: What messages of faults on the way begin with.

    Attributes:
        sample_rate: In Hz.
        n_channels: 1 to 64.
        is_long: Whether it has more than one block, as far as is known beforehand.
        source: What messages call it.
        n_samples: Length as far as it has been read, in samples.
        warnings: What is doubtful about it, complete after the last block.

    Example:
        >>> with Reader(np.zeros(8_000, np.int16), 8_000) as reader:
        ...     for block in reader:
        ...         print(block.shape, block.dtype)
        (1, 8000) float32
        >>> reader.duration
        1.0
    """

    def __init__(
        self,
        audio: Audio,
        sample_rate: int | None = None,
        *,
        channels_last: bool = False,
        place: str = "",
    ) -> None:
        if isinstance(audio, tuple):
            audio, sample_rate = _split_pair(audio, sample_rate)
        self._place, self.n_samples = place, 0
        self.warnings: tuple[str, ...] = ()
        self._closing = ExitStack()
        self._file: decoder.FileReader | None = None
        array = as_array(audio)
        if array is None:
            self.source = _name(audio, sample_rate)
            with ExitStack() as undoing:
                self._file = undoing.enter_context(
                    decoder.FileReader(cast("decoder.File", audio), self.source)
                )
                self.sample_rate, length = self._file.sample_rate, self._file.n_expected
                self._check(
                    self._file.n_channels,
                    UNKNOWN_FRAMES if length is None else length,
                    channels_last,
                )
                self._closing = undoing.pop_all()
        else:
            self.source, self.sample_rate = "<array>", whole_rate(sample_rate)
            self._values = arranged(array, channels_last)
            n_channels, n_samples = self._values.shape
            self._check(n_channels, n_samples, channels_last)

    def _check(self, n_channels: int, n_samples: int, channels_last: bool) -> None:
        check_rate(self.sample_rate, self.source)
        self.n_channels = n_channels
        if not n_channels:
            raise self._empty()
        check_channels(n_channels, n_samples, self.source, channels_last)
        self.is_long = n_channels * n_samples > BLOCK_VALUES

    @property
    def duration(self) -> float:
        """Length as far as it has been read, in seconds."""
        return float(self.n_samples / self.sample_rate)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        with placed(self._place):
            yield from self._checked()

    def _checked(self) -> Iterator[NDArray[np.float32]]:
        levels, is_sound = Levels(), True
        for block in self._file or self._slices():
            self.n_samples += block.shape[1]
            is_sound = levels.see(block)
            if is_sound:  # else the rest is read to say all that is wrong
                yield block if self._file else scaled(block)
        if not is_sound:
            raise levels.fault(self.sample_rate, self.source)
        if not self.n_samples:
            raise self._empty()
        self.warnings = (self._file.warnings if self._file else ()) + levels.warnings(self.source)

    def _slices(self) -> Iterator[NDArray[Any]]:
        length = max(1, BLOCK_VALUES // self.n_channels)
        for start in range(0, self._values.shape[1], length):
            yield self._values[:, start : start + length]

    def _empty(self) -> AudioError:
        return AudioError(
            f"{self.source} is empty: {self.n_channels} channel(s) of {self.n_samples} samples. "
            "Give at least one sample."
        )


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Begin the messages of faults in audio with a place, such as ``"Audio 2 of 3: "``."""
    try:
        yield
    except AudioError as error:
        if not place:
            raise
        raise AudioError(f"{place}{error}") from error


def is_pair(audio: tuple[Any, ...]) -> bool:
    """Tell (samples, sample_rate), in either order, from several audios."""
    return len(audio) == 2 and any(number(part) is not None for part in audio)


def _split_pair(pair: tuple[Any, ...], sample_rate: Any) -> tuple[Any, int]:
    if not is_pair(pair):
        raise AudioError(f"A tuple of {len(pair)} without a sample rate is not audio. {ACCEPTED}")
    samples, rate = pair
    if number(rate) is None:
        raise AudioError(
            f"The tuple has the sample rate ({samples!r}) first. Accepted is (samples, "
            "sample_rate): turn it round."
        )
    rate = whole_rate(rate)
    if sample_rate is not None and whole_rate(sample_rate) != rate:
        raise AudioError(
            f"The tuple says {rate:,} Hz and sample_rate={sample_rate!r} was given as well. "
            "Leave one of them out."
        )
    return samples, rate


def _name(file: Any, sample_rate: Any) -> str:
    """What messages call what must be a path, bytes or a binary file, which state their rate."""
    if isinstance(file, str | os.PathLike):
        source = os.fsdecode(file)
    elif isinstance(file, bytes):
        source = "<bytes>"
    elif hasattr(file, "read"):
        name = getattr(file, "name", None)
        source = name if isinstance(name, str) else "<file>"
    else:
        raise AudioError(
            f"{type(file).__name__} is not audio. {ACCEPTED} Make numbers an array with np.asarray."
        )
    if sample_rate is not None:
        raise AudioError(
            f"{source} states its own sample rate, and {sample_rate!r} was given as well. Leave "
            "the rate out for paths, files and bytes."
        )
    return source


@dataclass(frozen=True, eq=False)
class Recording:
    """Audio that has passed every check, at its own rate.

    Attributes:
        samples: Shape (channels, samples), finite, full scale 1; never the caller's own memory.
        sample_rate: In Hz, 1,000 to 384,000.
        source: What messages and tables call it: the path as given, ``"<bytes>"``, ``"<file>"``
            or ``"<array>"``.
        warnings: What is doubtful about it, one sentence each.

    Example:
        >>> read(np.zeros((2, 22_050), np.int16), 44_100).duration
        0.5
    """

    samples: NDArray[np.float32]
    sample_rate: int
    source: str
    warnings: tuple[str, ...] = ()

    is_long = False  # it need not be read any more

    @property
    def n_samples(self) -> int:
        """Length in samples."""
        return int(self.samples.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        yield self.samples


def is_single(audio: object) -> bool:
    """Tell one audio from a sequence of them.

    Args:
        audio: What the caller handed in.

    Returns:
        False for a list, and for a tuple that is not ``(samples, sample_rate)``.

    Example:
        >>> is_single("a.wav"), is_single(["a.wav"]), is_single((np.zeros(10), 8_000))
        (True, False, True)
    """
    return is_pair(audio) if isinstance(audio, tuple) else not isinstance(audio, list)


def mono(recording: Recording) -> NDArray[np.float32]:
    """Average the channels of a recording.

    Args:
        recording: What `read` gave.

    Returns:
        The mean of the channels, shape (samples,).

    Example:
        >>> mono(read(np.array([[1.0, 0.0], [0.0, 0.0]]), 8_000))
        array([0.5, 0. ], dtype=float32)
    """
    mean: NDArray[np.float32] = mixed(recording.samples)[0]
    return mean


def mixed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average channels: (channels, samples) → (1, samples)."""
    if len(samples) == 1:
        return samples
    mean: NDArray[np.float32] = samples.mean(axis=0, keepdims=True)
    return mean


def read(audio: Audio, sample_rate: int | None = None, *, channels_last: bool = False) -> Recording:
    """Read one audio of any accepted kind and check it.

    Integers are scaled by their type: signed ones of b bits by 2**(b - 1), unsigned ones as
    offset binary. Floating-point samples are taken as they are.

    Args:
        audio: A path; a binary file, read from where it stands and, if it can seek, put back
            there; the bytes of a file; an array or tensor, shape (samples,) or
            (channels, samples); or a tuple of one of these two and its rate.
        sample_rate: Rate of an array or tensor in Hz, 1,000 to 384,000; files state theirs.
        channels_last: Whether an array or tensor is (samples, channels).

    Returns:
        The recording at its own rate: at least one sample, at most 64 channels.

    Raises:
        AudioError: It is missing, unreadable, empty, not finite or misshapen; its rate is
            unknown, given twice or out of range; or the file changes meanwhile.

    Example:
        >>> read(np.array([0, 16_384, -32_768], np.int16), sample_rate=8_000).samples
        array([[ 0. ,  0.5, -1. ]], dtype=float32)
    """
    with Reader(audio, sample_rate, channels_last=channels_last) as reader:
        samples = decoder.gather(reader, reader.n_channels)
        return Recording(samples, reader.sample_rate, reader.source, reader.warnings)
