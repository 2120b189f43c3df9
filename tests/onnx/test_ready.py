"""`runtime="auto"`: files that ship or are cached answer, without torch; else torch does."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dcasenet import SoundModel, load
from dcasenet.onnx import cache
from dcasenet.onnx.export import serialized
from dcasenet.onnx.runtime import OnnxSoundModel, model_of
from dcasenet.weights import manifest
from dcasenet.weights.sources import PACKAGE
from recipes.onnx_files import with_source

ROOT = Path(__file__).parents[2]
DOG = ROOT / "examples" / "dog_barking.ogg"
# As where torch was never installed.
WITHOUT_TORCH = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors", "huggingface_hub", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""


@pytest.fixture(scope="session")
def content() -> bytes:
    return serialized(load("v3", stage="open"))


@pytest.fixture(scope="session")
def home(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which `open` was exported."""
    folder = tmp_path_factory.mktemp("home")
    load("v3", stage="open", runtime="onnx", cache_dir=folder)
    return folder


def without_torch(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"{WITHOUT_TORCH}\nfrom dcasenet.cli import main\nmain()"
    environment = {**os.environ, "DCASENET_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", "--format", "json"),
        ("scene",),
        ("tags", "--top", "1"),
        ("events",),
        ("embed", "--format", "csv"),
    ],
)
def test_commands_where_torch_is_not_installed(home: Path, arguments: tuple[str, ...]) -> None:
    done = without_torch(home, arguments[0], str(DOG), "--stage", "open", *arguments[1:])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if arguments[0] == "tags":
        assert "dog" in done.stdout


def test_a_table_where_torch_is_not_installed(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    shutil.copy(DOG, tmp_path)
    done = without_torch(home, "analyze", str(tmp_path), "--stage", "open", "--output", str(table))
    assert done.returncode == 0, done.stderr
    assert "dog" in table.read_text("utf-8")


def test_what_to_type_where_torch_is_needed(tmp_path: Path) -> None:
    asked = ("tags", str(DOG), "--stage", "open", "--precision", "bfloat16")
    done = without_torch(tmp_path, *asked)
    assert done.returncode == 1
    assert "pip install torch" in done.stderr
    assert "Traceback" not in done.stderr


def test_auto_is_onnx_where_a_file_is_cached_and_torch_elsewhere(
    home: Path, tmp_path: Path
) -> None:
    assert isinstance(load("v3", stage="open", runtime="auto", cache_dir=home), OnnxSoundModel)
    assert isinstance(load("v3", stage="open", runtime="auto", cache_dir=tmp_path), SoundModel)
    bfloat16 = load("v3", stage="open", runtime="auto", precision="bfloat16", cache_dir=home)
    assert isinstance(bfloat16, SoundModel)


def test_another_version_of_the_package_exports_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "__version__", "999")
    assert isinstance(load("v3", stage="open", runtime="auto", cache_dir=home), SoundModel)


def test_a_file_that_ships(
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = manifest.find("v3", "open")
    shipped = tmp_path / "data" / "open" / cache.FILES["float32"]
    shipped.parent.mkdir(parents=True)
    shipped.write_bytes(with_source(content, cache.published_digest(spec)))
    monkeypatch.setattr(cache, "PACKAGE", tmp_path)
    empty = tmp_path / "cache"
    model = load("v3", stage="open", runtime="auto", cache_dir=empty)
    assert isinstance(model, OnnxSoundModel)
    assert model.spec == spec  # the manifest's, file and all
    assert not empty.exists()
    tags = model.tag(DOG).values
    np.testing.assert_allclose(tags, load("v3", stage="open").tag(DOG).values, atol=1e-4)
    shipped.write_bytes(with_source(content, "sha256:of other weights"))
    with caplog.at_level(logging.WARNING, logger="dcasenet"):
        other = load("v3", stage="open", runtime="auto", cache_dir=empty)
    assert isinstance(other, SoundModel)
    assert "exported from other weights" in caplog.text


@pytest.mark.parametrize("spec", manifest.available_models(), ids=lambda spec: spec.stage)
def test_what_ships_was_exported_from_the_weights_that_ship(spec: manifest.ModelSpec) -> None:
    paths = [PACKAGE / "data" / spec.stage / name for name in cache.FILES.values()]
    for path in filter(Path.is_file, paths):
        assert model_of(path, path.name).source == cache.published_digest(spec), (
            f"Write {path} anew: python -m recipes.onnx_files {spec.stage}"
        )
    assert sum(path.stat().st_size for path in paths if path.is_file()) <= 25e6
