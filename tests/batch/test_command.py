"""`--output` on the command line: what is written, said, and returned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dcasenet import SoundModel
from dcasenet.batch import incremental, runner
from dcasenet.batch.progress import Progress
from dcasenet.cli import batch
from dcasenet.cli.batch import progress_text
from tests.fixtures.command import Done


@pytest.fixture(scope="module")
def model(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(path)
    return str(path)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, call_command: Callable[..., Done], model: str
) -> Callable[..., Done]:
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: call_command(*words, "--model", model)


def test_a_folder_becomes_a_table(run: Callable[..., Done], clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    done = run("analyze", clips, "--output", output, "--top", 3, "--threshold", 0)
    assert done.code == 1
    assert done.out == f"{output}: 10 files, 1 failed\n"
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    assert "clip2.wav" in done.err
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [len(row["tags"]) for row in rows if row["tags"]] == [3] * 9
    assert all(row["events"] for row in rows if row["status"] == "ok")
    done = run("embed", clips / "inner", "--output", tmp_path / "e.npz")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("e.npz: 3 files\n")


def test_an_output_is_not_written_over(
    run: Callable[..., Done], clips: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    done = run("analyze", clips, "--output", output)
    assert done.code == 1
    assert "exists already" in done.err
    assert output.read_text() == "precious"
    assert run("analyze", clips, "--output", output, "--restart").code == 1
    assert output.read_text() != "precious"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_a_job_that_goes_on_later(
    run: Callable[..., Done], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, code: int,
) -> None:  # fmt: skip
    before = signal.getsignal(signal.SIGTERM)  # Ray's, where a test of it was there first
    monkeypatch.setattr(runner, "GROUP", 4)
    output = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        patch.setattr(batch.JobProgress, "__call__", lambda *_: os.kill(os.getpid(), number))
        done = run("embed", clips, "--output", output)
    assert done.code == code
    assert done.err.startswith(f"Stopped. Finished rows are kept in {output}.parts")
    assert signal.getsignal(signal.SIGTERM) is before
    watched: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(batch.JobProgress, "__call__", lambda _, p, rows: watched.append(p.resumed))
        assert run("embed", clips, "--output", output).code == 1
    assert watched == [4, 4]
    names = [line.split(",")[0] for line in output.read_text().splitlines()[1:]]
    assert len(names) == len(set(names)) == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["analyze", "--workers", "1"], "go with --output"),
        (["embed", "--restart"], "go with --output"),
        (["analyze", "--engine", "ray"], "go with --output"),
        (["analyze", "--output", "o.csv", "--format", "json"], "a file that ends in .json"),
        (["analyze", "--output", "o.csv", "--plot", "p.png"], "do not go together"),
        (["embed", "--output", "o.npz", "--level", "frame"], "one vector a file"),
        (["embed", "--output", "o.txt"], "must end in .parquet, .npz"),
        (["analyze", "--output", "o.npz"], "must end in .parquet, .jsonl"),
        (["scene", "--precision", "int8", "--runtime", "torch"], "precision='int8'"),
    ],
)
def test_wrong_calls(run: Callable[..., Done], clips: Path, words: list[str], message: str) -> None:
    done = run(*words, clips)
    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_one_recording_is_written_as_it_goes(
    run: Callable[..., Done], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        incremental,
        "write_results",
        lambda model, audio, output, **options: called.append((audio, output, options)),
    )
    clip, output = clips / "clip0.wav", tmp_path / "out.csv"
    done = run("analyze", clip, "--output", output, "--threshold", 0.5)
    assert (done.code, done.out) == (0, f"{output}: {clip}\n")
    (given,) = called
    assert given[:2] == (clip, output)
    assert given[2]["threshold"] == 0.5
    assert run("analyze", clips / "inner", "--output", output).code == 0
    assert len(called) == 1
    assert output.exists()


def test_precision_and_runtime_reach_the_model(
    run: Callable[..., Done], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clips / "clip0.wav"
    exact = json.loads(run("scene", clip, "--format", "json").out)["probability"]
    rough = json.loads(run("scene", clip, "--format", "json", "--precision", "bfloat16").out)[
        "probability"
    ]
    assert rough != exact
    assert rough == pytest.approx(exact, abs=0.05)


def test_the_line_of_progress() -> None:
    progress = Progress(total=100_000, resumed=50_000, done=60_000, failed=7)
    assert progress_text(progress) == "60,000 of 100,000 files, 7 failed"
    progress.elapsed, progress.audio = 100.0, 50_000.0
    assert progress_text(progress) == (
        "60,000 of 100,000 files, 100.0 files/s, 500 × real time, 6 min 40 s left, 7 failed"
    )
    progress.elapsed = 1_000.0
    assert "1 h 6 min left" in progress_text(progress)


def test_lines_now_and_then_without_a_terminal(
    run: Callable[..., Done], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "LINE_EVERY", 0.0)
    done = run("embed", clips / "inner", "--output", tmp_path / "e.npz")
    assert done.err.startswith("3 of 3 files, ")


def test_a_terminal_gets_a_bar(model: str, clips: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="terminals of this kind are for Unix")
    parent, child = pty.openpty()
    words = [sys.executable, "-m", "dcasenet", "embed", str(clips), "--model", model]
    process = subprocess.Popen(
        [*words, "--output", str(tmp_path / "e.csv"), "--workers", "1"],
        stderr=child, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(child)
    shown = bytearray()
    with contextlib.suppress(OSError):  # the terminal's end
        while block := os.read(parent, 4096):
            shown += block
    os.close(parent)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.endswith("e.csv: 10 files, 1 failed\n")
    assert b"10 of 10 files" in shown
    assert b"clip2.wav" in shown
