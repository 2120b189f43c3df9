"""Stretches of one length, cut from recordings of any length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def crop(
    samples: NDArray[np.float32], n_samples: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Cut a random stretch; a shorter clip is repeated, or laid into silence, at even chances.

    Args:
        samples: (samples,), at least one.
        n_samples: Length to give.
        random: Draws the place.
    """
    if len(samples) >= n_samples:
        start = int(random.integers(len(samples) - n_samples + 1))
        return samples[start : start + n_samples]
    if random.random() < 0.5:
        return np.resize(np.roll(samples, -int(random.integers(len(samples)))), n_samples)
    start = int(random.integers(n_samples - len(samples) + 1))
    laid = np.zeros(n_samples, np.float32)
    laid[start : start + len(samples)] = samples
    return laid


def trim_silence(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut digital silence off both ends."""
    (is_audible,) = np.nonzero(np.abs(samples) > 1e-5)
    return samples[is_audible[0] : is_audible[-1] + 1] if is_audible.size else samples


def doubled(samples: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    """Lay a clip after itself until it has a length, as the authors do with short clips.

    Args:
        samples: (samples,), at least one.
        n_samples: Length that is enough.

    Example:
        >>> doubled(np.array([1, 2, 3], np.float32), 7).tolist()
        [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    """
    while len(samples) < n_samples:
        samples = np.concatenate((samples, samples))
    return samples
