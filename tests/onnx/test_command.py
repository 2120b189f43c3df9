"""The command, and the verbs where there is no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcasenet import (
    SoundModel,
    cli,
)
from dcasenet.onnx import runtime

RATE = 24_000
Noise = Callable[..., np.ndarray]


def test_the_command(tiny_model: SoundModel, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    folder, target = tiny_model.save_pretrained(tmp_path / "model"), tmp_path / "out.onnx"
    words = ["export", target, "--model", folder, "--format", "onnx", "--precision", "float32"]

    def call(*more: object) -> int:
        monkeypatch.setattr(sys, "argv", ["dcasenet", *map(str, (*words, *more))])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0)

    assert call() == 0
    assert capsys.readouterr().out.startswith(f"{target}: onnx, float32, ")
    assert runtime.load(target).spec == tiny_model.spec
    assert call("--task", "tag", "--task", "event") == 0
    assert runtime.load(target).spec.tasks == ("tag", "event")
    assert call("--precision", "float8") == 2


def test_the_command_in_int8(
    tiny_model: SoundModel,
    tmp_path: Path,
    write_wav: Callable[..., Path],
    noise: Noise,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    folder, target = tiny_model.save_pretrained(tmp_path / "model"), tmp_path / "out.onnx"
    sound = write_wav("a.wav", noise(RATE))
    words = ["export", target, "--model", folder, "--precision", "int8"]

    def call(*more: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["dcasenet", *map(str, (*words, *more))])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), " ".join(capsys.readouterr().err.split())

    code, error = call()
    assert code == 1
    assert "no activation ranges" in error
    assert call("--calibrate", sound.parent)[0] == 0
    assert runtime.load(target).spec == tiny_model.spec
    (tmp_path / "empty").mkdir()
    assert "There is no recording in" in call("--calibrate", tmp_path / "empty")[1]
    code, error = call("--calibrate", sound.parent, "--precision", "float32")
    assert code == 2
    assert "float32 needs no recordings" in error


WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "safetensors", "huggingface_hub"):
    sys.modules[name] = None
import json
import numpy as np
import dcasenet.onnx
model = dcasenet.onnx.load(sys.argv[1])
with np.load(sys.argv[2]) as arrays:
    waveform = arrays["waveform"]
print(json.dumps({
    "scene": model.classify_scene(waveform, 24_000).to_dict(),
    "tags": model.tag([waveform], 24_000, top=3)[0].to_dict(),
    "events": model.detect_events(waveform, 24_000).to_dict(),
    "analysis": list(model.analyze(waveform, 24_000).to_dict()),
    "vector": model.embed(waveform, 24_000).tolist(),
    "steps": list(model.embed(waveform, 24_000, level="frame").values.shape),
}))
"""


@pytest.mark.parametrize("name", ["file", "int8_file"])
def test_the_verbs_where_there_is_no_torch(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, noise: Noise
) -> None:
    file: Path = request.getfixturevalue(name)
    waveform = noise(3 * RATE)
    np.savez(tmp_path / "in.npz", waveform=waveform)
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(file), str(tmp_path / "in.npz")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
    )
    assert run.returncode == 0, run.stderr
    got = json.loads(run.stdout)
    here = runtime.load(file)
    expected = here.analyze(waveform, RATE)
    assert got["scene"]["label"] == expected.scene.label
    np.testing.assert_allclose(got["vector"], here.embed(waveform, RATE), atol=1e-5)
    assert got["steps"] == [3, 64]
    assert got["analysis"] == list(expected.to_dict())
    assert len(got["events"]["events"]) == len(expected.events)
