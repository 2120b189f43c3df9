"""A network in the shape of the default checkpoint, with random weights: speed does not depend on
them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import dcasenet
from dcasenet import ModelSpec
from dcasenet.inference.model import SoundModel
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from recipes.package import one_grid

RATE = 24_000
SCENES, TAGS, EVENTS = 17, 527, 47
FRONT_END = FrontEndSettings(normalization="level")
aten = torch.ops.aten
LAYERS = (aten.convolution, aten.avg_pool2d, aten.addmm, aten.mm)


def new_spec(width: float) -> ModelSpec:
    events = tuple(f"event {i}" for i in range(EVENTS))
    return ModelSpec(
        "v3",
        "random",
        width=width,
        time_pooling=1,
        frontend=FRONT_END,
        resampler="soxr",
        context=one_grid(),
        scenes=tuple(f"scene {i}" for i in range(SCENES)),
        tags=tuple(f"tag {i}" for i in range(TAGS)),
        events=events,
        thresholds=dict.fromkeys(events, 0.5),
    )


def new_network(width: float) -> nn.Module:
    torch.manual_seed(0)
    return dcasenet.create(
        "v3", n_scenes=SCENES, n_tags=TAGS, n_events=EVENTS, width=width, time_pooling=1
    ).eval()


def new_model(width: float) -> SoundModel:
    return SoundModel(new_spec(width), LogMel(FRONT_END), new_network(width))


def operations(network: nn.Module, seconds: float) -> float:
    """Count the multiplications and additions of one clip, but for the GRUs'."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(LogMel(FRONT_END)(torch.zeros(1, round(seconds * RATE))))
    return float(counter.get_total_flops())


class ValueCounter(TorchDispatchMode):
    """Counts the values that layers read and write, however a runtime fuses the rest into them."""

    def __init__(self) -> None:
        super().__init__()
        self.n_values = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket in LAYERS:
            tensors = [*args, made]
            self.n_values += sum(t.numel() for t in tensors if isinstance(t, Tensor))
        return made


def values_moved(network: nn.Module, seconds: float) -> float:
    """Count the values that the layers read and write for one clip: maps and weights."""
    log_mel = LogMel(FRONT_END)(torch.zeros(1, round(seconds * RATE)))
    with ValueCounter() as counter, torch.no_grad():
        network(log_mel)
    return counter.n_values
