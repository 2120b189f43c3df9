"""Change the sample rate of a recording, by soxr or by the authors' windowed sinc."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

# The authors resampled with torchaudio's defaults (reference.md, section 6): a sinc that reaches
# over 6 zero crossings to each side and is cut off at 0.99 of the lower Nyquist frequency.
SINC_WIDTH = 6
SINC_ROLLOFF = 0.99


def resample(
    samples: NDArray[np.float32],
    source_rate: int,
    target_rate: int,
    method: Literal["soxr", "sinc"],
) -> NDArray[np.float32]:
    """Bring samples to another rate; what lies before and after them counts as silence.

    Args:
        samples: Shape (..., samples), at least one sample; any leading axes.
        source_rate: Rate of `samples`, in Hz.
        target_rate: Rate wanted, in Hz. If it is `source_rate`, `samples` itself comes back.
        method: ``"soxr"``: the soxr library at its quality HQ. ``"sinc"``: a sinc under a Hann
            window, width 6, roll-off 0.99, as the authors' training data was resampled.

    Returns:
        Shape (..., ceil(samples · target_rate / source_rate)).

    Raises:
        ValueError: `method` is neither of the two.

    Example:
        >>> resample(np.zeros((2, 441), np.float32), 44_100, 24_000, "sinc").shape
        (2, 240)

    Source: torchaudio's ``sinc_interp_hann`` (reference.md, section 6) for ``"sinc"``.
    """
    if source_rate == target_rate:
        return samples
    if method == "sinc":
        return _by_sinc(samples, source_rate, target_rate)
    if method == "soxr":
        return _by_soxr(samples, source_rate, target_rate)
    raise ValueError(f"No resampler is named {method!r}. Choose one of 'soxr', 'sinc'.")


def _n_output(n_input: int, source_rate: int, target_rate: int) -> int:
    """ceil(n_input · target_rate / source_rate), in integers and so exact."""
    return -(-n_input * target_rate // source_rate)


def _by_soxr(
    samples: NDArray[np.float32], source_rate: int, target_rate: int
) -> NDArray[np.float32]:
    *leading, n_input = samples.shape
    n_output = _n_output(n_input, source_rate, target_rate)
    # soxr rounds the length to nearest. With a little more silence behind the end it always
    # gives enough, and the surplus is cut.
    n_padded = n_input + source_rate // target_rate + 2
    columns = np.zeros((n_padded, math.prod(leading)), np.float32)
    columns[:n_input] = samples.reshape(-1, n_input).T
    output = soxr.resample(columns, source_rate, target_rate, quality="HQ")[:n_output]
    return np.ascontiguousarray(output.T).reshape(*leading, n_output)


def _by_sinc(
    samples: NDArray[np.float32], source_rate: int, target_rate: int
) -> NDArray[np.float32]:
    # In lowest terms, `new` outputs span `orig` inputs, so that output phase + new · m needs the
    # same weights for every m. Only the taps under the window are kept: for any two rates up to
    # 384 kHz under 14 · 384,000 weights, where a bank over the whole period could have 10¹¹.
    *leading, n_input = samples.shape
    common = math.gcd(source_rate, target_rate)
    orig, new = source_rate // common, target_rate // common
    n_output = _n_output(n_input, source_rate, target_rate)
    reach = SINC_WIDTH * orig / (min(orig, new) * SINC_ROLLOFF)  # to each side, in input samples
    n_taps = math.floor(2 * reach) + 1
    position = np.arange(min(new, n_output)) * orig / new  # of each phase's output, ditto
    first = np.ceil(position - reach).astype(np.int64)  # its first tap
    distance = first[:, None] + np.arange(n_taps) - position[:, None]
    weights = _sinc_weights(distance, orig, new)

    before = -int(first[0])
    padded = np.zeros((*leading, n_input + before + n_taps), np.float32)
    padded[..., before : before + n_input] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_taps, axis=-1)
    output = np.empty((*leading, n_output), np.float32)
    for phase, (start, taps) in enumerate(zip(first + before, weights, strict=True)):
        n_periods = -(-(n_output - phase) // new)
        stop = start + (n_periods - 1) * orig + 1
        output[..., phase::new] = windows[..., start:stop:orig, :] @ taps
    return output


def _sinc_weights(distance: NDArray[np.float64], orig: int, new: int) -> NDArray[np.float32]:
    """Weight of taps that lie `distance` input samples from the output; same shape."""
    base = min(orig, new) * SINC_ROLLOFF
    time = np.clip(distance * (base / orig), -SINC_WIDTH, SINC_WIDTH)
    window = np.cos(time * (np.pi / (2 * SINC_WIDTH))) ** 2
    weights: NDArray[np.float32] = (np.sinc(time) * window * (base / orig)).astype(np.float32)
    return weights
