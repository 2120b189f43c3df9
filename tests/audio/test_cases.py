"""Recordings that went wrong in real life: what a person would expect of each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import dcasenet
from dcasenet.audio.io import read
from dcasenet.batch import runner
from dcasenet.errors import AudioError
from tests.fixtures.recordings import RATE, encode_by_av, signal

ROOT = Path(__file__).parents[2]

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
    ("antiphase_stereo.flac", 5.0, ""),
]


FOLDER = ROOT.parent / "shared" / "cases"
NO_RECORDINGS = {"README.md", "fork_pool.py", "show.py"}
FOUND = {path.name for path in FOLDER.glob("*") if path.is_file()} - NO_RECORDINGS


# Other tests make files with the same faults; these are the ones that were met.
@pytest.mark.parametrize(("name", "seconds", "warning"), CASES if FOUND else ())
def test_case(name: str, seconds: float, warning: str, capfd: pytest.CaptureFixture[str]) -> None:
    if name in ("flac_in_ogg.ogg", "phone.m4a"):
        pytest.importorskip("av", reason="needs the optional PyAV")
    assert {case for case, *_ in CASES} == FOUND  # every one has its right value
    recording = read(FOLDER / name)
    assert recording.duration == pytest.approx(seconds, abs=0.01)
    assert len(recording.warnings) == bool(warning)
    assert all(warning in text for text in recording.warnings)
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def model() -> Any:
    return dcasenet.load()


def test_the_dog_is_found_though_the_channels_cancel(model: Any, tmp_path: Path) -> None:
    samples, rate = soundfile.read(ROOT / "examples" / "dog_barking.ogg")
    path = tmp_path / "antiphase.flac"
    soundfile.write(path, np.stack([samples, -samples], axis=1), rate)
    answer = model.analyze(path)
    assert [text.partition("; ")[0] for text in answer.warnings] == [
        f"{path}: the channels cancel each other when averaged, in 1.7 of 5.0 s"
    ]
    dog = model.tag(samples, rate)[0]
    assert dog.label == "Dog"
    for tags in (answer.tags, model.tag(path, channels=1), model.tag(path, channels="each")):
        assert tags[0].label == "Dog"
        assert tags[0].probability == pytest.approx(dog.probability, abs=0.02)


@pytest.mark.parametrize(
    ("name", "container", "codec", "what"),
    [("a.ogg", "ogg", "flac", "FLAC in Ogg"), ("phone.m4a", "ipod", "aac", "AAC in MPEG-4")],
)
def test_without_the_decoder_the_error_says_what_to_type(
    name: str,
    container: str,
    codec: str,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Any,
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    path = folder / name
    path.write_bytes(encode_by_av(signal(2 * RATE), container, codec, RATE))
    monkeypatch.setitem(sys.modules, "av", None)
    says = rf"{name} cannot be read here\. It is {what}, .* pip install 'dcasenet\[av\]'"
    with pytest.raises(AudioError, match=says):
        read(path)
    summary = runner.analyze(model, folder, tmp_path / "out.csv", workers=0)
    assert (summary.n_files, summary.n_failed) == (1, 1)
    assert "pip install 'dcasenet[av]'" in (tmp_path / "out.status.csv").read_text("utf-8")
