"""What the tests of long recordings and streams share: a model that any test can afford."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from dcasenet import ModelSpec
from dcasenet.results import Floats
from dcasenet.spec import STEP, Task
from dcasenet.verbs import SoundVerbs

RATE = 24_000
EVENTS = ("low", "high")


class Loudness(SoundVerbs[Floats]):
    """A runtime without a network: what it answers follows from each step's loudness."""

    def __init__(self, tasks: tuple[Task, ...] = ("scene", "tag", "event")) -> None:
        self.spec = ModelSpec(
            "v3",
            "loudness",
            tasks=tasks,
            scenes=("quiet", "loud"),
            tags=("hum", "hiss"),
            events=EVENTS,
            thresholds=dict.fromkeys(EVENTS, 0.5),
        )

    def infer(
        self, waveforms: Floats, tasks: Sequence[Task], trunk: Task = "tag"
    ) -> Mapping[str, Floats]:
        n_steps = max(1, (waveforms.shape[1] + 479) // round(STEP * RATE))
        length = min(waveforms.shape[1] // n_steps, round(STEP * RATE))
        steps = waveforms[:, : n_steps * length].reshape(len(waveforms), n_steps, length)
        # The level depends on the window, as it does where a clip is normalised by itself.
        level = 60 * steps.std(axis=2) - 3 - waveforms.std(axis=1, keepdims=True)
        logits = np.stack((level, 0.5 - level), axis=2).astype(np.float32)
        values = {"scene": logits.mean(axis=1), "tag": logits.max(axis=1), "event": logits}
        return {task: values[task] for task in tasks}

    def as_array(self, values: Floats) -> Floats:
        return values


@pytest.fixture(scope="session")
def loudness() -> type[Loudness]:
    return Loudness


@pytest.fixture(scope="session")
def model() -> Loudness:
    return Loudness()


@pytest.fixture(scope="session")
def bursts() -> Callable[..., np.ndarray]:
    """bursts(seconds, rate, seed): noise that is loud now and then."""

    def make(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        loud = rng.random(math.ceil(seconds / STEP) + 1) < 0.4
        n_samples = round(seconds * rate)
        gain = np.where(loud[(np.arange(n_samples) / rate / STEP).astype(int)], 0.1, 0.01)
        return (rng.standard_normal(n_samples) * gain).astype(np.float32)

    return make
