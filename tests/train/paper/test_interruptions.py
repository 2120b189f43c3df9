"""Runs in processes of their own: killed half-way, and two that train together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[2] / "fixtures" / "paper_job.py"


@pytest.fixture(scope="module")
def runs(paper_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the processes left."""
    folder = tmp_path_factory.mktemp("runs")
    done = subprocess.run(
        [sys.executable, PROGRAM, paper_folder, folder],
        # As many threads as here: sums depend on how they are shared.
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    job: ModuleType, paper_folder: Path, runs: Path, tmp_path: Path
) -> None:
    job.run(paper_folder, tmp_path / "whole")
    killed = runs / "killed"
    half = torch.load(killed / "last.ckpt", weights_only=True)
    assert half["global_step"] == 2
    job.run(paper_folder, killed)
    ends = [
        torch.load(folder / "last.ckpt", weights_only=True)
        for folder in (tmp_path / "whole", killed)
    ]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 6
    assert ends[0]["lr_schedulers"] == ends[1]["lr_schedulers"]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    moments = [end["optimizer_states"][0]["state"] for end in ends]
    for key, state in moments[0].items():
        assert torch.equal(state["exp_avg"], moments[1][key]["exp_avg"]), key


def test_two_processes_train_as_one_with_twice_the_batch(
    job: ModuleType, paper_folder: Path, runs: Path, tmp_path: Path
) -> None:
    job.still(paper_folder, tmp_path / "one", tmp_path / "one.pt", factor=2)
    first, second, alone = (
        torch.load(path, weights_only=True)
        for path in (runs / "two.pt.0", runs / "two.pt.1", tmp_path / "one.pt.0")
    )
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    assert len(first["kept"]) == len(alone["kept"]) == job.RECIPE.steps
    for together, by_itself in zip(first["kept"], alone["kept"], strict=True):
        assert together.keys() == by_itself.keys()
        for name, value in by_itself.items():
            assert torch.allclose(together[name], value, rtol=0, atol=1e-5), name
    # Each read something else: gradients would be equal otherwise too.
    assert not torch.equal(first["own_loss"], second["own_loss"])
