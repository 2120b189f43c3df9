"""Threshold and hysteresis are those of the decoded events that are best."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dcasenet.results import Events
from recipes.bank import SAMPLE_RATE
from recipes.decoding import HYSTERESES, THRESHOLDS, best_decoding
from recipes.soundscapes import PlacedEvent, Scape

STEP = 0.16


@pytest.mark.parametrize(
    ("sounding", "silent", "lowest", "highest"),
    [
        (0.5, 0.4, 0.4, 0.5),
        (0.1, 0.0, THRESHOLDS[0], THRESHOLDS[-1]),  # below what is ever reported
        (0.9, 0.8, THRESHOLDS[-1], THRESHOLDS[-1]),  # an event must not fall silent
    ],
)
def test_thresholds_are_where_events_and_the_rest_part(
    sounding: float, silent: float, lowest: float, highest: float
) -> None:
    scape = scape_of(PlacedEvent(0, 1.0, 3.0))
    found = detected(probabilities(scape, sounding, silent))
    threshold, _ = best_decoding([found], [scape], ["dog"])
    assert lowest <= threshold <= highest


def test_of_thresholds_that_are_nearly_as_good_the_highest_is_chosen() -> None:
    """Of 200 events that one has a lower probability counts for nothing; that 50 have, for much."""
    scapes, found = [], []
    for index in range(200):
        scape = scape_of(PlacedEvent(0, 1.0, 3.0))
        scapes.append(scape)
        found.append(detected(probabilities(scape, 0.32 if index == 0 else 0.9, 0.0)))
    assert best_decoding(found, scapes, ["dog"])[0] == THRESHOLDS[-1]
    for index in range(50):
        found[index] = detected(probabilities(scapes[index], 0.32, 0.0))
    assert best_decoding(found, scapes, ["dog"])[0] == 0.3


@pytest.mark.parametrize(("tail", "share"), [(0.25, 0.5), (0.05, 1.0)])
def test_an_event_lasts_as_long_as_serves_the_onsets(tail: float, share: float) -> None:
    """A dip below the threshold within an event is no second onset where it lasts on."""
    scape = scape_of(PlacedEvent(0, 1.0, 5.0))
    values = probabilities(scape, 0.8, 0.2 if tail == 0.25 else 0.0)
    values[15:18] = tail
    threshold, hysteresis = best_decoding([detected(values)], [scape], ["dog"])
    if tail == 0.25:  # over the probability of silence, under all thresholds but the lowest
        assert 0.2 <= hysteresis * threshold < tail
    else:
        assert hysteresis == share == HYSTERESES[0]


def scape_of(*events: PlacedEvent) -> Scape:
    return Scape(np.zeros(8 * SAMPLE_RATE, np.float32), events, ())


def probabilities(scape: Scape, sounding: float, silent: float) -> NDArray[np.float32]:
    times = (np.arange(50) + 0.5) * STEP
    active = [any(e.onset <= t < e.offset for e in scape.events) for t in times]
    return np.where(active, sounding, silent).astype(np.float32)[:, None]


def detected(values: NDArray[np.float32]) -> Events:
    return Events(items=(), labels=("dog",), probabilities=values, hop=STEP, resolution=STEP)
