"""What goes wrong in a night: kills, full disks, files that come, go and change."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from dcasenet import SoundModel
from dcasenet.audio.discovery import list_recordings
from dcasenet.batch import resume, runner, workers
from dcasenet.batch.progress import Progress
from dcasenet.batch.workers import read_file
from dcasenet.errors import JobError
from dcasenet.spec import ModelSpec

JOB = Path(__file__).with_name("job.py")
SPEC = ModelSpec("v3", "fake")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GROUP", 4)


def stop_after(n_groups: int) -> Callable[[Progress, Sequence[object]], None]:
    """Interrupt a job as Ctrl-C would."""

    def watch(progress: Progress, rows: Sequence[object]) -> None:
        if progress.done - progress.resumed >= n_groups * runner.GROUP:
            raise KeyboardInterrupt

    return watch


def has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # nobody may be there to bury it


@pytest.mark.parametrize(("where", "n_saved"), [("answering", 8), ("saving", 4), ("merging", 10)])
def test_a_job_killed_anywhere_goes_on_where_it_was(
    fake_model: Any, clips: Path, tmp_path: Path, where: str, n_saved: int
) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    runner.analyze(fake_model, clips, whole, workers=0)
    words = [sys.executable, str(JOB), str(clips), str(output), where]
    killed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not output.exists()
    read: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            runner,
            "read_file",
            lambda source, spec, options: read.append(source) or read_file(source, spec, options),
        )
        summary = runner.analyze(fake_model, clips, output, workers=0)
    assert summary.n_resumed == n_saved
    assert len(read) == 10 - n_saved
    assert output.read_bytes() == whole.read_bytes()
    left = [p for p in tmp_path.iterdir() if not p.name.endswith("provenance.json")]
    assert sorted(left) == [clips, output, whole]
    if where == "answering" and Path("/proc").is_dir():
        children = list(map(int, killed.stdout.split()))
        assert len(children) == 1
        end = time.monotonic() + 20
        while not all(map(has_ended, children)):  # a worker never outlives its parent
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_stopped_job_gives_to_the_byte_what_it_would_have_given(
    tiny_model: SoundModel, clips: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    runner.analyze(tiny_model, clips, whole, workers=0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            runner.analyze(tiny_model, clips, output, workers=0, watch=stop_after(1))
    summary = runner.analyze(tiny_model, clips, output, workers=0)
    assert summary.n_resumed == 8
    assert output.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"top": 1}, {"model": "louder"}, {"paths": "inner"}],
    ids=["options", "model", "inputs"],
)
def test_another_job_is_refused(
    fake_model: Any, job_module: Any, clips: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    output = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        runner.analyze(fake_model, clips, output, top=2, workers=0, watch=stop_after(1))
    model = job_module.FakeModel(gain=1.1) if "model" in change else fake_model
    paths = clips / "inner" if "paths" in change else clips
    top = change.get("top", 2)
    with pytest.raises(JobError, match=r"another job: \w+ was .* and is .*--restart"):
        runner.analyze(model, paths, output, top=top, workers=0)
    summary = runner.analyze(model, paths, output, top=top, workers=0, restart=True)
    assert summary.n_resumed == 0
    with pytest.raises(JobError, match="exists already"):
        runner.analyze(model, paths, output, top=top, workers=0)
    assert runner.analyze(model, paths, output, top=top, workers=0, restart=True).n_files


def test_a_second_job_on_the_same_output_is_refused(
    fake_model: Any, clips: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    refused: list[str] = []

    def second(progress: Progress, rows: Sequence[object]) -> None:
        with pytest.raises(JobError, match=r"out\.csv\.parts/\.lock") as error:
            runner.analyze(fake_model, clips, output, workers=0, restart=True)
        refused.append(str(error.value))

    assert runner.analyze(fake_model, clips, output, workers=0, watch=second).n_files == 10
    assert len(refused) == 3


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "name", ["out.csv.parts/mine.txt", "out.csv.parts", "out.status.csv", "out.csv.provenance.json"]
)
def test_files_of_others_beside_an_output_stay(
    fake_model: Any, clips: Path, tmp_path: Path, name: str, restart: bool
) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("the work of years")
    with pytest.raises(JobError, match=r"Move (it|them), or give another output\.$"):
        runner.analyze(fake_model, clips, tmp_path / "out.csv", workers=0, restart=restart)
    assert place.read_text() == "the work of years"
    place.unlink()
    for again in (False, True):  # its own are replaced
        runner.analyze(fake_model, clips, tmp_path / "out.csv", workers=0, restart=again)
    assert not (tmp_path / "out.csv.parts").exists()


def test_a_linked_folder_of_rows_is_not_followed(
    fake_model: Any, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "out.csv.parts").symlink_to(tmp_path / "others")
    with pytest.raises(JobError, match="contains other files"):
        runner.analyze(fake_model, clips, tmp_path / "out.csv", workers=0)
    (tmp_path / "out.csv.parts").unlink()
    (tmp_path / "out.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(JobError, match="exists already"):
        runner.analyze(fake_model, clips, tmp_path / "out.csv", workers=0)


def test_a_full_disk_costs_nothing_that_was_finished(
    fake_model: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, folder = tmp_path / "out.csv", tmp_path / "out.csv.parts"
    to_disk = resume._to_disk

    def full(path: Path) -> None:
        if len(list(folder.glob("rows-*"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        to_disk(path)

    monkeypatch.setattr(resume, "_to_disk", full)
    with pytest.raises(JobError, match=r"No space left on device.*kept in .*out\.csv\.parts"):
        runner.analyze(fake_model, clips, output, workers=0, save_every=0)
    assert len(list(folder.iterdir())) == 6  # lock, job, two lists, two parts, nothing half made
    monkeypatch.undo()
    monkeypatch.setattr(runner, "GROUP", 4)
    assert runner.analyze(fake_model, clips, output, workers=0).n_resumed == 8


def test_an_output_that_does_not_fit_is_merged_later(
    fake_model: Any, clips: Path, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="limits of this kind are for Unix")
    output = tmp_path / "out.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_800, before[1]))
    try:
        with pytest.raises(JobError, match="cannot be written"):
            runner.analyze(fake_model, clips, output, workers=0, save_every=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "out.jsonl.parts"]
    assert not list(Path(f"{output}.parts").glob("merged*"))
    summary = runner.analyze(fake_model, clips, output, workers=0)
    assert summary.n_resumed == 10
    assert output.stat().st_size > 2_800


def test_files_that_vanish_or_come_during_a_job(
    fake_model: Any, clips: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        runner.analyze(fake_model, clips, output, workers=0, watch=stop_after(1))
    (clips / "clip5.wav").unlink()
    (clips / "clip0.wav").unlink()  # finished before
    (clips / "new.wav").touch()
    assert runner.analyze(fake_model, clips, output, workers=0).n_failed == 2
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 10
    failed = {Path(row["filename"]).name: row["error"] for row in rows if row["error"]}
    assert set(failed) == {"clip2.wav", "clip5.wav"}
    assert "There is no file" in failed["clip5.wav"]


@pytest.mark.parametrize("limit", [workers.LONG_SECONDS, 0.1], ids=["short", "long"])
def test_a_file_that_changes_while_it_is_read(
    fake_model: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    path = clips / "clip3.wav"
    read = soundfile.SoundFile.read

    def read_while_written(self: Any, **options: Any) -> Any:
        with path.open("ab") as file:
            file.write(bytes(100))
        return read(self, **options)

    monkeypatch.setattr(workers, "LONG_SECONDS", limit)
    monkeypatch.setattr(soundfile.SoundFile, "read", read_while_written)
    runner.analyze(fake_model, [path], tmp_path / "o.jsonl", workers=0)
    assert "clip3.wav changed while it was read" in (tmp_path / "o.jsonl").read_text()


def test_what_cannot_be_read(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, *arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def exhausted(source: str, **options: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        assert list_recordings([clips]) == [str(clips)]
    assert f"The folder {clips} cannot be listed" in str(read_file(str(clips), SPEC).error)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "Reader", exhausted)
        assert "needs more memory" in str(read_file(str(clips / "clip0.wav"), SPEC).error)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        assert "Permission denied" in str(read_file(str(clips / "clip0.wav"), SPEC).error)


def test_a_part_that_somebody_deleted_is_made_again(
    fake_model: Any, clips: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    runner.analyze(fake_model, clips, whole, workers=0)
    with pytest.raises(KeyboardInterrupt):
        runner.analyze(fake_model, clips, output, workers=0, save_every=0, watch=stop_after(2))
    first, _ = sorted(Path(f"{output}.parts").glob("rows-*"))
    first.unlink()
    assert runner.analyze(fake_model, clips, output, workers=0).n_resumed == 0
    assert output.read_bytes() == whole.read_bytes()
