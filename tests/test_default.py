"""The checkpoint that ships as the default: its answers, and what it is not sure of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import dcasenet
from dcasenet import SoundModel
from dcasenet.weights.sources import PACKAGE
from recipes.steadiness import synthetic

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model() -> SoundModel:
    return dcasenet.load()


def test_what_it_is(model: SoundModel) -> None:
    spec = model.spec
    assert (spec.stage, spec.step, spec.has_one_grid) == ("distilled", 0.16, True)
    assert len(spec.tags) == 527
    assert len(spec.events) >= 30
    assert 12 <= len(spec.scenes) <= 20
    assert set(spec.curves) <= set(spec.events) == set(spec.thresholds)
    assert min(spec.thresholds.values()) >= 0.25
    assert (PACKAGE / "data" / "distilled" / "model.safetensors").stat().st_size <= 10e6


def test_a_second_of_noise_hides_no_rooster(model: SoundModel) -> None:
    rooster, rate = soundfile.read(dcasenet.example(), dtype="float32")
    noise = 0.3 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    gap = np.zeros(3 * rate, np.float32)
    events = model.detect_events(np.concatenate((rooster[: 4 * rate], gap, noise)), rate)
    assert "rooster" in [event.label for event in events]
    assert all(event.offset <= 4.0 for event in events)


def test_without_hysteresis_every_step_is_above_the_threshold(model: SoundModel) -> None:
    own = model.detect_events(dcasenet.example(), threshold={"rooster": 0.9})
    strict = model.detect_events(dcasenet.example(), threshold={"rooster": 0.9}, hysteresis=1.0)
    longer, shorter = (sum(e.offset - e.onset for e in events) for events in (own, strict))
    assert 0 < shorter < longer
    for event in strict:
        steps = strict.probabilities[round(event.onset / 0.16) : round(event.offset / 0.16)]
        limit = strict.thresholds[event.label]
        assert (steps[:, model.spec.events.index(event.label)] > limit).all()
    with pytest.raises(ValueError, match="hysteresis"):
        model.detect_events(dcasenet.example(), hysteresis=0.0)


def test_a_rooster_is_a_rooster(model: SoundModel) -> None:
    analysis = model.analyze(dcasenet.example())
    assert analysis.is_sure
    assert analysis.tags[0].label in ("Chicken, rooster", "Crowing, cock-a-doodle-doo")
    assert analysis.scene.label == "farmyard"
    crow = max(analysis.events, key=lambda event: event.probability)
    assert crow.label == "rooster"
    assert (crow.onset, crow.offset) == pytest.approx((1.3, 3.2), abs=0.33)


def test_a_tag_does_not_fall_because_a_file_is_long(model: SoundModel) -> None:
    rooster, rate = soundfile.read(dcasenet.example(), dtype="float32")
    alone = model.tag(rooster, rate)[0]
    twice = np.concatenate([rooster, rooster, np.zeros(60 * rate, np.float32)])
    assert model.tag(twice, rate).probabilities[alone.label] > alone.probability - 0.1


@pytest.mark.parametrize("sound", list(synthetic(1.0)))
def test_it_is_not_sure_of_what_nobody_recorded(model: SoundModel, sound: str) -> None:
    analysis = model.analyze(synthetic()[sound], 24_000)
    assert not analysis.is_sure
    assert len(analysis.events) == 0
