"""Where the training data lie in a checkpoint's embedding, and where noise and tones do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dcasenet.inference.familiarity import fit
from dcasenet.inference.model import SoundModel
from dcasenet.spec import FamiliarityStatistics
from recipes.bank import SAMPLE_RATE, Decoded, waveform_of

# Recordings of the training split, of the validation split, and synthetic sounds.
N_TRAIN, N_WATCHED, N_SYNTHETIC = 1_500, 500, 300
# Share of the validation split that is given up, by distance and again by contrast.
LIMIT = 0.01


def measure(
    model: SoundModel,
    train: Sequence[Decoded],
    watched: Sequence[Decoded],
    window: float,
    seed: int = 0,
) -> FamiliarityStatistics:
    """Describe the embeddings of a checkpoint.

    Args:
        model: The checkpoint.
        train: Recordings that it was trained on.
        watched: Recordings of the validation split.
        window: Seconds that it reads at once.
        seed: Of the choice of recordings, of stretches of them, and of synthetic sounds.
    """
    rng = np.random.default_rng(seed)
    own = [_stretch(clip, window, rng) for clip in _subset(train, N_TRAIN, rng)]
    others = [_stretch(clip, window, rng) for clip in _subset(watched, N_WATCHED, rng)]
    synthetic = [draw_synthetic(window, rng) for _ in range(N_SYNTHETIC)]
    embedded = [_embed(model, waveforms) for waveforms in (own, others, synthetic)]
    return fit(*embedded, limit=LIMIT)


def draw_synthetic(longest: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise of any color, one to three tones, or an offset, of 1 s or more, at 24 kHz."""
    n = round(rng.uniform(1.0, longest) * SAMPLE_RATE)
    level = 10.0 ** (rng.uniform(-60.0, 0.0) / 20.0)
    kind = rng.random()
    if kind < 0.6:
        bins = np.maximum(np.arange(n // 2 + 1), 1)
        spectrum = np.fft.rfft(rng.standard_normal(n)) * bins ** -rng.uniform(0.0, 1.0)
        sound = np.fft.irfft(spectrum, n=n)
    elif kind < 0.85:
        hertz = np.exp(rng.uniform(np.log(50.0), np.log(10_000.0), rng.integers(1, 4)))
        sound = np.sin(2 * np.pi * hertz[:, None] / SAMPLE_RATE * np.arange(n)).sum(axis=0)
    else:
        hiss = 1e-3 * (rng.random() < 0.5)
        sound = rng.choice([-1.0, 1.0]) + hiss * rng.standard_normal(n)
    return np.asarray(level * sound / np.abs(sound).max(), dtype=np.float32)


def _subset(clips: Sequence[Decoded], most: int, rng: np.random.Generator) -> list[Decoded]:
    return [clips[index] for index in rng.permutation(len(clips))[:most]]


def _stretch(clip: Decoded, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut a window out of a recording."""
    waveform, n = waveform_of(clip), round(seconds * SAMPLE_RATE)
    start = int(rng.integers(max(1, len(waveform) - n + 1)))
    return waveform[start : start + n]


def _embed(model: SoundModel, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack([np.asarray(model.embed(waveform, SAMPLE_RATE)) for waveform in waveforms])
