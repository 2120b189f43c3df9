"""The teacher: EfficientAT's mn04, a MobileNetV3 that tags with AudioSet's 527 labels.

Schmid, Koutini and Widmer, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
Distillation", ICASSP 2023; weights ``mn04_as_mAP_432.pt`` of release v0.0.1 of
fschmid56/EfficientAT (MIT license), as safetensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from safetensors.torch import load_file
from torch import Tensor, nn

from dcasenet.errors import WeightsError
from dcasenet.models.fused import fold

SAMPLE_RATE = 32_000
# From one column of the map to the next: 32 frames of 10 ms.
COLUMN = 0.32
N_FFT, WIN_LENGTH, HOP_LENGTH = 1024, 800, 320
N_MELS, MAX_FREQUENCY = 128, 15_000.0
WHERE = (
    "It is the release file mn04_as_mAP_432.pt of v0.0.1 of fschmid56/EfficientAT on GitHub; save "
    "its state dict with safetensors.torch.save_file."
)


class TeacherOutputs(NamedTuple):
    """What the teacher says of a batch.

    Attributes:
        tag: Logits of the clip, (batch, 527).
        columns: Logits every 0.32 s, (batch, columns, 527).
        embedding: Mean of the last map, (batch, 384).
        column_embedding: Mean of the last map over the mel axis, (batch, columns, 384).
    """

    tag: Tensor
    columns: Tensor
    embedding: Tensor
    column_embedding: Tensor


@dataclass(frozen=True)
class _Block:
    """One inverted residual block, as MobileNetV3-large's table has it."""

    kernel: int
    expansion: int
    out: int
    stride: int


class LogMel32(nn.Module):
    """The teacher's front end: (batch, samples) at 32 kHz to (batch, 128, frames).

    Pre-emphasis 0.97, power spectrum of 25 ms every 10 ms, Kaldi's mel scale up to 15 kHz.
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(WIN_LENGTH, periodic=False)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", _kaldi_filters(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the normalized log-mel of each waveform."""
        emphasized = waveform[:, 1:] - 0.97 * waveform[:, :-1]
        spectrum = torch.stft(
            emphasized,
            N_FFT,
            HOP_LENGTH,
            WIN_LENGTH,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return ((self.filters @ power + 1e-5).log() + 4.5) / 5.0


def _kaldi_filters() -> Tensor:
    """Return Kaldi's triangles, (128, 513), linear in mel between their edges."""
    top = 1127.0 * log(1.0 + MAX_FREQUENCY / 700.0)
    edges = torch.linspace(0.0, top, N_MELS + 2, dtype=torch.float64)
    hertz = torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / N_FFT
    mels = 1127.0 * (1.0 + hertz / 700.0).log()
    rising = (mels - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - mels) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    filters[:, -1] = 0.0  # Kaldi leaves the Nyquist bin out
    return filters.float()


class ChannelSqueezeExcitation(nn.Module):
    """Channel weights from the mean over the map."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, inner)
        self.fc2 = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (batch, channels, mel, frames)."""
        gain = torch.sigmoid(self.fc2(nnf.relu(self.fc1(x.mean(dim=(2, 3))))))
        return x * gain[:, :, None, None]


def _convolution(
    n_in: int, n_out: int, kernel: int, stride: int, groups: int, activation: type[nn.Module] | None
) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(n_out, eps=1e-3)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, weigh the channels, project; add the input if sizes agree."""

    def __init__(self, n_in: int, block: _Block, squeeze: int | None, last_relu: bool) -> None:
        super().__init__()
        activation = nn.ReLU if last_relu else nn.Hardswish
        layers: list[nn.Module] = []
        if block.expansion != n_in:
            layers.append(_convolution(n_in, block.expansion, 1, 1, 1, activation))
        layers.append(
            _convolution(
                block.expansion, block.expansion, block.kernel, block.stride,
                block.expansion, activation,
            )
        )  # fmt: skip
        if squeeze is not None:
            layers.append(_ConcurrentSqueeze(block.expansion, squeeze))
        layers.append(_convolution(block.expansion, block.out, 1, 1, 1, None))
        self.block = nn.Sequential(*layers)
        self.around = block.stride == 1 and n_in == block.out

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        y: Tensor = self.block(x)
        return x + y if self.around else y


class _ConcurrentSqueeze(nn.Module):
    """Channel weights in a list of one, as the names of the authors' state dict have it."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([ChannelSqueezeExcitation(channels, inner)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.conc_se_layers:
            x = layer(x)
        return x


# Strides of MobileNetV3-large's fifteen blocks, and how many of them use ReLU.
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1)
RELU_BLOCKS = 6


