"""`runtime="auto"`: files that ship or are cached answer, without torch; else torch does."""

from __future__ import annotations

import json
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
from tests.fixtures.command import Done

ROOT = Path(__file__).parents[2]
DOG = ROOT / "examples" / "dog_barking.ogg"
# As where torch was never installed.
LEFT_OUT = ("torch", "safetensors", "huggingface_hub")
# One process runs all calls: (code, output, errors) of each. Importing takes longer than they do.
WITHOUT_TORCH = """
import contextlib, io, json, sys

sys.modules.update(dict.fromkeys({missing}))
from dcasenet.cli import main

done = []
for words in json.load(sys.stdin):
    sys.argv = ["dcasenet", *words]
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            main()
        except SystemExit as exit_:
            done.append((int(exit_.code or 0), out, err))
json.dump([(code, out.getvalue(), err.getvalue()) for code, out, err in done], sys.stdout)
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
    home: Path,
    folder: Path,
    *commands: str,
    missing: Sequence[str] = (*LEFT_OUT, "onnx"),
) -> dict[str, Done]:
    """Run commands in a folder as where torch was never installed."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(missing=list(missing))],
        input=json.dumps([command.split() for command in commands]),
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "DCASENET_HOME": str(home), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    results = [Done(*result) for result in json.loads(done.stdout)]
    return dict(zip(commands, results, strict=True))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recordings."""
    folder = tmp_path_factory.mktemp("run") / "sounds"
    folder.mkdir()
    shutil.copy(DOG, folder / "dog.ogg")
    shutil.copy(PACKAGE / "data" / "rooster.ogg", folder)
    shutil.copy(PACKAGE / "data" / "distilled" / "model.onnx", folder.parent / "mine.onnx")
    return folder


# Command → what it prints.
COMMANDS = {
    "analyze dog.ogg --format json": '"label": "dog"',
    "scene dog.ogg": "scene",
    "scene dog.ogg --stage open": "scene",
    "tags dog.ogg --top 1": "Dog",
    "tags dog.ogg --top 1 --model ../mine.onnx": "Dog",
    "info ../mine.onnx": "distilled",
    "events dog.ogg --format csv": "dog.ogg,event,dog",
    "embed dog.ogg --format csv": "filename,e0",
    "analyze . --output ../rows.jsonl": "2 files",
    "verify ../rows.jsonl": "the same (2 recordings",
    "events dog.ogg --output ../dog.TextGrid": "dog.TextGrid",
    "listen dog.ogg --format json": '"final": true',
    "search dog.ogg .": "rooster.ogg",
    "redact dog.ogg --label dog --output ../quiet.ogg": "s silenced: ",
    "report . --output ../report.html": "2 recordings",
    "web --output ../site": "Any web server",
    "models --format csv": "open",
    "check dog.ogg": "dog.ogg",
}
# What needs torch or onnx → the error.
REFUSED = {
    f"tags {DOG} --precision bfloat16": "Type: pip install dcasenet\n",
    "scene dog.ogg --model ../mine.onnx --runtime torch": "that it was exported from.\n",
    "export x.onnx": "Type: pip install dcasenet\n",
    "finetune . --task scene --output new": "Type: pip install dcasenet\n",
    "reproduce --scale tiny": "Type: pip install 'dcasenet[train]'\n",
    "search --label Dog . --format csv": "Type: pip install onnx\n",
}


@pytest.fixture(scope="module")
def done(home: Path, sounds: Path) -> dict[str, Done]:
    """All commands, run one after the other where torch, onnx and lightning are not installed."""
    missing = (*LEFT_OUT, "onnx", "lightning")
    return without_torch(home, sounds, *COMMANDS, *REFUSED, missing=missing)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_where_torch_is_not_installed(done: dict[str, Done], command: str) -> None:
    assert done[command].code == 0, done[command].err
    assert COMMANDS[command] in done[command].out


@pytest.mark.parametrize("command", REFUSED)
def test_what_needs_torch_says_what_to_type(done: dict[str, Done], command: str) -> None:
    assert done[command].code == 1
    assert done[command].err.endswith(REFUSED[command])
    assert len(done[command].err.splitlines()) == 1


def test_a_search_by_label_needs_onnx_alone(home: Path, sounds: Path) -> None:
    command = "search --label Dog . --format csv"
    (found,) = without_torch(home, sounds, command, missing=LEFT_OUT).values()
    assert found.code == 0, found.err
    assert "dog.ogg" in found.out.splitlines()[1]


def test_the_guide_names_all_that_is_needed_without_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[<>=!\[ ]", entry)[0] for entry in project["dependencies"]}
    lines = GUIDE.read_text("utf-8").splitlines()
    first, second = [line for line in lines if line.startswith("pip install")][:2]
    named = set(first.removeprefix("pip install ").split())
    assert named == needed - set(LEFT_OUT)
    assert second == "pip install --no-deps dcasenet"


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
    spec, loaded = manifest.find("v3", "open"), load("v3", stage="open")
    shipped = tmp_path / "data" / "open" / cache.FILES["float32"]
    shipped.parent.mkdir(parents=True)
    shipped.write_bytes(with_source(content, cache.published_digest(spec)))
    monkeypatch.setattr(cache, "PACKAGE", tmp_path)
    empty = tmp_path / "cache"
    model = load("v3", stage="open", runtime="auto", cache_dir=empty)
    assert isinstance(model, OnnxSoundModel)
    assert model.spec == loaded.spec
    assert model.spec.file == spec.file  # the manifest's
    assert not empty.exists()
    tags = model.tag(DOG).values
    np.testing.assert_allclose(tags, loaded.tag(DOG).values, atol=1e-4)
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
