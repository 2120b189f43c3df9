"""Augmentation on the device, a batch at a time: masks, mix-up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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
