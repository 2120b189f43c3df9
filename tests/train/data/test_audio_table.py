from pathlib import Path
from types import ModuleType

import pytest

from dcasenet.errors import DcasenetError
from dcasenet.train import AudioTable, LabeledEvent

TAGS = ("filename,tags", 'a.wav,"rain, wind"', "b.wav,rain;dog", "c.wav,")
EVENTS = "filename,onset,offset,event_label"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_scenes(miniatures: ModuleType, tmp_path: Path, end: str) -> None:
    lines = ("filename,scene", "x/a.wav,park", "b.wav,tram")
    data = AudioTable(miniatures.table(tmp_path, *lines, end=end))
    assert (data.name, data.task, data.labels) == ("sounds", "scene", ("park", "tram"))
    assert [(e.path, e.scene) for e in data] == [
        (tmp_path / "x" / "a.wav", "park"),
        (tmp_path / "b.wav", "tram"),
    ]


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_other_delimiters_and_names_of_columns(
    miniatures: ModuleType, tmp_path: Path, delimiter: str
) -> None:
    miniatures.write_dog(tmp_path / "a.wav")
    path = tmp_path / "sounds.csv"
    path.write_text(f"\ufeffFile{delimiter}Scene_Label\n\na.wav{delimiter}park, by night\n")
    assert AudioTable(path)[0].scene == "park, by night"


def test_tags_are_separated_by_commas_or_semicolons(miniatures: ModuleType, tmp_path: Path) -> None:
    data = AudioTable(miniatures.table(tmp_path, *TAGS))
    assert (data.task, data.labels) == ("tag", ("dog", "rain", "wind"))
    assert [e.tags for e in data] == [("rain", "wind"), ("rain", "dog"), ()]


def test_names_with_commas_are_one_tag(miniatures: ModuleType, tmp_path: Path) -> None:
    crowing, gong, own = "Crowing, cock-a-doodle-doo", "Domestic animals, pets", "Saw, blunt"
    rows = (
        f"{crowing};Dog",
        f"Dog, {gong}, Rain",
        crowing.upper(),
        own,
        f"{own};Dog",
        "rattle,wind",
    )
    lines = [f'{i}.wav,"{tags}"' for i, tags in enumerate(rows)]
    data = AudioTable(miniatures.table(tmp_path, "filename,tags", *lines[:2], *lines[3:]))
    assert [e.tags for e in data] == [
        (crowing, "Dog"), ("Dog", gong, "Rain"), (own,), (own, "Dog"), ("rattle", "wind"),
    ]  # fmt: skip
    assert AudioTable(miniatures.table(tmp_path, "filename,tags", lines[2]))[0].tags == (
        crowing.upper(),
    )
    given = AudioTable(miniatures.table(tmp_path, "filename,tags", lines[3]), labels=[own, "Dog"])
    assert given[0].tags == (own,)


def test_events_are_joined_by_file(miniatures: ModuleType, tmp_path: Path) -> None:
    rows = ("a.wav,1.5,2,dog", "b.wav,,,", "a.wav,0.25,1,cat")
    data = AudioTable(miniatures.table(tmp_path, EVENTS, *rows))
    assert (data.task, data.labels) == ("event", ("cat", "dog"))
    assert data[0].events == (LabeledEvent("cat", 0.25, 1.0), LabeledEvent("dog", 1.5, 2.0))
    assert data[1].events == ()
    assert data.left_out == (
        "Nothing of cat, dog is held out for validation: there is one recording, for training.",
    )


def test_a_label_is_a_scene_or_a_tag(miniatures: ModuleType, tmp_path: Path) -> None:
    path = miniatures.table(tmp_path, "filename,label", "a.wav,dog")
    assert AudioTable(path)[0].scene == "dog"
    assert AudioTable(path, "tag")[0].tags == ("dog",)


def test_columns_for_two_tasks_need_a_word(miniatures: ModuleType, tmp_path: Path) -> None:
    path = miniatures.table(tmp_path, "filename,scene,tags", "a.wav,park,dog")
    with pytest.raises(DcasenetError, match=r"tasks scene and tag\. Say which"):
        AudioTable(path)
    assert AudioTable(path, "tag").labels == ("dog",)
    with pytest.raises(ValueError, match="no task 'noise'"):
        AudioTable(path, "noise")  # type: ignore[arg-type]


