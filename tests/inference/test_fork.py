"""Processes that are forked after a model has been loaded: an error, or an answer, and no hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import functools, multiprocessing
import numpy as np, torch
import dcasenet

torch.set_num_threads(2)
model = dcasenet.load()

def work(number):
    return model.tag(np.zeros(24_000), 24_000)[0].label

if __name__ == "__main__":
    single = functools.partial(torch.set_num_threads, 1)
    for method, begin in (("fork", None), ("fork", single), ("spawn", None)):
        if method not in multiprocessing.get_all_start_methods():
            continue
        with multiprocessing.get_context(method).Pool(1, begin) as pool:
            try:
                answer = pool.map_async(work, [0]).get(timeout=200) and "an answer"
            except dcasenet.DcasenetError as error:
                answer = f"DcasenetError: {error}"
        print(f"{method}, {'one thread' if begin else 'many threads'}: {answer}")
"""


def test_a_worker_answers_or_says_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 1
    for line in lines:
        start, answer = line.split(": ", 1)
        # A forked process cannot use the threads of the one that it was forked from.
        refused = start == "fork, many threads"
        assert answer.startswith("DcasenetError: This process was forked from") is refused, line
        assert answer.endswith("or type torch.set_num_threads(1) in each first.") is refused, line
        assert (answer == "an answer") is not refused, line
