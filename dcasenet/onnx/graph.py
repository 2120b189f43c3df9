"""A model as an ONNX graph has it: the front end in plain operations, the network folded."""

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

# The Fourier transform is done in two steps, over every 32nd sample and then over the 32 results:
# a sixth of the arithmetic of one step. 16 and 64 are no faster.
STRIDE = 32


class GraphLogMel(nn.Module):
    """`LogMel` in operations that an ONNX graph has: the Fourier transform is matrix products.

    With n = R·a + b and k = p + (N / R)·q, the transform Σ x[n] e^(−2πi·n·k / N) of a frame is
    Σ_b e^(−2πi·b·q / R) · Σ_a x[n] e^(−2πi·n·p / N): for each b a product with a matrix of the a's
    and p's, and then one over the b's for all. Of real samples, half of the p's are enough.

    The matrices are computed in the graph, since the file need not hold what it can compute.

    Args:
        frontend: The front end to do the same as.

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
        self.blocks = -(-s.win_length // s.hop_length)  # of one hop each, that a frame spans
        size = self.blocks * s.hop_length
        # Buffers, since what is made of plain numbers is worked out while tracing and stored.
        self.register_buffer("samples", torch.arange(size).view(-1, self.stride).T.contiguous())
        self.register_buffer("bins", torch.arange(s.n_fft // self.stride // 2 + 1))
        self.register_buffer("strides", torch.arange(self.stride))
        window = nnf.pad(frontend.window, (0, size - s.win_length))
        self.register_buffer("window", window.view(-1, self.stride).T.contiguous())
        self.register_buffer("filters", self._reordered(frontend.mel_filters))
        self.to(frontend.window.device)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the normalized log-mel of each waveform of a batch."""
        return self.frontend.normalize(self.frontend.compress(_doubled(self.mel(waveform))))

    def mel(self, waveform: Tensor) -> Tensor:
        """Return mel power, (batch, n_mels, frames)."""
        s = self.frontend.settings
        if s.normalization == "level":
            waveform = waveform - waveform.mean(dim=1, keepdim=True)
        emphasised = waveform[:, 1:] - s.pre_emphasis * waveform[:, :-1]
        # The window is shorter than the transform: what it leaves out need not be padded.
        before = (s.n_fft - s.win_length) // 2
        after = s.n_fft - s.win_length - before
        edges = (s.n_fft // 2 - before, s.n_fft // 2 - after)
        padded = nnf.pad(emphasised[:, None], edges, mode="reflect")[:, 0]
        mel = self.filters @ self._power(padded)
        return mel.reshape(s.n_mels, waveform.shape[0], -1).transpose(0, 1)

    def _power(self, padded: Tensor) -> Tensor:
        """Return the power spectrum of every frame, (bins as `_reordered`, batch × frames)."""
        s = self.frontend.settings
        # Frames end within the samples, but whole blocks may not: what they read is weighted 0.
        n_frames = (padded.shape[1] - s.win_length) // s.hop_length + 1
        needed = (n_frames + self.blocks - 1) * s.hop_length
        padded = nnf.pad(padded, (0, self.blocks * s.hop_length - s.win_length))[:, :needed]
        # One axis at a time, which runtimes are several times as fast at as at all of them.
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
        # Whole turns are taken off while the phase is a whole number, so that none is rounded.
        turns = (self.bins[:, None] * self.samples[:, None]) % n_fft
        phase = turns.float() * (2 * torch.pi / n_fft)
        window = self.window[:, None]
        return torch.stack((phase.cos() * window, -(phase.sin() * window)))

    def _second(self) -> Tensor:
        """Return the matrix over the strides, (2 × stride, 2 × stride): real parts above."""
        turns = (self.strides[:, None] * self.strides) % self.stride
        phase = turns.float() * (2 * torch.pi / self.stride)
        cos, sin = phase.cos(), phase.sin()
        return torch.cat((torch.cat((cos, sin), dim=1), torch.cat((-sin, cos), dim=1)))

    def _reordered(self, filters: Tensor) -> Tensor:
        """Order the columns of a filter bank as `_power` orders the bins; what comes twice is 0."""
        n_fft = self.frontend.settings.n_fft
        step = n_fft // self.stride
        bins = (self.strides[:, None] * step + self.bins).flatten()
        order = torch.minimum(bins % n_fft, -bins % n_fft).tolist()
        reordered = filters.new_zeros(len(filters), len(order))
        for index, column in {index: column for column, index in enumerate(order)}.items():
            reordered[:, column] = filters[:, index]
        return reordered


class Graph(nn.Module):
    """Waveform in; the logits of each task and the embeddings out, in the order of `names`.

    Args:
        model: The model; it is not changed, and most of its parameters are not copied.
        tasks: Whose logits to give.
    """

    def __init__(self, model: SoundModel, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.log_mel = GraphLogMel(model.frontend)
        self.tasks = tuple(tasks)
        self.names: list[str] = []
        networks = model.networks
        self.network = _whole(networks[None]) if None in networks else None
        self.members = nn.ModuleDict()
        if self.network is None:
            self.members.update({task: _whole(networks[task]) for task in tasks})

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Answer a batch of waveforms."""
        log_mel = self.log_mel(waveform)
        answers: dict[str, Tensor] = {}
        if self.network is not None:
            outputs = self.network(log_mel, tasks=self.tasks)
            answers |= {task: getattr(outputs, task) for task in self.tasks}
            if outputs.embedding is not None:
                answers[EMBEDDING] = outputs.embedding
        for task in self.tasks if self.members else ():
            # With the events requested too, no network leaves its embedding out.
            outputs = self.members[task](log_mel, tasks=(task, "event"))
            answers[task] = getattr(outputs, task)
            answers[embedding_of(task)] = outputs.embedding
        self.names = list(answers)
        return list(answers.values())


def _whole(network: nn.Module) -> nn.Module:
    """Return a network as a graph has it: batch norm folded, a batch never cut in pieces."""
    fused = fuse(network)
    if fused is network:
        shared = {id(t): t for t in (*network.parameters(), *network.buffers())}
        return copy.deepcopy(network, shared).eval()
    for part in fused.modules():
        if isinstance(part, FusedPart):
            part.in_pieces = False
    return fused


def _doubled(mel: Tensor) -> Tensor:
    """Double the frames until there are 40, in a graph that was traced with any number of them."""
    frames = mel.shape[-1]
    repeats = 1
    for times in (1, 2, 4, 8, 16, 32):
        repeats = repeats + times * (times * frames < MIN_FRAMES)
    return mel.repeat(1, 1, repeats)
