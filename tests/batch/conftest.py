"""What the tests of jobs share: a folder of clips, and a model that needs no torch."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.fixtures.modules import load_module

JOB = Path(__file__).with_name("job.py")


@pytest.fixture(scope="session")
def job_module() -> ModuleType:
    """`job.py`, which other processes run, too."""
    return load_module(JOB)


@pytest.fixture
def fake_model(job_module: ModuleType) -> Any:
    return job_module.FakeModel()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Ten clips of 0.2 s in two folders, the third of them no audio."""
    folder = tmp_path / "clips"
    (folder / "inner").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(10):
        path = folder / ("inner" if index > 6 else "") / f"clip{index}.wav"
        soundfile.write(path, rng.standard_normal(4_800) * 0.02 * (index + 1), 24_000)
    (folder / "clip2.wav").write_text("not audio")
    return folder
