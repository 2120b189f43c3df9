"""Build a model for ONNX export: the front end in supported operations, batch norm folded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from math import gcd
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.models.frontend import MIN_FRAMES, LogMel
from dcasenet.models.fused import FusedPart, fuse
from dcasenet.onnx.runtime import EMBEDDING, embedding_of
from dcasenet.spec import Task

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel

# The Fourier transform has two steps, over every 32nd sample and then over the 32 results, which
# takes a sixth of the arithmetic of one step. 16 and 64 are no faster.
STRIDE = 32


class GraphLogMel(nn.Module):
    """`LogMel` in operations that ONNX has: the Fourier transform is computed as matrix products.

    With n = R·a + b and k = p + (N / R)·q, the transform Σ x[n] e^(−2πi·n·k / N) of a frame is
    Σ_b e^(−2πi·b·q / R) · Σ_a x[n] e^(−2πi·n·p / N): for each b a product with a matrix over a and
    p, and then one over b for all. For real samples, half of the values of p are enough.

    The matrices are computed in the graph, which keeps the file small.

    Args:
        frontend: The front end to reproduce.

    Shape:
        - Input: (batch, samples), at least ``n_fft // 2 + 2`` samples.
        - Output: (batch, n_mels, frames), at least 40 frames.
    """

    samples: Tensor
    bins: Tensor
    window: Tensor
    strides: Tensor
    filters: Tensor

    def __init__(self, frontend: LogMel) -> None:
        super().__init__()
        s = frontend.settings
        self.frontend = frontend
        self.stride = gcd(s.n_fft, s.hop_length, STRIDE)
        self.blocks = -(-s.win_length // s.hop_length)  # number of hops that a frame spans
        size = self.blocks * s.hop_length
        # Buffers, since constants from plain numbers are computed while tracing and stored.
        self.register_buffer("samples", torch.arange(size).view(-1, self.stride).T.contiguous())
        self.register_buffer("bins", torch.arange(s.n_fft // self.stride // 2 + 1))
        self.register_buffer("strides", torch.arange(self.stride))
        window = nnf.pad(frontend.window, (0, size - s.win_length))
        self.register_buffer("window", window.view(-1, self.stride).T.contiguous())
        self.register_buffer("filters", self._reordered(frontend.mel_filters))
        self.to(frontend.window.device)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the normalized log-mel of each waveform."""
        return self.frontend.normalize(self.frontend.compress(_doubled(self.mel(waveform))))

    def mel(self, waveform: Tensor) -> Tensor:
        """Return the mel power, (batch, n_mels, frames)."""
        s = self.frontend.settings
        if s.normalization == "level":
            waveform = waveform - waveform.mean(dim=1, keepdim=True)
        emphasised = waveform[:, 1:] - s.pre_emphasis * waveform[:, :-1]
        # The window is shorter than the transform: padding outside of the window is not needed.
        before = (s.n_fft - s.win_length) // 2
        after = s.n_fft - s.win_length - before
        edges = (s.n_fft // 2 - before, s.n_fft // 2 - after)
        padded = nnf.pad(emphasised[:, None], edges, mode="reflect")[:, 0]
        mel = self.filters @ self._power(padded)
        return mel.reshape(s.n_mels, waveform.shape[0], -1).transpose(0, 1)

    def _power(self, padded: Tensor) -> Tensor:
        """Return the power spectrum of every frame, (bins as `_reordered`, batch × frames)."""
        s = self.frontend.settings
        # Frames end within the samples, but their last hop may not; its excess has weight 0.
        n_frames = (padded.shape[1] - s.win_length) // s.hop_length + 1
        needed = (n_frames + self.blocks - 1) * s.hop_length
        padded = nnf.pad(padded, (0, self.blocks * s.hop_length - s.win_length))[:, :needed]
        # One axis at a time: runtimes are several times slower when all are moved at once.
        hops = padded.reshape(-1, s.hop_length).T
        hops = hops.reshape(-1, self.stride, padded.shape[0], needed // s.hop_length)
        hops = hops.transpose(0, 1)  # (stride, part of a hop, batch, hops)
        frames = torch.cat([hops[..., i : i + n_frames] for i in range(self.blocks)], dim=1)
        first = self._first() @ frames.flatten(2)  # (2, stride, bins, batch × frames)
        second = self._second() @ first.reshape(2 * self.stride, -1)
        real, imaginary = second.square().chunk(2)
        return (real + imaginary).reshape(self.filters.shape[1], -1)

    def _first(self) -> Tensor:
        """Return the windowed cosines and sines, (2, stride, bins, samples of a stride)."""
        n_fft = self.frontend.settings.n_fft
        # Full turns are removed while the phase is an integer, which avoids rounding.
        turns = (self.bins[:, None] * self.samples[:, None]) % n_fft
        phase = turns.float() * (2 * torch.pi / n_fft)
        window = self.window[:, None]
        return torch.stack((phase.cos() * window, -(phase.sin() * window)))

    def _second(self) -> Tensor:
        """Return the matrix over the strides, (2 × stride, 2 × stride), real parts first."""
        turns = (self.strides[:, None] * self.strides) % self.stride
        phase = turns.float() * (2 * torch.pi / self.stride)
        cos, sin = phase.cos(), phase.sin()
        return torch.cat((torch.cat((cos, sin), dim=1), torch.cat((-sin, cos), dim=1)))

    def _reordered(self, filters: Tensor) -> Tensor:
        """Order the columns of a filter bank like the bins of `_power`; repeated ones are 0."""
        n_fft = self.frontend.settings.n_fft
        step = n_fft // self.stride
        bins = (self.strides[:, None] * step + self.bins).flatten()
        order = torch.minimum(bins % n_fft, -bins % n_fft).tolist()
        reordered = filters.new_zeros(len(filters), len(order))
        for index, column in {index: column for column, index in enumerate(order)}.items():
            reordered[:, column] = filters[:, index]
        return reordered


class Graph(nn.Module):
    """Map a waveform to the logits of each task and the embeddings, in the order of `names`.

    Args:
        model: The model; it is not changed, and most of its parameters are shared.
        tasks: Tasks whose logits are outputs.
    """

    def __init__(self, model: SoundModel, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.log_mel = GraphLogMel(model.frontend)
        self.tasks = tuple(tasks)
        # A scene alone is computed without the embedding, which tells how familiar a window is.
        self.requested = self.tasks if model.spec.familiarity is None else (*self.tasks, "event")
        self.names: list[str] = []
        networks = {
            task: _whole(network)
            for task, network in model.networks.items()
            if task in (None, *tasks)
        }
        self.network = networks.get(None)
        self.members = nn.ModuleDict({task: own for task, own in networks.items() if task})

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Return the outputs for a batch of waveforms."""
        log_mel = self.log_mel(waveform)
        answers: dict[str, Tensor] = {}
        if self.network is not None:
            outputs = self.network(log_mel, tasks=self.requested)
            answers |= {task: getattr(outputs, task) for task in self.tasks}
            if outputs.embedding is not None:
                answers[EMBEDDING] = outputs.embedding
        for task in self.tasks if self.members else ():
            # If events are requested as well, no network omits its embedding.
            outputs = self.members[task](log_mel, tasks=(task, "event"))
            answers[task] = getattr(outputs, task)
            answers[embedding_of(task)] = outputs.embedding
        self.names = list(answers)
        return list(answers.values())


def _whole(network: nn.Module) -> nn.Module:
    """Return a network for the graph: batch norm folded, batches never split."""
    fused = fuse(network)
    if fused is network:
        shared = {id(t): t for t in (*network.parameters(), *network.buffers())}
        return copy.deepcopy(network, shared).eval()
    for part in fused.modules():
        if isinstance(part, FusedPart):
            part.in_pieces = False
    return fused


def _doubled(mel: Tensor) -> Tensor:
    """Double the frames until there are at least 40, for any number of frames."""
    frames = mel.shape[-1]
    repeats = 1
    for times in (1, 2, 4, 8, 16, 32):
        repeats = repeats + times * (times * frames < MIN_FRAMES)
    return mel.repeat(1, 1, repeats)
