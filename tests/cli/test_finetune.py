"""The command `finetune`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import dcasenet
from dcasenet import DcasenetError
from dcasenet.cli import app
from dcasenet.train import untrained
from tests.fixtures.lightning_noise import LIGHTNING

RATE = 24_000
pytestmark = LIGHTNING


@pytest.fixture
def base(tmp_path: Path) -> Path:
    untrained("v3", width=1 / 16).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for label, pitch in (("low", 0.02), ("high", 0.9)):
        (tmp_path / "my_sounds" / label).mkdir(parents=True)
        for take in range(4):
            audio = 0.3 * np.sin(np.arange(RATE) * (pitch + 0.001 * take))
            soundfile.write(tmp_path / "my_sounds" / label / f"{take}.wav", audio, RATE)
    return tmp_path / "my_sounds"


def test_finetune_writes_a_model_and_says_how_to_use_it(
    base: Path, sounds: Path, tmp_path: Path
) -> None:
    output = tmp_path / "my_model"
    requested = [
        "finetune",
        str(sounds),
        "--task",
        "scene",
        "-o",
        str(output),
        "--model",
        str(base),
    ]
    done = CliRunner().invoke(app, requested)
    assert done.exit_code == 0, done.output
    assert "validation_accuracy" in done.stdout
    assert f"dcasenet scene recording.wav --model {output}" in done.stdout
    file = sounds / "high" / "0.wav"
    told = CliRunner().invoke(app, ["scene", str(file), "--model", str(output), "--format", "json"])
    assert json.loads(told.stdout)["label"] == "high"
    whole = [*requested, "--freeze", "none", "--epochs", "1", "--batch-size", "4", "--task", "tag"]
    assert CliRunner().invoke(app, whole).exit_code == 0
    assert dcasenet.load(output).spec.tasks == ("tag",)


def test_files_of_one_recording_stay_together(base: Path, sounds: Path, tmp_path: Path) -> None:
    for file in sorted(sounds.glob("*/*.wav")):
        file.rename(file.with_name(f"{file.parent.name}{int(file.stem) // 2}_{file.name}"))
    rest = ["-o", str(tmp_path / "out"), "--model", str(base), "--group", "^[a-z]+[0-9]"]
    done = CliRunner().invoke(app, ["finetune", str(sounds), "--task", "scene", *rest])
    assert done.exit_code == 0, done.output
    protocol = dcasenet.load(tmp_path / "out").spec.protocol
    assert "4 held-out examples of 2 recordings" in protocol, protocol
    folds = ["finetune", str(sounds), "--task", "scene", *rest, "--folds", "2", "--overwrite"]
    done = CliRunner().invoke(app, folds)
    assert done.exit_code == 0, done.output
    assert "2 folds over 8 examples of 4 recordings" in done.stdout
    rest[-1] = "^[0-9]"
    wrong = CliRunner().invoke(app, ["finetune", str(sounds), "--task", "scene", *rest])
    assert wrong.exit_code == 2


def test_finetune_refuses_wrong_calls(base: Path, sounds: Path, tmp_path: Path) -> None:
    rest = ["-o", str(tmp_path / "out"), "--model", str(base)]
    wrong_task = CliRunner().invoke(app, ["finetune", str(sounds), "--task", "speech", *rest])
    events = CliRunner().invoke(app, ["finetune", str(sounds), "--task", "event", *rest])
    assert wrong_task.exit_code == events.exit_code == 2
    assert "folders say nothing of when" in " ".join(events.output.replace("│", " ").split())
    absent = CliRunner().invoke(app, ["finetune", "nowhere", "--task", "scene", *rest])
    assert isinstance(absent.exception, DcasenetError)
    assert not (tmp_path / "out").exists()
