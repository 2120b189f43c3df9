"""A small bank of made-up recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dcasenet.train.data.dataset import SPLITS
from recipes.bank import SAMPLE_RATE, Bank, Decoded, describe, make_bank
from recipes.labels import LabelSets
from recipes.recordings import LabeledClip

LABELS = LabelSets(
    tags=("dog", "rain", "sea waves"), events=("dog",), environments=("rain", "sea shore")
)


def recording(label: str, index: int) -> LabeledClip:
    return LabeledClip(
        key=f"{label}-{index}.ogg", label=label, source=f"{label}:{index}", split="train",
        license="CC0", author="somebody", title="",
    )  # fmt: skip


@pytest.fixture(scope="session")
def bank() -> Bank:
    """Four dogs, alone, and as many recordings of rain and of the sea."""
    random = np.random.default_rng(0)
    clips = []
    for index in range(4):
        click = np.zeros(2 * SAMPLE_RATE, np.float32)
        click[6_000:13_200] = random.standard_normal(7_200) * 0.3
        clips.append(describe(recording("esc50/dog", index), click))
        for label in ("esc50/rain", "esc50/sea_waves"):
            noise = 0.1 * random.standard_normal(5 * SAMPLE_RATE)
            clips.append(describe(recording(label, index), noise.astype(np.float32)))
    return make_bank([clip for clip in clips if clip is not None], LABELS)


# Label → the band of its noise, in Hz.
BANDS = {"esc50/dog": (400, 900), "esc50/rain": (2_000, 7_500), "esc50/sea_waves": (100, 350)}


def made_up(label: str, index: int) -> NDArray[np.float32]:
    """Four seconds of noise in the band of a label, a dog's in one burst, over a hiss."""
    random = np.random.default_rng(index)
    n_samples = 4 * SAMPLE_RATE
    spectrum = np.fft.rfft(random.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    low, high = BANDS[label]
    spectrum[(frequency < low) | (frequency > high)] = 0
    sound = np.fft.irfft(spectrum, n_samples)
    if label == "esc50/dog":
        time = np.arange(n_samples) / SAMPLE_RATE
        sound *= (time >= 1.0) & (time < random.uniform(1.5, 2.0))
    sound *= 0.5 / np.abs(sound).max()
    return np.asarray(sound + 1e-4 * random.standard_normal(n_samples), np.float32)


@pytest.fixture(scope="session")
def decoded() -> list[Decoded]:
    """Six recordings of each of three labels in each split, which can be told apart by ear."""
    clips = [
        describe(replace(recording(label, index), split=split), made_up(label, index))
        for first, split in enumerate(SPLITS)
        for label in BANDS
        for index in range(6 * first, 6 * first + 6)
    ]
    return [clip for clip in clips if clip is not None]


@pytest.fixture(scope="session")
def labels() -> LabelSets:
    return LABELS
