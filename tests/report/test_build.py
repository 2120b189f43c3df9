"""What is in a page: everything that it shows, packed as its script unpacks it, and nothing raw."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet import AudioError, SoundModel
from dcasenet.errors import JobError
from dcasenet.plot.series import MOST_CURVES, curves_of, scenes_over_time
from dcasenet.report import build, write_report

WriteWav = Callable[..., Path]


def part(page: str, name: str) -> str:
    found = re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found, name
    return found[1]


def unpacked(page: str, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    content = zlib.decompress(base64.b64decode(part(page, name)))
    (length,) = struct.unpack("<I", content[:4])
    header = json.loads(content[4 : 4 + length])
    arrays, position = {}, 4 + length
    for key, shape in header["arrays"].items():
        size = int(np.prod(shape))
        arrays[key] = np.frombuffer(content[position : position + size], np.uint8).reshape(shape)
        position += size
    assert position == len(content)
    return header, arrays


def test_a_page_holds_what_the_model_answered(
    tiny_model: SoundModel, write_wav: WriteWav, noise: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    sound = noise(72_000)
    path = write_wav("street.wav", sound)
    done = write_report(tiny_model, path, tmp_path / "page.html", threshold=0.0)
    assert (done.n_files, done.n_failed) == (1, 0)
    page = (tmp_path / "page.html").read_text("utf-8")
    expected = tiny_model.analyze(path, threshold=0.0)
    (row,) = json.loads(part(page, "rows"))
    assert row["name"] == str(path)
    assert row["duration"] == 3.0
    assert row["scene"][0] == [
        expected.scene.label,
        pytest.approx(expected.scene.probability, abs=1e-4),
    ]
    assert [label for label, _ in row["tags"]] == [tag.label for tag in expected.tags]
    assert [event[:3] for event in row["events"]] == [
        [e.label, e.onset, e.offset] for e in expected.events
    ]
    assert row["input"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    header, arrays = unpacked(page, "d0")
    labels, curves, step = curves_of(expected.events, build.MOST_COLUMNS)
    assert header["labels"] == labels
    assert header["step"] == step
    np.testing.assert_allclose(arrays["curves"] / 255, curves, atol=0.5 / 255 + 1e-6)
    assert header["thresholds"] == [0.0] * len(labels)
    peak = np.abs(sound).max()
    wave = (arrays["wave"] / 255 * 2 - 1) * header["peak"]
    assert wave.max() == pytest.approx(peak, abs=0.02)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(part(page, "a0"))))
    assert rate == 24_000
    np.testing.assert_allclose(samples, sound, atol=1e-3)
    meta = json.loads(part(page, "meta"))
    assert meta["provenance"]["weights"] == tiny_model.weights_digest
    assert meta["provenance"]["options"]["threshold"] == dict.fromkeys(tiny_model.spec.events, 0.0)


def test_it_needs_nothing_from_outside(answering: Any, recordings: Path, tmp_path: Path) -> None:
    write_report(answering, recordings, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert "default-src &#x27;none&#x27;" in policy[1]
    for kind, tag in (("script", "script"), ("style", "style")):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{kind}-src &#x27;sha256-{digest}&#x27;" in policy[1]


def test_nothing_hostile_is_raw(answering: Any, recordings: Path, tmp_path: Path) -> None:
    try:
        (recordings / "clip001.wav").rename(recordings / "<!--<script><b>2\x1b[2J.wav")
    except OSError:
        pytest.skip("this file system has no such names")
    write_report(answering, recordings, tmp_path / "page.html", title="<script>alert(1)")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<img src=x" not in page
    assert "<b>2" not in page
    assert "\x1b" not in page
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "<!--" not in page
    name = json.loads(part(page, "rows"))[0]["name"]
    assert name.endswith("<!--<script><b>2\\x1b[2J.wav")


def test_a_recording_that_fails_is_a_row(answering: Any, recordings: Path, tmp_path: Path) -> None:
    os.link(recordings / "clip001.wav", recordings / "clip049.wav")
    done = write_report(answering, recordings, tmp_path / "page.html")
    assert (done.n_files, done.n_failed) == (2, 1)
    assert ["clip049.wav is empty" in reason for reason in done.failures] == [True]
    rows = json.loads(part((tmp_path / "page.html").read_text("utf-8"), "rows"))
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert "clip049.wav is empty" in rows[1]["error"]


def test_many_recordings_get_coarser_pictures(
    answering: Any, recordings: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    sizes = {}
    for n_files, columns in ((1, build.MOST_COLUMNS), (10_000, build.FEWEST_COLUMNS)):
        report = build._Report(None, answering, n_files, page, "none")  # type: ignore[arg-type]
        assert report._columns == columns
        sizes[n_files] = columns
    assert sizes[1] > sizes[10_000]


@pytest.mark.parametrize(
    ("audio", "embedded", "linked"),
    [("embed", True, False), ("link", False, True), ("none", False, False), ("auto", True, False)],
)
def test_sound(
    answering: Any, recordings: Path, tmp_path: Path, audio: Any, embedded: bool, linked: bool
) -> None:
    odd = recordings / "clip 1#ä%.wav"
    (recordings / "clip001.wav").rename(odd)
    page = tmp_path / "pages" / "page.html"
    page.parent.mkdir()
    write_report(answering, recordings, page, audio=audio)
    text = page.read_text("utf-8")
    (row,) = json.loads(part(text, "rows"))
    assert ('id="a0"' in text) == embedded
    if linked:
        assert row["audio"] == {"link": "../sounds/clip%201%23%C3%A4%25.wav"}
    else:
        assert row["audio"] == ({"embedded": True} if embedded else None)


def test_sound_that_is_too_much_is_linked_to(
    answering: Any, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 6):
        os.link(recordings / "clip001.wav", recordings / f"clip00{number}.wav")
    write_report(answering, recordings, tmp_path / "all.html")
    size = len(part((tmp_path / "all.html").read_text("utf-8"), "a0"))
    monkeypatch.setattr(build, "AUDIO_BYTES", int(2.5 * size))
    write_report(answering, recordings, tmp_path / "page.html")
    rows = json.loads(part((tmp_path / "page.html").read_text("utf-8"), "rows"))
    assert [list(row["audio"]) for row in rows] == [["embedded"]] * 2 + [["link"]] * 3


def test_options_that_are_none(answering: Any, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="audio='loud' is not known; accepted are auto"):
        write_report(answering, recordings, tmp_path / "page.html", audio="loud")  # type: ignore[arg-type]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AudioError, match="no recording"):
        write_report(answering, empty, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_stopped_report_leaves_the_old_page(
    answering: Any, recordings: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")
    with pytest.raises(JobError, match=r"not a report of dcasenet.*overwrite=True"):
        write_report(answering, recordings, page)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(answering, recordings, page, watch=stop, overwrite=True)
    assert page.read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["page.html", "sounds"]


def test_curves_are_those_of_the_events_then_the_highest(answering: Any) -> None:
    labels = tuple(f"label {i}" for i in range(12))
    rows = np.tile(np.linspace(0, 0.5, 12, dtype=np.float32), (105, 1))
    rows[50, 0] = 0.9
    events = dataclasses.replace(
        answering.analyze("1.wav").events, labels=labels, probabilities=rows, items=()
    )
    names, curves, step = curves_of(events, max_columns=20)
    assert len(names) == MOST_CURVES
    assert names[:2] == ["label 0", "label 11"]
    assert curves.shape == (MOST_CURVES, 18)
    assert step == pytest.approx(0.6)
    assert curves[0].max() == np.float32(0.9)
    assert curves[0].argmax() == 50 // 6


def test_scenes_meet_in_the_middle_of_what_windows_share(answering: Any) -> None:
    scene = answering.analyze("10.wav").scene
    boxes = scenes_over_time(scene)
    assert [(start, stop) for start, stop, *_ in boxes] == [(0.0, 3.75), (3.75, 6.25), (6.25, 10.0)]
    assert [label for *_, label, _ in boxes][:2] == ["park", "park"]
    many = dataclasses.replace(
        scene,
        windows=np.tile(scene.windows, (500, 1)),
        times=np.stack([np.arange(1_500.0), np.arange(1_500.0) + 1], axis=1),
    )
    assert len(scenes_over_time(many)) <= 400
    assert scenes_over_time(many)[-1][1] == 1_500.0
