"""An embedding every 40 ms, for benchmarks of timing: what `dcasenet.hear` and X-ARES share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.errors import AudioError
from dcasenet.inference.model import SoundModel
from dcasenet.inference.windowing import Grid, grid_of

# Frames of the log-mel in one step: the first block's pooling halves their rate, the second block's
# convolutions keep it.
FRAMES = 2
# Stretches of the mel axis that are averaged, each by itself, so that pitch is not lost.
BANDS = 8
# At most this many seconds of audio go through the network at once.
BATCH_SECONDS = 60.0


class FineEmbedding(nn.Module):
    """Waveforms to an embedding every 40 ms.

    Side by side: the map of the backbone's second block before it is pooled, averaged over eight
    bands of mel bins (what sounds at that moment), and the embedding, interpolated between the
    network's own steps (what it sounds like).

    Args:
        model: A loaded model; of one with a network for each task, the tags' is taken, or else the
            first.

    Attributes:
        sample_rate: Of the waveforms, in Hz.
        size: Length of an embedding.
        hop: From one embedding to the next, in seconds.

    Shape:
        - Input: (batch, samples), at least one sample.
        - Output: (batch, steps, size); step k is centered at k · hop + a quarter of the hop, and
          there are as many as have their centers in the recording, but at least one.
    """

    def __init__(self, model: SoundModel) -> None:
        super().__init__()
        settings = model.spec.frontend
        tasks = model.spec.tasks
        network = model.network_of("tag" if "tag" in tasks else tasks[0])
        self.frontend, self.network = model.frontend, network.eval()
        self.sample_rate = settings.sample_rate
        self.hop_samples = FRAMES * settings.hop_length
        self.per_step = model.spec.step_samples // self.hop_samples
        own = grid_of(model.spec, "event")
        self.grid = Grid(own.size, own.size // own.step * own.step, own.step)
        n_channels = network.trunk[1].conv2.out_channels  # type: ignore[union-attr,index]
        self.size = int(BANDS * n_channels + model.spec.embedding_size)

    @property
    def hop(self) -> float:
        """From one embedding to the next, in seconds."""
        return self.hop_samples / self.sample_rate

    def centers(self, n_samples: int) -> Tensor:
        """Return the center of each embedding of a recording, in seconds, float64 (steps,)."""
        n_steps = max(0, n_samples - self.hop_samples // 4) // self.hop_samples + 1
        centers = (torch.arange(n_steps, dtype=torch.float64) + 1 / 4) * self.hop
        return centers.clamp(max=n_samples / self.sample_rate)

    def forward(self, waveform: Tensor) -> Tensor:
        """Embed a batch of recordings of one length."""
        if waveform.dim() != 2 or 0 in waveform.shape:
            raise AudioError(
                f"The batch of waveforms has the shape {tuple(waveform.shape)}. Accepted is "
                f"(recordings, samples), at least one of each."
            )
        n_at_once = max(1, int(BATCH_SECONDS * self.sample_rate) // waveform.shape[1])
        return torch.cat([self._recordings(part) for part in torch.split(waveform, n_at_once)])

    def _recordings(self, waveform: Tensor) -> Tensor:
        """Embed recordings by windows side by side; the last one ends with them."""
        fine: list[Tensor] = []
        coarse: list[Tensor] = []
        for start, stop in self.grid.windows(waveform.shape[1]):
            first = start // self.hop_samples
            done = sum(part.shape[1] for part in fine), sum(part.shape[1] for part in coarse)
            maps, steps = self._window(waveform[:, start:stop])
            fine.append(maps[:, done[0] - first :])
            coarse.append(steps[:, done[1] - first // self.per_step :])
        return self._side_by_side(torch.cat(fine, 1), torch.cat(coarse, 1), waveform.shape[1])

    def _window(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Return a window's maps, averaged over bands, and its embeddings, both by step."""
        block: Any = self.network.trunk[1]  # type: ignore[index]
        with _output_of(block.norm2) as maps:
            embedding = self.network(self.frontend(waveform), tasks=()).embedding
        (fine,) = maps
        fine = nnf.relu(fine)  # (batch, channels, mel, steps)
        bands = nnf.adaptive_avg_pool2d(fine, (BANDS, fine.shape[3]))
        return bands.flatten(1, 2).transpose(1, 2), embedding

    def _side_by_side(self, fine: Tensor, coarse: Tensor, n_samples: int) -> Tensor:
        n_steps = len(self.centers(n_samples))
        # The first block's pooling drops an odd frame at the end, whose center is in the recording.
        fine = torch.cat((fine, fine[:, -1:]), dim=1)[:, :n_steps]
        # Where the centers of the fine steps lie among those of the network's own.
        offset = (self.per_step - 1) / 2
        steps = torch.arange(n_steps, device=fine.device, dtype=torch.float32)
        position = ((steps - offset) / self.per_step).clamp(0, coarse.shape[1] - 1)
        before = position.long().clamp(max=max(0, coarse.shape[1] - 2))
        after = (before + 1).clamp(max=coarse.shape[1] - 1)
        weight = (position - before)[None, :, None]
        return torch.cat((fine, torch.lerp(coarse[:, before], coarse[:, after], weight)), dim=2)


@contextmanager
def _output_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer gives while a network runs."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    handle = layer.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()
