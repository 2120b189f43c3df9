from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from dcasenet.errors import DcasenetError
from dcasenet.train import LabeledEvent, TAUNigens2020
from dcasenet.train.data.nigens import read_events
from dcasenet.train.paper.miniature import Miniatures
from dcasenet.weights.manifest import find

OwnCopy = Callable[[Path], Path]
LABELS = find("v3", "joint").events


@pytest.fixture
def folder(paper_sets: Miniatures, own_copy: OwnCopy) -> Path:
    return own_copy(paper_sets.event)


def test_four_microphones_are_four_examples_of_one_recording(paper_sets: Miniatures) -> None:
    data = TAUNigens2020(paper_sets.event)
    assert (data.task, data.labels) == ("event", LABELS)
    assert len(data) == 24
    four = data.split("test")
    assert [example.channel for example in four] == [0, 1, 2, 3]
    assert len({example.key for example in four}) == 4
    assert {example.recording for example in four} == {"fold1_room1_mix001_ov2"}
    assert len({example.events for example in four}) == 1
    info = soundfile.info(four[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (24_000, 4, "PCM_16")
    assert info.duration == 60


def test_splits_are_the_official_folds(paper_sets: Miniatures) -> None:
    data = TAUNigens2020(paper_sets.event)
    found = {
        split: {e.fold for e in data.split(split)} for split in ("train", "validation", "test")
    }
    assert found == {"train": {3, 4, 5, 6}, "validation": {2}, "test": {1}}


def test_without_validation_fold_two_is_not_used(paper_sets: Miniatures) -> None:
    data = TAUNigens2020(paper_sets.event, validation=False)
    assert {example.fold for example in data} == {1, 3, 4, 5, 6}
    assert data.left_out == ("1 recordings of fold 2 are not used.",)


def test_events_of_the_miniature_come_out_as_they_went_in(paper_sets: Miniatures) -> None:
    example = TAUNigens2020(paper_sets.event)[0]
    assert example.events is not None
    assert len(example.events) == 2 * len(LABELS)
    assert {event.label for event in example.events} == {*LABELS}
    text = (paper_sets.event / "metadata_dev" / f"{example.recording}.csv").read_text()
    n_frames = sum(round(10 * (event.offset - event.onset)) for event in example.events)
    assert n_frames == len(text.splitlines())


def test_consecutive_frames_of_a_class_and_track_are_one_event(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"0,3,0,10,20\r\n1,3,0,12,20\r\n1,3,1,-50,0\r\n2,7,0,0,0\r\n\r\n4,3,0,10,20")
    assert read_events(path, LABELS) == (
        LabeledEvent("dog", 0.0, 0.2),
        LabeledEvent("dog", 0.1, 0.2),
        LabeledEvent("fire", 0.2, 0.3),
        LabeledEvent("dog", 0.4, 0.5),
    )


def test_a_table_without_rows_is_a_minute_without_events(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert read_events(tmp_path / "a.csv", LABELS) == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("600,3,0,0,0", "frame 600 lies outside.*0 to 599"),
        ("-1,3,0,0,0", "frame -1 lies outside"),
        ("5,14,0,0,0", "class 14 is unknown.*0 to 13"),
        ("5,-1,0,0,0", "class -1 is unknown"),
        ("5,3,0,0", "five integers: frame, class, track, azimuth, elevation"),
        ("5,3,0,0.1,0.2,0.3", "'5,3,0,0.1,0.2,0.3'. Accepted are five integers"),
        ("frame,class,track,a,e", "five integers"),
    ],
)
def test_a_faulty_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"0,0,0,0,0\n{row}\n")
    with pytest.raises(DcasenetError, match=rf"a\.csv, line 2: .*{message}"):
        read_events(path, LABELS)


def test_recordings_without_table_and_tables_without_recording_are_named(folder: Path) -> None:
    (folder / "mic_dev" / "fold3_room1_mix001_ov2.wav").unlink()
    (folder / "metadata_dev" / "fold4_room1_mix001_ov2.csv").unlink()
    with pytest.raises(DcasenetError) as caught:
        TAUNigens2020(folder)
    message = str(caught.value)
    assert "2 files are missing" in message
    assert "mic_dev/fold3_room1_mix001_ov2.wav" in message
    assert "metadata_dev/fold4_room1_mix001_ov2.csv" in message
    assert "10.5281/zenodo.4064792 (CC BY-NC 4.0)" in message


def test_a_fold_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "mic_dev" / "fold1_room1_mix001_ov2.wav").unlink()
    (folder / "metadata_dev" / "fold1_room1_mix001_ov2.csv").unlink()
    with pytest.raises(DcasenetError, match=r"missing from .*: mic_dev/fold1_\*\.wav"):
        TAUNigens2020(folder)


def test_ambisonics_give_the_channel_that_receives_all_directions(folder: Path) -> None:
    (folder / "mic_dev").rename(folder / "foa_dev")
    data = TAUNigens2020(folder, format="foa")
    assert len(data) == 6
    assert {example.channel for example in data} == {0}
    with pytest.raises(DcasenetError, match="foa_dev is there: say format='foa'"):
        TAUNigens2020(folder)
    with pytest.raises(ValueError, match="no format 'stereo'"):
        TAUNigens2020(folder, format="stereo")  # type: ignore[arg-type]


def test_files_of_other_names_are_reported(folder: Path) -> None:
    (folder / "metadata_dev" / "notes.csv").touch()
    data = TAUNigens2020(folder)
    assert data.left_out == ("notes is not named like a recording of the set.",)
