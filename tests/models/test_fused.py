"""The fused network gives the plain network's answers."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from dcasenet import SoundModel, create, load
from dcasenet.models import fused
from dcasenet.models.dcasenet import NETWORKS
from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import fuse
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import TASKS, FrontEndSettings, Task
from dcasenet.weights.key_map import rename
from tests.parity.golden import clips

RATE = 24_000
Noise = Callable[..., np.ndarray]


@pytest.mark.parametrize("tasks", [TASKS, ("scene",), ("event", "tag"), ()], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_the_network(networks: ModuleType, name: str, tasks: tuple[Task, ...]) -> None:
    for width in (0.125, 0.3):
        network, log_mel = networks.plain(name, width), networks.log_mels()
        fused_network = fuse(network)
        assert fused_network is not network
        assert (
            networks.difference(
                networks.answers(fused_network, log_mel, tasks),
                networks.answers(network, log_mel, tasks),
            )
            < 1e-4
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_full_width(networks: ModuleType, name: str) -> None:
    network, log_mel = networks.plain(name, 1.0), networks.log_mels(2, 81)
    assert (
        networks.difference(
            networks.answers(fuse(network), log_mel), networks.answers(network, log_mel)
        )
        < 1e-4
    )


def test_no_batch_norm_is_left(networks: ModuleType) -> None:
    for name in NETWORKS:
        kinds = {type(module) for module in fuse(networks.plain(name)).modules()}
        assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d}


@pytest.mark.parametrize("batch", [1, 4, 5])
def test_a_batch_in_pieces_is_the_batch(
    networks: ModuleType, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, log_mel = networks.plain(), networks.log_mels(batch, 251)
    monkeypatch.setattr(fused, "PIECE_FRAMES", 600)  # two clips at a time
    seen: list[int] = []
    fused_network = fuse(network)
    fused_network.trunk.inner[0].register_forward_hook(lambda _, x, __: seen.append(len(x[0])))
    assert (
        networks.difference(
            networks.answers(fused_network, log_mel), networks.answers(network, log_mel)
        )
        < 1e-4
    )
    assert seen == [2] * (batch // 2) + [1] * (batch % 2)


def test_a_convolution_without_norm_is_copied_before_it_is_cast(networks: ModuleType) -> None:
    network = networks.plain("v2")
    network.scene_branch = nn.Sequential(nn.Conv2d(32, 32, 3), nn.ReLU()).eval()
    exact = networks.answers(network, networks.log_mels())
    fast = networks.answers(fuse(network, torch.bfloat16), networks.log_mels())
    assert network.scene_branch[0].weight.dtype == torch.float32
    assert network.scene_branch[0].weight.requires_grad
    assert networks.difference(exact, fast) < 0.1


def test_what_is_not_folded_is_shared(networks: ModuleType) -> None:
    network = networks.plain()
    own = {tensor.data_ptr() for tensor in network.parameters()}
    copied = [n for n, t in fuse(network).named_parameters() if t.data_ptr() not in own]
    parts = {name.split(".")[0] for name in copied}
    assert parts == {"trunk", "common", "scene_block", "scene_branch"}


def test_the_plain_network_stays_plain(
    networks: ModuleType, tiny_model: SoundModel, noise: Noise
) -> None:
    model = copy.deepcopy(tiny_model)
    before = copy.deepcopy(model.network.state_dict())
    model.analyze(noise(RATE), RATE)
    assert type(model.network) is type(tiny_model.network)
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    model.requires_grad_(True)
    model.network(networks.log_mels()).tag.sum().backward()
    assert model.network.trunk[0].conv1.weight.grad.abs().sum() > 0
    assert model.network.tag_gru.weight_ih_l0.grad.abs().sum() > 0


def test_bfloat16_on_synthetic_sound(networks: ModuleType, noise: Noise) -> None:
    time = np.arange(5 * RATE) / RATE
    sounds = [
        *(noise(5 * RATE, seed) for seed in range(3)),
        np.zeros(5 * RATE),
        0.3 * np.sin(2 * np.pi * 440 * time),
        np.where(np.arange(5 * RATE) % RATE < 3, 0.9, 0.0),
    ]
    waveforms = torch.from_numpy(np.stack(sounds).astype(np.float32))
    log_mel = LogMel(FrontEndSettings())(waveforms)
    for name in NETWORKS:
        network = networks.plain(name, 0.25)
        exact, fast = (
            networks.answers(network, log_mel),
            networks.answers(fuse(network, torch.bfloat16), log_mel),
        )
        for one, two in zip(
            networks.probabilities(exact), networks.probabilities(fast), strict=True
        ):
            assert (one - two).abs().max() < 0.02
        assert networks.difference(exact, fast) > 0


@pytest.mark.parametrize("clip", clips("logmel"))
def test_bfloat16_on_recordings(
    networks: ModuleType,
    released_state: dict[str, torch.Tensor],
    golden: dict[str, np.ndarray],
    clip: str,
) -> None:
    log_mel = torch.from_numpy(golden[f"{clip}/logmel"])[None]
    network = create("v3").eval()
    network.load_state_dict(rename(released_state))
    exact, fast = (
        networks.answers(network, log_mel),
        networks.answers(fuse(network, torch.bfloat16), log_mel),
    )
    for one, two in zip(networks.probabilities(exact), networks.probabilities(fast), strict=True):
        assert (one - two).abs().max() < 0.02


def test_bfloat16_of_a_trained_checkpoint(recordings: tuple[Path, ...]) -> None:
    exact, fast = load(), load(precision="bfloat16")
    for path in recordings:
        one, two = exact.analyze(path), fast.analyze(path)
        for mine, other in (
            (one.scene.values, two.scene.values),
            (one.tags.values, two.tags.values),
            (one.events.probabilities, two.events.probabilities),
        ):
            np.testing.assert_allclose(other, mine, atol=0.02, err_msg=path.name)


def test_bfloat16_is_of_the_convolutions_but_the_first(networks: ModuleType) -> None:
    fused_network = fuse(networks.plain(), torch.bfloat16)
    kinds = {name: tensor.dtype for name, tensor in fused_network.named_parameters()}
    parts = ("trunk", "common", "scene_block", "scene_branch")
    for name, dtype in kinds.items():
        cast = name.startswith(parts) and not name.startswith("trunk.inner.0.conv1")
        assert dtype == (torch.bfloat16 if cast else torch.float32), name


def test_a_model_in_bfloat16(tiny_model: SoundModel, noise: Noise) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network, "bfloat16")
    waveform = noise(12 * RATE)
    exact, fast = tiny_model.analyze(waveform, RATE), model.analyze(waveform, RATE)
    assert np.abs(exact.events.probabilities - fast.events.probabilities).max() < 0.02
    assert np.abs(exact.tags.values - fast.tags.values).max() < 0.02
    assert model.embed(waveform, RATE).dtype == torch.float32
    assert model.frontend.mel_filters.dtype == torch.float32
    with pytest.raises(ValueError, match="precision='half' is not known; give one of float32, bf"):
        SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network, "half")


def test_members_are_fused(networks: ModuleType, tiny_model: SoundModel, noise: Noise) -> None:
    network = ComposedNetwork(
        {task: lambda s=i: networks.plain(seed=s) for i, task in enumerate(TASKS)}
    )
    model = SoundModel(tiny_model.spec, tiny_model.frontend, network)
    waveforms = noise(2 * RATE)[None]
    log_mel = tiny_model.frontend(torch.from_numpy(waveforms))

    def check() -> None:
        got = model.infer(waveforms, TASKS)
        expected = networks.answers(network, log_mel)
        for task in TASKS:
            np.testing.assert_allclose(got[task], getattr(expected, task), atol=1e-4)
        for task in TASKS:
            trunk = networks.answers(network.member(task), log_mel, ()).embedding
            got = model.infer(waveforms, ("embedding",), task)["embedding"]
            np.testing.assert_allclose(got, trunk, atol=1e-4)

    check()
    with torch.no_grad():
        network.member("event").trunk[0].conv1.weight.mul_(1.5)
    model.refresh()
    check()
    assert set(model.infer(waveforms, ("tag",))) == {"tag"}


def test_threads_share_a_model(tiny_model: SoundModel, noise: Noise) -> None:
    model, waveform = copy.deepcopy(tiny_model), noise(RATE)
    expected = tiny_model.tag(waveform, RATE).values
    barrier = threading.Barrier(8)
    got: list[np.ndarray] = []

    def tag() -> None:
        barrier.wait()
        got.append(model.tag(waveform, RATE).values)

    threads = [threading.Thread(target=tag) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    for values in got:
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_models_can_be_copied_and_pickled(tiny_model: SoundModel, noise: Noise) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network, "bfloat16")
    waveform = noise(RATE)
    expected = model.tag(waveform, RATE)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.precision == "bfloat16"
        np.testing.assert_array_equal(other.tag(waveform, RATE).values, expected.values)
