"""The same network, faster: what inference runs in place of the plain one.

Batch norm is folded into the convolutions, activations are written in place and lie channels-last,
and the trunk takes a batch in pieces that a CPU's cache holds. The GRUs and the heads are not
copied: a twin uses the plain network's own parameters for them.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dcasenet.models.blocks import BiGru, ConvBlock, ResidualBlock, SqueezeExcitation
from dcasenet.models.dcasenet import NETWORKS

Convolution = TypeVar("Convolution", nn.Conv1d, nn.Conv2d)

# Log-mel frames that the trunk takes at once on a CPU: two clips of 10 s. Measured on batches of 8
# such clips: one to four at a time are alike, and all 8 take a third longer in float32.
PIECE_FRAMES = 1002
# What a network may be made of for its twin to do the same: anything else is run as it is.
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
        x = nnf.relu_(self.conv1(x)).to(self.conv2.weight.dtype)
        return nnf.avg_pool2d(nnf.relu_(self.conv2(x)), self.pool)


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
    """The convolutions between two points of a network: float32 in and out, inside as told.

    The convolution that reads the log-mel itself stays float32: with its weights in bfloat16
    probabilities move by up to 0.06 on the open checkpoint (60 clips of ESC-50), without by 0.006.
    """

    def __init__(self, part: nn.Module, dtype: torch.dtype, *, in_pieces: bool) -> None:
        super().__init__()
        self.in_pieces = in_pieces
        self.inner = _fused(part).requires_grad_(False)
        self.inner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for layer in self.inner.modules():
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
        return self.inner(x.to(self.dtype)).float()  # type: ignore[no-any-return]


class Twins:
    """Fast twins of plain networks, each made when its network is first asked for.

    A twin answers like its network in evaluation mode. It is made anew when the network's modules,
    parameters or buffers have changed in any way since: replaced, moved, cast, loaded or trained.
    A network that a twin could not stand in for is given back itself: one with hooks, patched,
    wrapped or compiled, or with modules that are not this package's.

    Args:
        dtype: What the convolutions compute in: ``torch.float32`` (within 1e-4 of the plain
            network's logits) or ``torch.bfloat16``. All else stays float32.

    Example:
        >>> from dcasenet.models.dcasenet import create
        >>> network, twins = create("v3", width=0.25).eval(), Twins()
        >>> log_mel = torch.randn(2, 128, 251)
        >>> with torch.inference_mode():
        ...     fast = twins.of(network)(log_mel, tasks=("tag",)).tag
        ...     bool((fast - network(log_mel).tag).abs().max() < 1e-4)
        True
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        # Weak, so that a network that is let go takes its twin along.
        self._made: WeakKeyDictionary[nn.Module, tuple[Snapshot, nn.Module]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, network: nn.Module) -> nn.Module:
        """Give what to run for a network: its twin as of now, or the network itself."""
        if not _is_known(network):
            return network
        made = self._made.get(network)
        if made is None or not made[0].holds(network):
            with self._lock:
                made = self._made.get(network)
                if made is None or not made[0].holds(network):
                    self._made.pop(network, None)  # two copies at once would be one too many
                    made = self._made[network] = Snapshot(network), _twin(network, self.dtype)
        return made[1]

    def __getstate__(self) -> torch.dtype:
        return self.dtype  # twins and locks are not copied or pickled: they are made again

    def __setstate__(self, dtype: torch.dtype) -> None:
        Twins.__init__(self, dtype)


class Snapshot:
    """What a network's twin was made from, kept so as to see whether that is still so.

    Torch counts the writes to a tensor, but not those through ``parameter.data`` or through memory
    that is shared with NumPy. So what was folded is summed as well, bit for bit as integers: 40 MB
    to read at full width, a few milliseconds beside a pass over 10 s of audio.

    Args:
        network: One whose tensors count their writes, as all do but those of inference mode.
    """

    def __init__(self, network: nn.Module) -> None:
        self._modules = _modules(network)
        # Kept, so that no new tensor can come to lie at the same address.
        self._memory = [tensor.detach() for tensor in _tensors(network)]
        self._writes = [tensor._version for tensor in self._memory]
        self._sums = _sums(network)

    def holds(self, network: nn.Module) -> bool:
        """Say whether the network is still what it was."""
        tensors = list(_tensors(network))
        return (
            self._modules == _modules(network)
            and len(tensors) == len(self._memory)
            and all(map(_is_untouched, tensors, self._memory, self._writes))
            and self._sums == _sums(network)
        )


def fold(convolution: Convolution, norm: Any) -> Convolution:
    """Give one convolution that does what a convolution and its batch norm do in evaluation.

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


def _twin(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    shared = {id(tensor): tensor for tensor in _tensors(network)}
    twin = copy.deepcopy(network, shared).eval()
    with torch.no_grad():
        for name, part in _convolutional(network):
            setattr(twin, name, FusedPart(part, dtype, in_pieces=name == "trunk"))
    return twin


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
    """Give the children of a network that hold convolutions: what a twin has copies of."""
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
        and not any(tensor.is_inference() for tensor in _own(module))
        for module in network.modules()
    )


def _modules(network: nn.Module) -> list[nn.Module]:
    """Give every module but the network itself, which no twin may keep alive."""
    return list(network.modules())[1:]


def _own(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        yield from _own(module)


def _is_untouched(now: Tensor, memory: Tensor, writes: int) -> bool:
    return (
        now._version == writes
        and now.data_ptr() == memory.data_ptr()
        and now.dtype == memory.dtype
        and now.stride() == memory.stride()
    )


def _sums(network: nn.Module) -> list[int]:
    """Sum the bits of every tensor that a twin has a copy of."""
    sums = [_sum(tensor) for _, part in _convolutional(network) for tensor in _tensors(part)]
    return torch.stack(sums).tolist()


def _sum(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    # 64 bits at a time are summed ten times faster than 32.
    words = torch.uint8 if flat.numel() * flat.element_size() % 8 else torch.int64
    return flat.view(words).sum()
