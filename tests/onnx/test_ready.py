"""`runtime="auto"`: files that ship or are cached answer, without torch; else torch does."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
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
LEFT_OUT = ("torch", "safetensors", "huggingface_hub")
WITHOUT_TORCH = """
import sys

sys.modules.update(dict.fromkeys({missing}))
from dcasenet.cli import main
main()
"""
GUIDE = ROOT / "docs" / "guides" / "without_torch.md"


@pytest.fixture(scope="session")
def content() -> bytes:
    return serialized(load("v3", stage="open"))


@pytest.fixture(scope="session")
def home(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which `open` was exported."""
    folder = tmp_path_factory.mktemp("home")
    load("v3", stage="open", runtime="onnx", cache_dir=folder)
    return folder


def without_torch(
    home: Path, *arguments: object, missing: Sequence[str] = (*LEFT_OUT, "onnx")
) -> subprocess.CompletedProcess[str]:
    """Run a command as where torch was never installed."""
    environment = {**os.environ, "DCASENET_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(missing=list(missing)), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with two recordings."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    shutil.copy(DOG, folder / "dog.ogg")
    shutil.copy(PACKAGE / "data" / "rooster.ogg", folder)
    return folder


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("analyze dog.ogg --format json", '"label": "dog"'),
        ("scene dog.ogg", "scene"),
        ("tags dog.ogg --top 1", "dog"),
        ("events dog.ogg --format csv", "dog.ogg,event,dog"),
        ("embed dog.ogg --format csv", "filename,e0"),
        ("analyze . --output rows.jsonl", "2 files"),
        ("events dog.ogg --output dog.TextGrid", "dog.TextGrid"),
        ("listen dog.ogg --format json", '"final": true'),
        ("search dog.ogg .", "rooster.ogg"),
        ("redact dog.ogg --label dog --output quiet.ogg", "s silenced: "),
        ("report . --output report.html", "2 recordings"),
        ("web --output site", "Any web server"),
        ("models --format csv", "open"),
        ("check dog.ogg", "dog.ogg"),
    ],
)
def test_commands_where_torch_is_not_installed(
    home: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str
) -> None:
    monkeypatch.chdir(sounds)
    words = command.split()
    stage = () if words[0] in ("models", "check") else ("--stage", "open")
    done = without_torch(home, *words, *stage)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_a_table_is_verified_where_torch_is_not_installed(home: Path, sounds: Path) -> None:
    table = sounds.parent / "rows.jsonl"
    done = without_torch(home, "analyze", sounds, "--stage", "open", "--output", table)
    assert done.returncode == 0, done.stderr
    assert "dog" in table.read_text("utf-8")
    done = without_torch(home, "verify", table)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same (2 recordings" in done.stdout


def test_a_search_by_label_needs_onnx_where_torch_is_not_installed(
    home: Path, sounds: Path
) -> None:
    command = ("search", "--label", "dog", sounds, "--stage", "open", "--format", "csv")
    done = without_torch(home, *command, missing=LEFT_OUT)
    assert done.returncode == 0, done.stderr
    assert "dog.ogg" in done.stdout.splitlines()[1]
    done = without_torch(home, *command)
    assert done.returncode == 1
    assert "Type: pip install onnx" in done.stderr


def test_the_guide_names_all_that_is_needed_without_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[<>=!\[ ]", entry)[0] for entry in project["dependencies"]}
    lines = GUIDE.read_text("utf-8").splitlines()
    first, second = [line for line in lines if line.startswith("pip install")][:2]
    named = set(first.removeprefix("pip install ").split())
    assert named == needed - set(LEFT_OUT)
    assert second == "pip install --no-deps dcasenet"


def test_what_to_type_where_torch_is_needed(tmp_path: Path) -> None:
    requested = ("tags", str(DOG), "--stage", "open", "--precision", "bfloat16")
    done = without_torch(tmp_path, *requested)
    assert done.returncode == 1
    assert "needs torch" in done.stderr
    assert "Type: pip install dcasenet" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "install"),
    [
        ("export x.onnx", "dcasenet"),
        ("finetune . --task scene --output new", "dcasenet"),
        ("reproduce --scale tiny", "'dcasenet[train]'"),
    ],
)
def test_what_else_needs_torch_says_what_to_type(
    tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch, command: str, install: str
) -> None:
    monkeypatch.chdir(sounds)
    done = without_torch(tmp_path, *command.split(), missing=(*LEFT_OUT, "lightning"))
    assert done.returncode == 1
    assert done.stderr.endswith(f"Type: pip install {install}\n")
    assert len(done.stderr.splitlines()) == 1


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
