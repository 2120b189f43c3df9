"""Int8: near float32, small, calibrated with what is given, never with another model's ranges."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dcasenet import FrontEndSettings, ModelSpec, SoundModel, WeightsError, create, load
from dcasenet.models.frontend import LogMel
from dcasenet.onnx import calibration, runtime
from dcasenet.onnx.calibration import NAME, shipped_ranges
from dcasenet.onnx.export import serialized, to_onnx, traced
from dcasenet.onnx.quantize import SLACK, best_range, layers, preprocessed, quantized
from dcasenet.spec import TASKS
from dcasenet.weights.sources import PACKAGE

onnx = pytest.importorskip("onnx")

RATE = 24_000
Noise = Callable[..., np.ndarray]
Small = Callable[..., SoundModel]
Sounds = list[tuple[np.ndarray, int]]


def probabilities(model: Any, waveforms: np.ndarray) -> NDArray[np.float32]:
    logits = model.infer(waveforms, TASKS)
    scene = np.exp(logits["scene"]) / np.exp(logits["scene"]).sum(axis=1, keepdims=True)
    both = [1 / (1 + np.exp(-logits[task].ravel())) for task in ("tag", "event")]
    return np.concatenate([scene.ravel(), *both])


# ---------------------------------------------------------------- near, and small


@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_it_is_near_float32(name: str, small_model: Small, sounds: Sounds, noise: Noise) -> None:
    model = small_model(name)
    content = serialized(model, precision="int8", calibrate=sounds)
    fast = runtime.model_of(content, "int8")
    for n_samples in (1026, 24_000, 61_234):
        waveforms = np.stack([noise(n_samples, seed) for seed in (10, 11)])
        moved = np.abs(probabilities(fast, waveforms) - probabilities(model, waveforms))
        assert 0 < moved.max() < 0.05


def test_level_normalization_and_short_steps_in_8_bits(
    small_model: Small, sounds: Sounds, noise: Noise
) -> None:
    settings = FrontEndSettings(normalization="level")
    model = small_model("v3", time_pooling=1, frontend=settings)
    model.frontend.mean.fill_(-6.0)
    model.frontend.deviation.fill_(2.0)
    content = serialized(model, precision="int8", calibrate=sounds)
    fast = runtime.model_of(content, "int8")
    assert fast.infer(noise(120_001)[None], ("event",))["event"].shape[1] == 251 // 8
    for n_samples in (1026, 24_000, 61_234):
        waveforms = np.stack([noise(n_samples, seed) for seed in (10, 11)])
        moved = np.abs(probabilities(fast, waveforms) - probabilities(model, waveforms))
        assert 0 < moved.max() < 0.03


@pytest.mark.parametrize(("stage", "share"), [("distilled", 0.99), ("open", 0.98)])
def test_a_shipped_checkpoint_on_clips_it_was_not_calibrated_with(
    stage: str, share: float, shared: Path
) -> None:
    exact = load("v3", stage=stage)
    fast = runtime.model_of(serialized(exact, precision="int8"), "int8")
    moved = []
    for path in sorted((shared / "data" / "esc50" / "audio").glob("[45]-*.ogg"))[::40]:
        one, two = exact.analyze(path), fast.analyze(path)
        moved.append(np.abs(one.scene.values - two.scene.values))
        moved.append(np.abs(one.tags.values - two.tags.values))
        moved.append(np.abs(one.events.probabilities - two.events.probabilities).ravel())
    together = np.concatenate(moved)
    assert (together <= 0.03).mean() >= share
    assert together.mean() <= 0.005


def test_full_width_is_at_most_20_mb() -> None:
    labels = {"scenes": ("a",) * 10, "tags": ("b",) * 80, "events": ("c",) * 14}
    spec = ModelSpec("v3", "wide", **labels)
    model = SoundModel(spec, LogMel(spec.frontend), create("v3"))
    content = serialized(model, precision="int8", calibrate=[(np.zeros(RATE), RATE)])
    assert len(content) <= 20e6


def test_what_is_computed_in_8_bits(int8_file: Path, file: Path) -> None:
    proto = onnx.load(int8_file)
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("GRU") == 2
    assert {"Cos", "Sin"} <= set(kinds)
    by_name = {tensor.name: tensor for tensor in proto.graph.initializer}
    weights = {
        name.removesuffix("_quantized"): tensor
        for name, tensor in by_name.items()
        if name.endswith(".weight_quantized")
    }
    float_weights = {name for name in by_name if name.endswith(".weight")}
    assert all(tensor.data_type == onnx.TensorProto.INT8 for tensor in weights.values())
    assert not {name for name in float_weights if "conv" in name or "shortcut" in name}
    assert kinds.count("AveragePool") == 2  # those whose answers the GRUs read
    # The log-mel comes in two channels, the second for what 8 bits leave of it.
    assert list(weights["network.trunk.inner.0.conv1.weight"].dims[1:]) == [2, 3, 3]
    # A scale for each output channel.
    scales = by_name["network.trunk.inner.1.conv1.weight_scale"]
    assert list(scales.dims) == [weights["network.trunk.inner.1.conv1.weight"].dims[0]]
    assert {opset.domain for opset in proto.opset_import} <= {"", "com.microsoft"}
    assert not [node for node in proto.graph.node if node.domain]


def test_sums_of_two_products_hardly_overflow_16_bits(int8_file: Path) -> None:
    graph = onnx.load(int8_file).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kernels = [w for w in values.values() if w.dtype == np.int8 and w.ndim == 4]
    assert len(kernels) > 5
    for kernel in kernels:
        pairs = kernel[:, : kernel.shape[1] // 2 * 2].astype(int)
        sums = pairs[:, 0::2] + pairs[:, 1::2]
        assert np.abs(sums).max(initial=0) <= round(SLACK * 127) + 1  # each is rounded


def test_equal_biases_have_scales_of_their_own(sounds: Sounds, noise: Noise) -> None:
    # Tracing makes one tensor of equal ones, as all biases of a new network are.
    sizes = {"scenes": 10, "tags": 80, "events": 14}
    labels = {name: tuple(f"{name} {i}" for i in range(n)) for name, n in sizes.items()}
    thresholds = dict.fromkeys(labels["events"], 0.3)
    spec = ModelSpec("v3", "new", width=0.125, thresholds=thresholds, **labels)
    model = SoundModel(spec, LogMel(spec.frontend), create("v3", width=0.125))
    content = serialized(model, precision="int8", calibrate=sounds)
    names = {tensor.name for tensor in onnx.load_from_string(content).graph.initializer}
    for layer in ("trunk.inner.0.conv2", "common.inner.conv1", "scene_block.inner.conv2"):
        assert f"network.{layer}.bias_quantized" in names
    waveforms = noise(RATE)[None]
    moved = probabilities(runtime.model_of(content, "int8"), waveforms)
    assert np.abs(moved - probabilities(model, waveforms)).max() < 0.03


def test_some_tasks_alone(tiny_model: SoundModel, sounds: Sounds, noise: Noise) -> None:
    content = serialized(tiny_model, ("scene",), precision="int8", calibrate=sounds)
    scenes = runtime.model_of(content, "scenes")
    assert scenes.spec.tasks == ("scene",)
    one, two = (m.classify_scene(noise(RATE), RATE) for m in (tiny_model, scenes))
    np.testing.assert_allclose(two.values, one.values, atol=0.03)


# ---------------------------------------------------------------- ranges


def test_a_range_where_nothing_is_gained_by_cutting() -> None:
    rng = np.random.default_rng(0)
    low, high = best_range(rng.uniform(-1, 3, 100_000))
    assert low == pytest.approx(-1, abs=0.05)
    assert high == pytest.approx(3, abs=0.05)
    assert best_range(np.zeros(10)) == (0.0, 0.0)


def test_a_range_is_the_best_of_its_kind() -> None:
    values = np.random.default_rng(0).standard_normal(400_000)
    low, high = best_range(values)

    def loss(limit: float) -> float:
        step = 2 * limit / 255
        inside = np.clip(np.round((values + limit) / step), 0, 255) * step - limit
        return float(np.square(inside - values).mean())

    chosen = loss((high - low) / 2)
    assert all(chosen < loss(limit) * 1.02 for limit in np.linspace(2.5, 6, 20))


@pytest.mark.parametrize("stage", ["distilled", "open"])
def test_the_shipped_ranges_fit_the_shipped_checkpoint(stage: str) -> None:
    model = load("v3", stage=stage)
    found = shipped_ranges(model.weights_digest)
    assert found is not None, f"Measure them again: {calibration.COMMAND}"
    assert found.keys() == layers(preprocessed(traced(model, model.spec.tasks))).keys()
    assert all(math.isfinite(x) for pairs in found.values() for pair in pairs for x in pair)


def test_ranges_of_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: Noise
) -> None:
    model = load()
    folder = tmp_path / "data" / "distilled"
    folder.mkdir(parents=True)
    shutil.copy(PACKAGE / "data" / "distilled" / NAME, folder)
    monkeypatch.setattr(calibration, "PACKAGE", tmp_path)
    assert serialized(model, ("scene",), precision="int8")
    model.network.trunk[0].conv1.weight.data[0] *= 1.01
    model.refresh()
    with pytest.raises(WeightsError, match=r"measured with other weights.*activation_ranges DATA"):
        to_onnx(model, tmp_path / "no.onnx", precision="int8")
    assert not (tmp_path / "no.onnx").exists()
    sound = (noise(RATE), RATE)
    assert serialized(model, ("scene",), precision="int8", calibrate=[sound])


def test_the_digest_is_of_the_weights_wherever_they_lie(
    tiny_model: SoundModel, tmp_path: Path
) -> None:
    other = load(tiny_model.save_pretrained(tmp_path / "model"))
    assert other.weights_digest == tiny_model.weights_digest
    other.network.event_head.bias.data[0] += 1
    other.refresh()
    assert other.weights_digest != tiny_model.weights_digest


def test_ranges_that_lack_a_layer(tiny_model: SoundModel) -> None:
    with pytest.raises(WeightsError, match=r"lack \d+ layers, such as 'network\."):
        quantized(traced(tiny_model, tiny_model.spec.tasks), {})


def test_no_ranges_and_nothing_to_measure_them_with(tiny_model: SoundModel, tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    with pytest.raises(WeightsError, match=r"v3, stage tiny has no .*--calibrate DIR.*calibrate="):
        to_onnx(tiny_model, path, precision="int8")
    with pytest.raises(ValueError, match="no recording to calibrate with"):
        to_onnx(tiny_model, path, precision="int8", calibrate=[])
    with pytest.raises(ValueError, match="Only int8 is calibrated"):
        to_onnx(tiny_model, path, calibrate=["a.wav"])
    with pytest.raises(ValueError, match="precision='int4' cannot be exported; give one of float"):
        to_onnx(tiny_model, path, precision="int4")
    assert not path.exists()


def test_the_command_that_measures_them(open_folder: Path, tmp_path: Path) -> None:
    from recipes.activation_ranges import main, training_clips

    clips = training_clips(open_folder)
    assert {clip.filename[0] for clip in clips} == {"1", "2", "3"}
    target = tmp_path / NAME
    main([str(open_folder), "--stage", "open", "--clips", "2", "--output", str(target)])
    content = json.loads(target.read_text("utf-8"))
    assert content["weights"] == load("v3", stage="open").weights_digest
    assert content["protocol"].startswith("2 clips")
    assert len(content["ranges"]) == 19
