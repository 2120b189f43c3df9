from pathlib import Path
from types import ModuleType

import pytest

from dcasenet.errors import DcasenetError
from dcasenet.train import AudioFolder, AudioTable, SoundDataset, as_dataset
from dcasenet.train.data.store import decode_examples


def test_folders_are_classes(miniatures: ModuleType, tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path / "sounds", rain=5, dog=10)
    miniatures.write_dog(root / "rain" / "more" / "deep.FLAC")
    data = AudioFolder(root)
    assert (data.name, data.task, data.labels) == ("sounds", "scene", ("dog", "rain"))
    assert len(data) == 16
    assert (data[0].scene, data[0].tags, data[0].path) == ("dog", None, root / "dog" / "0.wav")
    held = [example.scene for example in data.split("validation")]
    assert (held.count("dog"), held.count("rain")) == (2, 1)
    assert len(decode_examples(data.examples, tmp_path / "cache", 24_000)) == 16
    assert not AudioFolder(root, validation=0).split("validation")
    assert AudioFolder(root, "tag")[0].tags == ("dog",)


def test_the_seed_decides_what_is_held_out(miniatures: ModuleType, tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path, rain=10, dog=10)
    assert AudioFolder(root).examples == AudioFolder(root, seed=0).examples
    assert AudioFolder(root).examples != AudioFolder(root, seed=1).examples


def test_parts_of_a_recording_stay_together(miniatures: ModuleType, tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path, rain=9, dog=9)
    data = AudioFolder(root, validation=0.34, group=lambda path: f"{int(path.stem) // 3}")
    held = {example.recording for example in data.split("validation")}
    assert len(held) == 1
    assert len(data.split("validation")) == 6
    assert held.isdisjoint(example.recording for example in data.split("train"))


def test_folders_can_be_splits(miniatures: ModuleType, tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "train", rain=3, dog=3)
    miniatures.class_folders(tmp_path / "test", rain=2)
    data = AudioFolder(tmp_path)
    assert data.labels == ("dog", "rain")
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [4, 2, 2]
    miniatures.class_folders(tmp_path / "validation", dog=1)
    data = AudioFolder(tmp_path)
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [6, 1, 2]


def test_a_train_can_be_a_sound(miniatures: ModuleType, tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path, train=2, dog=2)
    assert AudioFolder(root).labels == ("dog", "train")
    miniatures.write_dog(root / "train" / "steam" / "1.wav")
    assert AudioFolder(root).labels == ("dog", "train")


def test_a_split_with_other_classes_is_refused(miniatures: ModuleType, tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "train", rain=1, dog=1)
    miniatures.class_folders(tmp_path / "test", cat=1)
    with pytest.raises(DcasenetError, match=r"test has classes that training has not: cat\."):
        AudioFolder(tmp_path)


@pytest.mark.parametrize("other", ["Dog_Bark", "dog  bark", "DOGBARK"])
def test_classes_of_nearly_one_name_are_refused(
    miniatures: ModuleType, tmp_path: Path, other: str
) -> None:
    miniatures.class_folders(tmp_path, **{"dog bark": 1, other: 1})
    with pytest.raises(DcasenetError, match=r"'dog bark'.*differ in capitals or spaces") as caught:
        AudioFolder(tmp_path)
    assert repr(other) in str(caught.value)


def test_splits_may_not_differ_in_spelling(miniatures: ModuleType, tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "train", rain=1, dog=1)
    miniatures.class_folders(tmp_path / "test", Dog=1)
    with pytest.raises(DcasenetError, match="'Dog' and 'dog' differ in capitals"):
        AudioFolder(tmp_path)


def test_a_class_with_one_clip_trains_and_is_reported(
    miniatures: ModuleType, tmp_path: Path
) -> None:
    data = AudioFolder(miniatures.class_folders(tmp_path, rain=1, dog=2))
    assert [example.scene for example in data.split("validation")] == ["dog"]
    assert data.left_out == (
        "Nothing of rain is held out for validation: there is one recording, for training.",
    )


def test_what_is_no_class_or_no_recording_is_reported(
    miniatures: ModuleType, tmp_path: Path
) -> None:
    root = miniatures.class_folders(tmp_path, rain=2, dog=2)
    miniatures.write_dog(root / "loose.wav")
    miniatures.write_dog(root / ".hidden" / "a.wav")
    (root / "__MACOSX").mkdir()
    for place in (root, root / "dog"):
        (place / "notes.txt").touch()
    data = AudioFolder(root)
    assert data.labels == ("dog", "rain")
    assert data.left_out == (
        "1 recordings lie in no class folder: loose.wav.",
        "Passed over: 2 .txt, 2 hidden.",
    )


