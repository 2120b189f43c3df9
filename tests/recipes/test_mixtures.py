"""Mixtures: what is mixed is what the labels say, without a loop over examples."""

import dataclasses

import numpy as np
import pytest
import torch

from recipes.bank import SAMPLE_RATE, Bank, describe, make_bank
from recipes.labels import LabelSets
from recipes.mixtures import Mixer, MixtureSettings
from recipes.recordings import Recording

LABELS = LabelSets(
    tags=("dog", "rain", "sea waves"), events=("dog",), environments=("rain", "sea shore")
)
PLAIN = MixtureSettings(
    speed_share=0.0, equalizer_share=0.0, room_share=0.0, low_pass_share=0.0, noise_share=0.0
)


def recording(label: str, index: int) -> Recording:
    return Recording(
        key=f"{label}-{index}.ogg", label=label, source=f"{label}:{index}", split="train",
        license="CC0", author="somebody", origin="here",
    )  # fmt: skip


@pytest.fixture(scope="module")
def bank() -> Bank:
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


def test_a_recording_of_silence_is_left_out() -> None:
    assert describe(recording("esc50/dog", 0), np.zeros(SAMPLE_RATE, np.float32)) is None


def test_shapes_and_ranges(bank: Bank) -> None:
    mixtures = Mixer(bank, seed=1).draw(24, 4.0)
    assert mixtures.clean.shape == mixtures.degraded.shape == (24, 4 * SAMPLE_RATE)
    assert mixtures.event.shape == (24, 25, 1)
    assert mixtures.tag.shape == (24, 3)
    assert torch.isfinite(mixtures.degraded).all()
    assert float(mixtures.clean.abs().max()) <= 1.0


def test_a_seed_gives_the_same_batch_and_another_another(bank: Bank) -> None:
    first, again, other = (Mixer(bank, seed=s).draw(8, 2.0).degraded for s in (3, 3, 4))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)


def test_without_degradation_both_networks_hear_the_same(bank: Bank) -> None:
    mixer = Mixer(bank, PLAIN, seed=2)
    mixtures = mixer.draw(40, 2.0)
    same = (mixtures.clean - mixtures.degraded).abs().amax(dim=1) < 1e-4
    assert int(same.sum()) >= 30  # a tenth has an offset


def test_events_are_loud_where_they_are_said_to_be(bank: Bank) -> None:
    settings = dataclasses.replace(
        PLAIN, synthetic=0.01, soundscapes=0.95, environments=0.0, event_level=(30.0, 30.0)
    )
    mixtures = Mixer(bank, settings, seed=5).draw(16, 8.0)
    rows = mixtures.event_known & mixtures.event.any(dim=1)[:, 0]
    step = round(0.16 * SAMPLE_RATE)
    power = mixtures.clean[rows].unfold(1, step, step).square().mean(dim=2)
    active = mixtures.event[rows, :, 0] > 0
    n = min(power.shape[1], active.shape[1])
    inside = power[:, :n][active[:, :n]].median()
    outside = power[:, :n][~active[:, :n]].median()
    assert inside > 50 * outside


def test_rows_without_known_events_say_so(bank: Bank) -> None:
    settings = dataclasses.replace(PLAIN, synthetic=0.01, soundscapes=0.0, environments=0.96)
    mixtures = Mixer(bank, settings, seed=6).draw(32, 2.0)
    assert int(mixtures.event_known.sum()) == 1  # the synthetic row
    assert set(mixtures.scene.tolist()) <= {-1, 0, 1}
    known = mixtures.scene >= 0
    assert known.sum() > 8
    # The place is one of the tags: rain and sea waves follow the dog.
    rows = torch.arange(32)[known]
    assert bool(mixtures.tag[rows, 1 + mixtures.scene[known]].all())
