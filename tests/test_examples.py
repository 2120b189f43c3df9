"""Every example runs as it is, offline, from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=cwd,
        env={**os.environ, "DCASENET_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_is_listed_and_tested() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    assert scripts == {"analyze.py", "embeddings.py", "many_files.py", "network_level.py"}
    assert all(f"`{name}`" in readme for name in scripts)
    assert all(len((EXAMPLES / name).read_text("utf-8").splitlines()) <= 35 for name in scripts)


def test_analyze(tmp_path: Path) -> None:
    out = run(EXAMPLES / "analyze.py", cwd=tmp_path)
    assert "dog" in out


def test_embeddings(tmp_path: Path) -> None:
    out = run(EXAMPLES / "embeddings.py", cwd=tmp_path)
    assert out.splitlines() == ["beeps: sounds like beeps", "hiss: sounds like hiss"]


def test_many_files(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("not audio")
    (tmp_path / "dog.ogg").write_bytes((EXAMPLES / "dog_barking.ogg").read_bytes())
    broken, dog = run(EXAMPLES / "many_files.py", str(tmp_path), cwd=tmp_path).splitlines()
    assert broken.startswith("skipped: ")
    assert "broken.wav" in broken
    assert dog.startswith("dog.ogg  ")


def test_network_level(tmp_path: Path) -> None:
    out = run(EXAMPLES / "network_level.py", cwd=tmp_path)
    assert "log-mel (2, 128, 500)" in out
