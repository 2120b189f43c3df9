"""Processes that are forked after a model has been loaded: an error, or an answer, and no hang."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcasenet.errors import DcasenetError
from dcasenet.inference import process

ROOT = Path(__file__).parents[2]
SCRIPT = """
import functools, multiprocessing, sys
import numpy as np, torch
import dcasenet

torch.set_num_threads(2)
model = dcasenet.load("v3", stage="open")

def work(number):
    return model.tag(np.zeros(24_000), 24_000)[0].label

if __name__ == "__main__":
    method, threads = sys.argv[1], int(sys.argv[2])
    begin = functools.partial(torch.set_num_threads, threads) if threads else None
    with multiprocessing.get_context(method).Pool(1, begin) as pool:
        print("answer", pool.map_async(work, [0]).get(timeout=200))
"""


@pytest.mark.parametrize(
    ("method", "threads", "is_answered"),
    [("fork", 0, False), ("fork", 1, True), ("spawn", 0, True)],
)
def test_a_worker_answers_or_says_what_to_do(
    method: str, threads: int, is_answered: bool, tmp_path: Path
) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), method, str(threads)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("answer" in done.stdout) is is_answered, done.stderr
    assert (
        "DcasenetError: This process was forked from one that" in done.stderr
    ) is not is_answered


def test_the_error_says_what_to_type() -> None:
    process.refuse_fork(os.getpid(), "this()")
    with pytest.raises(DcasenetError, match=r"get_context\('spawn'\), or type this\(\) first"):
        process.refuse_fork(os.getpid() + 1, "this()")
