"""2,000 hostile cases; `tests/fuzz/run.py` runs as many as wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.slow
def test_nothing_fails() -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--cases", "2000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| all | 2,000 |" in done.stdout
