"""One bad entry of a folder is a row, never the end of a job; no file is passed over unsaid."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcasenet.audio.discovery import describe_counts, find_recordings
from dcasenet.audio.io import read
from dcasenet.batch import runner
from dcasenet.batch.progress import Progress
from dcasenet.batch.workers import read_file
from dcasenet.errors import AudioError
from dcasenet.spec import ModelSpec
from tests.fixtures.recordings import encode

SPEC = ModelSpec("v3", "fake")
WAV = encode("WAV", "PCM_16")[:9_644]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names and entries")

NAMES = [
    b"latin\xe9.wav", b"line\nfeed.wav", b"carriage\rreturn.wav", b'quo"te,comma.wav',
    b"apo'strophe;.wav", b"=HYPERLINK(1).wav", b"\x1b]0;title\x07.wav", b"\xed\xa0\x80.wav",
    "\u202egpj.wav".encode(), b"\xff\xfe.wav", b" .wav", b"%s{0}[red].wav", b"-.wav",
]  # fmt: skip


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes(WAV)
    return folder


def stop(progress: Progress, rows: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".npz"])
def test_names_that_are_no_plain_text_are_a_row_each_and_again_on_resume(
    fake_model: Any,
    odd_names: Path,
    tmp_path: Path,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "GROUP", 4)
    run: Callable[..., Any] = runner.embed if suffix == ".npz" else runner.analyze
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    run(fake_model, odd_names, whole, workers=0)
    with pytest.raises(KeyboardInterrupt):
        run(fake_model, odd_names, output, workers=0, watch=stop)
    summary = run(fake_model, odd_names, output, workers=0)
    assert (summary.n_files, summary.n_resumed, summary.n_failed) == (len(NAMES), 4, 0)
    names = filenames(output)
    assert len(set(names)) == len(NAMES)
    assert all(name.encode() for name in names)  # whole characters alone
    assert names == filenames(whole)
    if suffix in (".csv", ".jsonl"):
        text = output.read_bytes()
        assert text == whole.read_bytes()
        assert not set(text) & set(b"\x00\x07\x0d\x1b")
        assert "\u202e".encode() not in text


def filenames(path: Path) -> list[str]:
    """The names in a table, as its reader gives them."""
    if path.suffix == ".csv":
        with path.with_suffix(".status.csv").open(encoding="utf-8", newline="") as file:
            return [row["filename"] for row in csv.DictReader(file)]
    if path.suffix == ".jsonl":
        lines = path.read_text("utf-8").splitlines()
        return [ascii(json.loads(line)["filename"]) for line in lines]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return [str(name) for name in arrays["filename"]]
    parquet = pytest.importorskip("pyarrow.parquet")
    return list(parquet.read_table(path)["filename"].to_pylist())


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """A folder with an intact recording, and entries that are none."""
    folder = tmp_path / "entries"
    folder.mkdir()
    (folder / "intact.wav").write_bytes(WAV)
    (folder / "itself.wav").symlink_to(folder / "itself.wav")
    (folder / "circle").symlink_to(folder / "elcric")
    (folder / "elcric").symlink_to(folder / "circle")
    (folder / "nowhere.wav").symlink_to(folder / "missing")
    (folder / "empty.wav").touch()
    os.mkfifo(folder / "pipe.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    return folder


def test_links_pipes_and_devices_are_a_row_each(
    fake_model: Any, entries: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    summary = runner.analyze(fake_model, entries, output, workers=0)
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    errors = {Path(row["filename"]).name: row["error"] for row in rows}
    assert (summary.n_files, summary.n_failed) == (8, 7)
    assert errors.pop("intact.wav") is None
    says = {
        "itself.wav": "Too many levels of symbolic links",
        "circle": "Too many levels of symbolic links",
        "elcric": "Too many levels of symbolic links",
        "nowhere.wav": "There is no file",
        "empty.wav": "is empty",
        "pipe.wav": "is a pipe or a device, which a job does not read",
        "zero.wav": "is a pipe or a device, which a job does not read",
    }
    assert errors.keys() == says.keys()
    assert [name for name in says if says[name] not in errors[name]] == []


def test_a_folder_that_may_not_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    assert find_recordings([tmp_path]).files == [str(tmp_path)]
    assert "cannot be listed: Permission denied" in str(read_file(str(tmp_path), SPEC).error)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_recording(target: str) -> None:
    with pytest.raises(AudioError, match=f"{target} is a device"):
        read(target)


def test_a_pipe_is_read_and_one_without_a_writer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        with os.fdopen(writing, "wb") as file:
            file.write(WAV)
        assert read(f"/dev/fd/{reading}").duration == pytest.approx(0.2, abs=0.01)
    monkeypatch.setattr("dcasenet.audio.decoder.PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match=r"pipe\.wav is a pipe to which nothing was written"):
        read(tmp_path / "pipe.wav")


def test_each_linked_folder_is_found_once(tmp_path: Path) -> None:
    """Ten folders that link to each other have some millions of ways through them."""
    folders = [tmp_path / f"folder{number}" for number in range(10)]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / f"{number}.wav").write_bytes(WAV)
    for folder in folders:
        for other in folders:
            if other != folder:
                (folder / f"to_{other.name}").symlink_to(other)
    found = find_recordings([tmp_path]).files
    assert sorted(Path(path).name for path in found) == [f"{number}.wav" for number in range(10)]
    assert found == find_recordings([tmp_path]).files


def test_a_folder_of_1200_levels_is_searched_to_the_end(tmp_path: Path, fake_model: Any) -> None:
    top = tmp_path / "deep"
    path = str(top)
    os.mkdir(path)  # noqa: PTH102 - what is recursive ends before
    for _ in range(1_200):
        path += "/d"
        os.mkdir(path)  # noqa: PTH102
    with open(f"{path}/a.wav", "wb") as file:  # noqa: PTH123
        file.write(WAV)
    assert find_recordings([top]).files == [f"{path}/a.wav"]
    summary = runner.analyze(fake_model, top, tmp_path / "out.jsonl", workers=0)
    assert (summary.n_files, summary.n_failed) == (1, 0)
    remove(path, top)


def test_a_folder_deeper_than_any_path_is_a_row(tmp_path: Path, fake_model: Any) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    levels = [os.open(top, os.O_RDONLY)]
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=levels[-1])
        levels.append(os.open("d" * 250, os.O_RDONLY, dir_fd=levels[-1]))
    try:
        output = tmp_path / "out.jsonl"
        assert runner.analyze(fake_model, top, output, workers=0).n_failed == 1
        assert "File name too long" in output.read_text()
    finally:
        for level in reversed(levels[:-1]):
            os.rmdir("d" * 250, dir_fd=level)
        for level in levels:
            os.close(level)


def remove(path: str, top: Path) -> None:
    """Take away what `shutil.rmtree`, which is recursive, cannot."""
    os.unlink(f"{path}/a.wav")  # noqa: PTH108
    os.removedirs(path)
    shutil.rmtree(top, ignore_errors=True)
    top.parent.mkdir(exist_ok=True)


def test_other_files_are_counted_by_suffix_again_on_resume(
    fake_model: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GROUP", 4)
    for name in ("notes.txt", "a.TXT", "inner/b.txt", "cover.jpg", "README", ".hidden.wav"):
        (clips / name).touch()
    (clips / "phone.m4a").touch()
    counts = Counter({".txt": 3, ".jpg": 1, "without a suffix": 1, "hidden": 1})
    output = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        runner.analyze(fake_model, clips, output, workers=0, watch=stop)
    (clips / "more.txt").touch()
    summary = runner.analyze(fake_model, clips, output, workers=0)
    assert summary.passed_over == counts
    assert (summary.n_files, summary.n_failed) == (11, 2)  # the empty m4a is a row
    assert describe_counts(counts) == "3 .txt, 1 .jpg, 1 hidden, 1 without a suffix"


def test_many_suffixes_are_one_line() -> None:
    counts = Counter({f".{number}": number for number in range(1, 20)})
    assert describe_counts(counts).endswith("12 .12, 66 other")


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(
        AudioError, match=r"There is no recording in .* \(it contains 1 \.txt\)\. Give"
    ):
        find_recordings([tmp_path])
