"""The fast twin: the plain network's answers, whatever is done to the plain network."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from dcasenet import Outputs, SoundModel, create, fused, load
from dcasenet.composed import ComposedNetwork
from dcasenet.frontend import LogMel
from dcasenet.fused import Twins
from dcasenet.network import NETWORKS
from dcasenet.released import rename
from dcasenet.spec import TASKS, FrontEndSettings, Task

RATE = 24_000
FIELDS = (*TASKS, "embedding")
Noise = Callable[..., np.ndarray]


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


# ---------------------------------------------------------------- equal


@pytest.mark.parametrize("tasks", [TASKS, ("scene",), ("event", "tag"), ()], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_the_network(name: str, tasks: tuple[Task, ...]) -> None:
    for width in (0.125, 0.3):
        network, log_mel = plain(name, width), log_mels()
        twin = Twins().of(network)
        assert twin is not network
        assert difference(answers(twin, log_mel, tasks), answers(network, log_mel, tasks)) < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_full_width(name: str) -> None:
    network, log_mel = plain(name, 1.0), log_mels(2, 81)
    assert difference(answers(Twins().of(network), log_mel), answers(network, log_mel)) < 1e-4


def test_no_batch_norm_is_left() -> None:
    for name in NETWORKS:
        kinds = {type(module) for module in Twins().of(plain(name)).modules()}
        assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d}


@pytest.mark.parametrize("batch", [1, 4, 5])
def test_a_batch_in_pieces_is_the_batch(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, log_mel = plain(), log_mels(batch, 251)
    monkeypatch.setattr(fused, "PIECE_FRAMES", 600)  # two clips at a time
    heard: list[int] = []
    twin = Twins().of(network)
    twin.trunk.inner[0].register_forward_hook(lambda _, x, __: heard.append(len(x[0])))
    assert difference(answers(twin, log_mel), answers(network, log_mel)) < 1e-4
    assert heard == [2] * (batch // 2) + [1] * (batch % 2)


def test_a_convolution_without_norm_is_copied_before_it_is_cast() -> None:
    network = plain("v2")
    network.scene_branch = nn.Sequential(nn.Conv2d(32, 32, 3), nn.ReLU()).eval()
    exact = answers(network, log_mels())
    fast = answers(Twins(torch.bfloat16).of(network), log_mels())
    assert network.scene_branch[0].weight.dtype == torch.float32
    assert network.scene_branch[0].weight.requires_grad
    assert difference(exact, fast) < 0.1


def test_what_is_not_folded_is_shared() -> None:
    network = plain()
    own = {tensor.data_ptr() for tensor in network.parameters()}
    copied = [n for n, t in Twins().of(network).named_parameters() if t.data_ptr() not in own]
    parts = {name.split(".")[0] for name in copied}
    assert parts == {"trunk", "common", "scene_block", "scene_branch"}


def test_the_plain_network_stays_plain(tiny_model: SoundModel, noise: Noise) -> None:
    model = copy.deepcopy(tiny_model)
    before = copy.deepcopy(model.network.state_dict())
    model.analyze(noise(RATE), RATE)
    assert type(model.network) is type(tiny_model.network)
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    model.network(log_mels()).tag.sum().backward()
    assert model.network.trunk[0].conv1.weight.grad.abs().sum() > 0
    assert model.network.tag_gru.weight_ih_l0.grad.abs().sum() > 0


# ---------------------------------------------------------------- bfloat16


def test_bfloat16_on_synthetic_sound(noise: Noise) -> None:
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
        network = plain(name, 0.25)
        exact, fast = answers(network, log_mel), answers(Twins(torch.bfloat16).of(network), log_mel)
        for one, two in zip(probabilities(exact), probabilities(fast), strict=True):
            assert (one - two).abs().max() < 0.02
        assert difference(exact, fast) > 0


def test_bfloat16_on_recordings(
    released_state: dict[str, torch.Tensor], golden: dict[str, np.ndarray]
) -> None:
    network = create("v3").eval()
    network.load_state_dict(rename(released_state))
    for clip in ("dog", "rain", "bursts"):
        log_mel = torch.from_numpy(golden[f"{clip}/logmel"])[None]
        exact, fast = answers(network, log_mel), answers(Twins(torch.bfloat16).of(network), log_mel)
        for one, two in zip(probabilities(exact), probabilities(fast), strict=True):
            assert (one - two).abs().max() < 0.02


def test_bfloat16_of_a_trained_checkpoint(shared: Path) -> None:
    exact, fast = load("v3", stage="open"), load("v3", stage="open", precision="bfloat16")
    for path in sorted((shared / "data" / "esc50" / "audio").iterdir())[:1000:50]:
        one, two = exact.analyze(path), fast.analyze(path)
        for mine, other in (
            (one.scene.values, two.scene.values),
            (one.tags.values, two.tags.values),
            (one.events.probabilities, two.events.probabilities),
        ):
            np.testing.assert_allclose(other, mine, atol=0.02, err_msg=path.name)


def test_bfloat16_is_of_the_convolutions_but_the_first() -> None:
    twin = Twins(torch.bfloat16).of(plain())
    kinds = {name: tensor.dtype for name, tensor in twin.named_parameters()}
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


def test_load_takes_the_pairs_there_are(tiny_model: SoundModel, tmp_path: Path) -> None:
    folder = tiny_model.save_pretrained(tmp_path / "model")
    assert load(folder, precision="bfloat16").precision == "bfloat16"
    assert load(folder, precision="float32", runtime="torch").precision == "float32"
    for runtime, precision in (("torch", "int8"), ("onnx", "bfloat16"), ("tflite", "float32")):
        with pytest.raises(
            ValueError,
            match=f"runtime='{runtime}' with precision='{precision}' .*"
            "runtime='torch' with precision='float32', runtime='torch' with precision='bfloat16'",
        ):
            load(folder, runtime=runtime, precision=precision)


# ---------------------------------------------------------------- never stale


def in_place(network: nn.Module) -> None:
    with torch.no_grad():
        network.trunk[0].conv1.weight.mul_(1.5)


def filters_in_another_order(network: nn.Module) -> None:
    weight = network.trunk[0].conv2.weight
    with torch.no_grad():
        weight.copy_(weight.flip(0))


def a_step_of_training(network: nn.Module) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    out = network(log_mels(2, 41, seed=5))
    (out.tag.sum() + out.event.sum() + out.scene.sum()).backward()
    optimizer.step()


def running_statistics(network: nn.Module) -> None:
    network.train()
    network(log_mels(2, 41, seed=5))
    network.eval()


def load_other(network: nn.Module) -> None:
    network.load_state_dict(plain(seed=7).state_dict())


def assign_other(network: nn.Module) -> None:
    network.load_state_dict(plain(seed=7).state_dict(), assign=True)


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
    network.common = plain(seed=9).common


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
def test_a_change_is_heard(change: Callable[[nn.Module], None], dtype: torch.dtype) -> None:
    network, twins, log_mel = plain(), Twins(dtype), log_mels()
    before = answers(twins.of(network), log_mel)
    change(network)
    now = answers(twins.of(network), log_mel)
    afresh = answers(Twins(dtype).of(network), log_mel)
    assert difference(now, afresh) == 0
    assert difference(now, before) > 1e-5
    assert difference(now, answers(network, log_mel)) < (1e-4 if dtype == torch.float32 else 0.3)


def test_addresses_that_come_again() -> None:
    network, twins, log_mel = plain(), Twins(), log_mels()
    weight = network.common.conv1.weight
    for _ in range(10):
        for _ in range(2):  # the second may well lie where the one before the first did
            weight.data = weight.data.roll(1, 0)
        twin = twins.of(network)
        assert difference(answers(twin, log_mel), answers(network, log_mel)) < 1e-4


def test_an_unchanged_network_keeps_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    network, twins = plain(), Twins()
    twin = twins.of(network)
    answers(network, log_mels())
    answers(twin, log_mels())
    network(log_mels()).tag.sum().backward()
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


def test_a_network_that_is_let_go_takes_its_twin_along() -> None:
    twins, network = Twins(), plain()
    twin = weakref.ref(twins.of(network))
    del network
    gc.collect()
    assert twin() is None


# ---------------------------------------------------------------- networks that have no twin


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
def test_what_is_not_known_is_run_as_it_is(change: Callable[[nn.Module], None]) -> None:
    network, twins = plain(), Twins()
    twins.of(network)
    change(network)
    assert twins.of(network) is network


def test_inference_tensors_are_run_as_they_are() -> None:
    with torch.inference_mode():  # they count no writes
        network = plain()
        assert Twins().of(network) is network


# ---------------------------------------------------------------- composed, threads, copies


def test_members_have_twins(tiny_model: SoundModel, noise: Noise) -> None:
    network = ComposedNetwork({task: lambda s=i: plain(seed=s) for i, task in enumerate(TASKS)})
    model = SoundModel(tiny_model.spec, tiny_model.frontend, network)
    waveforms = noise(2 * RATE)[None]
    log_mel = tiny_model.frontend(torch.from_numpy(waveforms))

    def check() -> None:
        got = model.infer(waveforms, TASKS)
        expected = answers(network, log_mel)
        for task in TASKS:
            np.testing.assert_allclose(got[task], getattr(expected, task), atol=1e-4)
        for task in TASKS:
            trunk = answers(network.member(task), log_mel, ()).embedding
            got = model.infer(waveforms, (), task)["embedding"]
            np.testing.assert_allclose(got, trunk, atol=1e-4)

    check()
    in_place(network.member("event"))
    check()
    assert set(model.infer(waveforms, ("tag",))) == {"tag"}


def test_threads_make_one_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[nn.Module] = []
    make = fused._twin
    monkeypatch.setattr(fused, "_twin", lambda *a: made.append(a[0]) or make(*a))
    network, twins, log_mel = plain(), Twins(), log_mels()
    barrier = threading.Barrier(8)
    got: list[Outputs] = []

    def ask() -> None:
        barrier.wait()
        got.append(answers(twins.of(network), log_mel))

    for _ in range(2):
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        in_place(network)
    assert len(made) == 2
    assert len(got) == 16


def test_models_can_be_copied_and_pickled(tiny_model: SoundModel, noise: Noise) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network, "bfloat16")
    waveform = noise(RATE)
    expected = model.tag(waveform, RATE)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.precision == "bfloat16"
        np.testing.assert_array_equal(other.tag(waveform, RATE).values, expected.values)


# ---------------------------------------------------------------- torch's own compilers


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
def test_torch_export_with_any_batch(name: str) -> None:
    network = plain(name)
    dynamic = {"log_mel": {0: torch.export.Dim("batch", min=1, max=64)}}
    run = torch.export.export(AsDict(network), (log_mels(2, 81),), dynamic_shapes=dynamic).module()
    for batch in (1, 2, 5):
        log_mel = log_mels(batch, 81)
        with torch.inference_mode():
            got = Outputs(**run(log_mel))
        assert difference(got, answers(network, log_mel)) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, on import
def test_torch_compile() -> None:
    network, log_mel = plain(), log_mels(2, 81)
    compiled = torch.compile(network)
    assert difference(answers(compiled, log_mel), answers(network, log_mel)) < 1e-4
