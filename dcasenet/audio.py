"""Any audio that a caller may hand in, turned into a checked `Recording`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import AudioError
from dcasenet.files import decode

if TYPE_CHECKING:
    import torch

Samples: TypeAlias = "NDArray[Any] | torch.Tensor"
Audio: TypeAlias = "str | os.PathLike[str] | BinaryIO | bytes | Samples | tuple[Samples, int]"

MIN_RATE, MAX_RATE = 1_000, 384_000  # Hz
MAX_CHANNELS = 64
# Full scale is 1. Mixing and lossy coding overshoot it by some dB, integers kept as floats by far.
LOUD_PEAK = 1.5
# From about 1e16 on, the float32 power of a frame (960 samples, summed and squared) overflows.
MAX_PEAK = 1e12
ACCEPTED = (
    "Accepted are a path, a binary file, bytes, a NumPy array or torch tensor with sample_rate=, "
    "or a tuple (samples, sample_rate)."
)


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

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.sample_rate)


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
    return _is_pair(audio) if isinstance(audio, tuple) else not isinstance(audio, list)


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
    samples = recording.samples
    mean: NDArray[np.float32] = samples[0] if len(samples) == 1 else samples.mean(axis=0)
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
            unknown, given twice or out of range.

    Example:
        >>> read(np.array([0, 16_384, -32_768], np.int16), sample_rate=8_000).samples
        array([[ 0. ,  0.5, -1. ]], dtype=float32)
    """
    if isinstance(audio, tuple):
        audio, sample_rate = _split_pair(audio, sample_rate)
    array = _as_array(audio)
    warnings: tuple[str, ...] = ()
    if array is None:
        values, rate, source, warnings = _read_file(audio, sample_rate)
    else:
        source = "<array>"
        rate = _checked_rate(sample_rate)
        values = _arranged(array, channels_last)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{source} has a sample rate of {rate:,} Hz. Accepted are {MIN_RATE:,} to "
            f"{MAX_RATE:,} Hz."
        )
    _check_shape(values, source, channels_last)
    peak = _checked_peak(values, rate, source) if values.dtype.kind == "f" else 0.0
    if peak > LOUD_PEAK:
        warnings += (
            f"{source}: the peak is {peak:g} where full scale is 1; if these are integers kept "
            "as floats, divide them by their full scale (32,768 for 16 bits).",
        )
    return Recording(values if array is None else _scaled(values), rate, source, warnings)


def _number(value: Any) -> float | None:
    """The Python number in a number, NumPy scalar or array of no dimension; None for the rest."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    return value if isinstance(value, int | float) else None


def _is_pair(audio: tuple[Any, ...]) -> bool:
    return len(audio) == 2 and any(_number(part) is not None for part in audio)


def _split_pair(pair: tuple[Any, ...], sample_rate: Any) -> tuple[Any, int]:
    if not _is_pair(pair):
        raise AudioError(f"A tuple of {len(pair)} without a sample rate is not audio. {ACCEPTED}")
    samples, rate = pair
    if _number(rate) is None:
        raise AudioError(
            f"The tuple has the sample rate ({samples!r}) first. Accepted is (samples, "
            "sample_rate): turn it round."
        )
    rate = _checked_rate(rate)
    if sample_rate is not None and _checked_rate(sample_rate) != rate:
        raise AudioError(
            f"The tuple says {rate:,} Hz and sample_rate={sample_rate!r} was given as well. "
            "Leave one of them out."
        )
    return samples, rate


def _checked_rate(value: Any) -> int:
    if value is None:
        raise AudioError(
            "An array has no sample rate of its own. Pass it in Hz, for example sample_rate=44100."
        )
    number = _number(value)
    if number is None or number % 1 != 0:
        raise AudioError(
            f"The sample rate is {value!r}. Accepted is a whole number of Hz, {MIN_RATE:,} to "
            f"{MAX_RATE:,}."
        )
    return int(number)


def _as_array(audio: Any) -> NDArray[Any] | None:
    """The array or tensor as an array, sharing its memory where it can; None for the rest."""
    if isinstance(audio, np.ndarray | np.generic):
        return np.asarray(audio)
    loaded = sys.modules.get("torch")  # whoever has a tensor has imported torch
    if loaded is None or not isinstance(audio, loaded.Tensor):
        return None
    if audio.dtype == loaded.bfloat16:  # NumPy has no such type
        audio = audio.float()
    try:
        array: NDArray[Any] = audio.numpy(force=True)
    except (TypeError, RuntimeError) as error:  # sparse, quantised, without data ...
        raise AudioError(
            f"The {audio.dtype} tensor of shape {tuple(audio.shape)} does not convert to NumPy: "
            f"{error}. Pass an ordinary float32 tensor."
        ) from error
    return array


def _arranged(array: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    """The array as (channels, samples), not copied, if it is of a type that has a scale."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "iu" and size > 4:
        raise AudioError(
            f"The array's type {array.dtype} has no PCM full scale. Cast the samples to the type "
            "they were stored in (np.int16, np.int32), or divide them into floats in [-1, 1]."
        )
    if kind not in "iuf":
        raise AudioError(
            f"The array's type {array.dtype} is not audio. Accepted are floats and integers of "
            "8, 16 and 32 bits: convert it, for example with .astype(np.float32)."
        )
    if array.ndim not in (1, 2):
        raise AudioError(
            f"The array's shape is {array.shape}. Accepted are (samples,) and (channels, samples), "
            "one clip at a time; pass several clips as a list."
        )
    if array.ndim == 1:
        return array[np.newaxis]
    return array.T if channels_last else array


