"""Any audio that a caller may hand in, turned into a checked `Recording`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio import decoder
from dcasenet.audio.reader import Audio as Audio
from dcasenet.audio.reader import Reader, is_pair


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
