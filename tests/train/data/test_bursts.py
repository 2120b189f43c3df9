from pathlib import Path

import numpy as np
import pytest

from dcasenet.audio.io import read
from dcasenet.audio.preprocess import mono
from dcasenet.train.data.bursts import Gate, bursts, levels

RATE = 24_000


def tone(seconds: float, amplitude: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def hiss(seconds: float, level: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return (10 ** (level / 20) * noise).astype(np.float32)


def test_level_of_a_full_scale_sine_is_minus_three_decibels() -> None:
    assert levels(tone(1.0, 1.0), RATE)[10:50] == pytest.approx(-3.01, abs=0.1)


def test_two_bursts_in_noise_are_found_where_they_are() -> None:
    gate = Gate()
    waveform = np.concatenate([silence(1.0), tone(0.5), silence(1.0), tone(0.2), silence(1.0)])
    waveform += hiss(3.7, -70)
    found = [(a / RATE, b / RATE) for a, b in bursts(waveform, RATE, gate)]
    assert len(found) == 2
    for (onset, offset), (start, stop) in zip(found, [(1.0, 1.5), (2.5, 2.7)], strict=True):
        assert start - 0.02 <= onset <= start
        assert stop <= offset <= stop + gate.hangover + 0.02


@pytest.mark.parametrize(("gap", "n"), [(0.15, 1), (0.6, 2)])
def test_short_gaps_are_closed(gap: float, n: int) -> None:
    waveform = np.concatenate([silence(0.5), tone(0.3), silence(gap), tone(0.3), silence(0.5)])
    assert len(bursts(waveform, RATE)) == n


def test_steady_sound_has_no_clear_onset() -> None:
    assert bursts(hiss(5.0, -20), RATE) == []


def test_an_isolated_event_cut_tight_is_one_burst() -> None:
    waveform = tone(0.7)
    assert bursts(waveform, RATE, isolated=True) == [(0, len(waveform))]


def test_silence_and_a_click_too_short_give_nothing() -> None:
    assert bursts(silence(1.0), RATE) == []
    click = silence(1.0)
    click[1_000] = 1.0
    assert bursts(click, RATE, Gate(hangover=0.0)) == []


def test_long_bursts_are_textures() -> None:
    assert bursts(np.concatenate([silence(1.0), tone(6.0)]), RATE) == []


def test_each_dcase_clip_is_one_event(real_data: Path) -> None:
    """One isolated event a file, as published: one burst that holds nearly all of its energy."""
    found = []
    kept = []
    for path in sorted((real_data / "dcase2016_task2" / "audio").glob("*.ogg")):
        recording = read(path)
        waveform = mono(recording)
        spans = bursts(waveform, recording.sample_rate, isolated=True)
        found.append(len(spans))
        energy = np.square(waveform, dtype=np.float64)
        kept.append(sum(energy[a:b].sum() for a, b in spans) / energy.sum())
    assert len(found) == 75
    assert np.mean(np.array(found) == 1) >= 0.9
    assert min(found) >= 1
    assert np.mean(np.array(kept) > 0.95) >= 0.95
