from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from dcasenet.errors import DcasenetError
from dcasenet.train import FSDKaggle2019Curated
from dcasenet.train.data.fsdkaggle import folds
from dcasenet.train.paper.miniature import Miniatures
from dcasenet.weights.manifest import find

OwnCopy = Callable[[Path], Path]


@pytest.fixture
def folder(paper_sets: Miniatures, own_copy: OwnCopy) -> Path:
    return own_copy(paper_sets.tag)


def rewrite(folder: Path, rows: list[str], name: str = "train_curated.csv") -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text("\n".join(rows), encoding="utf-8")


@pytest.mark.parametrize("n_rows", [4_970, 101, 5])
def test_folds_are_those_of_scikit_learn(n_rows: int) -> None:
    dealt = folds(n_rows)
    split = KFold(5, shuffle=True, random_state=42).split(np.zeros(n_rows))
    for number, (_, rows) in enumerate(split):
        assert np.array_equal(np.flatnonzero(dealt == number), rows)


def test_the_test_split_is_the_authors() -> None:
    chosen = np.flatnonzero(folds(4_970) == 0)
    assert chosen[:12].tolist() == [8, 12, 17, 19, 23, 26, 29, 33, 43, 45, 47, 51]
    assert chosen[-5:].tolist() == [4938, 4945, 4947, 4951, 4966]
    assert (len(chosen), chosen.sum()) == (994, 2_423_130)


def test_tags_and_splits_are_read(paper_sets: Miniatures) -> None:
    data = FSDKaggle2019Curated(paper_sets.tag, validation=0, keep_known_bad=True)
    assert (data.task, data.labels) == ("tag", find("v3", "joint").tags)
    assert (len(data), len(data.split("test")), len(data.split("train"))) == (100, 20, 80)
    assert data.left_out == ()
    assert {tag for example in data for tag in example.tags or ()} == {*data.labels}
    assert {len(example.tags or ()) for example in data} == {1, 2}
    assert {e.fold for e in data.split("test")} == {0}
    assert {e.fold for e in data.split("train")} == {1, 2, 3, 4}


def test_the_split_follows_the_order_of_the_table(folder: Path) -> None:
    header, *rows = (folder / "train_curated.csv").read_text().splitlines()
    rewrite(folder, [header, *reversed(rows)])
    data = FSDKaggle2019Curated(folder, keep_known_bad=True)
    expected = {rows[-1 - i].partition(",")[0] for i in np.flatnonzero(folds(100) == 0)}
    assert {example.path.name for example in data.split("test")} == expected


def test_a_tenth_of_the_training_rows_is_for_validation(paper_sets: Miniatures) -> None:
    data = FSDKaggle2019Curated(paper_sets.tag)
    held = data.split("validation")
    assert 0.05 < len(held) / (len(held) + len(data.split("train"))) < 0.25
    assert {e.path for e in data.split("test")}.isdisjoint(e.path for e in held)
    again = FSDKaggle2019Curated(paper_sets.tag)
    assert data.examples == again.examples
    assert data.examples != FSDKaggle2019Curated(paper_sets.tag, seed=1).examples


def test_silent_and_mislabeled_clips_are_named_and_do_not_train(folder: Path) -> None:
    header, *rows = (folder / "train_curated.csv").read_text().splitlines()
    trains, tests = np.flatnonzero(folds(100) != 0)[0], np.flatnonzero(folds(100) == 0)[0]
    for number, name in ((trains, "f76181c4.wav"), (tests, "77b925c2.wav")):
        old, _, label = rows[number].partition(",")
        rows[number] = f"{name},{label}"
        (folder / "train_curated" / old).rename(folder / "train_curated" / name)
    rewrite(folder, [header, *rows])
    data = FSDKaggle2019Curated(folder)
    assert {*data.mislabeled} == {"f76181c4.wav", "77b925c2.wav"}
    assert data.silent == ("1d44b0bd.wav",)
    names = {example.path.name: example.split for example in data}
    assert names["77b925c2.wav"] == "test"
    assert not {"f76181c4.wav", "1d44b0bd.wav"} & {*names}
    assert "f76181c4.wav has a wrong label by the data set's README." in data.left_out
    assert "1d44b0bd.wav is silent by the data set's README." in data.left_out
    assert len(FSDKaggle2019Curated(folder, keep_known_bad=True)) == 100


def test_the_archives_of_zenodo_will_do(folder: Path) -> None:
    header, *rows = (folder / "train_curated.csv").read_text().splitlines()
    (folder / "FSDKaggle2019.meta").mkdir()
    (folder / "train_curated").rename(folder / "FSDKaggle2019.audio_train_curated")
    (folder / "train_curated.csv").unlink()
    more = [f"{header},freesound_id,license", *(f"{row},{i},CC0" for i, row in enumerate(rows))]
    rewrite(folder, more, "FSDKaggle2019.meta/train_curated_post_competition.csv")
    data = FSDKaggle2019Curated(folder)
    assert data[0].path.parent.name == "FSDKaggle2019.audio_train_curated"
    assert len(data) == 99


def test_an_unknown_tag_is_named_with_its_line(folder: Path) -> None:
    rows = (folder / "train_curated.csv").read_text().splitlines()
    name = rows[4].partition(",")[0]
    rewrite(folder, [*rows[:4], f'{name},"Bark,Accordian"', *rows[5:]])
    with pytest.raises(DcasenetError, match=r"line 5: .*'Accordian' is unknown.*'Accordion'"):
        FSDKaggle2019Curated(folder)


def test_missing_files_are_named(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "train_curated").iterdir())
    (folder / "train_curated" / names[3]).unlink()
    with pytest.raises(DcasenetError, match=rf"train_curated/{names[3]}\..*zenodo\.3612637.*CC BY"):
        FSDKaggle2019Curated(folder)
    (folder / "train_curated.csv").unlink()
    with pytest.raises(DcasenetError, match=r"missing from .*: train_curated\.csv\."):
        FSDKaggle2019Curated(folder)


def test_repeated_rows_are_dropped_and_contradictions_refused(folder: Path) -> None:
    rows = (folder / "train_curated.csv").read_text().splitlines()
    rewrite(folder, [*rows, rows[2]])
    data = FSDKaggle2019Curated(folder, keep_known_bad=True)
    assert len(data) == 100
    assert "line 102" in data.left_out[0]
    rewrite(folder, [*rows, rows[2].partition(",")[0] + ",Zipper_(clothing)"])
    with pytest.raises(DcasenetError, match=r"line 102: .* is in line 3 already"):
        FSDKaggle2019Curated(folder)
