"""ONNX Runtime's telemetry: nothing of it on disk, unless the user wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLE = "ORT_DISABLE_TELEMETRY"
# Whichever imports ONNX Runtime first; and what is left of the variable.
LOADED = "import os, dcasenet; dcasenet.load(runtime='auto')"
QUANTIZED = "import os; from dcasenet.onnx import quantize; quantize._tools()"
LEFT = f"; print(os.environ.get({VARIABLE!r}))"


def run(code: str, home: Path, **environment: str) -> tuple[str, list[str]]:
    """Run code with a home of its own; return what it prints, and the files that are there then."""
    inherited = {name: value for name, value in os.environ.items() if name != VARIABLE}
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", **own},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), [str(path) for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("code", [LOADED, QUANTIZED])
def test_nothing_is_collected_and_no_variable_is_left(code: str, tmp_path: Path) -> None:
    assert run(code + LEFT, tmp_path) == ("None", [])


def test_what_the_user_set_counts(tmp_path: Path) -> None:
    assert run(LOADED + LEFT, tmp_path, **{VARIABLE: "0"})[0] == "0"
