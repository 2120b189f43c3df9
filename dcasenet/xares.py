"""An encoder for X-ARES, the eXtensive Audio Representation and Evaluation Suite.

From the folder of X-ARES' task files::

    python -m xares.run --max-jobs 8 dcasenet/xares.py tasks/*.py

`DcasenetEncoder` holds the default checkpoint; a subclass of one line, in a file of one's own,
holds another::

    class MyEncoder(dcasenet.xares.DcasenetEncoder):
        name = "my_model/"
"""

from __future__ import annotations

import os
from typing import ClassVar

import torch
from torch import Tensor, nn

from dcasenet.inference.fine import FineEmbedding
from dcasenet.loading import load


class DcasenetEncoder(nn.Module):
    """Waveforms to an embedding every 40 ms, by the protocol of X-ARES.

    Attributes:
        name: What `dcasenet.load` takes; None for the default checkpoint.
        sampling_rate: Rate of the waveforms, in Hz.
        output_dim: Length of an embedding.
        hop_size_in_ms: From one embedding to the next, in milliseconds.

    Shape:
        - Input: (batch, samples) or (samples,).
        - Output: (batch, steps, ``output_dim``) float32.

    Raises:
        UnknownModelError, WeightsError: See `dcasenet.load`.
        AudioError: The waveforms are of another shape.

    Example:
        >>> encoder = DcasenetEncoder()
        >>> encoder(torch.zeros(2, encoder.sampling_rate)).shape
        torch.Size([2, 25, 768])
    """

    name: ClassVar[str | os.PathLike[str] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.fine = FineEmbedding(load(self.name))
        self.sampling_rate = self.fine.sample_rate
        self.output_dim = self.fine.size
        self.hop_size_in_ms = 1_000 * self.fine.hop

    def forward(self, audio: Tensor) -> Tensor:
        """Embed a batch of waveforms."""
        with torch.no_grad():
            embeddings: Tensor = self.fine(audio[None] if audio.dim() == 1 else audio)
        return embeddings
