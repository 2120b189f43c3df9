"""Linear heads: part of every architecture, its fused network, its files and its exports."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import dcasenet
from dcasenet.atomic import write_bytes
from dcasenet.errors import WeightsError
from dcasenet.inference.model import SoundModel
from dcasenet.models.dcasenet import NETWORKS, create
from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import fuse
from dcasenet.onnx import runtime
from dcasenet.onnx.export import to_onnx
from dcasenet.spec import TASKS, ModelSpec, Task
from dcasenet.weights import hub
from dcasenet.weights.builder import assemble

RATE = 24_000
N_LABELS = {"scene": 3, "tag": 4, "event": 2}


def model_with(name: str, linear: tuple[Task, ...], precision: str = "float32") -> SoundModel:
    """A narrow model, some of whose heads are linear."""
    spec = ModelSpec(
        name,
        "mine",
        width=0.125,
        scenes=("a", "b", "c"),
        tags=("d", "e", "f", "g"),
        events=("h", "i"),
        thresholds={"h": 0.4, "i": 0.6},
        heads=dict.fromkeys(linear, "linear"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = create(name, n_scenes=3, n_tags=4, n_events=2, width=spec.width)
        for task in linear:
            network.give_linear_head(task, N_LABELS[task], spec.embedding_size)
    return SoundModel(spec, LogMel(spec.frontend), network, precision)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_linear_head_reads_the_embedding(name: str) -> None:
    network = model_with(name, TASKS).network
    log_mel = torch.randn(2, 128, 130)
    with torch.inference_mode():
        whole = network(log_mel)
        for task in TASKS:
            layer = network.linear[task]
            seen = whole.embedding if task == "event" else whole.embedding.mean(dim=1)
            torch.testing.assert_close(getattr(whole, task), layer(seen))
            alone = network(log_mel, tasks=(task,))
            torch.testing.assert_close(getattr(alone, task), layer(seen))
            assert [other for other in TASKS if getattr(alone, other) is not None] == [task]
        fused_network = fuse(network)
        assert fused_network is not network
        for task in TASKS:
            torch.testing.assert_close(
                getattr(fused_network(log_mel), task), getattr(whole, task), atol=1e-4, rtol=0
            )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_that_it_replaces_are_gone(name: str) -> None:
    paper, linear = (model_with(name, tasks).network for tasks in ((), ("scene",)))
    gone = set(paper.state_dict()) - set(linear.state_dict())
    assert {key.split(".")[0] for key in gone} == set(NETWORKS[name].own["scene"])
    assert set(linear.state_dict()) - set(paper.state_dict()) == {
        "linear.scene.weight",
        "linear.scene.bias",
    }
    log_mel = torch.randn(1, 128, 90)
    linear.load_state_dict(paper.state_dict(), strict=False)
    with torch.inference_mode():
        torch.testing.assert_close(linear(log_mel).tag, paper(log_mel).tag)
        torch.testing.assert_close(linear(log_mel).event, paper(log_mel).event)


@pytest.mark.parametrize("tasks", [("scene",), ("tag", "event")], ids=str)
def test_it_is_saved_loaded_and_exported(
    tasks: tuple[Task, ...], tmp_path: Path, noise: Callable[..., np.ndarray]
) -> None:
    model = model_with("v3", tasks)
    model.save_pretrained(tmp_path / "mine")
    again = dcasenet.load(tmp_path / "mine")
    file = dcasenet.load(tmp_path / "mine" / "model.safetensors")
    exported = runtime.load(to_onnx(model, tmp_path / "mine.onnx"))
    assert again.spec == file.spec == exported.spec == model.spec
    audio = noise(7 * RATE)
    expected = model.analyze(audio, RATE)
    for other, tolerance in ((again, 1e-6), (file, 1e-6), (exported, 1e-4)):
        found = other.analyze(audio, RATE)
        np.testing.assert_allclose(found.scene.values, expected.scene.values, atol=tolerance)
        np.testing.assert_allclose(found.tags.values, expected.tags.values, atol=tolerance)
        np.testing.assert_allclose(
            found.events.probabilities, expected.events.probabilities, atol=tolerance
        )


def test_half_precision_answers_alike(noise: Callable[..., np.ndarray]) -> None:
    exact, halved = (model_with("v3", TASKS, precision) for precision in ("float32", "bfloat16"))
    audio = noise(6 * RATE)
    one, two = exact.analyze(audio, RATE), halved.analyze(audio, RATE)
    np.testing.assert_allclose(one.scene.values, two.scene.values, atol=0.02)
    np.testing.assert_allclose(one.tags.values, two.tags.values, atol=0.02)
    assert not np.array_equal(one.tags.values, two.tags.values)


def test_it_is_pushed_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Api:
        endpoint = "nowhere"

        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo: str, **_: object) -> object:
            return type("Made", (), {"repo_id": repo})

        def upload_folder(self, folder_path: str, **_: object) -> object:
            for path in Path(folder_path).iterdir():
                (tmp_path / path.name).write_bytes(path.read_bytes())
            return type("Commit", (), {"oid": "abc"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = model_with("v3", ("scene",))
    assert model.push_to_hub("me/mine") == "me/mine@abc"
    assert dcasenet.load(tmp_path).spec == model.spec


def test_a_head_that_is_not_answered_may_have_any_size(tmp_path: Path) -> None:
    network = create("v3", n_scenes=10, n_tags=4, n_events=14, width=0.125)
    spec = dataclasses.replace(model_with("v3", ()).spec, tasks=("tag",), scenes=(), events=())
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    assert assemble(tensors, spec, "here")[1].scene_head.out_features == 10
    with pytest.raises(WeightsError, match=r"tag_head\.6"):
        assemble(tensors, dataclasses.replace(spec, tags=("one",)), "here")


def test_descriptions_say_which_heads_are_linear() -> None:
    spec = model_with("v3", ("tag",)).spec
    values = spec.to_dict()
    assert values["heads"] == {"tag": "linear"}
    assert ModelSpec.from_dict(values) == spec
    del values["heads"]  # as files of earlier versions
    assert ModelSpec.from_dict(values).heads == {}
    for heads in ({"tag": "square"}, {"speech": "linear"}, ["tag"]):
        with pytest.raises(WeightsError, match="unusable heads"):
            ModelSpec.from_dict({**values, "heads": heads})


def test_a_full_disk_leaves_the_saved_model_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: Callable[..., np.ndarray]
) -> None:
    first, second = model_with("v3", ()), model_with("v3", ("scene",))
    first.save_pretrained(tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}

    def full(path: Path, content: bytes) -> None:
        if path.name == "config.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_bytes(path, content)

    monkeypatch.setattr(hub, "write_bytes", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        second.save_pretrained(tmp_path / "mine")
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    assert dcasenet.load(tmp_path / "mine").spec == first.spec
