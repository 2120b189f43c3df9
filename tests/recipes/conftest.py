"""A small bank of made-up recordings."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.bank import SAMPLE_RATE, Bank, describe, make_bank
from recipes.labels import LabelSets
from recipes.recordings import Recording

LABELS = LabelSets(
    tags=("dog", "rain", "sea waves"), events=("dog",), environments=("rain", "sea shore")
)


def recording(label: str, index: int) -> Recording:
    return Recording(
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
