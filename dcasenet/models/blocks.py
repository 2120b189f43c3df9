"""The pieces that the three architectures are made of."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.spec import scaled

# Channels of the convolution blocks and of the scene branch, widths of the scene's code and of the
# dense layers: the paper's Section 4.2 and the released layout, all multiplied by `width`.
BACKBONE_CHANNELS = (64, 128, 256)
SCENE_CHANNELS = 384
SCENE_CODE = 128
DENSE = 1024

# Number of axes a block works over → its convolution and batch norm.
CONVOLUTIONS: dict[int, tuple[type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.BatchNorm1d),
    2: (nn.Conv2d, nn.BatchNorm2d),
}


class ConvBlock(nn.Module):
    """Two 3×3 convolutions, each with batch norm and ReLU, then average pooling.

    The block of Cao et al. [21 in the paper] that all three architectures are built on.

    Args:
        n_in: Channels in.
        n_out: Channels out.
        pool: Pooling (mel bins, frames).

    Shape:
        - Input: (batch, n_in, mel, frames).
        - Output: (batch, n_out, mel // pool[0], frames // pool[1]).

    Example:
        >>> ConvBlock(1, 4, pool=(2, 5))(torch.randn(1, 1, 16, 40)).shape
        torch.Size([1, 4, 8, 8])
    """

    def __init__(self, n_in: int, n_out: int, pool: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        self.pool = pool
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        return nnf.avg_pool2d(self.convolve(x), self.pool)

    def convolve(self, x: Tensor) -> Tensor:
        """Run the block up to its pooling."""
        x = nnf.relu(self.norm1(self.conv1(x)))
        return nnf.relu(self.norm2(self.conv2(x)))


class SqueezeExcitation(nn.Module):
    """Weigh each channel by what the whole map holds: mean, two linears, sigmoid.

    Args:
        channels: Channels in and out.
        reduction: The inner layer has ``channels // reduction`` (the authors' 16).
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.excite = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (batch, channels, …)."""
        gain = torch.sigmoid(self.excite(nnf.relu(self.squeeze(x.flatten(2).mean(dim=2)))))
        return x * gain.reshape(*gain.shape, *(1,) * (x.dim() - 2))


class ResidualBlock(nn.Module):
    """Two convolutions 3 wide with batch norm, squeeze-and-excitation, and a way around them.

    Where the shape changes, the way around is a convolution 1 wide with batch norm. The basic
    block of the authors' scene branch (their previous work, [12] in the paper).

    Args:
        n_in: Channels in.
        n_out: Channels out.
        stride: Of the first convolution, over every axis.
        axes: 2 for a map (mel bins, frames), 1 for a sequence (steps).

    Shape:
        - Input: (batch, n_in, mel, frames) or (batch, n_in, steps).
        - Output: (batch, n_out, …), each further axis ceil(size / stride).

    Example:
        >>> ResidualBlock(16, 32, stride=2)(torch.randn(1, 16, 8, 5)).shape
        torch.Size([1, 32, 4, 3])
    """

    def __init__(self, n_in: int, n_out: int, stride: int = 1, axes: int = 2) -> None:
        super().__init__()
        conv, norm = CONVOLUTIONS[axes]
        self.conv1 = conv(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = norm(n_out)
        self.conv2 = conv(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = norm(n_out)
        self.attention = SqueezeExcitation(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                conv(n_in, n_out, 1, stride=stride, bias=False), norm(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        y = nnf.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnf.relu(self.attention(y) + self.shortcut(x))


class BiGru(nn.GRU):
    """One bidirectional GRU layer, (batch, steps, n_in) to (batch, steps, 2 × n_hidden)."""

    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__(n_in, n_hidden, batch_first=True, bidirectional=True)


def backbone(width: float) -> nn.Sequential:
    """Build the three convolution blocks that every architecture begins with."""
    sizes = [1, *(scaled(size, width) for size in BACKBONE_CHANNELS)]
    return nn.Sequential(*(ConvBlock(*pair) for pair in pairwise(sizes)))


def tag_head(n_in: int, n_dense: int, n_tags: int) -> nn.Sequential:
    """Build the "Dense" of the paper's Figure 1: two layers with ReLU and dropout, then logits.

    Two fully connected layers (1,024 nodes each, Section 4.2), the dropout rates of the authors'
    code.
    """
    return nn.Sequential(
        nn.Linear(n_in, n_dense),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(n_dense, n_dense),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(n_dense, n_tags),
    )


def initialize(module: nn.Module) -> None:
    """Draw one module's weights as the authors do; for `torch.nn.Module.apply`.

    Convolutions: Kaiming uniform for a leaky ReLU of slope 0. Batch norm: gain N(1, 0.02). GRU,
    forward direction only (the authors leave the backward direction at torch's default): input
    matrices and the recurrent r and z uniform ±sqrt(3 / fan_in), recurrent n orthogonal, biases 0.
    Linear layers keep torch's default, but for the event head (see `initialize_all`).
    """
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="leaky_relu")
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.GRU):
        input_matrices, recurrent, *biases = module.all_weights[0]
        _lecun_uniform(input_matrices)
        reset, update, new = recurrent.chunk(3)
        _lecun_uniform(reset)
        _lecun_uniform(update)
        nn.init.orthogonal_(new)
        for bias in biases:
            nn.init.zeros_(bias)


def _lecun_uniform(weight: Tensor) -> None:
    bound = (3.0 / weight.shape[1]) ** 0.5
    nn.init.uniform_(weight, -bound, bound)


def initialize_all(network: nn.Module, event_head: nn.Linear) -> None:
    """Draw a whole network's weights as the authors do; on the meta device there are none."""
    if event_head.weight.is_meta:  # a checkpoint's weights are about to take their place
        return
    network.apply(initialize)
    nn.init.kaiming_uniform_(event_head.weight, nonlinearity="leaky_relu")
    nn.init.zeros_(event_head.bias)
