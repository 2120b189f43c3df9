"""One long recording to a file: the verbs' answers, whole lines at any time."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import dcasenet
from dcasenet import AudioError
from dcasenet.audio import libsndfile
from dcasenet.batch import incremental
from dcasenet.batch.incremental import write_results
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results.exporters import FLAT_COLUMNS

Bursts = Callable[..., np.ndarray]


@pytest.fixture
def recording(bursts: Bursts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """150 s, read in blocks of 5 s."""
    monkeypatch.setattr(libsndfile, "BLOCK_VALUES", 5 * 8_000)
    path = tmp_path / "night, 1.wav"
    soundfile.write(path, bursts(150, 8_000), 8_000)
    return path


def test_a_table_holds_what_the_verbs_answer(model: SoundVerbs[Any], recording: Path) -> None:
    output = recording.with_suffix(".csv")
    write_results(model, str(recording), output)
    with output.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    analysis = model.analyze(recording)
    assert tuple(header) == FLAT_COLUMNS
    assert {row[0] for row in rows} == {str(recording)}
    events = [row[2:] for row in rows if row[1] == "event"]
    assert sorted(events) == sorted(
        [e.label, f"{e.onset:.2f}", f"{e.offset:.2f}", f"{e.probability:.3f}"]
        for e in analysis.events
    )
    assert len(events) > 20
    scenes = [row[2:] for row in rows if row[1] == "scene"]
    best = [analysis.scene.labels[i] for i in analysis.scene.windows.argmax(axis=1)]
    assert [scene[0] for scene in scenes[:-1]] == best
    starts = analysis.scene.times[:, 0].tolist()
    assert [float(scene[1]) for scene in scenes[:-1]] == pytest.approx(starts, abs=0.005)
    assert scenes[-1] == [analysis.scene.label, "", "", f"{analysis.scene.probability:.3f}"]
    tags = [row[2:] for row in rows if row[1] == "tag"]
    assert tags[-2:] == [[t.label, "", "", f"{t.probability:.3f}"] for t in analysis.tags]
    assert len(tags) == 2 * (len(analysis.tags.windows) + 1)


def test_lines_of_json_hold_the_same(model: SoundVerbs[Any], recording: Path) -> None:
    output = recording.with_suffix(".jsonl")
    write_results(model, recording, output, threshold={"low": 0.4})
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    analysis = model.analyze(recording, threshold={"low": 0.4})
    assert {row["filename"] for row in rows} == {str(recording)}
    events = [row for row in rows if row["task"] == "event"]
    expected = sorted(analysis.events, key=lambda e: (e.onset, e.offset, e.label))
    for row, event in zip(
        sorted(events, key=lambda r: (r["onset"], r["offset"], r["label"])), expected, strict=True
    ):
        assert (row["label"], row["onset"], row["offset"]) == (
            event.label, event.onset, event.offset,
        )  # fmt: skip
        assert row["probability"] == pytest.approx(event.probability, abs=1e-4)
    whole = rows[-1]
    assert (whole["task"], whole["duration"]) == ("recording", 150.0)
    assert whole["warnings"] == list(analysis.warnings)
    assert ["above 4.0 kHz" in warning for warning in whole["warnings"]] == [True]
    assert whole["scene"]["label"] == analysis.scene.label
    assert whole["scene"]["probability"] == pytest.approx(analysis.scene.probability, abs=1e-5)
    assert [tag["label"] for tag in whole["tags"]] == [tag.label for tag in analysis.tags]
    scene = next(row for row in rows if row["task"] == "scene")
    assert (scene["onset"], scene["offset"]) == (0.0, pytest.approx(5.0, abs=1e-3))


def test_lines_of_json_say_what_the_model_is_not_sure_of(tmp_path: Path) -> None:
    shipped = dcasenet.load(runtime="auto")
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(12 * 24_000), 24_000)
    for path, is_sure in ((silence, False), (Path(dcasenet.example()), True)):
        output = tmp_path / f"{path.stem}.jsonl"
        write_results(shipped, path, output)
        *windows, whole = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
        analysis = shipped.analyze(path)
        assert (whole["is_sure"], analysis.is_sure) == (is_sure, is_sure)
        assert whole["familiarity"] == pytest.approx(analysis.familiarity, abs=1e-5)
        doubts = [row["is_sure"] for row in windows if row["task"] in ("scene", "tag")]
        assert len(doubts) >= 2
        assert any(doubts) is is_sure
        write_results(shipped, path, output, reject=False)
        last = json.loads(output.read_text("utf-8").splitlines()[-1])
        assert (last["is_sure"], last["familiarity"]) == (True, None)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_interruption_leaves_whole_lines(
    model: SoundVerbs[Any], recording: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, partial = recording.with_name(f"whole{suffix}"), recording.with_name(f"part{suffix}")
    monkeypatch.setattr(incremental, "STRETCH_SECONDS", 2.0)
    write_results(model, recording, whole)
    infer, seen = model.infer, []

    def interrupted(waveforms: Any, tasks: Any, backbone: Any = "tag") -> Any:
        seen.append(partial.read_text("utf-8"))
        if len(seen) == 30:
            raise KeyboardInterrupt
        return infer(waveforms, tasks, backbone)

    monkeypatch.setattr(model, "infer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_results(model, recording, partial)
    # What stands there at any time is a beginning of the whole, cut between lines.
    lines = whole.read_text("utf-8")
    assert all(lines.startswith(text) for text in (*seen, partial.read_text("utf-8")))
    assert all(text.endswith("\n") for text in seen if text)
    assert len(seen[-1].splitlines()) > 20
    assert len(set(seen)) > 10  # it grows with every stretch, not when a buffer is full


def test_windows_are_inferred_together(
    model: SoundVerbs[Any], recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, sizes = model.infer, []

    def counted(waveforms: Any, tasks: Any, backbone: Any = "tag") -> Any:
        sizes.append(len(waveforms))
        return infer(waveforms, tasks, backbone)

    monkeypatch.setattr(model, "infer", counted)
    write_results(model, recording, recording.with_suffix(".csv"))
    assert np.mean(sizes) > 3


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is not delivered there")
def test_a_kill_leaves_whole_lines(recording: Path, bursts: Bursts) -> None:
    soundfile.write(recording, np.tile(bursts(60, 8_000), 60), 8_000)
    output = recording.with_suffix(".jsonl")
    script = (
        "import sys, importlib.util as u\n"
        "s = u.spec_from_file_location('c', sys.argv[1]); c = u.module_from_spec(s)\n"
        "s.loader.exec_module(c)\n"
        "from dcasenet.batch.incremental import write_results\n"
        "write_results(c.Loudness(), sys.argv[2], sys.argv[3])\n"
    )
    conftest = Path(__file__).parents[1] / "fixtures" / "loudness.py"
    process = subprocess.Popen([sys.executable, "-c", script, conftest, recording, output])
    while process.poll() is None and not (output.exists() and output.stat().st_size > 5_000):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    text = output.read_text("utf-8")
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.splitlines()]
    assert "recording" not in {row["task"] for row in rows}


def test_a_fault_on_the_way_keeps_what_was_final(
    model: SoundVerbs[Any], recording: Path, bursts: Bursts
) -> None:
    samples = bursts(150, 8_000)
    samples[-5] = np.nan
    soundfile.write(recording, samples, 8_000, subtype="FLOAT")
    output = recording.with_suffix(".csv")
    with pytest.raises(AudioError, match=r"night, 1\.wav holds 1 NaN"):
        write_results(model, recording, output)
    assert len(output.read_text("utf-8").splitlines()) > 20


def test_what_cannot_be_is_refused_before_anything_is_written(
    model: SoundVerbs[Any], recording: Path
) -> None:
    with pytest.raises(ValueError, match=r"ends in '\.txt'; give one of \.csv, \.jsonl"):
        write_results(model, recording, recording.with_suffix(".txt"))
    output = recording.with_suffix(".csv")
    with pytest.raises(ValueError, match="threshold=2"):
        write_results(model, recording, output, threshold=2.0)
    with pytest.raises(AudioError, match="There is no file"):
        write_results(model, recording.with_name("none.wav"), output)
    assert not output.exists()
    with pytest.raises(FileNotFoundError):
        write_results(model, recording, recording.parent / "none" / "a.csv")


def test_tasks_that_a_model_lacks_are_left_out(
    loudness: type[SoundVerbs[Any]], recording: Path
) -> None:
    output = recording.with_suffix(".jsonl")
    write_results(loudness(tasks=("tag",)), recording, output)
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert {row["task"] for row in rows} == {"tag", "recording"}
    assert rows[-1]["scene"] is None