class Teacher(nn.Module):
    """mn04, or any width whose state dict has the same names.

    Args:
        shapes: Parameter name → shape; kernel sizes and widths are read from it.

    Shape:
        - Input: (batch, samples) at 32 kHz.
    """

    def __init__(self, shapes: dict[str, torch.Size]) -> None:
        super().__init__()
        self.frontend = LogMel32()
        stem = shapes["features.0.0.weight"][0]
        features: list[nn.Module] = [_convolution(1, stem, 3, 2, 1, nn.Hardswish)]
        n_in = stem
        for index, stride in enumerate(STRIDES, start=1):
            block, squeeze = _read_block(shapes, index, stride)
            features.append(InvertedResidual(n_in, block, squeeze, index <= RELU_BLOCKS))
            n_in = block.out
        last = shapes["features.16.0.weight"][0]
        features.append(_convolution(n_in, last, 1, 1, 1, nn.Hardswish))
        self.features = nn.Sequential(*features)
        hidden, n_tags = shapes["classifier.2.weight"][0], shapes["classifier.5.weight"][0]
        # Pooling, flattening and dropout hold places 0, 1 and 4 of the authors' head.
        self.classifier = nn.ModuleDict(
            {"2": nn.Linear(last, hidden), "5": nn.Linear(hidden, n_tags)}
        )

    def forward(self, waveform: Tensor) -> TeacherOutputs:
        """Tag each waveform as a whole and every 0.32 s."""
        return self.infer(self.frontend(waveform))

    def infer(self, log_mel: Tensor) -> TeacherOutputs:
        """Tag from the log-mel, (batch, 128, frames)."""
        features = self.features(log_mel[:, None])
        columns = features.mean(dim=2).transpose(1, 2)
        embedding = columns.mean(dim=1)
        return TeacherOutputs(self.head(embedding), self.head(columns), embedding, columns)

    def head(self, x: Tensor) -> Tensor:
        """Return logits from an embedding, (…, 384) to (…, 527)."""
        logits: Tensor = self.classifier["5"](nnf.hardswish(self.classifier["2"](x)))
        return logits


def _read_block(
    shapes: dict[str, torch.Size], index: int, stride: int
) -> tuple[_Block, int | None]:
    """Read a block's kernel size and widths from the shapes of its weights."""
    prefix = f"features.{index}.block."
    convolutions = [
        shape
        for name, shape in shapes.items()
        if name.startswith(prefix) and name.endswith(".0.weight") and len(shape) == 4
    ]
    depthwise, projection = convolutions[-2], convolutions[-1]
    squeeze = [
        shape[0]
        for name, shape in shapes.items()
        if name.startswith(prefix) and name.endswith("fc1.weight")
    ]
    block = _Block(depthwise[-1], depthwise[0], projection[0], stride)
    return block, squeeze[0] if squeeze else None


def load_teacher(path: Path) -> Teacher:
    """Load the teacher, in evaluation mode and without gradients.

    Raises:
        WeightsError: The file is missing, or is not the teacher's.
    """
    if not path.is_file():
        raise WeightsError(f"There is no teacher at {path}. {WHERE}")
    state = load_file(path)
    try:
        teacher = Teacher({name: value.shape for name, value in state.items()})
        teacher.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise WeightsError(
            f"{path} does not hold the teacher's weights: {error}. {WHERE}"
        ) from None
    _fold(teacher.eval())
    return teacher.requires_grad_(False)


@torch.no_grad()
def _fold(teacher: Teacher) -> None:
    """Fold the batch norms into the convolutions before them: it never learns."""
    for module in teacher.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            module[0], module[1] = fold(module[0], module[1]), nn.Identity()
