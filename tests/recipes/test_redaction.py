"""The measure of redaction: what is silenced of speech, and of everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dcasenet.results import Events
from dcasenet.spec import ModelSpec
from recipes.redaction import THRESHOLDS, RedactionScores, measure, render
from recipes.soundscapes import PlacedEvent, Scape

RATE = 24_000


class Listener:
    """Detects speech from second 2 to 4 with 0.25, and from 4 to 5 with 0.04."""

    spec = ModelSpec("v3", "listener", events=("dog", "speech"))

    def detect_events(self, waveform: np.ndarray, sample_rate: int) -> Events:
        curve = np.zeros((100, 2), np.float32)
        curve[:, 0] = 0.9
        curve[20:40, 1] = 0.25
        curve[40:50, 1] = 0.04
        return Events(
            items=(),
            labels=self.spec.events,
            probabilities=curve,
            hop=0.1,
            resolution=0.5,
            duration=len(waveform) / sample_rate,
        )


@pytest.fixture(scope="module")
def rows() -> dict[tuple[float, float], RedactionScores]:
    silence = np.zeros(10 * RATE, np.float32)
    spoken = Scape(silence, (PlacedEvent(1, 2.0, 5.0), PlacedEvent(0, 6.0, 9.0)), ())
    model: Any = Listener()
    found = measure(model, [spoken, spoken], ("dog", "speech"))
    return {(row.threshold, row.pad): row for row in found}


@pytest.mark.parametrize(
    ("threshold", "pad", "recall", "loss"),
    [
        (0.01, 0.0, 1.0, 0.0),
        (0.05, 0.0, 2 / 3, 0.0),
        (0.05, 0.5, 2.5 / 3, 0.5 / 7),
        (0.02, 0.5, 1.0, 1.0 / 7),
        (0.3, 0.5, 0.0, 0.0),
    ],
)
def test_recall_and_loss(
    rows: dict[tuple[float, float], RedactionScores],
    threshold: float,
    pad: float,
    recall: float,
    loss: float,
) -> None:
    row = rows[threshold, pad]
    assert row.recall[0] == pytest.approx(recall, abs=0.005)
    assert row.loss[0] == pytest.approx(loss, abs=0.005)


def test_the_table_has_every_setting(rows: dict[tuple[float, float], RedactionScores]) -> None:
    assert {threshold for threshold, _ in rows} == set(THRESHOLDS)
    text = render({"soundscapes": list(rows.values())})
    assert text.count("\n") == 1 + 2 * len(THRESHOLDS)
    assert "| soundscapes | 0.05 | 0.5 | 0.833 | " in text
