"""What is in an exported file, and what goes wrong with one."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from dcasenet import (
    ModelSpec,
    SoundModel,
    TaskNotAvailableError,
    WeightsError,
)
from dcasenet.inference import familiarity
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.onnx import runtime
from dcasenet.onnx.export import to_onnx
from dcasenet.spec import TASKS

onnx = pytest.importorskip("onnx")

RATE = 24_000
Noise = Callable[..., np.ndarray]
Small = Callable[..., SoundModel]
Alike = Callable[..., None]


def test_the_file_says_what_it_is(file: Path, tiny_spec: ModelSpec) -> None:
    proto = onnx.load(file)
    onnx.checker.check_model(proto)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 17)]
    assert [value.name for value in proto.graph.input] == ["waveform"]
    assert [value.name for value in proto.graph.output] == ["scene", "tag", "event", "embedding"]
    axes = [axis.dim_param for axis in proto.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "samples"]
    (described,) = [entry for entry in proto.metadata_props if entry.key == "dcasenet"]
    assert ModelSpec.from_dict(json.loads(described.value)) == tiny_spec


def test_what_the_graph_is_made_of(file: Path, tiny_model: SoundModel) -> None:
    proto = onnx.load(file)
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("GRU") == 2
    assert {"Cos", "Sin"} <= set(kinds)
    assert not {"BatchNormalization", "Loop", "If"} & set(kinds)
    weights = 4 * sum(parameter.numel() for parameter in tiny_model.network.parameters())
    filters = 4 * tiny_model.frontend.mel_filters.numel()
    assert file.stat().st_size < weights + filters + 200_000


@pytest.mark.parametrize(
    ("tasks", "outputs", "grus"),
    [(("scene",), ["scene"], 0), (("event", "tag"), ["tag", "event", "embedding"], 2)],
)
def test_some_tasks_alone(
    tiny_model: SoundModel, tmp_path: Path, noise: Noise, tasks: Any, outputs: list[str], grus: int
) -> None:
    file = to_onnx(tiny_model, tmp_path / "some.onnx", tasks)
    proto = onnx.load(file)
    assert [value.name for value in proto.graph.output] == outputs
    assert [node.op_type for node in proto.graph.node].count("GRU") == grus
    model = runtime.load(file)
    assert set(model.spec.tasks) == set(tasks)
    waveform = noise(RATE)
    analysis, expected = model.analyze(waveform, RATE), tiny_model.analyze(waveform, RATE)
    for task, field in (("scene", "scene"), ("tag", "tags"), ("event", "events")):
        assert (getattr(analysis, field) is None) == (task not in tasks)
    if "scene" in tasks:
        np.testing.assert_allclose(analysis.scene.values, expected.scene.values, atol=1e-4)
        with pytest.raises(TaskNotAvailableError, match="no embedding; it was exported with scene"):
            model.embed(waveform, RATE)
        with pytest.raises(TaskNotAvailableError, match="no tag head"):
            model.tag(waveform, RATE)
    else:
        np.testing.assert_allclose(analysis.tags.values, expected.tags.values, atol=1e-4)
        with pytest.raises(TaskNotAvailableError, match="no scene head"):
            model.classify_scene(waveform, RATE)


def test_a_scene_alone_is_sure_of_what_the_model_is_sure_of(
    tiny_model: SoundModel, tmp_path: Path, noise: Noise
) -> None:
    around = np.random.default_rng(0).standard_normal((40, tiny_model.spec.embedding_size))
    known = familiarity.fit(around.astype("f4"), around.astype("f4"), rank=4)
    spec = dataclasses.replace(tiny_model.spec, familiarity=known)
    model = SoundModel(spec, tiny_model.frontend, tiny_model.network)
    file = to_onnx(model, tmp_path / "scene.onnx", ("scene",))
    outputs = [value.name for value in onnx.load(file).graph.output]
    assert outputs == ["scene", "embedding"]
    for waveform in (noise(RATE), np.zeros(RATE, np.float32)):
        scene, expected = (m.classify_scene(waveform, RATE) for m in (runtime.load(file), model))
        assert scene.familiarity == pytest.approx(expected.familiarity, abs=1e-3)
        assert scene.is_sure == expected.is_sure


def test_a_model_of_several_networks(
    tmp_path: Path, noise: Noise, assert_alike: Alike, small_model: Small
) -> None:
    networks = {task: small_model("v3").network for task in TASKS}
    for factor, network in enumerate(networks.values(), 1):
        nn.init.normal_(network.trunk[0].norm1.bias, std=0.1 * factor)
    composed = ComposedNetwork({task: (lambda n=n: n) for task, n in networks.items()})
    members = dict.fromkeys(TASKS, "x")
    model = small_model("v3", members=members)
    model = SoundModel(model.spec, model.frontend, composed)
    exported = runtime.load(to_onnx(model, tmp_path / "several.onnx"))
    waveform = noise(RATE)
    for task in TASKS:
        expected = model.embed(waveform, RATE, task=task)
        np.testing.assert_allclose(exported.embed(waveform, RATE, task=task), expected, atol=1e-4)
    assert_alike(model, exported, waveform[None])


def test_the_model_is_left_as_it_was(tiny_model: SoundModel, tmp_path: Path) -> None:
    tiny_model.network.train()
    before = {name: t._version for name, t in tiny_model.network.state_dict(keep_vars=True).items()}
    to_onnx(tiny_model, tmp_path / "model.onnx")
    assert all(module.training for module in tiny_model.network.modules())
    tiny_model.network.eval()
    after = {name: t._version for name, t in tiny_model.network.state_dict(keep_vars=True).items()}
    assert before == after
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_network_with_hooks_is_exported_as_it_is(
    tmp_path: Path, noise: Noise, assert_alike: Alike, small_model: Small
) -> None:
    model = small_model("v2")
    model.network.trunk.register_forward_hook(lambda _, __, out: out * 2)
    exported = runtime.load(to_onnx(model, tmp_path / "hooked.onnx"))
    assert_alike(model, exported, noise(RATE)[None])


def test_tasks_that_make_no_sense(
    tiny_model: SoundModel, tmp_path: Path, small_model: Small
) -> None:
    for tasks in ((), "scene", ("sed",)):
        with pytest.raises(ValueError, match="cannot be exported; give some of"):
            to_onnx(tiny_model, tmp_path / "no.onnx", tasks)
    model = SoundModel(
        small_model("v3", tasks=("event",)).spec,
        tiny_model.frontend,
        tiny_model.network,
    )
    with pytest.raises(TaskNotAvailableError, match="no tag head"):
        to_onnx(model, tmp_path / "no.onnx", ("tag",))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tiny_model: SoundModel, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(WeightsError, match=r"model\.onnx cannot be written"):
        to_onnx(tiny_model, tmp_path / "taken" / "model.onnx")


def test_files_that_are_no_model(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file .*none\.onnx .*dcasenet export"):
        runtime.load(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"damaged\.onnx cannot be read as an ONNX file"):
        runtime.load(damaged)
    proto = onnx.load(file)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(WeightsError, match="its metadata has no labels"):
        runtime.load(tmp_path / "bare.onnx")


def test_what_is_not_installed(
    tiny_model: SoundModel, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        runtime.load(file)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'dcasenet\[onnx\]'"):
        to_onnx(tiny_model, "never.onnx")


def test_content_is_the_file_with_the_spec_that_describes_it_now(
    file: Path, tiny_spec: ModelSpec
) -> None:
    model = runtime.load(file, threads=1)
    assert model.content() == file.read_bytes()
    limits = dict.fromkeys(tiny_spec.events, 0.123)
    spec = dataclasses.replace(tiny_spec, stage="renewed " * 20, thresholds=limits)
    content = runtime.model_of(file, "a file", 1, spec=spec).content()
    renewed = runtime.model_of(content, "its content", 1)
    assert renewed.spec == spec
    assert renewed.content() == content
    samples = np.random.default_rng(0).standard_normal((1, 24_000)).astype(np.float32)
    for name, values in model.infer(samples, TASKS).items():
        np.testing.assert_array_equal(renewed.infer(samples, TASKS)[name], values)
