"""`load` with a runtime and a precision: the pairs there are, and what is kept in the cache."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet import SoundModel, WeightsError, load
from dcasenet.onnx import export
from dcasenet.onnx.runtime import OnnxSoundModel
from dcasenet.weights.cache import clear

RATE = 24_000
Noise = Callable[..., np.ndarray]


@pytest.fixture
def folder(tiny_model: SoundModel, tmp_path: Path) -> Path:
    return tiny_model.save_pretrained(tmp_path / "model")


def test_onnx_in_float32(
    tiny_model: SoundModel, folder: Path, tmp_path: Path, noise: Noise
) -> None:
    model = load(folder, runtime="onnx", cache_dir=tmp_path / "cache")
    assert isinstance(model, OnnxSoundModel)
    assert model.spec == tiny_model.spec
    waveform = noise(2 * RATE)
    expected = tiny_model.tag(waveform, RATE).values
    np.testing.assert_allclose(model.tag(waveform, RATE).values, expected, atol=1e-4)


def test_onnx_in_int8(tmp_path: Path, noise: Noise) -> None:
    waveform = noise(2 * RATE)
    fast = load("v3", stage="open", runtime="onnx", precision="int8", cache_dir=tmp_path)
    assert isinstance(fast, OnnxSoundModel)
    exact = load("v3", stage="open")
    moved = np.abs(fast.tag(waveform, RATE).values - exact.tag(waveform, RATE).values)
    assert 0 < moved.mean() < 0.01


def test_int8_of_a_checkpoint_without_ranges(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"calibrate DIR.*dcasenet\.onnx\.load reads the file"):
        load(folder, runtime="onnx", precision="int8", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_second_time_nothing_is_exported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    load(folder, runtime="onnx", cache_dir=cache)
    (file,) = (cache / "v3-onnx").iterdir()
    with monkeypatch.context() as patched:
        patched.delattr(export, "serialized")
        load(folder, runtime="onnx", cache_dir=cache)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    load(folder, runtime="onnx", cache_dir=cache)  # damaged, so made anew
    assert [path.name for path in (cache / "v3-onnx").iterdir()] == [file.name]
    assert file.read_bytes() != content
    assert clear(cache) > 0
    assert not list(cache.rglob("*.onnx"))


def test_other_weights_have_another_file(
    tiny_model: SoundModel, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    load(folder, runtime="onnx", cache_dir=cache)
    other = load(folder)
    other.network.event_head.bias.data[0] += 1
    load(other.save_pretrained(tmp_path / "other"), runtime="onnx", cache_dir=cache)
    assert len(list((cache / "v3-onnx").iterdir())) == 2


def test_a_cache_that_cannot_be_written(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, noise: Noise
) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with caplog.at_level(logging.WARNING, logger="dcasenet"):
        model = load(folder, runtime="onnx", cache_dir=tmp_path / "taken")
    assert "cannot be cached in" in caplog.text
    assert len(model.tag(noise(RATE), RATE).probabilities) == 5


def test_pairs_that_are_not_there(folder: Path) -> None:
    for runtime, precision in (("torch", "int8"), ("onnx", "bfloat16"), ("tflite", "float32")):
        with pytest.raises(
            ValueError,
            match=f"Unsupported combination runtime='{runtime}', precision='{precision}'; .*"
            "runtime='torch' with precision='float32', runtime='torch' with precision='bfloat16', "
            "runtime='onnx' with precision='float32', runtime='onnx' with precision='int8'",
        ):
            load(folder, runtime=runtime, precision=precision)
    with pytest.raises(ValueError, match="Unsupported combination runtime='auto', "):
        load(folder, runtime="auto", precision="float16")
    with pytest.raises(ValueError, match="device='cuda' cannot be used with runtime='onnx'"):
        load(folder, runtime="auto", precision="int8", device="cuda")
    with pytest.raises(ValueError, match="device='cuda' cannot be used with runtime='onnx'"):
        load(folder, runtime="onnx", device="cuda")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_what_is_not_installed(
    missing: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install"):
        load(folder, runtime="onnx", cache_dir=tmp_path / "cache")
