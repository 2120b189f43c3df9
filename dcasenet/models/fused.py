"""The same network, faster: what inference runs in place of the plain one.

Batch norm is folded into the convolutions, activations are written in place and lie channels-last,
and the backbone takes a batch in pieces that a CPU's cache holds. The GRUs and the heads are not
copied: a fused network uses the plain network's own parameters for them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dcasenet.models.blocks import BiGru, ConvBlock, ResidualBlock, SqueezeExcitation
from dcasenet.models.dcasenet import NETWORKS

Convolution = TypeVar("Convolution", nn.Conv1d, nn.Conv2d)

# Log-mel frames that the backbone takes at once on a CPU: two clips of 10 s. Measured on batches of
# 8 such clips: one to four at a time are alike, and all 8 take a third longer in float32.
PIECE_FRAMES = 1002
# What a network may be made of for a fused one to do the same: anything else is run as it is.
KNOWN_PARTS = {
    *NETWORKS.values(),
    *(ConvBlock, ResidualBlock, SqueezeExcitation, BiGru, nn.Sequential, nn.ModuleDict),
    *(nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d),
    *(nn.Linear, nn.ReLU, nn.Dropout, nn.Identity),
}


class FusedConvBlock(nn.Module):
    """`ConvBlock` with its batch norms folded in."""

    def __init__(self, block: ConvBlock) -> None:
        super().__init__()
        self.pool = block.pool
        self.conv1 = fold(block.conv1, block.norm1)
        self.conv2 = fold(block.conv2, block.norm2)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        return nnf.avg_pool2d(self.convolve(x), self.pool)

    def convolve(self, x: Tensor) -> Tensor:
        """Run the block up to its pooling."""
        x = nnf.relu_(self.conv1(x)).to(self.conv2.weight.dtype)
        return nnf.relu_(self.conv2(x))


class FusedResidualBlock(nn.Module):
    """`ResidualBlock` with its batch norms folded in, that of the way around too."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv1 = fold(block.conv1, block.norm1)
        self.conv2 = fold(block.conv2, block.norm2)
        self.attention = copy.deepcopy(block.attention)
        self.shortcut = _fused(block.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        y = self.conv2(nnf.relu_(self.conv1(x)))
        return nnf.relu_(self.attention(y) + self.shortcut(x))


class FusedPart(nn.Module):
    """The convolutions between two points of a network, which may compute in another type.

    The convolution that reads the log-mel itself stays float32: with its weights in bfloat16
    probabilities of an earlier checkpoint moved by up to 0.06 (60 clips of ESC-50), without by
    0.006.
    """

    def __init__(self, part: nn.Module, dtype: torch.dtype, *, in_pieces: bool) -> None:
        super().__init__()
        self.in_pieces = in_pieces
        self.inner = _fused(part).requires_grad_(False)
        self.inner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        is_float32 = next(self.inner.parameters()).dtype == torch.float32
        for layer in self.inner.modules() if is_float32 else ():
            if not any(layer.children()) and getattr(layer, "in_channels", None) != 1:
                layer.to(dtype)
        self.dtype = next(self.inner.parameters()).dtype

    def forward(self, x: Tensor) -> Tensor:
        """Run the part, a batch in pieces if so told and on a CPU."""
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        if not (self.in_pieces and x.device.type == "cpu"):
            return self._run(x)
        pieces = torch.split(x, max(1, PIECE_FRAMES // x.shape[-1]))
        return torch.cat([self._run(piece) for piece in pieces])

    def _run(self, x: Tensor) -> Tensor:
        return self.inner(x.to(self.dtype)).to(x.dtype)  # type: ignore[no-any-return]

    @property
    def pool(self) -> tuple[int, int]:
        """The pooling (mel bins, frames) of a part that is one block."""
        return self.inner.pool  # type: ignore[return-value]

    def convolve(self, x: Tensor) -> Tensor:
        """Run a part that is one block up to its pooling."""
        x = x.contiguous(memory_format=torch.channels_last)
        return self.inner.convolve(x.to(self.dtype)).to(x.dtype)  # type: ignore[no-any-return,operator]


def fuse(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a network that does the same in evaluation mode, faster.

    It shares the parameters of the GRUs and the heads with the network, and has copies of those of
    the convolutions: after a change of weights, fuse again. A network that it could not stand in
    for is returned itself: one with hooks, patched, wrapped or compiled, or with modules that are
    not this package's.

    Args:
        network: It is not changed.
        dtype: What the convolutions of a float32 network compute in: ``torch.float32`` (within 1e-4
            of the plain network's logits) or ``torch.bfloat16``. All else keeps its own type, as
            does a network of another type altogether.

    Example:
        >>> from dcasenet.models.dcasenet import create
        >>> network = create("v3", width=0.25).eval()
        >>> fused, log_mel = fuse(network), torch.randn(2, 128, 251)
        >>> with torch.inference_mode():
        ...     bool((fused(log_mel).tag - network(log_mel).tag).abs().max() < 1e-4)
        True
    """
    if not _is_known(network):
        return network
    shared = {id(tensor): tensor for tensor in _tensors(network)}
    fused = copy.deepcopy(network, shared).eval()
    # Tensors that are made in inference mode could not be used outside it.
    with torch.inference_mode(mode=False), torch.no_grad():
        for name, part in _convolutional(network):
            setattr(fused, name, FusedPart(part, dtype, in_pieces=name == "trunk"))
    return fused


def fold(convolution: Convolution, norm: Any) -> Convolution:
    """Return one convolution that does what a convolution and its batch norm do in evaluation.

    Args:
        convolution: Kept as it is.
        norm: Its batch norm, with running statistics.

    Returns:
        A convolution with a bias: (w · g / σ), (b − μ) · g / σ + β.

    Example:
        >>> convolution, norm = nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3).eval()
        >>> x = torch.randn(1, 2, 5, 5)
        >>> torch.allclose(fold(convolution, norm)(x), norm(convolution(x)), atol=1e-5)
        True
    """
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    # The tensors are about to be replaced: no need to copy the ones that are there.
    shared = {id(tensor): tensor for tensor in convolution.parameters()}
    folded = copy.deepcopy(convolution, shared)
    folded.weight, folded.bias = weight, bias
    return folded


def _fused(module: nn.Module) -> nn.Module:
    if isinstance(module, ConvBlock):
        return FusedConvBlock(module)
    if isinstance(module, ResidualBlock):
        return FusedResidualBlock(module)
    if isinstance(module, nn.Sequential):
        layers: list[nn.Module] = []
        for layer in module:
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layers[-1] = fold(layers[-1], layer)  # type: ignore[type-var]
            else:
                layers.append(_fused(layer))
        return nn.Sequential(*layers)
    return copy.deepcopy(module)  # it is about to be cast, which the network's own may not be


def _convolutional(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Return the children of a network that hold convolutions: what a fused one has copies of."""
    for name, part in network.named_children():
        if any(isinstance(module, nn.Conv1d | nn.Conv2d) for module in part.modules()):
            yield name, part


def _is_known(network: nn.Module) -> bool:
    return type(network) in NETWORKS.values() and all(
        type(module) in KNOWN_PARTS
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and "forward" not in vars(module)
        and getattr(module, "running_mean", module) is not None
        for module in network.modules()
    )


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
