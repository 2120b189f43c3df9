from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from dcasenet.errors import DcasenetError
from dcasenet.train.data.soundscapes import Burst, Mix, Mixer, loop
from dcasenet.train.data.store import WaveformStore
from recipes.recordings import LabeledClip

RATE = 24_000
MakeClip = Callable[..., LabeledClip]
MakeStore = Callable[..., WaveformStore]


@pytest.fixture
def mixer(make_clip: MakeClip, make_store: MakeStore) -> Callable[[Mix], Mixer]:
    """Half-second tones of four labels over a quiet hiss."""
    random = np.random.default_rng(0)
    hiss = make_clip("hiss.ogg", "ambience/rain")
    waveforms = {hiss: (0.01 * random.standard_normal(3 * RATE)).astype(np.float32)}
    time = np.arange(RATE // 2) / RATE
    for k in range(4):
        tone = np.sin(2 * np.pi * 1_000 * (k + 1) * time)
        waveforms[make_clip(f"{k}.ogg", f"esc50/{k}")] = tone.astype(np.float32)
    store = make_store(waveforms)
    clips = [clip for clip in waveforms if clip is not hiss]
    events = [Burst(clip, 0, RATE // 2, k) for k, clip in enumerate(clips)]
    return lambda mix: Mixer(events, [hiss], store, mix)


def test_the_same_seed_gives_the_same_mixture(mixer: Callable[[Mix], Mixer]) -> None:
    for seed in ([1, 2, 3], [0]):
        first, again = (mixer(Mix(duration=10.0)).soundscape(seed) for _ in "ab")
        assert np.array_equal(first.waveform, again.waveform)
        assert first.events == again.events
    other = mixer(Mix(duration=10.0)).soundscape([1, 2, 4])
    assert not np.array_equal(first.waveform, other.waveform)


def test_energy_is_where_the_truth_says(mixer: Callable[[Mix], Mixer]) -> None:
    soundscape = mixer(Mix(duration=20.0, rate=(6, 6), snr=(20, 20), polyphony=1)).soundscape([5])
    assert soundscape.events
    active = np.zeros(len(soundscape.waveform), bool)
    for event in soundscape.events:
        active[round(event.onset * RATE) : round(event.offset * RATE)] = True
    power = np.square(soundscape.waveform, dtype=np.float64)
    contrast = 10 * np.log10(power[active].mean() / power[~active].mean())
    assert contrast == pytest.approx(20.0, abs=1.0)


def test_each_event_has_its_label_and_its_level(mixer: Callable[[Mix], Mixer]) -> None:
    soundscape = mixer(Mix(duration=20.0, rate=(9, 9), snr=(20, 20))).soundscape([6])
    for event in soundscape.events:
        seen = soundscape.waveform[round(event.onset * RATE) : round(event.offset * RATE)]
        spectrum = np.abs(np.fft.rfft(seen))
        strength = [spectrum[round(1_000 * (k + 1) * len(seen) / RATE)] for k in range(4)]
        # The loudest tone is the event's, or that of one it overlaps: its own is far above hiss.
        assert strength[event.label] > 20 * np.median(spectrum)


@pytest.mark.parametrize("polyphony", [1, 2, 3])
def test_never_more_events_at_once_than_allowed(
    mixer: Callable[[Mix], Mixer], polyphony: int
) -> None:
    crowded = mixer(Mix(duration=10.0, rate=(300, 300), polyphony=polyphony))
    for seed in range(5):
        events = crowded.soundscape([seed]).events
        at_once = [sum(e.onset <= f.onset < e.offset for e in events) for f in events]
        assert max(at_once) == polyphony


def test_an_event_never_overlaps_its_own_label(mixer: Callable[[Mix], Mixer]) -> None:
    events = mixer(Mix(duration=10.0, rate=(200, 200))).soundscape([0]).events
    for label in range(4):
        own = [event for event in events if event.label == label]
        assert all(a.offset <= b.onset for a, b in pairwise(own))


def test_samples_stay_within_full_scale(mixer: Callable[[Mix], Mixer]) -> None:
    loud = mixer(Mix(duration=10.0, level=(-6, -6), snr=(20, 20)))
    assert all(np.abs(loud.soundscape([seed]).waveform).max() <= 0.991 for seed in range(3))


def test_two_splits_are_not_mixed(make_clip: MakeClip, make_store: MakeStore) -> None:
    train, test = make_clip("a", "esc50/dog"), make_clip("b", "ambience/rain", split="test")
    store = make_store(dict.fromkeys((train, test), np.ones(100, np.float32)))
    with pytest.raises(DcasenetError, match="all of one split"):
        Mixer([Burst(train, 0, 100, 0)], [test], store)


def test_a_short_background_is_repeated_without_a_seam() -> None:
    time = np.arange(1_000) / 1_000
    slow = np.sin(2 * np.pi * 3 * time).astype(np.float32) + 2
    looped = loop(slow, 5_000, overlap=250, random=np.random.default_rng(0))
    assert len(looped) == 5_000
    assert np.abs(np.diff(looped)).max() < 0.05
