"""The exported file: the same answers as torch, for every length, and without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dcasenet import (
    Embedding,
    FrontEndSettings,
    ModelSpec,
    SoundModel,
    TaskNotAvailableError,
    WeightsError,
    cli,
    create,
)
from dcasenet.composed import ComposedNetwork
from dcasenet.frontend import LogMel
from dcasenet.network import NETWORKS
from dcasenet.spec import TASKS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from dcasenet import onnx as runtime  # noqa: E402 - only where the extra is installed
from dcasenet.export import to_onnx  # noqa: E402

RATE = 24_000
Noise = Callable[..., np.ndarray]


def small_model(name: str, tiny_spec: ModelSpec, **changes: Any) -> SoundModel:
    """A narrow model of any architecture, whose batch norms do something."""
    import dataclasses

    spec = dataclasses.replace(tiny_spec, name=name, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = create(name, n_scenes=4, n_tags=5, n_events=3, width=spec.width)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.5, 1.0)
    return SoundModel(spec, LogMel(spec.frontend), network)


def assert_alike(one: Any, two: Any, waveforms: np.ndarray, atol: float = 1e-4) -> None:
    for tasks in (one.spec.tasks, ()):
        left, right = one.infer(waveforms, tasks), two.infer(waveforms, tasks)
        assert left.keys() == right.keys()
        for name, values in left.items():
            assert right[name].dtype == np.float32
            np.testing.assert_allclose(right[name], values, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def file(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return to_onnx(tiny_model, tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture(scope="module")
def exported(file: Path) -> runtime.OnnxSoundModel:
    return runtime.load(file, threads=1)


# ---------------------------------------------------------------- the same answers


# Around each change: the repetition up to 1,026 samples, each doubling of frames, a whole frame.
LENGTHS = (33, 700, 1025, 1026, 1027, 1441, 2400, 4800, 9600, 9601, 19_200, 19_201, 24_000, 120_001)


@pytest.mark.parametrize("n_samples", LENGTHS)
def test_every_length(
    tiny_model: SoundModel, exported: runtime.OnnxSoundModel, noise: Noise, n_samples: int
) -> None:
    batch = np.stack([noise(n_samples, seed) for seed in range(2)])
    assert_alike(tiny_model, exported, batch)
    assert_alike(tiny_model, exported, batch[:1])


def test_the_graph_alone_takes_any_length_from_the_shortest(
    tiny_model: SoundModel, exported: runtime.OnnxSoundModel, noise: Noise
) -> None:
    for n_samples in (1026, 1441, 50_000):
        waveforms = noise(n_samples)[None]
        (tags,) = exported.session.run(["tag"], {"waveform": waveforms})
        np.testing.assert_allclose(tags, tiny_model.infer(waveforms, ("tag",))["tag"], atol=1e-4)


def test_silence_tones_and_single_samples(
    tiny_model: SoundModel, exported: runtime.OnnxSoundModel
) -> None:
    assert_alike(tiny_model, exported, np.zeros((1, RATE), dtype=np.float32))
    assert_alike(tiny_model, exported, np.eye(1, RATE, 5_000, dtype=np.float32))
    # What never changes is divided by the least deviation, 1/1000: rounding shows 1,000 times.
    assert_alike(tiny_model, exported, np.ones((1, 1), dtype=np.float32), atol=0.02)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture(name: str, tiny_spec: ModelSpec, tmp_path: Path, noise: Noise) -> None:
    model = small_model(name, tiny_spec)
    file = to_onnx(model, tmp_path / "model.onnx")
    for seconds in (0.1, 1, 6.3):
        assert_alike(model, runtime.load(file), noise(round(seconds * RATE))[None])


def test_a_fixed_normalization(tiny_spec: ModelSpec, tmp_path: Path, noise: Noise) -> None:
    settings = FrontEndSettings(normalization="fixed", max_frequency=6_000.0)
    model = small_model("v3", tiny_spec, frontend=settings)
    model.frontend.mean.fill_(-4.0)
    model.frontend.deviation.uniform_(1.0, 3.0)
    file = to_onnx(model, tmp_path / "model.onnx")
    assert_alike(model, runtime.load(file), noise(RATE)[None])


def test_real_recordings(
    shared: Path, tiny_model: SoundModel, exported: runtime.OnnxSoundModel
) -> None:
    for path in sorted((shared / "data" / "esc50").rglob("*.ogg"))[:300:100]:
        one, two = tiny_model.analyze(path), exported.analyze(path)
        np.testing.assert_allclose(two.scene.values, one.scene.values, atol=1e-4)
        np.testing.assert_allclose(two.tags.values, one.tags.values, atol=1e-4)
        np.testing.assert_allclose(two.events.probabilities, one.events.probabilities, atol=1e-4)


def test_the_verbs(tiny_model: SoundModel, exported: runtime.OnnxSoundModel, noise: Noise) -> None:
    waveform = noise(12 * RATE)
    one, two = tiny_model.analyze(waveform, RATE), exported.analyze(waveform, RATE)
    assert two.scene.label == one.scene.label
    assert two.tags.probabilities == pytest.approx(one.tags.probabilities, abs=1e-4)
    assert [event.label for event in two.events] == [event.label for event in one.events]
    vector = exported.embed(waveform, RATE)
    assert isinstance(vector, np.ndarray)
    np.testing.assert_allclose(vector, tiny_model.embed(waveform, RATE), atol=1e-4)
    steps = exported.embed(waveform, RATE, level="frame")
    assert isinstance(steps, Embedding)
    assert steps.values.shape == (15, 64)
    assert repr(exported) == (
        "OnnxSoundModel(v3 'tiny': 4 scene labels, 5 tag labels, 3 event labels)"
    )


def test_threads_share_a_model(exported: runtime.OnnxSoundModel, noise: Noise) -> None:
    waveforms = [noise(RATE + 500 * i, i) for i in range(8)]
    serial = [exported.tag(waveform, RATE).values for waveform in waveforms]
    got: dict[int, np.ndarray] = {}

    def ask(index: int) -> None:
        got[index] = exported.tag(waveforms[index], RATE).values

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(serial):
        np.testing.assert_allclose(got[index], expected, atol=1e-6)


# ---------------------------------------------------------------- the file


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
    tiny_model: SoundModel,
    tmp_path: Path,
    noise: Noise,
    tasks: Any,
    outputs: list[str],
    grus: int,
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


def test_a_model_of_several_networks(tiny_spec: ModelSpec, tmp_path: Path, noise: Noise) -> None:
    networks = {task: small_model("v3", tiny_spec).network for task in TASKS}
    for factor, network in enumerate(networks.values(), 1):
        nn.init.normal_(network.trunk[0].norm1.bias, std=0.1 * factor)
    composed = ComposedNetwork({task: (lambda n=n: n) for task, n in networks.items()})
    members = dict.fromkeys(TASKS, "x")
    model = small_model("v3", tiny_spec, members=members)
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
    tiny_spec: ModelSpec, tmp_path: Path, noise: Noise
) -> None:
    model = small_model("v2", tiny_spec)
    model.network.trunk.register_forward_hook(lambda _, __, out: out * 2)
    exported = runtime.load(to_onnx(model, tmp_path / "hooked.onnx"))
    assert_alike(model, exported, noise(RATE)[None])


# ---------------------------------------------------------------- what goes wrong


def test_tasks_that_make_no_sense(tiny_model: SoundModel, tmp_path: Path) -> None:
    for tasks in ((), "scene", ("sed",)):
        with pytest.raises(ValueError, match="cannot be exported; give some of"):
            to_onnx(tiny_model, tmp_path / "no.onnx", tasks)
    model = SoundModel(
        small_model("v3", tiny_model.spec, tasks=("event",)).spec,
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
    with pytest.raises(WeightsError, match="says nothing about its labels"):
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


# ---------------------------------------------------------------- command, and no torch


def test_the_command(tiny_model: SoundModel, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    folder, target = tiny_model.save_pretrained(tmp_path / "model"), tmp_path / "out.onnx"
    words = ["export", target, "--model", folder, "--format", "onnx", "--precision", "float32"]

    def call(*more: object) -> int:
        monkeypatch.setattr(sys, "argv", ["dcasenet", *map(str, (*words, *more))])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0)

    assert call() == 0
    assert capsys.readouterr().out.startswith(f"{target}: onnx, float32, ")
    assert runtime.load(target).spec == tiny_model.spec
    assert call("--task", "tag", "--task", "event") == 0
    assert runtime.load(target).spec.tasks == ("tag", "event")
    assert call("--precision", "float8") == 2


WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "safetensors", "huggingface_hub", "httpx"):
    sys.modules[name] = None
import json
import numpy as np
import dcasenet.onnx
model = dcasenet.onnx.load(sys.argv[1])
with np.load(sys.argv[2]) as arrays:
    waveform = arrays["waveform"]
print(json.dumps({
    "scene": model.classify_scene(waveform, 24_000).to_dict(),
    "tags": model.tag([waveform], 24_000, top=3)[0].to_dict(),
    "events": model.detect_events(waveform, 24_000).to_dict(),
    "analysis": list(model.analyze(waveform, 24_000).to_dict()),
    "vector": model.embed(waveform, 24_000).tolist(),
    "steps": list(model.embed(waveform, 24_000, level="frame").values.shape),
}))
"""


def test_the_verbs_where_there_is_no_torch(
    tiny_model: SoundModel, file: Path, tmp_path: Path, noise: Noise
) -> None:
    waveform = noise(3 * RATE)
    np.savez(tmp_path / "in.npz", waveform=waveform)
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(file), str(tmp_path / "in.npz")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )
    assert run.returncode == 0, run.stderr
    got = json.loads(run.stdout)
    expected = tiny_model.analyze(waveform, RATE)
    assert got["scene"]["label"] == expected.scene.label
    np.testing.assert_allclose(got["vector"], tiny_model.embed(waveform, RATE), atol=1e-4)
    assert got["steps"] == [3, 64]
    assert got["analysis"] == list(expected.to_dict())
    assert len(got["events"]["events"]) == len(expected.events)
