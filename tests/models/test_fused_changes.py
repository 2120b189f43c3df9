"""The verbs follow what is done to the network: by themselves, or after `refresh`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from dcasenet import SoundModel
from dcasenet.models.dcasenet import NETWORKS
from dcasenet.models.fused import fuse
from dcasenet.spec import TASKS

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


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_counts_after_refresh(
    networks: ModuleType,
    tiny_model: SoundModel,
    noise: Noise,
    change: Callable[[nn.Module], None],
) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, networks.plain())
    waveforms = noise(2 * RATE)[None]
    before = model.infer(waveforms, TASKS)
    change(model.network)
    model.refresh()
    now = model.infer(waveforms, TASKS)
    with torch.inference_mode():
        expected = model(torch.from_numpy(waveforms), TASKS)
    for task in TASKS:
        np.testing.assert_allclose(now[task], getattr(expected, task).numpy(), atol=1e-3)
    assert max(np.abs(now[task] - before[task]).max() for task in TASKS) > 1e-5


def of_load_state_dict(model: SoundModel) -> None:
    other = {n: v * 1.5 if v.is_floating_point() else v for n, v in model.state_dict().items()}
    model.load_state_dict(other)


def of_training(model: SoundModel) -> None:
    model.train()
    with torch.no_grad():
        model.network.trunk[0].conv1.weight.mul_(1.5)
    model.eval()


def of_a_cast(model: SoundModel) -> None:
    with torch.no_grad():
        model.network.trunk[0].conv1.weight.mul_(1.5)
    model.double()


@pytest.mark.parametrize("change", [of_load_state_dict, of_training, of_a_cast])
def test_a_change_by_the_modules_own_methods_counts_at_once(
    networks: ModuleType, tiny_model: SoundModel, noise: Noise, change: Callable[[SoundModel], None]
) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, networks.plain())
    waveforms = noise(2 * RATE)[None]
    before = model.infer(waveforms, ("event",))["event"]
    change(model)
    now = model.infer(waveforms, ("event",))["event"]
    with torch.inference_mode():
        expected = model(torch.from_numpy(waveforms), ("event",)).event.float().numpy()
    np.testing.assert_allclose(now, expected, atol=1e-3)
    assert np.abs(now - before).max() > 1e-5
    assert model.frontend.window.dtype == torch.float32


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
    network = networks.plain()
    change(network)
    assert fuse(network) is network
