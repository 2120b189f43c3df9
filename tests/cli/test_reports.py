"""`report`, `verify` and `calibrate`, called as a user calls them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dcasenet

Run = Callable[..., Any]


def test_report(run: Run, wav: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("report", wav, "-o", page, "--threshold", 0, "--title", "My street")
    assert (done.code, done.out) == (0, f"{page}: 1 recording\n")
    assert "<title>My street</title>" in page.read_text()
    assert run("report", wav, "-o", page).code == 0  # it is ours
    verified = run("verify", page, "--model", run.folder, model=False)
    assert verified.code == 0
    assert verified.out == f"{page}: the same (1 recording, v3 tiny)\n"
    (tmp_path / "broken.wav").write_text("no sound")
    done = run("report", wav, tmp_path / "broken.wav", "-o", page)
    assert (done.code, done.out) == (1, f"{page}: 2 recordings, 1 failed\n")
    assert "broken.wav cannot be read as audio" in done.err


def test_reports_that_cannot_be(run: Run, wav: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("somebody else's")
    done = run("report", wav, "-o", page)
    assert done.code == 1
    assert "not a report of dcasenet" in done.err
    assert page.read_text() == "somebody else's"
    assert run("report", wav, "-o", page, "--overwrite").code == 0
    for name, message in (("report.txt", "does not end in .html"), ("no/a.html", "no folder")):
        done = run("report", wav, "-o", tmp_path / name)
        assert done.code == 2
        assert message in " ".join(done.err.split())
    assert run("report", wav, "-o", page, "--threshold", "often").code == 2
    assert run("report", wav, "-o", page, "--audio", "loud").code == 2


def test_verify_names_what_differs(run: Run, wav: Path, tmp_path: Path) -> None:
    result = tmp_path / "a.json"
    assert run("tags", wav, "--output", result).code == 0
    values = json.loads(result.read_text())
    values["tags"][0]["probability"] = 0.123
    result.write_text(json.dumps(values))
    done = run("verify", result, "--model", run.folder, model=False)
    assert done.code == 1
    assert done.out.startswith(
        f"{result}: DIFFERENT (1 recording, v3 tiny)\n  tags 1 probability: 0.123"
    )
    lenient = run("verify", result, "--model", run.folder, "--tolerance", 1, model=False)
    assert lenient.code == 0
    done = run("verify", result, model=False)
    assert done.code == 1
    assert "no released checkpoint" in done.err
    assert run("verify", wav, model=False).code == 1


@pytest.fixture
def labels(wav: Path) -> Path:
    path = wav.with_name("labels.csv")
    path.write_text(
        "filename,onset,offset,event_label\nstreet.wav,0,1,dog\nstreet.wav,2,3,speech\n"
    )
    return path


def test_calibrate(run: Run, labels: Path, wav: Path, tmp_path: Path) -> None:
    done = run("calibrate", labels)
    assert done.code == 0
    assert done.out.startswith("1 recording, 3 segments of 1 s, expected calibration error 0.")
    for word in ("dog", "speech", "threshold", "precision", "recall", "f1"):
        assert word in done.out
    rows = list(csv.DictReader(io.StringIO(run("calibrate", labels, "--format", "csv").out)))
    assert [row["label"] for row in rows] == ["dog", "speech"]
    saved = tmp_path / "calibrated"
    done = run("calibrate", labels, "--format", "json", "-o", saved)
    assert done.code == 0
    measured = json.loads(done.out)
    assert measured["recordings"] == 1
    model = dcasenet.load(saved)
    assert set(model.spec.curves) == {"dog", "speech"}
    words = ("events", wav, "--model", saved, "--format", "json", "--threshold", "recall@0.5")
    assert run(*words, model=False).code == 0
    assert "no released" not in run(*words, model=False).err


def test_calibrate_draws(run: Run, labels: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "reliability.png"
    assert run("calibrate", labels, "--plot", picture).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("calibrate", labels, "--plot", picture).code == 0  # it is ours
    picture.write_text("somebody else's")
    done = run("calibrate", labels, "--plot", picture)
    assert done.code == 2
    assert "does not replace" in " ".join(done.err.split())


def test_tables_that_do_not_calibrate(run: Run, labels: Path) -> None:
    labels.write_text("filename,onset,offset,event_label\nstreet.wav,0,1,bird\n")
    done = run("calibrate", labels)
    assert done.code == 1
    assert "None of the model's events sounds" in done.err
    labels.write_text("filename,onset,offset,event_label\nstreet.wav,late,1,dog\n")
    done = run("calibrate", labels)
    assert done.code == 1
    assert "labels.csv, line 2" in done.err
    assert np.all([run("calibrate", "missing.csv").code == 1])
