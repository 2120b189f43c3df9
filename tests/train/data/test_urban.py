from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from dcasenet.errors import DcasenetError
from dcasenet.train import TAUUrban2020Mobile
from dcasenet.train.data.urban import SIZES
from dcasenet.train.paper.miniature import Miniatures
from dcasenet.weights.manifest import find

OwnCopy = Callable[[Path], Path]


@pytest.fixture
def folder(paper_sets: Miniatures, own_copy: OwnCopy) -> Path:
    return own_copy(paper_sets.scene)


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of some text."""
    text = path.read_bytes().decode()
    assert old in text
    path.unlink()
    path.write_bytes(text.replace(old, new, 1).encode())


def test_lists_and_places_are_those_of_the_tables(paper_sets: Miniatures) -> None:
    data = TAUUrban2020Mobile(paper_sets.scene, validation=0)
    assert (data.task, data.labels) == ("scene", find("v3", "joint").scenes)
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [20, 0, 10]
    first = data[0]
    assert first.path.name == "airport-lisbon-1000-40000-a.wav"
    assert (first.scene, first.split, first.recording) == ("airport", "train", "lisbon-1000")
    assert {e.path.name.split("-")[1] for e in data.split("test")} == {"milan"}
    assert all(example.path.name.startswith(f"{example.scene}-") for example in data)
    info = soundfile.info(first.path)
    assert (info.samplerate, info.subtype, info.duration) == (44_100, "PCM_24", 10)


def test_the_parent_folder_will_do(paper_sets: Miniatures) -> None:
    assert len(TAUUrban2020Mobile(paper_sets.scene.parent)) == 30


def test_the_tables_of_the_miniature_end_their_lines_in_three_ways(paper_sets: Miniatures) -> None:
    setup = paper_sets.scene / "evaluation_setup"
    assert b"\r\n" in (setup / "fold1_evaluate.csv").read_bytes()
    assert not (setup / "fold1_train.csv").read_bytes().endswith(b"\n")
    assert b"\r" not in (paper_sets.scene / "meta.csv").read_bytes()


def test_validation_holds_out_places_of_every_scene_by_seed(paper_sets: Miniatures) -> None:
    data = TAUUrban2020Mobile(paper_sets.scene)
    held = {example.recording for example in data.split("validation")}
    assert {example.scene for example in data.split("validation")} == {*data.labels}
    assert not held & {example.recording for example in data.split("train")}
    assert data.examples == TAUUrban2020Mobile(paper_sets.scene).examples
    other = TAUUrban2020Mobile(paper_sets.scene, seed=1).split("validation")
    assert held != {example.recording for example in other}


def test_versions_are_told_by_their_size(paper_sets: Miniatures) -> None:
    assert SIZES[13_962, 2_968] == "v2"
    assert SIZES[13_965, 2_970] == "v1"
    assert TAUUrban2020Mobile(paper_sets.scene).version is None


def test_a_full_size_is_a_version(paper_sets: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, (20, 10), "v2")
    assert TAUUrban2020Mobile(paper_sets.scene).version == "v2"


def test_missing_files_are_named_and_counted(folder: Path) -> None:
    for path in sorted((folder / "audio").glob("tram-*")) + sorted(folder.glob("audio/bus-*")):
        path.unlink()
    (folder / "audio" / "park-milan-1004-40000-a.wav").unlink()
    with pytest.raises(DcasenetError) as caught:
        TAUUrban2020Mobile(folder)
    message = str(caught.value)
    assert "7 files are missing" in message
    assert "audio/bus-lisbon-1001-40000-a.wav" in message
    assert "and 2 more" in message
    assert str(folder) in message
    assert "10.5281/zenodo.3819968" in message
    assert "non-commercial" in message


@pytest.mark.parametrize("name", ["meta.csv", "evaluation_setup/fold1_evaluate.csv"])
def test_missing_tables_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DcasenetError, match=rf"1 file is missing from .*: {name}\. Give"):
        TAUUrban2020Mobile(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"There is no folder .*nowhere.*meta\.csv"):
        TAUUrban2020Mobile(tmp_path / "nowhere")


def test_an_unknown_scene_is_named_with_its_line(folder: Path) -> None:
    edit(folder / "evaluation_setup" / "fold1_train.csv", "wav\tbus", "wav\tbuss")
    with pytest.raises(
        DcasenetError, match=r"fold1_train\.csv, line 3: .*'buss' is unknown.*'bus'"
    ):
        TAUUrban2020Mobile(folder)


def test_tables_of_two_versions_do_not_pass(folder: Path) -> None:
    edit(folder / "meta.csv", "bus-vienna", "bus-wien")
    with pytest.raises(DcasenetError, match=r"line 13: audio/bus-vienna.* is not in meta\.csv"):
        TAUUrban2020Mobile(folder)


def test_tables_that_disagree_do_not_pass(folder: Path) -> None:
    edit(folder / "meta.csv", "a.wav\tairport", "a.wav\tbus")
    with pytest.raises(DcasenetError, match=r"line 2: .* is 'airport' here and 'bus' in meta"):
        TAUUrban2020Mobile(folder)


def test_a_recording_in_both_splits_does_not_pass(folder: Path) -> None:
    edit(folder / "evaluation_setup" / "fold1_evaluate.csv", "bus-milan", "bus-lisbon")
    with pytest.raises(DcasenetError, match=r"1 recordings are both in .*bus-lisbon"):
        TAUUrban2020Mobile(folder)


def test_rows_that_are_unused_or_repeated_are_reported(folder: Path) -> None:
    path = folder / "evaluation_setup" / "fold1_train.csv"
    edit(path, "filename\tscene_label\n", "filename\tscene_label\n" + _line(path, 1) + "\n")
    edit(folder / "evaluation_setup" / "fold1_evaluate.csv", _line(path, 0, "bus-milan"), "")
    data = TAUUrban2020Mobile(folder)
    assert len(data) == 29
    assert len(data.left_out) == 2
    assert "line 3: audio/airport-lisbon-1000-40000-a.wav again" in data.left_out[0]
    assert "1 recordings of meta.csv are in neither list" in data.left_out[1]


def _line(path: Path, number: int, name: str = "") -> str:
    if not name:
        return path.read_text().splitlines()[number]
    lines = path.with_name("fold1_evaluate.csv").read_text().splitlines()
    return next(line for line in lines if name in line)
