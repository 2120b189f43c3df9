"""No more threads than processors that this process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcasenet import cpus
from dcasenet.cpus import usable_cpus


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cpus, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", 6),
        ("400000 100000\n", 4),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("900000 100000\n", 6),
        ("what\n", 6),
    ],
)
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_a_container_has_its_share(quota: Path, text: str, expected: int) -> None:
    quota.write_text(text)
    assert usable_cpus() == expected


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_without_a_quota_it_is_what_the_process_is_bound_to(quota: Path) -> None:
    assert not quota.exists()
    assert usable_cpus() == 6


# What a session was made with is read from it: a process that is bound to one of several
# processors has one thread in all, the one that calls.
THREADS = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np, sys
from dcasenet.onnx import runtime
model = runtime.load(sys.argv[1])
model.tag(np.zeros(24_000, np.float32), 24_000)
options = model.session.get_session_options()
sys.stdout.write(str(options.intra_op_num_threads))
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2,
    reason="needs Linux and two processors",
)
def test_a_bound_process_infers_with_as_many_threads() -> None:
    file = Path(cpus.__file__).parent / "data" / "distilled" / "model.onnx"
    command = [sys.executable, "-c", THREADS, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "1"
