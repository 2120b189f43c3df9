"""Torch's own compilers take the networks, with any batch."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import nn

from dcasenet import Outputs
from dcasenet.models.dcasenet import NETWORKS

pytestmark = pytest.mark.slow


class AsDict(nn.Module):
    """`torch.export` gives only what its registry knows, such as dictionaries."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(vars(self.network(log_mel)))


# Torch's own list of a GRU's weights is what it warns of.
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_torch_export_with_any_batch(networks: ModuleType, name: str) -> None:
    network = networks.plain(name)
    dynamic = {"log_mel": {0: torch.export.Dim("batch", min=1, max=64)}}
    run = torch.export.export(
        AsDict(network), (networks.log_mels(2, 81),), dynamic_shapes=dynamic
    ).module()
    for batch in (1, 2, 5):
        log_mel = networks.log_mels(batch, 81)
        with torch.inference_mode():
            got = Outputs(**run(log_mel))
        assert networks.difference(got, networks.answers(network, log_mel)) < 1e-4


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, on import
@pytest.mark.parametrize("name", NETWORKS)
def test_torch_compile_traces_every_network(networks: ModuleType, name: str) -> None:
    # Dynamo leaves GRUs to torch, so that the graph has a break at each.
    network, log_mel = networks.plain(name), networks.log_mels(2, 81)
    compiled = torch.compile(network, backend="eager")
    got, expected = networks.answers(compiled, log_mel), networks.answers(network, log_mel)
    assert networks.difference(got, expected) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, on import
def test_torch_compile(networks: ModuleType) -> None:
    network, log_mel = networks.plain(), networks.log_mels(2, 81)
    compiled = torch.compile(network)
    assert (
        networks.difference(networks.answers(compiled, log_mel), networks.answers(network, log_mel))
        < 1e-4
    )
