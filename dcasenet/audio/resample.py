"""Change the sample rate of a recording, with soxr or with the authors' windowed sinc."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

# The authors resampled with the defaults of torchaudio.transforms.Resample: a sinc over 6 zero
# crossings on each side, with a cutoff at 0.99 of the lower Nyquist frequency.
SINC_WIDTH = 6
SINC_ROLLOFF = 0.99

Method = Literal["soxr", "sinc"]
Floats = NDArray[np.float32]


def resample(samples: Floats, source_rate: int, target_rate: int, method: Method) -> Floats:
    """Resample a signal; it is taken to be zero before its start and after its end.

    Args:
        samples: Shape (..., samples), at least one sample; any leading axes.
        source_rate: Rate of `samples`, in Hz.
        target_rate: New rate, in Hz. If it equals `source_rate`, `samples` itself is returned.
        method: ``"soxr"``: the soxr library at quality HQ. ``"sinc"``: a sinc with a Hann window,
            width 6, roll-off 0.99, as the authors' training data was resampled.

    Returns:
        Shape (..., ceil(samples · target_rate / source_rate)).

    Raises:
        ValueError: `method` is not one of these.

    Example:
        >>> resample(np.zeros((2, 441), np.float32), 44_100, 24_000, "sinc").shape
        (2, 240)

    Source: ``sinc_interp_hann`` of ``torchaudio.functional.resample`` for ``"sinc"``.
    """
    resampler = Resampler(source_rate, target_rate, method)
    if source_rate == target_rate:
        return samples
    *leading, n_samples = samples.shape
    parts = (resampler.push(samples.reshape(-1, n_samples)), resampler.close())
    return np.concatenate(parts, axis=1).reshape(*leading, -1)


class Resampler:
    """Resample a recording block by block; see `resample`.

    The joined blocks equal what `resample` returns for the whole, whatever their lengths.

    Example:
        >>> resampler = Resampler(44_100, 24_000, "sinc")
        >>> blocks = [resampler.push(np.zeros((2, 147), np.float32)) for _ in range(3)]
        >>> sum(block.shape[1] for block in [*blocks, resampler.close()])
        240
    """

    def __init__(self, source_rate: int, target_rate: int, method: Method) -> None:
        if method not in ("soxr", "sinc"):
            raise ValueError(f"No resampler is named {method!r}. Choose one of 'soxr', 'sinc'.")
        self._rates, self._method = (source_rate, target_rate), method
        self._steps: _Steps | None = None
        self._n_input = self._n_output = 0

    def push(self, samples: Floats) -> Floats:
        """Add samples, (channels, samples), and return the output that is complete."""
        source, target = self._rates
        if source == target:
            return samples
        if self._steps is None:
            kind: type[_Steps] = _BySoxr if self._method == "soxr" else _BySinc
            self._steps = kind(source, target, len(samples))
        self._n_input += samples.shape[1]
        output = self._steps.push(samples)
        self._n_output += output.shape[1]
        return output

    def close(self) -> Floats:
        """Return the rest, (channels, samples): in total ceil(samples · target / source)."""
        if self._steps is None:
            return np.zeros((1, 0), np.float32)
        source, target = self._rates
        n_left = -(-self._n_input * target // source) - self._n_output
        return self._steps.close(n_left)


class _Steps(Protocol):
    def __init__(self, source_rate: int, target_rate: int, n_channels: int) -> None: ...
    def push(self, samples: Floats) -> Floats: ...
    def close(self, n_left: int) -> Floats: ...


class _BySoxr:
    def __init__(self, source_rate: int, target_rate: int, n_channels: int) -> None:
        self._stream = soxr.ResampleStream(
            source_rate, target_rate, n_channels, dtype="float32", quality="HQ"
        )
        # soxr rounds the length to nearest. Some silence after the end makes the output at least
        # as long as needed; the surplus is cut off.
        self._silence = np.zeros((source_rate // target_rate + 2, n_channels), np.float32)

    def push(self, samples: Floats) -> Floats:
        return self._columns(np.ascontiguousarray(samples.T), is_last=False)

    def close(self, n_left: int) -> Floats:
        return self._columns(self._silence, is_last=True)[:, :n_left]

    def _columns(self, columns: Floats, *, is_last: bool) -> Floats:
        return np.ascontiguousarray(self._stream.resample_chunk(columns, last=is_last).T)


class _BySinc:
    # In lowest terms, `new` outputs span `orig` inputs, so that output phase + new · m needs the
    # same weights for every m. Only the taps inside the window are stored: for any two rates up to
    # 384 kHz fewer than 14 · 384,000 weights, where a bank over the whole period could have 10¹¹.
    def __init__(self, source_rate: int, target_rate: int, n_channels: int) -> None:
        common = math.gcd(source_rate, target_rate)
        self._orig, self._new = source_rate // common, target_rate // common
        # Half width of the window, in input samples.
        self._reach = SINC_WIDTH * self._orig / (min(self._orig, self._new) * SINC_ROLLOFF)
        self._n_taps = math.floor(2 * self._reach) + 1
        self._first = np.zeros(0, np.int64)  # first tap of each phase, relative to the period
        self._weights = np.zeros((0, self._n_taps), np.float32)
        # Input from position `_start` on, with silence before the first sample.
        self._start = -math.floor(self._reach)
        self._kept = np.zeros((n_channels, -self._start), np.float32)
        self._done = 0  # number of outputs returned

    def push(self, samples: Floats) -> Floats:
        self._kept = np.concatenate((self._kept, samples), axis=1)
        # The last output whose taps are all available.
        end = self._start + self._kept.shape[1] - self._n_taps - 1 + self._reach
        return self._outputs(max(self._done, math.floor(end * self._new / self._orig)))

    def close(self, n_left: int) -> Floats:
        stop = self._done + n_left
        last_tap = stop * self._orig // self._new + math.ceil(self._reach) + self._n_taps
        missing = max(0, last_tap - self._start - self._kept.shape[1])
        self._kept = np.pad(self._kept, ((0, 0), (0, missing)))
        return self._outputs(stop)

    def _outputs(self, stop: int) -> Floats:
        """Return the outputs up to number `stop`, and drop input that is not needed any more."""
        orig, new, start = self._orig, self._new, self._done
        if stop == start:
            return np.zeros((len(self._kept), 0), np.float32)
        self._extend_weights(min(new, stop))
        output = np.empty((len(self._kept), stop - start), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._kept, self._n_taps, axis=-1)
        for phase in range(start % new, start % new + min(new, stop - start)):
            numbers = range(start + phase - start % new, stop, new)
            tap = numbers[0] // new * orig + int(self._first[phase % new]) - self._start
            taps = windows[:, tap : tap + (len(numbers) - 1) * orig + 1 : orig]
            output[:, phase - start % new :: new] = taps @ self._weights[phase % new]
        self._done = stop
        start = stop // new * orig + math.floor(stop % new * orig / new - self._reach) - 1
        if start > self._start:
            self._kept = self._kept[:, start - self._start :].copy()
            self._start = start
        return output

    def _extend_weights(self, n_phases: int) -> None:
        """Compute the weights of the first `n_phases` phases; a short block needs only few."""
        known = len(self._weights)
        if n_phases <= known:
            return
        position = np.arange(known, n_phases) * self._orig / self._new  # in input samples
        first = np.ceil(position - self._reach).astype(np.int64)
        distance = first[:, None] + np.arange(self._n_taps) - position[:, None]
        weights = _sinc_weights(distance, self._orig, self._new)
        self._first = np.concatenate((self._first, first))
        self._weights = np.concatenate((self._weights, weights))


def _sinc_weights(distance: NDArray[np.float64], orig: int, new: int) -> Floats:
    """Return the weights of taps at `distance` input samples from the output; same shape."""
    base = min(orig, new) * SINC_ROLLOFF
    time = np.clip(distance * (base / orig), -SINC_WIDTH, SINC_WIDTH)
    window = np.cos(time * (np.pi / (2 * SINC_WIDTH))) ** 2
    weights: Floats = (np.sinc(time) * window * (base / orig)).astype(np.float32)
    return weights
