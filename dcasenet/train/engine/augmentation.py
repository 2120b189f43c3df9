"""Augmentation on the device, a batch at a time: low-pass, noise floor, masks, mix-up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Width of a low-pass's transition, as a share of its cut-off: about an MP3 encoder's.
TRANSITION = 0.05


def low_pass(waveforms: Tensor, cutoffs: Tensor, sample_rate: int) -> Tensor:
    """Low-pass each waveform at its own frequency, without phase.

    Args:
        waveforms: (batch, samples).
        cutoffs: Hz above which nothing remains, (batch,); infinity leaves a waveform as it is.
        sample_rate: In Hz.

    Returns:
        (batch, samples).
    """
    n_samples = waveforms.shape[-1]
    n_fft = 1 << (n_samples - 1).bit_length()
    spectrum = torch.fft.rfft(waveforms, n=n_fft)
    frequencies = torch.fft.rfftfreq(n_fft, 1 / sample_rate, device=waveforms.device)
    stop = cutoffs[:, None]
    position = (stop - frequencies) / (TRANSITION * stop)
    # Infinity over infinity: a waveform without a cut-off.
    gain = torch.nan_to_num(position, nan=1.0).clamp(0.0, 1.0)
    filtered: Tensor = torch.fft.irfft(spectrum * gain, n=n_fft)
    return filtered[:, :n_samples]


def random_cutoffs(
    n: int, share: float, frequencies: tuple[float, float], random: np.random.Generator
) -> Tensor:
    """Draw cut-offs in Hz, (n,), evenly between two; those not low-passed are infinite."""
    drawn = random.uniform(*frequencies, size=n)
    return torch.from_numpy(np.where(random.random(n) < share, drawn, np.inf)).float()


def noise_floor(
    waveforms: Tensor, share: float, levels: tuple[float, float], random: np.random.Generator
) -> Tensor:
    """Add white noise, to a share of the waveforms, at a level drawn in dBFS.

    Args:
        waveforms: (batch, samples).
        share: Share of the waveforms that get noise.
        levels: Lowest and highest level, in dBFS.
        random: Draws on the CPU, so that every device reads the same.
    """
    n, n_samples = waveforms.shape
    amplitude = 10 ** (random.uniform(*levels, size=n) / 20) * (random.random(n) < share)
    noise = random.standard_normal((n, n_samples), dtype=np.float32)
    noise *= amplitude[:, None].astype(np.float32)
    return waveforms + torch.from_numpy(noise).to(waveforms.device)


def mask(log_mel: Tensor, widest: tuple[int, int], random: np.random.Generator) -> Tensor:
    """Set a stretch of mel bins and one of frames of each example to 0, the normalized mean.

    SpecAugment (Park et al., 2019) with one mask of each kind.

    Args:
        log_mel: (batch, mel, frames).
        widest: Most mel bins and most frames of a mask.
        random: Draws on the CPU.
    """
    n = len(log_mel)
    for axis, most in zip((1, 2), widest, strict=True):
        size = log_mel.shape[axis]
        width = random.random((n, 1)) * min(most, size)
        start = random.random((n, 1)) * (size - width)
        at = np.arange(size)
        masked = torch.from_numpy((at >= start) & (at < start + width)).to(log_mel.device)
        log_mel = log_mel.masked_fill(masked[:, :, None] if axis == 1 else masked[:, None], 0.0)
    return log_mel


def mixup_weights(n: int, alpha: float, random: np.random.Generator) -> Tensor:
    """Draw each example's own share in its mixture, (n,), at least one half (Zhang et al., 2018).

    Beta(alpha, alpha); the larger share is the example's own. Alpha 0 gives ones.
    """
    if alpha == 0:
        return torch.ones(n)
    share = random.beta(alpha, alpha, size=n)
    return torch.from_numpy(np.maximum(share, 1 - share)).float()


def mixed(values: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Mix each example of a batch with another one: log-mels, or targets that losses are linear in.

    Args:
        values: (batch, …).
        own: Each example's own share, (batch,).
        other: Index of what each is mixed with, (batch,).

    Example:
        >>> mixed(torch.tensor([1.0, 0.0]), torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
        tensor([0.7500, 0.0000])
    """
    share = own.reshape(-1, *(1,) * (values.dim() - 1))
    return share * values + (1 - share) * values[other]