def test_a_column_can_give_the_splits_and_another_the_recording(
    miniatures: ModuleType, tmp_path: Path
) -> None:
    rows = ("a.wav,park,train,1", "b.wav,park,validation,2", "c.wav,tram,,3", "d.wav,tram,test,4")
    data = AudioTable(miniatures.table(tmp_path, "filename,scene,split,recording", *rows))
    assert [e.split for e in data] == ["train", "validation", "train", "test"]
    assert [e.recording for e in data] == ["1", "2", "3", "4"]
    rows = tuple(f"{i}.wav,park,{i // 2}" for i in range(8))
    data = AudioTable(miniatures.table(tmp_path, "filename,scene,recording", *rows))
    assert len(data.split("validation")) == 2
    assert len({e.recording for e in data.split("validation")}) == 1
    data = AudioTable(
        miniatures.table(tmp_path, "filename,scene", *(row[:10] for row in rows)),
        group=lambda path: str(int(path.stem) // 2),
    )
    assert len({e.recording for e in data.split("validation")}) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("filename,scenery", "a.wav,park"), "no column 'scene' or .*'filename', 'scenery'.*tags"),
        (("name,scene", "a.wav,park"), "no column 'filename' or .*'name', 'scene'"),
        (("filename,onset,event_label", "a.wav,1,dog"), "no column 'offset'"),
        (
            ("filename,scene,scene_label", "a.wav,park,tram"),
            "the scene in two columns, 'scene' and",
        ),
        (("filename,tags,tags", "a.wav,dog,cat"), "the tags in two columns"),
        (("filename,scene",), "a header and no rows"),
        (("",), "no column 'filename'.*Its columns are none"),
        (("filename,tags", "a.wav,dog,cat"), "line 2: 3 fields under 2 columns.*double quotes"),
        (("filename,scene", "a.wav,"), "line 2: the label is empty"),
        (("filename,scene,split", "a.wav,dog,valid"), "line 2: the split is 'valid'. Accepted"),
        (("filename,scene", "a.wav,dog", "a.wav,cat"), "line 3: a.wav is in line 2 already"),
        (("filename,scene", "a.wav,dog", "b.wav,Dog"), "'Dog' and 'dog' differ in capitals"),
        (("filename,tags", "a.wav,sea waves;sea_waves"), "'sea waves' and 'sea_waves' differ"),
        ((EVENTS, "a.wav,1,0.5,dog"), "line 2: the event begins at 1 s and ends at 0.5 s"),
        ((EVENTS, "a.wav,1,1,dog"), "line 2: the event begins at 1 s and ends at 1 s"),
        ((EVENTS, "a.wav,-1,1,dog"), "line 2: the onset is '-1'. Accepted are seconds"),
        ((EVENTS, "a.wav,1,nan,dog"), "line 2: the offset is 'nan'"),
        ((EVENTS, "a.wav,1,,dog"), "line 2: the offset is ''"),
        ((EVENTS, "a.wav,1,2,"), "line 2: the event has no label"),
        ((EVENTS, "a.wav,500,900,dog"), "line 2: the event begins at 500 s and .*ends at 2.00 s"),
        (("filename,scene", 'a.wav,"park'), "line 2: not a table"),
    ],
)
def test_faults_are_named(
    miniatures: ModuleType, tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    path = miniatures.table(tmp_path, *lines)
    with pytest.raises(DcasenetError, match=message) as caught:
        AudioTable(path)
    assert str(path) in str(caught.value)


def test_an_event_beyond_the_end_is_cut_and_reported(
    miniatures: ModuleType, tmp_path: Path
) -> None:
    rows = ("a.wav,1,3.5,dog", "b.wav,1,2.04,dog")
    data = AudioTable(miniatures.table(tmp_path, EVENTS, *rows))
    assert [e.events for e in data] == [(LabeledEvent("dog", 1.0, 2.0),)] * 2
    assert len(data.left_out) == 1
    assert "line 2: what lies beyond the end of a.wav" in data.left_out[0]


def test_repeated_rows_are_reported(miniatures: ModuleType, tmp_path: Path) -> None:
    scenes = miniatures.table(tmp_path, "filename,scene", "a.wav,dog", "b.wav,dog", "a.wav,dog")
    data = AudioTable(scenes)
    assert len(data) == 2
    assert data.left_out == (f"{scenes}, line 4: a.wav again, as in 2.",)
    events = miniatures.table(tmp_path, EVENTS, "a.wav,1,2,dog", "a.wav,1,2,dog")
    data = AudioTable(events, validation=0)
    assert data[0].events == (LabeledEvent("dog", 1.0, 2.0),)
    assert data.left_out == (f"{events}, line 3: the event of line 2 again.",)


def test_a_file_has_one_part(miniatures: ModuleType, tmp_path: Path) -> None:
    path = miniatures.table(
        tmp_path, f"{EVENTS},split", "a.wav,0,1,dog,train", "a.wav,1,2,dog,test"
    )
    with pytest.raises(DcasenetError, match=r"line 3: a\.wav has another split or recording above"):
        AudioTable(path)


def test_missing_files_are_named_and_counted(miniatures: ModuleType, tmp_path: Path) -> None:
    path = miniatures.table(tmp_path, "filename,scene", *(f"{i}.wav,dog" for i in range(8)))
    for i in range(1, 8):
        (tmp_path / f"{i}.wav").unlink()
    with pytest.raises(DcasenetError, match=r"names 7 files .*: 1\.wav, 2\.wav, .* and 2 more"):
        AudioTable(path)


def test_known_labels_fix_the_order_and_refuse_others(
    miniatures: ModuleType, tmp_path: Path
) -> None:
    path = miniatures.table(tmp_path, "filename,scene", "a.wav,tram", "b.wav,park")
    assert AudioTable(path, labels=("tram", "park", "bus")).labels == ("tram", "park", "bus")
    with pytest.raises(DcasenetError, match=r"line 3: .*'park' is unknown. Known are tram, bus\."):
        AudioTable(path, labels=("tram", "bus"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("filename,scene\na.wav,café".encode("latin-1"), "is not UTF-8: byte 0xe9 at 24"),
        ("filename,scene\na.wav,park".encode("utf-16-le"), "is not text: it contains zero bytes"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sounds.csv"
    path.write_bytes(content)
    with pytest.raises(DcasenetError, match=message):
        AudioTable(path)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"nowhere\.csv cannot be read: No such file"):
        AudioTable(tmp_path / "nowhere.csv")


def test_a_file_that_cannot_be_read_is_left_to_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    path = tmp_path / "sounds.csv"
    path.write_text(f"{EVENTS}\na.wav,5,6,dog\n")
    assert len(AudioTable(path)) == 1
