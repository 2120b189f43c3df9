"""An exported file in place of a name: `dcasenet.load` and the commands' --model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet import SoundModel, load
from dcasenet.errors import WeightsError
from dcasenet.onnx import OnnxSoundModel

RATE = 24_000
Noise = Callable[..., np.ndarray]


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
def test_an_exported_file_loads(
    runtime: str, file: Path, exported: OnnxSoundModel, noise: Noise
) -> None:
    for model in (
        load(file, runtime=runtime),
        load(str(file), runtime=runtime),
        load(weights=file, runtime=runtime),
    ):
        assert isinstance(model, OnnxSoundModel)
        assert model.spec == exported.spec
        assert model.tag(noise(RATE), RATE).top(1) == exported.tag(noise(RATE), RATE).top(1)


def test_what_an_exported_file_cannot(file: Path, int8_file: Path, tmp_path: Path) -> None:
    for given in ({"name": file}, {"weights": file}):
        with pytest.raises(WeightsError, match=r"tiny\.onnx is an exported ONNX .*runtime='onnx'"):
            load(**given)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"runtime='onnx'"):
        SoundModel.from_pretrained(file)
    with pytest.raises(WeightsError, match=r"There is no file .*missing\.onnx"):
        load(tmp_path / "missing.onnx", runtime="auto")
    with pytest.raises(WeightsError, match="computes in float32, not int8"):
        load(file, runtime="onnx", precision="int8")
    with pytest.raises(WeightsError, match="holds a v3, not a v2"):
        load("v2", weights=file, runtime="onnx")
    assert load(int8_file, runtime="auto").precision == "int8"
    assert load(int8_file, runtime="auto", precision="int8").precision == "int8"


def test_what_only_torch_can(exported: OnnxSoundModel) -> None:
    assert not hasattr(exported, "explain")
    with pytest.raises(AttributeError, match=r"'explain'.*runtime='torch'"):
        exported.explain  # noqa: B018 # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"has no attribute 'explian'\.$"):
        exported.explian  # noqa: B018 # type: ignore[attr-defined]
