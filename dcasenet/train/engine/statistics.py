"""The mean and deviation of each mel bin, which a fixed front end is given before training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from dcasenet.models.frontend import LogMel


def set_statistics(frontend: LogMel, batches: Iterable[Tensor]) -> None:
    """Set a fixed front end's mean and deviation per bin to those over all frames of some audio.

    Args:
        frontend: It is changed.
        batches: Waveforms, each (batch, samples).
    """
    total = torch.zeros(3, frontend.settings.n_mels, dtype=torch.float64)
    for waveforms in batches:
        log_mel = frontend.log_mel(waveforms).double()
        total[0] += log_mel.shape[0] * log_mel.shape[2]
        total[1] += log_mel.sum(dim=(0, 2))
        total[2] += log_mel.square().sum(dim=(0, 2))
    mean = total[1] / total[0]
    frontend.mean.copy_(mean)
    frontend.deviation.copy_((total[2] / total[0] - mean.square()).sqrt())


def needs_statistics(frontend: LogMel) -> bool:
    """Return whether a front end is fixed and has never been given its mean and deviation."""
    return (
        frontend.settings.normalization == "fixed"
        and not frontend.mean.any()
        and bool((frontend.deviation == 1).all())
    )
