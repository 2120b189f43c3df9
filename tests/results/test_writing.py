"""Written results: whole or not at all, with what they were made with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pytest

from dcasenet import Analysis, Events
from dcasenet.atomic import replacing, write_bytes
from dcasenet.errors import DcasenetError, JobError
from dcasenet.results import Provenance, writing

DIGEST = f"sha256:{hashlib.sha256(b'not read, but hashed').hexdigest()}"


def test_formats_without_a_place_have_it_beside_them(analysis: Analysis, tmp_path: Path) -> None:
    events = dataclasses.replace(analysis.events, provenance=analysis.provenance)
    events.to_csv(tmp_path / "a.csv")
    events.to_audacity(tmp_path / "a.txt")
    events.to_raven(tmp_path / "a.selections.txt")
    events.to_textgrid(tmp_path / "a.TextGrid")
    events.to_sed_scores(tmp_path / "a.tsv")
    for name in ("a.csv", "a.txt", "a.selections.txt", "a.TextGrid", "a.tsv"):
        values = json.loads((tmp_path / f"{name}.provenance.json").read_text())
        assert Provenance.from_dict(values) == dataclasses.replace(
            analysis.provenance, input=DIGEST
        )


def test_formats_with_a_place_hold_it(analysis: Analysis, tmp_path: Path) -> None:
    events = dataclasses.replace(analysis.events, provenance=analysis.provenance)
    analysis.to_json(path=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["provenance"]["input"] == DIGEST
    events.to_jams(tmp_path / "a.jams")
    sandbox = json.loads((tmp_path / "a.jams").read_text())["annotations"][0]["sandbox"]
    assert sandbox["provenance"]["input"] == DIGEST
    events.to_label_studio(tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())[0]["meta"]["provenance"]["input"] == DIGEST
    events.to_webvtt(tmp_path / "a.vtt")
    note = (tmp_path / "a.vtt").read_text().splitlines()[2].removeprefix("NOTE provenance ")
    assert json.loads(note)["input"] == DIGEST
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        ".jams", ".json", ".json", ".vtt", ".wav",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["mine", "[1]", "3", '{"mine": 1}', "[" * 100_000])
def test_a_file_that_is_no_provenance_stays(
    analysis: Analysis, tmp_path: Path, content: str
) -> None:
    place = writing.sidecar_path(tmp_path / "a.csv")
    place.write_text(content)
    with pytest.raises(JobError, match="and dcasenet did not write it"):
        analysis.to_csv(tmp_path / "a.csv")
    assert place.read_text() == content
    assert not (tmp_path / "a.csv").exists()
    place.unlink()
    for _ in range(2):
        analysis.to_csv(tmp_path / "a.csv")


def test_text_that_is_returned_has_no_digest_yet(analysis: Analysis) -> None:
    assert "provenance" not in json.loads(analysis.to_json())


def test_a_recording_that_changed_since_has_no_digest(
    analysis: Analysis, recording: Path, tmp_path: Path
) -> None:
    recording.write_bytes(b"another recording altogether")
    analysis.to_json(path=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["provenance"]["input"] is None
    recording.unlink()
    analysis.to_json(path=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["provenance"]["input"] is None


def test_a_result_made_by_hand_has_no_provenance(events: Events, tmp_path: Path) -> None:
    events.to_csv(tmp_path / "a.csv")
    events.to_jams(tmp_path / "a.jams")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.jams"]


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")

    def write_half() -> None:
        with replacing(path) as draft:
            draft.write_text("half of")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()
    assert path.read_text() == "before"
    with replacing(path) as draft:
        draft.write_text("all of it")
        assert path.read_text() == "before"
    assert path.read_text() == "all of it"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_device_is_written_to_as_it_is(tmp_path: Path) -> None:
    if not Path("/dev/null").exists():
        pytest.skip("there is no /dev/null here")
    writing.write_text("/dev/null", "text")
    assert not Path("/dev/null").is_file()


def test_folders_are_made_for_bytes_alone(tmp_path: Path, events: Events) -> None:
    write_bytes(tmp_path / "new" / "a.bin", b"1")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"1"
    with pytest.raises(FileNotFoundError):
        events.to_csv(tmp_path / "missing" / "a.csv")


def test_names_that_are_no_text_are_written_as_escapes(events: Events, tmp_path: Path) -> None:
    odd = dataclasses.replace(events, source=os.fsdecode(b"odd\xff.wav"))
    odd.to_csv(tmp_path / "a.csv")
    assert "odd\\udcff.wav" in (tmp_path / "a.csv").read_text("utf-8")
    odd.to_jams(tmp_path / "a.jams")
    assert json.loads((tmp_path / "a.jams").read_text("utf-8"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "not a provenance"),
        ({"version": "1"}, "not a provenance"),
        ({"dcasenet": 99}, "format 99.*reads format 1"),
        ({"dcasenet": 1, "version": "1"}, "incomplete.*model"),
    ],
)
def test_provenance_that_cannot_be_read(values: object, message: str) -> None:
    with pytest.raises(DcasenetError, match=message):
        Provenance.from_dict(values)
