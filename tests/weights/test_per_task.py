"""Models whose tasks have networks of their own."""

from __future__ import annotations

import copy
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import dcasenet
from dcasenet.errors import (
    ChecksumError,
    OfflineError,
    TaskNotAvailableError,
)
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.weights.hub import save_pretrained


def test_the_composed_model(published, small_states):
    model = dcasenet.load("v3", stage="finetuned")
    assert published.requested == []  # loaded when first used
    log_mel = torch.randn(2, 128, 80)
    outputs = model.network(log_mel, tasks=("tag",))
    assert published.requested == ["/owner/repository/commit/finetuned-tag/best.pt"]
    assert outputs.scene is None
    outputs = model.network(log_mel)
    assert len(published.requested) == 3
    for task, stage in (("scene", "asc"), ("tag", "tag"), ("event", "sed")):
        alone = dcasenet.load("v3", stage=f"finetuned-{stage}")
        assert alone.spec.tasks == (task,)
        expected = alone.network(log_mel)
        assert torch.equal(getattr(outputs, task), getattr(expected, task))
        trunk = model.network.member(task)(log_mel).embedding
        assert torch.equal(trunk, expected.embedding)
        if task == "tag":
            assert torch.equal(outputs.embedding, trunk)
            assert torch.equal(model.network(log_mel, tasks=()).embedding, trunk)
    assert len(published.requested) == 3


def test_a_composed_folder(published, tmp_path, same):
    model = dcasenet.load("v3", stage="finetuned")
    folder = save_pretrained(model, tmp_path / "composed")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "event.safetensors",
        "scene.safetensors",
        "tag.safetensors",
    ]
    shutil.rmtree(published.cache)
    loaded = dcasenet.load(folder)
    assert loaded.spec.tasks == ("scene", "tag", "event")
    assert same(loaded, model)
    alone = dcasenet.load(folder / "event.safetensors")
    assert alone.spec.tasks == ("event",)
    assert alone.spec.stage == "finetuned-sed"
    (folder / "event.safetensors").write_bytes(b"damaged")
    with pytest.raises(ChecksumError):
        dcasenet.load(folder).network.member("event")


def test_members_that_are_missing_offline(published):
    model = dcasenet.load("v3", stage="finetuned", local_files_only=True)
    with pytest.raises(OfflineError, match="finetuned-sed"):
        model.network.member("event")
    with pytest.raises(OfflineError, match="finetuned-tag"):
        model.tag(torch.randn(24_000), 24_000)


def test_members_are_loaded_once_and_follow_the_model():
    made = []
    barrier = threading.Barrier(4)

    def make():
        made.append(1)
        return dcasenet.create("v3", width=0.125)

    network = ComposedNetwork({"tag": make, "event": make}).eval().double()
    with ThreadPoolExecutor(4) as pool, torch.inference_mode():
        members = list(pool.map(lambda _: barrier.wait() >= 0 and network.member("tag"), range(4)))
    assert len(made) == 1
    assert len({id(member) for member in members}) == 1
    weight = network.member("tag").scene_head.weight
    assert weight.dtype == torch.float64
    assert not network.member("tag").training
    with torch.inference_mode():
        network.member("event")
    assert not network.member("event").scene_head.weight.is_inference()
    assert len(list(network.parameters())) == 2 * len(list(members[0].parameters()))


def test_a_member_that_is_none():
    network = ComposedNetwork({"tag": lambda: dcasenet.create("v3", width=0.125)})
    with pytest.raises(TaskNotAvailableError, match=r"No member answers 'scene'; .* for tag"):
        network.member("scene")


@pytest.mark.parametrize("infer_first", [True, False])
def test_a_composed_network_can_be_copied(published, infer_first):
    network = dcasenet.load("v3", stage="finetuned").network
    if infer_first:
        network.member("tag")
    log_mel = torch.randn(1, 128, 40)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.allclose(copied(log_mel).tag, network(log_mel).tag, atol=1e-5)
