"""Check samples in arrays and tensors, arrange them as (channels, samples), and scale them."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import AudioError
from dcasenet.types import check_flags

MIN_RATE, MAX_RATE = 1_000, 384_000  # Hz
MAX_CHANNELS = 64
# From about 1e16, the power of a frame in float32 (960 samples, summed and squared) overflows.
MAX_PEAK = 1e12


def number(value: Any) -> float | None:
    """Convert a number, NumPy scalar or zero-dimensional array to a Python number; else None."""
    if getattr(value, "ndim", None) == 0:
        try:
            value = value.item()
        except RuntimeError:  # a tensor on the meta device
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole_rate(value: Any) -> int:
    """Return a sample rate as an int.

    Raises:
        AudioError: The rate is missing, or not a whole number.
    """
    if value is None:
        raise AudioError(
            "An array has no sample rate of its own. Pass it in Hz, for example sample_rate=44100."
        )
    hertz = number(value)
    if hertz is None or hertz % 1 != 0 or abs(hertz) > 2**63:  # longer ints may have no text
        is_huge = isinstance(hertz, int) and abs(hertz) > 2**63
        shown = "an integer of more than 64 bits" if is_huge else value
        raise AudioError(
            f"The sample rate is {shown!r}. Accepted is a whole number of Hz, {MIN_RATE:,} to "
            f"{MAX_RATE:,}."
        )
    return int(hertz)


def check_rate(rate: int, source: str) -> None:
    """Check that a sample rate is in the accepted range.

    Raises:
        AudioError: It is not 1,000 to 384,000 Hz.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{source} has a sample rate of {rate:,} Hz. Accepted are {MIN_RATE:,} to "
            f"{MAX_RATE:,} Hz."
        )


def as_array(audio: Any) -> NDArray[Any] | None:
    """Return an array or tensor as an array, sharing its memory if possible; else None.

    Raises:
        AudioError: Samples are masked, or NumPy cannot represent the tensor.
    """
    if isinstance(audio, np.ma.MaskedArray) and np.ma.is_masked(audio):
        n_masked = int(np.ma.getmaskarray(audio).sum())
        raise AudioError(
            f"The array has {n_masked:,} masked samples, whose values are not known. "
            "Fill them: audio.filled(0) makes them silence."
        )
    if isinstance(audio, np.ndarray | np.generic):
        return np.asarray(audio)
    loaded = sys.modules.get("torch")  # if there is a tensor, torch is imported
    if loaded is None or not isinstance(audio, loaded.Tensor):
        return None
    if audio.dtype == loaded.bfloat16:  # NumPy has no such type
        audio = audio.float()
    try:
        array: NDArray[Any] = audio.numpy(force=True)
    except (TypeError, RuntimeError) as error:  # sparse, quantized, on the meta device ...
        raise AudioError(
            f"The {audio.dtype} tensor of shape {tuple(audio.shape)} does not convert to NumPy: "
            f"{error}. Pass an ordinary float32 tensor."
        ) from error
    return array


def arranged(array: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    """Return an array as (channels, samples), without a copy unless its floats exceed 64 bits.

    Raises:
        AudioError: The type has no full scale, or the shape is not accepted.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "iu" and size > 4:
        raise AudioError(
            f"The array's type {array.dtype} has no PCM full scale. Cast the samples to the type "
            "they were stored in (np.int16, np.int32), or scale them to floats in [-1, 1]."
        )
    if kind in "OUS" and array.size and isinstance(array.flat[0], str | bytes | os.PathLike):
        raise AudioError(
            f"An array of {array.size:,} paths is not a single audio input. Pass list(paths)."
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
    if kind == "f" and size > 8:  # values beyond float64 become infinite, and are refused later
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    if array.ndim == 1:
        return array[np.newaxis]
    return array.T if channels_last else array


def check_channels(n_channels: int, n_samples: int, source: str, channels_last: bool) -> None:
    """Refuse more channels than any recording has, which usually means swapped axes.

    Raises:
        AudioError: There are more than 64.
        ValueError: `channels_last` is neither True nor False.
    """
    check_flags(channels_last=channels_last)
    if n_channels > MAX_CHANNELS:
        swap = f" If the axes are swapped, pass channels_last={not channels_last}."
        raise AudioError(
            f"{source} has {n_channels:,} channels of {n_samples:,} samples. Accepted are at most "
            f"{MAX_CHANNELS} channels.{swap if n_samples <= MAX_CHANNELS else ''}"
        )


class Levels:
    """Measure the peak of samples block by block, and check that they are finite.

    Args:
        n_before: Number of samples before the first one, for messages.
    """

    def __init__(self, n_before: int = 0) -> None:
        self.peak = 0.0
        self._n_samples = n_before
        self._n_nan = self._n_infinite = 0
        self._first: int | None = None

    def see(self, values: NDArray[Any]) -> bool:
        """Add a block (channels, samples); return whether all samples so far can be used."""
        if values.size and values.dtype.kind == "f":
            peak = float(np.maximum(-values.min(), values.max()))
            if np.isfinite(peak):
                self.peak = max(self.peak, peak)
            else:
                self._see_what_is_not_finite(values)
        self._n_samples += values.shape[1]
        return self._first is None and self.peak <= MAX_PEAK

    def _see_what_is_not_finite(self, values: NDArray[Any]) -> None:
        self._n_nan += int(np.count_nonzero(np.isnan(values)))
        self._n_infinite += int(np.count_nonzero(np.isinf(values)))
        if self._first is None:
            bad = ~np.isfinite(values).all(axis=0)
            self._first = self._n_samples + int(np.flatnonzero(bad)[0])

    def fault(self, rate: int, source: str) -> AudioError:
        """Return the error for samples that cannot be used."""
        if self._first is not None:
            return AudioError(
                f"{source} holds {self._n_nan:,} NaN and {self._n_infinite:,} infinite values, the "
                f"first at {self._first / rate:.3f} s. Only finite samples are accepted: find out "
                "where they come from, or replace them with np.nan_to_num."
            )
        return AudioError(
            f"{source} has a peak of {self.peak:g} where full scale is 1. Accepted are peaks up to "
            f"{MAX_PEAK:g}: divide the samples by their full scale."
        )


def scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return a float32 copy in C order, integers scaled to [-1, 1) by their type."""
    if values.dtype.kind == "f":
        return np.array(values, np.float32, order="C")
    bits = 8 * values.dtype.itemsize
    # float32 represents integers of up to 24 bits exactly; wider ones are rounded once, at the end.
    result: NDArray[Any] = values.astype(np.float64 if bits > 24 else np.float32, order="C")
    if values.dtype.kind == "u":
        result -= 2.0 ** (bits - 1)
    result /= 2.0 ** (bits - 1)
    return result.astype(np.float32, copy=False)
