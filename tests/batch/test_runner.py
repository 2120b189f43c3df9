"""Jobs on many files: rows, formats, order, and equality with the verbs."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet import AudioError, SoundModel
from dcasenet.audio.discovery import list_recordings
from dcasenet.audio.io import Reader
from dcasenet.batch import queries, runner, workers, writers
from dcasenet.batch.progress import Progress
from dcasenet.batch.workers import read_file
from dcasenet.spec import ModelSpec


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_rows_equal_the_verbs_in_the_order_of_the_files(
    tiny_model: SoundModel, clips: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    summary = runner.analyze(tiny_model, [clips], output, threshold=0.2, top=2, workers=0)
    assert (summary.n_files, summary.n_failed, summary.n_resumed) == (10, 1, 0)
    rows = lines(output)
    assert [row["filename"] for row in rows] == list_recordings([clips])
    assert [row["status"] for row in rows] == ["ok"] * 2 + ["error"] + ["ok"] * 7
    assert "clip2.wav" in rows[2]["error"]
    assert rows[2]["scene"] is rows[2]["tags"] is rows[2]["events"] is rows[2]["duration"] is None
    for row in (rows[0], rows[9]):
        expected = tiny_model.analyze(row["filename"], threshold=0.2).to_dict()
        assert row["duration"] == expected["duration"]
        assert row["scene"]["probabilities"] == pytest.approx(
            expected["scene"]["probabilities"], abs=1e-5
        )
        assert [t["label"] for t in row["tags"]] == [t["label"] for t in expected["tags"][:2]]
        assert [e["label"] for e in row["events"]] == [e["label"] for e in expected["events"]]
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize("function", [runner.analyze, runner.tag])
def test_options_that_a_job_does_not_have_are_refused(
    fake_model: Any, clips: Path, tmp_path: Path, function: Any
) -> None:
    with pytest.raises(TypeError, match=r"no option chanels, treshold\. .*decoding=\{'threshold'"):
        function(fake_model, [clips], tmp_path / "out.jsonl", treshold=1.0, chanels="each")
    assert not list(tmp_path.glob("out*"))


def test_parquet_holds_what_json_lines_hold(
    tiny_model: SoundModel, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(writers, "ROW_GROUP", 4)
    for name in ("out.jsonl", "out.parquet"):
        runner.analyze(tiny_model, [clips], tmp_path / name, threshold=0.0, workers=0)
    table = pq.ParquetFile(tmp_path / "out.parquet")
    assert table.num_row_groups == 3
    rows = table.read().to_pylist()
    for row in rows:
        if row["scene"]:
            row["scene"]["probabilities"] = dict(row["scene"]["probabilities"])
    assert rows == lines(tmp_path / "out.jsonl")
    assert rows[0]["events"]


def test_csv_is_flat_and_has_a_status_file(fake_model: Any, clips: Path, tmp_path: Path) -> None:
    runner.analyze(fake_model, [clips], tmp_path / "out.csv", workers=0)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert list(rows[0]) == ["filename", "task", "label", "onset", "offset", "probability"]
    assert len(rows) == 9 * 2
    statuses = list(csv.DictReader(io.StringIO((tmp_path / "out.status.csv").read_text())))
    assert [row["status"] for row in statuses].count("error") == 1
    assert statuses[0]["duration"] == "0.2"
    assert statuses[2]["error"]


def test_embeddings_in_every_format(tiny_model: SoundModel, clips: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    names = ("e.npz", "e.parquet", "e.jsonl", "e.csv")
    for name in names:
        runner.embed(tiny_model, clips, tmp_path / name, workers=0)
    with np.load(tmp_path / "e.npz") as arrays:
        stored = {name: arrays[name] for name in arrays.files}
    files = list_recordings([clips])
    assert stored["filename"].tolist() == files
    assert stored["embedding"].shape == (10, 64)
    assert np.isnan(stored["embedding"][2]).all()
    assert np.isnan(stored["duration"][2])
    assert stored["status"][2] == "error"
    np.testing.assert_allclose(stored["embedding"][9], tiny_model.embed(files[9]), atol=1e-5)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table["embedding"].type.list_size == 64
    for index, (row, line) in enumerate(
        zip(table.to_pylist(), lines(tmp_path / "e.jsonl"), strict=True)
    ):
        assert row == line
        expected = stored["embedding"][index].tolist() if index != 2 else None
        assert row["embedding"] == expected
    header, first = (tmp_path / "e.csv").read_text().splitlines()[:2]
    assert header.startswith("filename,e0,e1,")
    assert list(map(float, first.split(",")[1:])) == stored["embedding"][0].tolist()


def test_a_long_file_is_read_block_by_block(
    fake_model: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = clips / "clip5.wav"
    soundfile.write(long, np.sin(np.arange(48_000)), 24_000)
    job: list[object] = []
    monkeypatch.setattr(
        queries, "Reader", lambda source, **how: job.append(source) or Reader(source, **how)
    )
    expected = fake_model.tag(long).probabilities
    vector = fake_model.embed(long)
    monkeypatch.setattr(workers, "LONG_SECONDS", 1.0)
    runner.analyze(fake_model, clips, tmp_path / "out.jsonl", workers=0)
    runner.embed(fake_model, clips, tmp_path / "e.jsonl", workers=0)
    assert job == [str(long)] * 2
    row = lines(tmp_path / "out.jsonl")[5]
    assert {tag["label"]: tag["probability"] for tag in row["tags"]} == pytest.approx(expected)
    row = lines(tmp_path / "e.jsonl")[5]
    assert row["embedding"] == pytest.approx(vector.tolist())
    assert row["duration"] == 2.0


def test_a_header_that_lies_ships_no_long_waveform(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec("v3", "fake")
    read = read_file(str(clips / "clip1.wav"), spec)
    assert read.audio is not None
    monkeypatch.setattr(workers, "LONG_SECONDS", 0.1)
    read = read_file(str(clips / "clip1.wav"), spec)
    assert read.is_long
    assert read.duration == pytest.approx(0.2)


def test_listing(clips: Path, tmp_path: Path) -> None:
    for name in (".hidden.wav", "notes.txt", "LOUD.FLAC"):
        (clips / name).touch()
    (clips / "inner" / "again").symlink_to(clips)
    found = list_recordings([clips / "clip4.wav", clips, tmp_path / "missing.xyz"])
    names = [Path(path).name for path in found]
    assert names[:3] == ["clip4.wav", "LOUD.FLAC", "clip0.wav"]
    assert names[-1] == "missing.xyz"
    assert len(found) == len(set(found)) == 12
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match=r"no recording in .*empty.*\.flac"):
        list_recordings([tmp_path / "empty"])


@pytest.mark.parametrize("name", ["out.txt", "out", "missing/out.csv"])
def test_an_output_that_cannot_be(fake_model: Any, clips: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be written"):
        runner.analyze(fake_model, clips, tmp_path / name)
    assert not (tmp_path / f"{name}.parts").exists()


def test_too_many_for_an_npz(
    fake_model: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MAX_NPZ_FILES", 9)
    with pytest.raises(ValueError, match=r"up to 9 files, and there are 10\. Give e\.parquet"):
        runner.embed(fake_model, clips, tmp_path / "e.npz")
    assert list(tmp_path.iterdir()) == [clips]


def test_parquet_without_pyarrow(
    fake_model: Any, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'dcasenet\[pandas\]'"):
        runner.analyze(fake_model, clips, tmp_path / "out.parquet")


def test_names_that_are_no_text(fake_model: Any, clips: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.wav")
    try:
        shutil.copy(clips / "clip1.wav", odd)
    except OSError:
        pytest.skip("this file system has no such names")
    for name in ("out.jsonl", "out.csv", "out.parquet"):
        assert runner.analyze(fake_model, odd, tmp_path / name, workers=0).n_failed == 0
    runner.embed(fake_model, odd, tmp_path / "e.npz", workers=0)
    assert lines(tmp_path / "out.jsonl")[0]["filename"] == odd
    assert pq.read_table(tmp_path / "out.parquet")["filename"][0].as_py().endswith(r"odd\udcff.wav")


def test_progress(fake_model: Any, clips: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    runner.analyze(
        fake_model, clips, tmp_path / "out.csv", workers=0, watch=lambda p, rows: seen.append(p)
    )
    progress = seen[-1]
    assert (progress.total, progress.done, progress.failed) == (10, 10, 1)
    assert progress.audio == pytest.approx(9 * 0.2)
    assert progress.rate == pytest.approx(10 / progress.elapsed)
    assert progress.left == 0
