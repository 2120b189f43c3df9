"""Events in the formats of other programs; where those can be had, by the programs themselves."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

import pytest

from dcasenet import Events
from dcasenet.results import exporters

FORMATS = ("csv", "audacity", "raven", "textgrid", "webvtt", "jams", "label_studio", "sed_scores")


def test_csv_has_the_columns_of_sed_eval(events: Events, tmp_path) -> None:
    text = events.to_csv(tmp_path / "out.csv")
    assert text.splitlines() == [
        "filename,onset,offset,event_label",
        'a b.wav,0.100,0.900,"dog, small"',
        "a b.wav,0.500,1.300,knock",
    ]
    assert (tmp_path / "out.csv").read_text("utf-8") == text


def test_audacity(events: Events) -> None:
    assert events.to_audacity().splitlines() == [
        "0.100000\t0.900000\tdog, small",
        "0.500000\t1.300000\tknock",
    ]


def test_raven(events: Events) -> None:
    rows = list(csv.DictReader(io.StringIO(events.to_raven()), delimiter="\t"))
    assert rows[1] == {
        "Selection": "2",
        "View": "Spectrogram 1",
        "Channel": "1",
        "Begin Time (s)": "0.500000",
        "End Time (s)": "1.300000",
        "Low Freq (Hz)": "0",
        "High Freq (Hz)": "12000",
        "Begin File": "a b.wav",
        "Label": "knock",
        "Probability": "0.5000",
    }


def test_webvtt(events: Events) -> None:
    assert events.to_webvtt() == (
        "WEBVTT\n\n"
        "1\n00:00:00.100 --> 00:00:00.900\ndog, small 0.75\n\n"
        "2\n00:00:00.500 --> 00:00:01.300\nknock 0.50\n"
    )
    assert exporters._timestamp(3_725.0396) == "01:02:05.040"


def test_textgrid(events: Events) -> None:
    text = events.to_textgrid()
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n')
    assert "size = 2" in text
    intervals = re.findall(r'xmin = ([\d.]+)\n +xmax = ([\d.]+)\n +text = "(.*)"', text)
    assert intervals == [
        ("0.000000", "0.100000", ""),
        ("0.100000", "0.900000", "dog, small"),
        ("0.900000", "1.950000", ""),
        ("0.000000", "0.500000", ""),
        ("0.500000", "1.300000", "knock"),
        ("1.300000", "1.950000", ""),
    ]


def test_praat_reads_the_textgrid(hostile: Events, tmp_path) -> None:
    praat = pytest.importorskip("parselmouth", reason="praat-parselmouth is not installed")
    hostile.to_textgrid(tmp_path / "a.TextGrid")
    grid = praat.read(str(tmp_path / "a.TextGrid"))
    assert praat.praat.call(grid, "Get number of tiers") == 2
    assert praat.praat.call(grid, "Get label of interval", 2, 2) == 'qu"ote'
    assert praat.praat.call(grid, "Get end time") == 2.0


def test_jams(events: Events) -> None:
    document = json.loads(events.to_jams())
    (annotation,) = document["annotations"]
    assert annotation["namespace"] == "tag_open"
    assert annotation["data"][1] == {
        "time": 0.5,
        "duration": 0.8,
        "value": "knock",
        "confidence": 0.5,
    }
    assert document["file_metadata"]["duration"] == 1.95


@pytest.mark.filterwarnings("default")  # of jams' own dependencies
def test_jams_is_valid_by_its_own_schema(hostile: Events, tmp_path) -> None:
    jams = pytest.importorskip("jams", reason="jams is not installed")
    hostile.to_jams(tmp_path / "a.jams")
    document = jams.load(str(tmp_path / "a.jams"), strict=True)
    assert document.annotations[0].data[1].value == 'qu"ote'
    assert document.annotations[0].sandbox.provenance["model"] == "v3 tiny"


def test_label_studio(events: Events) -> None:
    (task,) = json.loads(events.to_label_studio(url="/data/local-files/?d=a.wav"))
    assert task["data"] == {"audio": "/data/local-files/?d=a.wav"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == pytest.approx(0.625)
    assert prediction["result"][0]["value"] == {
        "start": 0.1, "end": 0.9, "channel": 0, "labels": ["dog, small"],
    }  # fmt: skip
    assert json.loads(events.to_label_studio())[0]["data"] == {"audio": "a b.wav"}


def test_score_table(events: Events) -> None:
    rows = list(csv.reader(io.StringIO(events.to_sed_scores()), delimiter="\t"))
    assert rows[0] == ["onset", "offset", "dog, small", "knock"]
    assert rows[1][:2] == ["0", "0.1"]
    assert rows[-1][:2] == ["1.9", "1.95"]
    assert [row[0] for row in rows[2:]] == [row[1] for row in rows[1:-1]]  # without gaps
    assert float(rows[-1][3]) == 1.0


@pytest.mark.filterwarnings("default")  # of its own dependencies
def test_sed_scores_eval_reads_the_score_table(events: Events, tmp_path) -> None:
    tool = pytest.importorskip("sed_scores_eval", reason="sed_scores_eval cannot be imported")
    events.to_sed_scores(tmp_path / "a.tsv")
    scores = tool.io.read_sed_scores(str(tmp_path / "a.tsv"))
    timestamps, classes = tool.base_modules.scores.validate_score_dataframe(scores)
    assert list(classes) == ["dog, small", "knock"]
    assert timestamps[-1] == 1.95


def test_hostile_names_are_one_line_and_no_formula(hostile: Events) -> None:
    for name in FORMATS:
        text = getattr(hostile, f"to_{name}")()
        assert "\x1b" not in text, name
        assert "\nrow,two" not in text, name
    for cell in csv.reader(io.StringIO(hostile.to_csv())):
        assert not cell[0].startswith("="), cell
        assert not cell[3].startswith("="), cell
    assert "<script>" not in hostile.to_webvtt()
    attack = dataclasses.replace(hostile.provenance, source="--> <script>\n\n")
    text = dataclasses.replace(hostile, provenance=attack).to_webvtt()
    note = text.split("\n\n")[1].removeprefix("NOTE provenance ")
    assert "<" not in note
    assert "-->" not in note
    assert json.loads(note)["source"] == attack.source
    assert len(hostile.to_audacity().splitlines()) == 2
    assert all(len(line.split("\t")) == 3 for line in hostile.to_audacity().splitlines())


def test_no_events_are_valid_files(events: Events) -> None:
    none = dataclasses.replace(events, items=())
    assert none.to_csv() == "filename,onset,offset,event_label\n"
    assert none.to_audacity() == ""
    assert none.to_webvtt() == "WEBVTT\n"
    assert "size = 0" in none.to_textgrid()
    assert json.loads(none.to_jams())["annotations"][0]["data"] == []
    assert json.loads(none.to_label_studio())[0]["predictions"][0]["score"] == 0.0
    assert len(none.to_raven().splitlines()) == 1
