from pathlib import Path
from types import ModuleType

import pytest

from dcasenet.errors import DcasenetError
from dcasenet.train import ESC10, ESC50, SoundDataset
from dcasenet.train.data.esc import ESC10_CLASSES

SPLITS = ("train", "validation", "test")


def sizes(data: SoundDataset) -> list[int]:
    return [len(data.split(split)) for split in SPLITS]


@pytest.fixture
def fifty(miniatures: ModuleType, tmp_path: Path) -> Path:
    root: Path = miniatures.esc50(tmp_path / "ESC-50-master")
    return root


@pytest.fixture
def ten(miniatures: ModuleType, tmp_path: Path) -> Path:
    root: Path = miniatures.esc10(tmp_path / "esc10")
    return root


def test_the_published_layout(fifty: Path) -> None:
    data = ESC50(fifty.parent)
    assert (data.name, data.task, data.labels) == ("ESC-50", "scene", ("dog", "rain"))
    first = data[0]
    assert first.path == fifty / "audio" / "1-100-A-0.wav"
    assert (first.scene, first.tags, first.fold, first.recording) == ("dog", None, 1, "1000")
    assert {e.fold for e in data.split("test")} == {5}
    assert {e.fold for e in data.split("validation")} == {4}


def test_a_recording_in_two_folds_stays_in_the_later_split(fifty: Path) -> None:
    data = ESC50(fifty)
    assert sizes(data) == [6, 2, 4]
    assert len(data.left_out) == 2
    assert "4-900-A-0.wav is not used for validation" in data.left_out[0]
    first = ESC50(fifty, test_fold=1)  # both folds of the recording: validation (5) and training
    assert sizes(first) == [6, 4, 2]
    assert "4-900-A-0.wav is not used for train" in first.left_out[0]
    assert sizes(ESC50(fifty, test_fold=3)) == [10, 2, 2]  # folds 4 and 5 both train


def test_there_may_be_no_validation_and_tags_for_scenes(fifty: Path) -> None:
    data = ESC50(fifty, validation=False, task="tag")
    assert sizes(data) == [8, 0, 4]
    assert (data[0].scene, data[0].tags, data.task) == (None, ("dog",), "tag")


@pytest.mark.parametrize("kind", [ESC50, ESC10])
def test_what_there_is_not(kind: type[ESC50], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no fold 6\. Accepted are 1 to 5"):
        kind(tmp_path, test_fold=6)
    with pytest.raises(DcasenetError, match=r"missing from .*\. Give the folder of ESC-.*doi"):
        kind(tmp_path)


def test_clips_have_no_events(fifty: Path) -> None:
    with pytest.raises(ValueError, match="no 'event' labels"):
        ESC50(fifty, task="event")


def test_missing_clips_and_columns_are_named(fifty: Path) -> None:
    (fifty / "audio" / "2-200-A-1.wav").unlink()
    with pytest.raises(DcasenetError, match=r"missing from .*: audio/2-200-A-1\.wav"):
        ESC50(fifty)
    table = fifty / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("category", "class"))
    with pytest.raises(DcasenetError, match=r"no column 'category'.*'filename', 'fold', 'target'"):
        ESC50(fifty)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-0.wav,1,0", "-0.wav,6,0", "line 2: the fold is '6'. Accepted are 1 to 5"),
        ("-0.wav,1,0", "-0.wav,1,x", "line 2: the target is 'x'. Accepted are 0 to 49"),
        ("wav,2,0,dog", "wav,2,0,cat", "line 3: target 0 is 'cat' here and 'dog' above"),
    ],
)
def test_faulty_rows_are_named(fifty: Path, old: str, new: str, message: str) -> None:
    table = fifty / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(DcasenetError, match=message):
        ESC50(fifty)


def test_esc10_reads_folds_and_classes_from_names(ten: Path) -> None:
    data = ESC10(ten)
    assert data.labels[0] == "Dog bark"
    assert data.labels[-1] == "Fire crackling"
    assert sizes(data) == [30, 10, 20]
    assert (data[0].path.name, data[0].fold, data[0].recording) == ("1-1000-A.ogg", 1, "1000")
    assert len(data.left_out) == 10


def test_esc10_names_missing_classes_and_strange_files(ten: Path) -> None:
    path = ten / ESC10_CLASSES[1] / "1-1001-A.ogg"
    path.rename(path.with_name("rain.ogg"))
    assert any(line.startswith("rain.ogg does not say its fold") for line in ESC10(ten).left_out)
    for path in (ten / ESC10_CLASSES[2]).iterdir():
        path.unlink()
    with pytest.raises(DcasenetError, match=r"missing from .*: 003 - Sea waves/\*\.ogg"):
        ESC10(ten)


def test_the_real_clips(real_data: Path) -> None:
    fifty, ten = ESC50(real_data / "esc50"), ESC10(real_data / "esc10")
    assert sizes(fifty) == [1_200, 398, 400]
    assert len(fifty.labels) == 50
    assert fifty.labels[:2] == ("dog", "rooster")
    assert sizes(ten) == [240, 80, 80]
    assert len(ten.labels) == 10
    for data in (fifty, ten):
        recordings = [{example.recording for example in data.split(split)} for split in SPLITS]
        assert not recordings[2] & (recordings[0] | recordings[1])
        assert not recordings[0] & recordings[1]
