"""The run on a bare machine, on a CPU: pack a small set of recordings, train, evaluate."""

import json
from pathlib import Path

import numpy as np
import pytest

import dcasenet
from recipes import device, labels, pack

pytestmark = pytest.mark.slow

TEACHER = Path(__file__).parents[3] / "shared" / "teacher" / "mn04_as.safetensors"
RATE = 24_000


@pytest.mark.skipif(not TEACHER.is_file(), reason="needs the teacher's weights")
def test_packs_trains_and_evaluates(
    open_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(labels, "FEWEST_EVENTS", 3)
    monkeypatch.setattr(labels, "FEWEST_SOURCES", {"train": 1, "validation": 1, "test": 1})
    packed, output = tmp_path / "pack", tmp_path / "out"
    work = tmp_path / "work"
    pack.main([str(open_folder), str(TEACHER), "--output", str(packed), "--work", str(work)])
    assert sum(file.stat().st_size for file in packed.iterdir()) < 60 * 2**20
    device.main(["--pack", str(packed), "--output", str(output), "--smoke"])
    results = json.loads((output / "results.json").read_text())
    assert results["main"]["steps"] > 0
    assert 0.0 <= results["esc50"]["distilled-esc50"]["probe"][0] <= 1.0
    files = [file for file in output.iterdir() if file.is_file()]
    assert len(files) <= 8
    assert max(file.stat().st_size for file in files) <= 16 * 2**20
    model = dcasenet.load("v3", weights=next(output.glob("distilled*.safetensors")))
    assert len(model.spec.tags) == 527
    assert "dog" in model.spec.events
    assert model.spec.scenes == ("sea shore", "rain")
    assert len(model.tag(np.zeros(RATE, np.float32), RATE, top=3)) == 3
