"""Every example runs as it is, offline, from another folder."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import soundfile

import dcasenet
from dcasenet.onnx.export import to_onnx

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a script in this process, which has imported what takes long: its output."""

    def call(script: Path, *arguments: str, cwd: Path) -> str:
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("DCASENET_OFFLINE", "1")
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        capsys.readouterr()
        runpy.run_path(str(script), run_name="__main__")
        shown = capsys.readouterr()
        assert shown.err == ""
        return shown.out

    return call


def run(script: Path, *arguments: str, cwd: Path) -> str:
    """Run a script in a process of its own: its output."""
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


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `my_sounds.py` writes."""
    folder = tmp_path_factory.mktemp("sounds")
    run(EXAMPLES / "my_sounds.py", "my_sounds", cwd=folder)
    return folder / "my_sounds"


@pytest.fixture
def my_sounds(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "my_sounds"))


def test_every_example_is_described_and_tested() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}}
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    tests = Path(__file__).read_text("utf-8")
    assert len(files) >= 10
    for name in files:
        assert f"`{name}`" in readme
        assert f'EXAMPLES / "{name}"' in tests
    scripts = [path.read_text("utf-8") for path in EXAMPLES.glob("*.py")]
    assert all(len(script.splitlines()) <= 35 for script in scripts)


@pytest.mark.parametrize(
    "name",
    ["embeddings.py", "fine_tune.py", "folder_to_duckdb.py", "my_sounds.py", "onnx_alone.py"],
)
def test_without_arguments_a_script_says_what_it_needs(
    tmp_path: Path, run_here: Callable[..., str], name: str
) -> None:
    with pytest.raises(SystemExit, match=f"python {name}"):
        run_here(EXAMPLES / name, cwd=tmp_path)


def test_analyze(tmp_path: Path) -> None:
    out = run(EXAMPLES / "analyze.py", cwd=tmp_path)
    assert "dog" in out


def test_embeddings(my_sounds: Path, run_here: Callable[..., str]) -> None:
    out = run_here(EXAMPLES / "embeddings.py", str(my_sounds), cwd=my_sounds.parent)
    score, first = out.splitlines()
    assert score == "12 files, 2 classes: 1.00 right"
    assert first.startswith("the first is ")


def test_fine_tune(my_sounds: Path, tmp_path: Path, run_here: Callable[..., str]) -> None:
    out = run_here(EXAMPLES / "fine_tune.py", "my_sounds", "my_model", cwd=tmp_path)
    lines = out.splitlines()
    assert lines[0] == "4 folds over 12 examples of 12 recordings"
    assert lines[-1] == "labels: hiss, whistle"
    assert (tmp_path / "my_model" / "config.json").is_file()


@pytest.mark.slow
def test_folder_to_duckdb(my_sounds: Path, tmp_path: Path) -> None:
    (my_sounds / "dog.ogg").write_bytes((EXAMPLES / "dog_barking.ogg").read_bytes())
    (my_sounds / "broken.wav").write_text("not audio")
    out = run(EXAMPLES / "folder_to_duckdb.py", "my_sounds", "out.parquet", cwd=tmp_path)
    assert out.startswith("14 files, 1 failed\n")
    assert "\nDog: 1 files, 0." in out


def test_many_files(tmp_path: Path, run_here: Callable[..., str]) -> None:
    (tmp_path / "broken.wav").write_text("not audio")
    (tmp_path / "dog.ogg").write_bytes((EXAMPLES / "dog_barking.ogg").read_bytes())
    out = run_here(EXAMPLES / "many_files.py", str(tmp_path), cwd=tmp_path)
    broken, dog = out.splitlines()
    assert broken.startswith("skipped: ")
    assert "broken.wav" in broken
    assert dog.startswith("dog.ogg  ")


def test_network_level(tmp_path: Path, run_here: Callable[..., str]) -> None:
    out = run_here(EXAMPLES / "network_level.py", cwd=tmp_path)
    assert "log-mel (2, 128, 500)" in out


def test_onnx_alone(tmp_path: Path) -> None:
    model = dcasenet.load()
    to_onnx(model, tmp_path / "model.onnx")
    file = tmp_path / "hiss.wav"
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(6 * 24_000), 24_000)
    out = run(EXAMPLES / "onnx_alone.py", "model.onnx", str(file), cwd=tmp_path)
    *tags, needed = out.splitlines()
    assert tags == [f"{tag.label}: {tag.probability:.2f}" for tag in model.tag(file, top=3)]
    assert needed == "torch is needed: False"
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros(100), 8_000)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "onnx_alone.py"), "model.onnx", str(other)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Resample" in done.stderr


def test_stream(tmp_path: Path, run_here: Callable[..., str]) -> None:
    out = run_here(EXAMPLES / "stream.py", cwd=tmp_path)
    assert "s  dog" in out


# The messages of Jupyter's own packages are not ours.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = EXAMPLES / "tour.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)  # it is kept without them
    (tmp_path / "dog_barking.ogg").write_bytes((EXAMPLES / "dog_barking.ogg").read_bytes())
    monkeypatch.setenv("DCASENET_OFFLINE", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in code for output in cell.outputs]
    shown = "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs
    )
    assert "Analysis(" in shown
    assert "dog" in shown
    assert "3 folds over 12 examples of 12 recordings" in shown
    assert "'whistle'" in shown
    assert "my_sounds/hiss" in shown
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
