import numpy as np
import pytest
import torch

from dcasenet.train.engine import augmentation

RATE = 24_000


def power_above(waveforms: torch.Tensor, frequency: float) -> torch.Tensor:
    spectrum = torch.fft.rfft(waveforms.double()).abs().square()
    frequencies = torch.fft.rfftfreq(waveforms.shape[-1], 1 / RATE)
    return spectrum[:, frequencies > frequency].sum(dim=1) / spectrum.sum(dim=1)


def test_low_pass_takes_what_is_above_and_leaves_what_is_below() -> None:
    noise = torch.randn(2, RATE, generator=torch.Generator().manual_seed(0))
    passed = augmentation.low_pass(noise, torch.tensor([4_000.0, torch.inf]), RATE)
    above = power_above(passed, 4_100.0)
    assert above[0] < 1e-4
    assert above[1] > 0.5
    assert torch.allclose(passed[1], noise[1], atol=1e-5)
    time = torch.arange(RATE) / RATE
    tone = torch.sin(2 * torch.pi * 1_000 * time)[None]
    kept = augmentation.low_pass(tone, torch.tensor([4_000.0]), RATE)
    assert torch.allclose(kept[:, 500:-500], tone[:, 500:-500], atol=1e-3)


def test_cutoffs_are_in_range_for_their_share() -> None:
    drawn = augmentation.random_cutoffs(2_000, 0.5, (3_000, 8_000), np.random.default_rng(0))
    finite = drawn[torch.isfinite(drawn)]
    assert len(finite) == pytest.approx(1_000, abs=100)
    assert finite.min() >= 3_000
    assert finite.max() <= 8_000


def test_noise_is_at_its_level() -> None:
    silent = torch.zeros(200, 4_800)
    noisy = augmentation.noise_floor(silent, 0.5, (-60, -60), np.random.default_rng(0))
    levels = 20 * torch.log10(noisy.square().mean(dim=1).sqrt())
    seen = torch.isfinite(levels)
    assert int(seen.sum()) == pytest.approx(100, abs=25)
    assert levels[seen] == pytest.approx(-60, abs=0.5)


def test_masks_are_no_wider_than_allowed() -> None:
    log_mel = torch.ones(50, 128, 250)
    masked = augmentation.mask(log_mel, (12, 25), np.random.default_rng(0)) == 0
    rows, columns = masked.all(dim=2).sum(dim=1), masked.all(dim=1).sum(dim=1)
    assert 0 < rows.max() <= 12 + 1
    assert 0 < columns.max() <= 25 + 1
    assert (log_mel == 1).all()  # the input is left alone


def test_own_share_of_a_mixture_is_the_larger() -> None:
    own = augmentation.mixup_weights(1_000, 0.4, np.random.default_rng(0))
    assert own.min() >= 0.5
    assert own.max() <= 1.0
    assert augmentation.mixup_weights(3, 0.0, np.random.default_rng(0)).tolist() == [1.0, 1.0, 1.0]
