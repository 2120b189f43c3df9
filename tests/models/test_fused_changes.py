"""The fast twin follows whatever is done to the plain network."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from dcasenet import SoundModel
from dcasenet.models.dcasenet import NETWORKS
from dcasenet.models.fused import Twins

RATE = 24_000
Noise = Callable[..., np.ndarray]


def another(network: nn.Module) -> nn.Module:
    """A network of the same shapes with other weights."""
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.1)
    return other


def in_place(network: nn.Module) -> None:
    with torch.no_grad():
        network.trunk[0].conv1.weight.mul_(1.5)


def filters_in_another_order(network: nn.Module) -> None:
    weight = network.trunk[0].conv2.weight
    with torch.no_grad():
        weight.copy_(weight.flip(0))


def a_step_of_training(network: nn.Module) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    out = network(torch.randn(2, 128, 41))
    (out.tag.sum() + out.event.sum() + out.scene.sum()).backward()
    optimizer.step()


def running_statistics(network: nn.Module) -> None:
    network.train()
    network(torch.randn(2, 128, 41))
    network.eval()


def load_other(network: nn.Module) -> None:
    network.load_state_dict(another(network).state_dict())


def assign_other(network: nn.Module) -> None:
    network.load_state_dict(another(network).state_dict(), assign=True)


def behind_autograd(network: nn.Module) -> None:
    network.common.conv2.weight.data.mul_(-1)


def one_filter_behind_autograd(network: nn.Module) -> None:
    network.trunk[1].conv1.weight.data[5] = 0


def through_numpy(network: nn.Module) -> None:
    network.trunk[0].norm1.bias.detach().numpy()[:] += 1


def other_data(network: nn.Module) -> None:
    weight = network.trunk[0].conv2.weight
    weight.data = weight.data.flip(0)  # the same numbers, so the same sum


def there_and_back(network: nn.Module) -> None:
    network.bfloat16().float()


def another_parameter(network: nn.Module) -> None:
    network.trunk[2].conv1.weight = nn.Parameter(network.trunk[2].conv1.weight.detach() * 2)


def another_head(network: nn.Module) -> None:
    network.tag_head[-1] = nn.Linear(network.tag_head[-1].in_features, 80)


def no_activation(network: nn.Module) -> None:
    network.tag_head[1] = nn.Identity()


def another_block(network: nn.Module) -> None:
    network.common = another(network).common


def the_head_in_place(network: nn.Module) -> None:
    network.event_head.weight.data.zero_()


CHANGES = [
    in_place, filters_in_another_order, a_step_of_training, running_statistics, load_other,
    assign_other, behind_autograd, one_filter_behind_autograd, through_numpy, other_data,
    there_and_back, another_parameter, another_head, another_block, no_activation,
    the_head_in_place,
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_heard(
    networks: ModuleType, change: Callable[[nn.Module], None], dtype: torch.dtype
) -> None:
    network, twins, log_mel = networks.plain(), Twins(dtype), networks.log_mels()
    before = networks.answers(twins.of(network), log_mel)
    change(network)
    now = networks.answers(twins.of(network), log_mel)
    afresh = networks.answers(Twins(dtype).of(network), log_mel)
    assert networks.difference(now, afresh) == 0
    assert networks.difference(now, before) > 1e-5
    assert networks.difference(now, networks.answers(network, log_mel)) < (
        1e-4 if dtype == torch.float32 else 0.3
    )


def test_addresses_that_come_again(networks: ModuleType) -> None:
    network, twins, log_mel = networks.plain(), Twins(), networks.log_mels()
    weight = network.common.conv1.weight
    for _ in range(10):
        for _ in range(2):  # the second may well lie where the one before the first did
            weight.data = weight.data.roll(1, 0)
        twin = twins.of(network)
        assert (
            networks.difference(networks.answers(twin, log_mel), networks.answers(network, log_mel))
            < 1e-4
        )


def test_an_unchanged_network_keeps_its_twin(
    networks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, twins = networks.plain(), Twins()
    twin = twins.of(network)
    networks.answers(network, networks.log_mels())
    networks.answers(twin, networks.log_mels())
    network(networks.log_mels()).tag.sum().backward()
    network.zero_grad()
    network.train()
    network.eval()
    assert twins.of(network) is twin


def test_answers_are_those_of_evaluation(tiny_model: SoundModel, noise: Noise) -> None:
    model = copy.deepcopy(tiny_model)
    model.network.train()
    waveform = noise(RATE)
    expected = tiny_model.analyze(waveform, RATE)
    for _ in range(2):
        got = model.analyze(waveform, RATE)
        np.testing.assert_array_equal(got.tags.values, expected.tags.values)
        np.testing.assert_array_equal(got.scene.values, expected.scene.values)
    assert model.network.training
    assert model.network.trunk[0].norm1.num_batches_tracked == 0


def test_a_network_that_is_let_go_takes_its_twin_along(networks: ModuleType) -> None:
    twins, network = Twins(), networks.plain()
    twin = weakref.ref(twins.of(network))
    del network
    gc.collect()
    assert twin() is None


class Doubled(NETWORKS["v3"]):  # type: ignore[misc]
    """Somebody's own network."""


def hooked(network: nn.Module) -> None:
    network.trunk[0].conv1.register_forward_hook(lambda _, __, out: out * 2)


def patched(network: nn.Module) -> None:
    network.trunk.forward = lambda x: nn.Sequential.forward(network.trunk, x) * 2


def pruned(network: nn.Module) -> None:
    prune.l1_unstructured(network.trunk[0].conv1, "weight", 0.5)


def parametrized(network: nn.Module) -> None:
    parametrizations.weight_norm(network.trunk[0].conv1)


def other_norm(network: nn.Module) -> None:
    network.trunk[0].norm1 = nn.InstanceNorm2d(8)


def no_statistics(network: nn.Module) -> None:
    norm = network.trunk[0].norm1
    norm.running_mean = norm.running_var = None


def of_another_class(network: nn.Module) -> None:
    network.__class__ = Doubled


@pytest.mark.parametrize(
    "change",
    [hooked, patched, pruned, parametrized, other_norm, no_statistics, of_another_class],
    ids=lambda change: change.__name__,
)
def test_what_is_not_known_is_run_as_it_is(
    networks: ModuleType, change: Callable[[nn.Module], None]
) -> None:
    network, twins = networks.plain(), Twins()
    twins.of(network)
    change(network)
    assert twins.of(network) is network


def test_inference_tensors_are_run_as_they_are(networks: ModuleType) -> None:
    with torch.inference_mode():  # they count no writes
        network = networks.plain()
        assert Twins().of(network) is network