def test_a_class_that_lost_all_its_recordings_stops_it(
    miniatures: ModuleType, tmp_path: Path
) -> None:
    root = miniatures.class_folders(tmp_path, rain=2, dog=2, siren=0)
    with pytest.raises(DcasenetError, match=r"The class 'siren' has no recording.*holds no files"):
        AudioFolder(root)
    for name in ("1.xyz", "2.XYZ", "notes"):
        (root / "siren" / name).touch()
    says = r"siren holds 2 \.xyz, 1 without a suffix\. Add recordings that end in .*\.wav"
    with pytest.raises(DcasenetError, match=says):
        as_dataset(root, "scene")


def test_a_class_may_be_missing_from_validation(miniatures: ModuleType, tmp_path: Path) -> None:
    miniatures.class_folders(tmp_path / "train", rain=1, dog=1)
    miniatures.class_folders(tmp_path / "validation", rain=0, dog=1)
    miniatures.write_dog(tmp_path / "loose.wav")
    (tmp_path / "README").touch()
    data = AudioFolder(tmp_path)
    assert data.labels == ("dog", "rain")
    assert data.left_out == (
        "1 recordings lie in no class folder: loose.wav.",
        "The class folder 'rain' holds no recording.",
        "Passed over: 1 without a suffix.",
    )


def test_no_audio_at_all_is_an_error(miniatures: ModuleType, tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path, empty=0)
    (root / "empty" / "notes.txt").touch()
    with pytest.raises(DcasenetError, match=r"no recording in a class folder of .*my_sounds/dog"):
        AudioFolder(root)
    (root / "sounds.csv").touch()
    with pytest.raises(DcasenetError, match=r"Or give the table .*sounds\.csv, if"):
        AudioFolder(root)
    with pytest.raises(DcasenetError, match=r"There is no folder .*nowhere"):
        AudioFolder(tmp_path / "nowhere")


def test_class_folders_have_no_events(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Give a CSV with the columns filename, onset"):
        AudioFolder(tmp_path, "event")
    with pytest.raises(ValueError, match="'noise'"):
        AudioFolder(tmp_path, "noise")  # type: ignore[arg-type]


def test_folder_table_and_data_set_are_all_data(miniatures: ModuleType, tmp_path: Path) -> None:
    root = miniatures.class_folders(tmp_path / "sounds", rain=2, dog=2)
    table = miniatures.table(tmp_path / "t", "filename,tags", "a.wav,dog", "b.wav,rain")
    folder_data = as_dataset(str(root), "scene", validation=0.5)
    assert isinstance(folder_data, AudioFolder)
    assert len(folder_data.split("validation")) == 2
    assert isinstance(as_dataset(table, "tag"), AudioTable)
    assert as_dataset(folder_data, "scene") is folder_data


def test_a_pattern_says_which_files_are_one_recording(tmp_path: Path) -> None:
    for name in ("dog/a_1", "dog/a_2", "dog/b_1", "dog/b_2", "rain/c_1", "rain/c_2", "rain/d_1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.wav").touch()
    for pattern in ("^[^_]+", "^(.)_", lambda path: path.name[0]):
        data = as_dataset(tmp_path, "scene", validation=0.5, group=pattern)
        assert {example.recording for example in data.examples} == {*"abcd"}
        held_out = {e.recording for e in data.split("validation")}
        assert len(held_out) == 2
        assert not held_out & {e.recording for e in data.split("train")}
    with pytest.raises(ValueError, match=r"group='\(' is not a regular expression: missing \)"):
        as_dataset(tmp_path, "scene", group="(")
    with pytest.raises(
        ValueError, match=r"group='\^\[ab\]' finds nothing in the name of .*c_1\.wav"
    ):
        as_dataset(tmp_path, "scene", group="^[ab]")
    with pytest.raises(ValueError, match=r"is for a folder or a table.*Leave group out"):
        as_dataset(data, "scene", group="^[ab]")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"neither a folder nor a table .*nowhere.*Accepted"):
        as_dataset(tmp_path / "nowhere", "scene")
    with pytest.raises(TypeError, match="list is not data"):
        as_dataset([], "scene")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no task 'noise'"):
        as_dataset(tmp_path, "noise")  # type: ignore[arg-type]
    tags = SoundDataset("mine", "tag", (), [])
    with pytest.raises(DcasenetError, match="mine is labeled for tag, and the task is scene"):
        as_dataset(tags, "scene")
