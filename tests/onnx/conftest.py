"""What the tests of exported models share: small models, one exported, and how answers compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dcasenet import ModelSpec, SoundModel, create
from dcasenet.models.frontend import LogMel
from dcasenet.onnx import OnnxSoundModel, load


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    """Skip where the extra is not installed."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def small_model(tiny_spec: ModelSpec) -> Callable[..., SoundModel]:
    """A narrow model of any architecture, whose batch norms do something."""

    def make(name: str = "v3", **changes: Any) -> SoundModel:
        spec = dataclasses.replace(tiny_spec, name=name, **changes)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = create(
                name,
                n_scenes=4,
                n_tags=5,
                n_events=3,
                width=spec.width,
                time_pooling=spec.time_pooling,
            )
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                    nn.init.uniform_(layer.running_var, 0.5, 1.0)
        return SoundModel(spec, LogMel(spec.frontend), network)

    return make


@pytest.fixture(scope="session")
def assert_alike() -> Callable[..., None]:
    def check(one: Any, two: Any, waveforms: np.ndarray, atol: float = 1e-4) -> None:
        for outputs in (one.spec.tasks, ("embedding",)):
            left, right = one.infer(waveforms, outputs), two.infer(waveforms, outputs)
            assert left.keys() == right.keys()
            for name, values in left.items():
                assert right[name].dtype == np.float32
                np.testing.assert_allclose(right[name], values, atol=atol, err_msg=name)

    return check


@pytest.fixture(scope="session")
def file(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dcasenet.onnx.export import to_onnx

    return to_onnx(tiny_model, tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture(scope="session")
def exported(file: Path) -> OnnxSoundModel:
    return load(file, threads=1)


@pytest.fixture(scope="session")
def sounds(noise: Callable[..., np.ndarray]) -> list[tuple[np.ndarray, int]]:
    """Four short recordings to calibrate with."""
    return [(noise(24_000 + 480 * seed, seed), 24_000) for seed in range(4)]


@pytest.fixture(scope="session")
def int8_file(
    tiny_model: SoundModel,
    sounds: list[tuple[np.ndarray, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    from dcasenet.onnx.export import to_onnx

    path = tmp_path_factory.mktemp("onnx") / "int8.onnx"
    return to_onnx(tiny_model, path, precision="int8", calibrate=sounds)
