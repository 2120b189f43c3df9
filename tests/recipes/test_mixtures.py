"""Mixtures: what is mixed is what the labels say, without a loop over examples."""

import dataclasses

import numpy as np
import torch

from recipes.bank import SAMPLE_RATE, Bank, describe
from recipes.mixtures import MixtureSampler, MixtureSettings
from recipes.recordings import LabeledClip

PLAIN = MixtureSettings(
    speed_share=0.0, equalizer_share=0.0, room_share=0.0, low_pass_share=0.0, noise_share=0.0
)


def test_a_recording_of_silence_is_left_out() -> None:
    recording = LabeledClip("a.ogg", "esc50/dog", "a", "train", "CC0", author="", title="")
    assert describe(recording, np.zeros(SAMPLE_RATE, np.float32)) is None


def test_shapes_and_ranges(bank: Bank) -> None:
    mixtures = MixtureSampler(bank, seed=1).draw(24, 4.0)
    assert mixtures.clean.shape == mixtures.degraded.shape == (24, 4 * SAMPLE_RATE)
    assert mixtures.event.shape == (24, 25, 1)
    assert mixtures.tag.shape == (24, 3)
    assert torch.isfinite(mixtures.degraded).all()
    assert float(mixtures.clean.abs().max()) <= 1.0


def test_a_seed_gives_the_same_batch_and_another_another(bank: Bank) -> None:
    first, again, other = (MixtureSampler(bank, seed=s).draw(8, 2.0).degraded for s in (3, 3, 4))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)


def test_small_batches_have_no_more_noise_than_large_ones(bank: Bank) -> None:
    settings = dataclasses.replace(PLAIN, synthetic=0.05, soundscapes=0.0, environments=0.0)
    mixer = MixtureSampler(bank, settings, seed=1)
    synthetic = sum(int(mixer.draw(4, 0.5).event_known.sum()) for _ in range(100))
    assert 10 <= synthetic <= 30  # 20 of 400 rows


def test_without_degradation_both_networks_read_the_same(bank: Bank) -> None:
    mixer = MixtureSampler(bank, PLAIN, seed=2)
    mixtures = mixer.draw(40, 2.0)
    same = (mixtures.clean - mixtures.degraded).abs().amax(dim=1) < 1e-4
    assert int(same.sum()) >= 30  # a tenth has an offset


def test_events_are_loud_where_the_targets_put_them(bank: Bank) -> None:
    settings = dataclasses.replace(
        PLAIN, synthetic=0.01, soundscapes=0.95, environments=0.0, event_level=(30.0, 30.0)
    )
    mixtures = MixtureSampler(bank, settings, seed=5).draw(16, 8.0)
    rows = mixtures.event_known & mixtures.event.any(dim=1)[:, 0]
    step = round(0.16 * SAMPLE_RATE)
    power = mixtures.clean[rows].unfold(1, step, step).square().mean(dim=2)
    active = mixtures.event[rows, :, 0] > 0
    n = min(power.shape[1], active.shape[1])
    inside = power[:, :n][active[:, :n]].median()
    outside = power[:, :n][~active[:, :n]].median()
    assert inside > 50 * outside


def test_rows_without_known_events_say_so(bank: Bank) -> None:
    settings = dataclasses.replace(PLAIN, synthetic=1 / 32, soundscapes=0.0, environments=0.96)
    mixtures = MixtureSampler(bank, settings, seed=6).draw(32, 2.0)
    assert int(mixtures.event_known.sum()) == 1  # the synthetic row
    assert set(mixtures.scene.tolist()) <= {-1, 0, 1}
    known = mixtures.scene >= 0
    assert known.sum() > 8
    # The place is one of the tags: rain and sea waves follow the dog.
    rows = torch.arange(32)[known]
    assert bool(mixtures.tag[rows, 1 + mixtures.scene[known]].all())


def with_bursts_of_noise(bank: Bank, seconds: float) -> Bank:
    n_samples = round(seconds * SAMPLE_RATE)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(-9_000, 9_000, (n_samples,), dtype=torch.int16, generator=generator)
    return dataclasses.replace(
        bank,
        samples=torch.cat((bank.samples, noise)),
        burst_start=torch.full_like(bank.burst_start, len(bank.samples)),
        burst_length=torch.full_like(bank.burst_length, n_samples),
    )


def test_each_event_of_a_soundscape_has_a_microphone_of_its_own(bank: Bank) -> None:
    noisy = with_bursts_of_noise(bank, seconds=0.5)

    def spread(equalizer_share: float) -> float:
        """Return by how many dB the balance of high and low differs between a row's events."""
        settings = dataclasses.replace(
            PLAIN, synthetic=0.0, soundscapes=1.0, environments=0.0, event_level=(60.0, 60.0),
            equalizer_share=equalizer_share,
        )  # fmt: skip
        mixtures = MixtureSampler(noisy, settings, seed=1).draw(16, 8.0)
        step = round(0.16 * SAMPLE_RATE)
        power = torch.fft.rfft(mixtures.clean.unfold(1, step, step)).abs().square()
        middle = power.shape[2] // 2
        balance = 10 * (power[..., middle:].sum(2) / power[..., 1:middle].sum(2)).log10()
        active = mixtures.event[:, : power.shape[1], 0] > 0
        rows = [row[on] for row, on in zip(balance, active, strict=True) if on.sum() > 6]
        return float(torch.stack([row.std() for row in rows]).mean())

    assert spread(0.0) < 0.5
    assert spread(1.0) > 1.5


def test_an_event_that_is_too_long_fades_where_its_label_ends(bank: Bank) -> None:
    long = with_bursts_of_noise(bank, seconds=5.0)
    settings = dataclasses.replace(
        PLAIN, speeds=(-4.0, -4.0), speed_share=1.0, synthetic=0.0, soundscapes=1.0,
        environments=0.0, events=1, event_level=(40.0, 40.0),
    )  # fmt: skip
    mixtures = MixtureSampler(long, settings, seed=1).draw(32, 12.0)
    step = round(0.16 * SAMPLE_RATE)
    power = mixtures.clean.unfold(1, step, step).square().mean(dim=2)
    active = mixtures.event[:, : power.shape[1], 0] > 0
    power = power[:, : active.shape[1]]
    assert int(active.sum(dim=1).max()) == 33  # 5.2 s
    loud = power > 0.01 * power.amax(dim=1, keepdim=True)
    rows = active.any(dim=1)
    assert float((loud == active)[rows].float().mean()) > 0.98
