"""How commands read: channels, a limit, strictness, standard input; and `check`."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dcasenet.cli import options
from dcasenet.cli.commands import app
from tests.fixtures.recordings import RATE, encode, signal

Write = Callable[..., Path]


@pytest.fixture
def run(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(options, "load_model", lambda *_: tiny_model)

    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def stereo(write_wav: Write) -> Path:
    return write_wav("stereo.wav", np.stack([signal(), 0 * signal()]), RATE)


@pytest.mark.parametrize("command", ["analyze", "scene", "tags", "events", "embed"])
def test_every_command_chooses_channels(
    command: str, run: Callable[..., Any], stereo: Path, write_wav: Write
) -> None:
    left = write_wav("left.wav", signal(), RATE)
    right = write_wav("right.wav", 0 * signal(), RATE)

    def answer(*arguments: object) -> Any:
        result = run(command, *arguments, "--format", "json")
        assert result.exit_code == 0, result.output
        values = json.loads(result.stdout.splitlines()[0])
        for name in ("source", "filename", "warnings", "provenance"):
            values.pop(name, None)
        return values

    assert answer(stereo, "--channels", 0) == answer(left)
    assert answer(stereo, "--channels", 1) == answer(right)
    assert answer(stereo, "--channels", "each") not in (answer(left), answer(right))


def test_a_channel_that_is_not_there_fails(run: Callable[..., Any], stereo: Path) -> None:
    result = run("tags", stereo, "--channels", 2)
    assert result.exit_code == 1
    assert "has 2 channels, and channels=2 was given" in result.stderr.replace("\n", " ")
    result = run("tags", stereo, "--channels", "left")
    assert result.exit_code == 2
    assert "--channels left is not known" in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [[""], ["a.wav", "--output", ""], ["a.wav", "--output="]])
def test_an_empty_name_is_refused(
    words: list[str],
    run: Callable[..., Any],
    stereo: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(stereo.parent)
    result = run("tags", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "An empty name or value was given" in " ".join(result.stderr.split())


def test_closed_standard_input() -> None:
    command = f"{sys.executable} -m dcasenet tags - <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Standard input, -, is closed." in " ".join(done.stderr.split())


def test_ctrl_c_while_the_command_is_imported() -> None:
    interrupted = """
import sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "dcasenet.cli.commands":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from dcasenet.cli import main

main()
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupted], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_a_limit_of_duration(run: Callable[..., Any], stereo: Path, tmp_path: Path) -> None:
    result = run("tags", stereo, "--max-duration", 2)
    assert result.exit_code == 1
    assert "is 5.0 s long or longer, and the limit is 2.0 s" in " ".join(result.stderr.split())
    assert run("tags", stereo, "--max-duration", "inf").exit_code == 0
    table = tmp_path / "out.jsonl"
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.wav").write_bytes(stereo.read_bytes())
    result = run("analyze", folder, "--output", table, "--max-duration", 2, "--workers", 0)
    assert result.exit_code == 1
    row = json.loads(table.read_text().splitlines()[0])
    assert row["status"] == "error"
    assert "the limit is 2.0 s" in row["error"]


def test_strict_makes_what_is_doubtful_an_error(run: Callable[..., Any], write_wav: Write) -> None:
    silent = write_wav("silent.wav", 0 * signal(), RATE)
    result = run("tags", silent)
    assert result.exit_code == 0
    assert "it is silent" in " ".join(result.stderr.split())
    result = run("tags", silent, "--strict")
    assert result.exit_code == 1
    assert "strict=True makes this an error" in " ".join(result.stderr.split())


def test_standard_input_is_read(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for command in ("analyze", "scene", "tags", "events", "embed", "check"):
        stdin = SimpleNamespace(buffer=io.BytesIO(encode("FLAC")))
        monkeypatch.setattr(options, "sys", SimpleNamespace(stdin=stdin))
        result = run(command, "-", "--format", "json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[0])
    result = run("tags", "-", "-")
    assert result.exit_code == 2
    assert "can be read once" in result.stderr
    result = run("tags", "-", "--output", tmp_path / "a.jsonl")
    assert result.exit_code == 2
    assert "Save it to a file first" in " ".join(result.stderr.split())


def test_standard_input_of_a_real_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dcasenet", "check", "-", "--format", "json"],
        input=encode("WAV", "PCM_16"),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["duration"] == 5.0


def test_check_says_what_is_doubtful(
    run: Callable[..., Any], write_wav: Write, tmp_path: Path
) -> None:
    stereo = write_wav("live.wav", np.stack([signal(), signal() / 2]), RATE)
    silent = write_wav("silent.wav", 0 * signal(), RATE)
    result = run("check", stereo, silent)
    assert result.exit_code == 0
    assert "5.00 s, 24,000 Hz, 2 channel(s)" in result.stdout
    assert "silence: " in result.stdout
    assert run("check", stereo, "--strict").exit_code == 0
    assert run("check", silent, "--strict").exit_code == 1
    rows = list(csv.DictReader(io.StringIO(run("check", stereo, silent, "--format", "csv").stdout)))
    assert [row["kind"] for row in rows] == ["", "silence"]
    result = run("check", tmp_path / "none.wav", stereo)
    assert result.exit_code == 1
    assert "There is no file" in result.stderr
    assert "5.00 s" in result.stdout


@pytest.mark.parametrize("form", ["printed", "table", "folder", "check", "report"])
def test_other_files_of_a_folder_are_counted_in_one_line(
    form: str, run: Callable[..., Any], stereo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    stereo.rename(folder / "a.wav")
    for name in ("a.txt", "b.TXT", "cover.jpg", ".hidden.wav"):
        (folder / name).touch()
    words = {
        "printed": ("tags", folder),
        "table": ("tags", folder, "--output", tmp_path / "out.jsonl", "--workers", 0),
        "folder": ("tags", folder, "--output", tmp_path / "out", "--format", "json"),
        "check": ("check", folder),
        "report": ("report", folder, "--output", tmp_path / "out.html"),
    }
    result = run(*words[form])
    assert result.exit_code == 0, result.output
    assert "passed over: 2 .txt, 1 .jpg, 1 hidden" in result.stderr.splitlines()
