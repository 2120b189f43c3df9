"""Recordings that went wrong in real life: what a person would expect of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcasenet.audio.io import read

# File, seconds that are decoded, and what its warnings say; nothing where there is none.
CASES = [
    ("ok_5s.wav", 5.0, ""),
    ("chained.ogg", 10.0, ""),
    ("chained.opus", 10.0, ""),
    ("xing_count_half.mp3", 5.0, "2.53 s) follow; all are processed"),
    (
        "middle_missing.mp3",
        4.48,
        "inside, first at 0.94 s; 0.52 s are missing there, so that later",
    ),
    ("flac_total_doubled.flac", 5.0, "the header promises 160,032 frames (10.00 s)"),
    ("header_says_1s_holds_5s.wav", 5.0, "64,016 more (4.00 s) follow; all are processed"),
    ("rf64_killed_recorder_ds64_zero.wav", 1.7, "the header states no length"),
    ("cut_in_half.aiff", 2.5, "the file is truncated"),
    ("cut_in_half.au", 2.5, "the file is truncated"),
    ("flac_in_ogg.ogg", 5.0, ""),
    ("phone.m4a", 5.0, ""),
]


@pytest.fixture
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("needs the recordings in ../shared/cases, which are not part of the project")
    return folder


@pytest.mark.parametrize(("name", "seconds", "warning"), CASES)
def test_case(
    name: str, seconds: float, warning: str, cases: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if name in ("flac_in_ogg.ogg", "phone.m4a"):
        pytest.importorskip("av", reason="needs the optional PyAV")
    recording = read(cases / name)
    assert recording.duration == pytest.approx(seconds, abs=0.01)
    assert len(recording.warnings) == bool(warning)
    assert all(warning in text for text in recording.warnings)
    assert capfd.readouterr().err == ""
