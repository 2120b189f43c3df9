"""Which changes are made, and what is counted."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from dcasenet import SoundModel
from recipes import steadiness
from recipes.bank import SAMPLE_RATE
from recipes.familiarity import draw_synthetic


@pytest.fixture
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(3 * SAMPLE_RATE).astype(np.float32) * 0.1 for _ in range(2)]


def test_changes(clips: list[np.ndarray]) -> None:
    clip = clips[0]
    changed = {name: change(clip) for name, change in steadiness.CHANGES.items()}
    quiet, rate = changed["gain of -20 dB"]
    np.testing.assert_allclose(quiet, clip / 10, rtol=1e-6)
    assert rate == SAMPLE_RATE
    assert len(changed["10 s of silence before"][0]) == len(clip) + 10 * SAMPLE_RATE
    assert len(changed["0.8 s later"][0]) == len(clip) - round(0.8 * SAMPLE_RATE)
    telephone, rate = changed["8 kHz"]
    assert (len(telephone), rate) == (3 * 8_000, 8_000)
    content, rate = changed["MP3 at 64 kbit/s"]
    assert rate is None
    assert len(content) * 8 / 3 == pytest.approx(64_000, rel=0.1)
    decoded, _ = soundfile.read(io.BytesIO(content))
    assert abs(len(decoded) - len(clip)) < 3_000


def test_only_firm_answers_count(
    tiny_model: SoundModel, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "CHANGES", {"none": lambda x: (x, SAMPLE_RATE)})
    for least, n in ((0.0, 2), (1.1, 0)):
        monkeypatch.setattr(steadiness, "LEAST", least)
        row = steadiness.steadiness_table(tiny_model, clips).splitlines()[-1]
        assert row == f"| none | {n} | 0 % | {n} | 0 % |"


def test_every_unknown_sound_is_a_row(tiny_model: SoundModel, clips: list[np.ndarray]) -> None:
    rows = steadiness.unknown_table(tiny_model, clips).splitlines()[2:]
    assert len(rows) == len(steadiness.synthetic()) + 1
    assert all(row.split("|")[2].strip() == "yes" for row in rows)  # it has no statistics


def test_synthetic_sounds() -> None:
    sounds = steadiness.synthetic()
    assert not sounds["digital silence"].any()
    assert np.abs(sounds["pink noise at -20 dBFS"]).max() == pytest.approx(0.1, rel=1e-3)
    rng = np.random.default_rng(0)
    drawn = [draw_synthetic(10.0, rng) for _ in range(40)]
    assert all(SAMPLE_RATE <= len(sound) <= 10 * SAMPLE_RATE for sound in drawn)
    assert all(0 < np.abs(sound).max() <= 1 for sound in drawn)
    assert any(abs(sound.mean()) > 0.5 * np.abs(sound).max() for sound in drawn)  # an offset
