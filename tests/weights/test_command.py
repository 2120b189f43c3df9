from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

import dcasenet
from dcasenet.cli import app
from dcasenet.errors import ChecksumError, OfflineError, UnknownModelError, WeightsError
from dcasenet.weights import cache, checkpoint, metadata
from dcasenet.weights.hub import save_pretrained
from dcasenet.weights.manifest import find


@pytest.fixture
def run():
    def invoke(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


def test_models(published, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    dcasenet.load("v3", stage="finetuned-asc")
    table = run("models")
    assert "finetuned-sed" in table
    rows = {
        row["stage"]: row for row in map(json.loads, run("models", "--format", "json").splitlines())
    }
    assert list(rows) == [
        "joint-tag",
        "finetuned-asc",
        "finetuned-sed",
        "finetuned-tag",
        "finetuned",
    ]
    assert rows["finetuned-asc"] == {
        "name": "v3",
        "stage": "finetuned-asc",
        "tasks": "scene",
        "size": "about 6.9 MB",
        "license": "MIT",
        "cached": "yes",
    }
    assert rows["joint-tag"]["cached"] == rows["finetuned"]["cached"] == "no"
    table = list(csv.DictReader(io.StringIO(run("models", "--format", "csv"))))
    assert table == list(rows.values())


def test_download(published, run):
    paths = run("download", "v3", "--stage", "finetuned").split()
    assert len(paths) == 3
    assert [file.checkpoint for file in cache.cached_files()] == [
        "v3-finetuned-asc",
        "v3-finetuned-sed",
        "v3-finetuned-tag",
    ]
    run("download", "v3", "--stage", "finetuned")
    assert len(published.requested) == 3
    rows = map(json.loads, run("models", "--format", "json").splitlines())
    assert {row["stage"]: row["cached"] for row in rows}["finetuned"] == "yes"


def test_download_elsewhere(published, run, tmp_path):
    run("download", "--cache-dir", tmp_path / "usb")
    assert dcasenet.load("v3", cache_dir=tmp_path / "usb", local_files_only=True)
    assert cache.cached_files() == []


def test_download_what_cannot_be(published, run, monkeypatch):
    with pytest.raises(UnknownModelError, match="Did you mean 'finetuned-tag'"):
        run("download", "v3", "--stage", "finetuned-tga")
    monkeypatch.setenv("DCASENET_OFFLINE", "1")
    with pytest.raises(OfflineError):
        run("download")


def test_info(published, run, small_model, tmp_path):
    values = json.loads(run("info", "v3", "--stage", "joint", "--format", "json"))
    assert values["license"] == "MIT"
    assert values["file"]["github"] == published.address[1:]
    assert "threshold" in run("info", "v3", "--stage", "finetuned")
    folder = save_pretrained(small_model, tmp_path / "model")
    for place in (folder, folder / "model.safetensors"):
        own = json.loads(run("info", place, "--format", "json"))
        assert own["scenes"] == ["park", "tram"]
    fields = dict(csv.reader(io.StringIO(run("info", folder, "--format", "csv"))))
    assert fields["scenes"] == "park, tram"
    torch.save({}, tmp_path / "state.pt")
    with pytest.raises(WeightsError, match="not a usable safetensors file"):
        run("info", tmp_path / "state.pt")
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(checkpoint.safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(WeightsError, match="has no description of its model"):
        run("info", bare)


def test_info_reads_what_the_packaged_file_measured(run):
    loaded = dcasenet.load("v3", stage="distilled").spec
    values = json.loads(run("info", "v3", "--stage", "distilled", "--format", "json"))
    assert values["familiarity"]["limit"] == loaded.familiarity.limit
    assert list(values["curves"]) == list(loaded.curves)
    fields = dict(csv.reader(io.StringIO(run("info", "--format", "csv"))))
    assert fields["curves"].startswith(f"precision and recall of {len(loaded.curves)} events")
    assert f"not sure below {loaded.familiarity.limit:g}" in fields["familiarity"]
    assert loaded in dcasenet.available_models()


def test_info_of_what_is_not_measured(published, run):
    fields = dict(csv.reader(io.StringIO(run("info", "v3", "--format", "csv"))))
    assert (fields["curves"], fields["familiarity"]) == (
        "not measured",
        "not measured: always sure",
    )


def test_a_stage_in_place_of_a_name(run):
    for invoke in (lambda: run("info", "distilled"), lambda: dcasenet.load("distilled")):
        with pytest.raises(UnknownModelError, match="'dcasenet info v3 --stage distilled'"):
            invoke()
    with pytest.raises(UnknownModelError, match=r"load\('v3', stage='joint'\)"):
        dcasenet.load("joint")
    with pytest.raises(UnknownModelError, match=r"org/name'\.$"):
        dcasenet.load("jiont")


def test_convert_recognizes_a_published_file(published, run, tmp_path):
    source, target = tmp_path / "best.pt", tmp_path / "out.safetensors"
    source.write_bytes(published.content)
    assert "v3, stage joint-tag" in run("convert", source, target)
    assert metadata.read_spec(target) == find("v3", "joint")
    assert dcasenet.load(target).spec.license == "MIT"


def test_convert_another_file(run, small_model, tmp_path):
    source, target = tmp_path / "mine.pt", tmp_path / "out.safetensors"
    torch.save(dcasenet.create("v1", width=0.125).state_dict(), source)
    assert "v1, stage custom" in run("convert", source, target, "--model", "v1")
    assert dcasenet.load(target).spec.name == "v1"
    folder = save_pretrained(small_model, tmp_path / "model")
    run("convert", folder / "model.safetensors", target)
    assert metadata.read_spec(target) == small_model.spec
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot be written"):
        run("convert", source, tmp_path / "file" / "out.safetensors", "--model", "v1")
    with pytest.raises(WeightsError, match="does not fit"):
        run("convert", source, target, "--model", "v2")


def test_cache(published, run):
    assert "holds no checkpoint" in run("cache", "list")
    assert "holds no checkpoint" in run("cache", "verify")
    run("download")
    (file,) = cache.cached_files()
    rows = [json.loads(line) for line in run("cache", "list", "--format", "json").splitlines()]
    assert rows == [{"checkpoint": "v3-joint-tag", "size": "0.9 MB", "path": str(file.path)}]
    assert "v3-joint-tag" in run("cache", "list")
    assert "intact" in run("cache", "verify")
    content = bytearray(file.path.read_bytes())
    content[-1] ^= 1
    file.path.write_bytes(content)
    with pytest.raises(ChecksumError, match=r"Damaged: .*downloads them again"):
        run("cache", "verify")
    assert "0.9 MB freed" in run("cache", "clear")
    assert cache.cached_files() == []


def test_errors_go_to_standard_error_in_one_line(tmp_path):
    command = [sys.executable, "-m", "dcasenet", "download", "v3", "--cache-dir", str(tmp_path)]
    environment = {**os.environ, "DCASENET_OFFLINE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 1
    assert run.stdout == ""
    assert "best_lwlrap.pt is not on this machine" in run.stderr
    assert "Traceback" not in run.stderr
