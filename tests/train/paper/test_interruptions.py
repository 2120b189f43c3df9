"""Runs in processes of their own: killed half-way, and two that train together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

PROGRAM = Path(__file__).parents[2] / "fixtures" / "paper_job.py"


@pytest.fixture
def environment() -> dict[str, str]:
    """As many threads as here: sums depend on how they are shared."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    job: ModuleType, paper_folder: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    job.run(paper_folder, tmp_path / "whole")
    # Step 3 of 6 is in the middle of the second epoch of three.
    command = [sys.executable, PROGRAM, paper_folder, tmp_path / "killed", "--die-at", "3"]
    killed = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    half = torch.load(tmp_path / "killed" / "last.ckpt", weights_only=True)
    assert half["global_step"] == 2
    job.run(paper_folder, tmp_path / "killed")
    ends = [
        torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "killed")
    ]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 6
    assert ends[0]["lr_schedulers"] == ends[1]["lr_schedulers"]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    moments = [end["optimizer_states"][0]["state"] for end in ends]
    for key, state in moments[0].items():
        assert torch.equal(state["exp_avg"], moments[1][key]["exp_avg"]), key


def test_two_processes_train_as_one_with_twice_the_batch(
    job: ModuleType, paper_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(PROGRAM), str(paper_folder), str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = subprocess.run(
        [*command, "--record", str(tmp_path / "two.pt")],
        env=environment,
        check=False,
        capture_output=True,
    )
    assert both.returncode == 0, both.stderr.decode()
    job.still(paper_folder, tmp_path / "one", tmp_path / "one.pt", factor=2)
    first, second, alone = (
        torch.load(tmp_path / name, weights_only=True)
        for name in ("two.pt.0", "two.pt.1", "one.pt.0")
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