def _check_shape(values: NDArray[Any], source: str, channels_last: bool) -> None:
    n_channels, n_samples = values.shape
    if not values.size:
        raise AudioError(
            f"{source} is empty: {n_channels} channel(s) of {n_samples} samples. Give at least one "
            "sample."
        )
    if n_channels > MAX_CHANNELS:
        swap = f" If the axes are the other way round, say channels_last={not channels_last}."
        raise AudioError(
            f"{source} has {n_channels:,} channels of {n_samples:,} samples. Accepted are at most "
            f"{MAX_CHANNELS} channels.{swap if n_samples <= MAX_CHANNELS else ''}"
        )


def _checked_peak(values: NDArray[Any], rate: int, source: str) -> float:
    """Largest magnitude of floating-point samples, all finite and within `MAX_PEAK`."""
    peak = float(np.maximum(-values.min(), values.max()))
    if peak <= MAX_PEAK:  # neither NaN nor infinity is
        return peak
    n_nan, n_infinite = np.count_nonzero(np.isnan(values)), np.count_nonzero(np.isinf(values))
    if n_nan or n_infinite:
        first = np.flatnonzero(~np.isfinite(values).all(axis=0))[0] / rate
        raise AudioError(
            f"{source} holds {n_nan:,} NaN and {n_infinite:,} infinite values, the first at "
            f"{first:.3f} s. Only finite samples are accepted: find out where they come from, or "
            "replace them with np.nan_to_num."
        )
    raise AudioError(
        f"{source} has a peak of {peak:g} where full scale is 1. Accepted are peaks up to "
        f"{MAX_PEAK:g}: divide the samples by their full scale."
    )


def _scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """A float32 copy in C order, integers scaled to [-1, 1) by their type."""
    if values.dtype.kind == "f":
        return np.array(values, np.float32, order="C")
    bits = 8 * values.dtype.itemsize
    # float32 holds integers of up to 24 bits; wider ones are rounded once, at the end.
    scaled = values.astype(np.float64 if bits > 24 else np.float32, order="C")
    if values.dtype.kind == "u":
        scaled -= 2.0 ** (bits - 1)
    scaled /= 2.0 ** (bits - 1)
    return scaled.astype(np.float32, copy=False)


def _read_file(
    file: Any, sample_rate: Any
) -> tuple[NDArray[np.float32], int, str, tuple[str, ...]]:
    """Samples, sample rate, name and warnings of what must be a path, bytes or a binary file."""
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
    samples, rate, warnings = decode(file, source)
    return samples, rate, source, warnings
