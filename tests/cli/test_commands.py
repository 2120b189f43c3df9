"""The command, called as a user calls it: arguments, output, exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcasenet import SoundModel, __version__
from dcasenet.cli.panels import PANELS

WriteWav = Callable[..., Path]


def test_analyze_table(run: Callable[..., Any], wav: Path) -> None:
    done = run("analyze", wav, "--threshold", 0)
    assert done.code == 0
    assert done.err == ""
    assert "street.wav  3.00 s" in done.out
    for word in ("scene", "tag", "onset (s)", "door knock", "3.00", "probability"):
        assert word in done.out
    assert "none above its threshold" in run("analyze", wav, "--threshold", 1).out


def test_json_is_a_line_a_file_and_equals_the_api(
    run: Callable[..., Any], wav: Path, tiny_model: SoundModel
) -> None:
    done = run("analyze", wav, wav, "--format", "json", "--top", 2)
    first, second = map(json.loads, done.out.splitlines())
    assert first == second
    expected = tiny_model.analyze(wav)
    assert first["filename"] == str(wav)
    assert first["duration"] == 3.0
    assert first["scene"]["label"] == expected.scene.label
    assert [tag["label"] for tag in first["tags"]] == [t.label for t in expected.tags[:2]]
    events = expected.events.to_dict()["events"]
    assert [e["label"] for e in first["events"]] == [e["label"] for e in events]
    # The command may answer by another runtime.
    for found, known in zip(first["events"], events, strict=True):
        assert found["probability"] == pytest.approx(known["probability"], abs=1e-4)
    assert first["warnings"] == []


def test_csv_has_one_header(run: Callable[..., Any], wav: Path) -> None:
    done = run("analyze", wav, wav, "--format", "csv", "--threshold", 0, "--top", 2)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == ["filename", "task", "label", "onset", "offset", "probability"]
    assert [row["task"] for row in rows] == (["scene"] + ["tag"] * 2 + ["event"] * 3) * 2
    assert rows[3]["onset"] == "0.00"
    assert rows[3]["offset"] == "3.00"
    assert rows[0]["onset"] == ""


@pytest.mark.parametrize(
    ("command", "key"), [("scene", "label"), ("tags", "tags"), ("events", "events")]
)
def test_single_tasks(run: Callable[..., Any], wav: Path, command: str, key: str) -> None:
    assert key in json.loads(run(command, wav, "--format", "json").out)
    assert "probability" in run(command, wav).out
    assert run(command, wav, "--format", "csv").out.startswith("filename,task,label,")


def test_embed(run: Callable[..., Any], wav: Path, tiny_model: SoundModel) -> None:
    expected = tiny_model.embed(wav)
    values = json.loads(run("embed", wav, "--format", "json").out)
    np.testing.assert_allclose(values["embedding"], expected, atol=1e-5)
    assert "64 values" in run("embed", wav).out
    header, row = run("embed", wav, "--format", "csv").out.splitlines()
    assert header.startswith("filename,e0,e1,")
    assert len(row.split(",")) == 65
    steps = json.loads(run("embed", wav, "--level", "frame", "--format", "json").out)
    assert len(steps["times"]) == len(steps["values"]) == 3
    assert "3 steps of 64 values" in run("embed", wav, "--level", "frame").out
    lines = run("embed", wav, "--level", "frame", "--format", "csv").out.splitlines()
    assert lines[0].startswith("filename,time,e0")
    assert lines[1].split(",")[1] == "0.400"


def test_a_bad_file_is_one_line_and_the_others_are_done(
    run: Callable[..., Any], wav: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    done = run("tags", text, wav, tmp_path / "missing.wav", "--format", "json")
    assert done.code == 1
    assert [json.loads(line)["filename"] for line in done.out.splitlines()] == [str(wav)]
    errors = done.err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("error: ") for line in errors)
    assert "text.wav" in errors[0]
    assert "missing.wav" in errors[1]


def test_warnings_go_to_stderr_and_into_json(run: Callable[..., Any], wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:70_000])
    done = run("tags", wav)
    assert done.code == 0
    assert done.err.startswith("warning: ")
    assert "72,000" in done.err
    done = run("analyze", wav, "--format", "json")
    assert len(json.loads(done.out)["warnings"]) == 1
    assert done.err == ""


def test_unknown_model_and_stage(run: Callable[..., Any], wav: Path) -> None:
    done = run("analyze", wav, "--stage", "jiont", model=False)
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "Did you mean 'joint'" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["--threshold", "2"], ["--top", "0"], ["--format", "xml"], ["--nonsense"]],
)
def test_wrong_calls_exit_with_2(run: Callable[..., Any], wav: Path, arguments: list[str]) -> None:
    assert run("analyze", wav, *arguments).code == 2


def test_no_files_is_a_wrong_call(run: Callable[..., Any]) -> None:
    done = run("analyze")
    assert done.code == 2
    assert "FILE" in done.err


def test_plot(run: Callable[..., Any], wav: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    for threshold in (0, 1):
        assert run("analyze", wav, "--plot", picture, "--threshold", threshold).code == 0
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000
    assert run("analyze", wav, wav, "--plot", picture).code == 2


def test_plot_without_matplotlib(
    run: Callable[..., Any], wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("analyze", wav, "--plot", tmp_path / "out.png")
    assert done.code == 1
    assert done.out == ""  # before anything is answered
    assert "pip install 'dcasenet[plot]'" in done.err


def test_plot_that_cannot_be_written(run: Callable[..., Any], wav: Path, tmp_path: Path) -> None:
    for name in ("missing/out.png", "out.foo"):
        done = run("analyze", wav, "--plot", tmp_path / name)
        assert done.code == 2
        assert "--plot cannot write" in " ".join(done.err.split())


def test_options_reach_the_single_tasks(run: Callable[..., Any], wav: Path) -> None:
    assert len(json.loads(run("tags", wav, "--top", 2, "--format", "json").out)["tags"]) == 2
    for threshold, n_events in ((0, 3), (1, 0)):
        done = run("events", wav, "--threshold", threshold, "--format", "json")
        assert len(json.loads(done.out)["events"]) == n_events


def test_a_device_that_is_not_there(run: Callable[..., Any], wav: Path) -> None:
    done = run("scene", wav, "--device", "nonsense")
    assert done.code == 2
    assert "device='nonsense' cannot be used" in " ".join(done.err.split())


# Processes of their own run the checkpoint that ships, which answers without importing torch.
def test_a_terminal_gets_a_bar_and_a_file_gets_the_lines(wav: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="terminals of this kind are for Unix")
    parent, child = pty.openpty()
    words = [sys.executable, "-m", "dcasenet", "scene", str(wav), "missing.wav", str(wav)]
    out = tmp_path / "out.jsonl"
    with out.open("w") as file:
        process = subprocess.Popen([*words, "--format", "json"], stdout=file, stderr=child)
        assert process.wait(120) == 1
    os.close(child)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    assert [json.loads(line)["filename"] for line in out.read_text().splitlines()] == [str(wav)] * 2
    assert "Analyzing" in shown
    assert "error: There is no file missing.wav" in shown


def test_a_full_disk_is_an_error_in_one_line(wav: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with full.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", "dcasenet", "scene", str(wav)],
            stdout=file, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_name_that_is_no_text_is_answered(wav: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd\xff.wav"
    try:
        shutil.copy(os.fsencode(wav), odd)
    except OSError:
        pytest.skip("this file system has no such names")
    words = [sys.executable, "-m", "dcasenet", "scene", odd, wav, "--format", "csv"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(words, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_version_and_help(run: Callable[..., Any]) -> None:
    assert run("--version", model=False).out.strip() == f"dcasenet {__version__}"
    done = run("--help", model=False)
    assert done.code == 0
    for command in ("analyze", "scene", "tags", "events", "embed", "models", "info"):
        assert command in done.out


def test_help_is_in_panels_that_hold_every_command(run: Callable[..., Any]) -> None:
    done = run("-h", model=False)
    assert done.code == 0
    titles = re.findall(r"^(\w[\w ]*):$", done.out, re.MULTILINE)
    assert titles == ["Options", *PANELS]  # no "Other": every command has its panel
    for title, names in PANELS.items():
        panel = done.out.split(f"\n{title}:\n")[1].split("\n\n")[0]
        assert tuple(re.findall(r"^  (\w+) ", panel, re.MULTILINE)) == names
    assert "--install-completion" in done.out
    assert run("events", "-h", model=False).code == 0


def test_as_a_module_and_into_a_closed_pipe(wav: Path) -> None:
    words = [sys.executable, "-m", "dcasenet", "scene", *[str(wav)] * 3]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("street.wav") == 3
    shell = " ".join(words) + " | head -n 1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
