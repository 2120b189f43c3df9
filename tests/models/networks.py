"""Networks, inputs and answers that the tests of the fused network share."""

from __future__ import annotations

import torch
from torch import nn

from dcasenet import Outputs, create
from dcasenet.spec import TASKS, Task

FIELDS = (*TASKS, "embedding")


def plain(name: str = "v3", width: float = 0.125, seed: int = 0) -> nn.Module:
    """A network whose batch norms do something, and differ."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = create(name, width=width)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.5, 1.0)
                nn.init.uniform_(layer.bias, -0.2, 0.2)
    return network.eval()


def log_mels(batch: int = 3, frames: int = 121, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 128, frames, generator=torch.Generator().manual_seed(seed))


def answers(network: nn.Module, log_mel: torch.Tensor, tasks: tuple[Task, ...] = TASKS) -> Outputs:
    with torch.inference_mode():
        return network(log_mel, tasks=tasks)


def difference(one: Outputs, two: Outputs) -> float:
    largest = 0.0
    for field in FIELDS:
        a, b = getattr(one, field), getattr(two, field)
        assert (a is None) == (b is None), field
        if a is not None:
            assert b.dtype == a.dtype == torch.float32
            largest = max(largest, float((a - b).abs().max()))
    return largest


def probabilities(out: Outputs) -> list[torch.Tensor]:
    return [out.scene.softmax(dim=1), out.tag.sigmoid(), out.event.sigmoid()]
