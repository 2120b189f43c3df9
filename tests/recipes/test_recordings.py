"""The tables of the data, the one split, and which labels have enough recordings."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from dcasenet.errors import DcasenetError
from dcasenet.train.data.dataset import SPLITS
from recipes import labels as label_rules
from recipes.labels import LabelSets, choose
from recipes.recordings import FOLDERS, IN_TWO_FOLDS, LabeledClip, read_recordings, split_of
from tests.recipes.conftest import recording


@pytest.fixture
def tables(open_folder: Path, tmp_path: Path) -> Path:
    """The tables of the data, and in them a recording that is in two folds of ESC-50."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        shutil.copy(open_folder / folder / "meta.csv", tmp_path / folder)
    with (tmp_path / "esc50" / "meta.csv").open("a") as file:
        for fold in (4, 5):
            file.write(f"{fold}-209698-A-37.ogg,{fold},37,dog,0,209698,A,CC0,,a,,1\n")
    return tmp_path


@pytest.fixture(scope="module")
def real(real_data: Path) -> list[LabeledClip]:
    return read_recordings(real_data)


def torn(recordings: list[LabeledClip]) -> list[str]:
    """Sources that are in more than one split."""
    splits = defaultdict(set)
    for r in recordings:
        splits[r.source].add(r.split)
    return [source for source, found in splits.items() if len(found) > 1]


def test_every_recording_has_its_split(open_folder: Path) -> None:
    recordings = read_recordings(open_folder)
    assert len(recordings) == 45 + 6 + 6 + 6 + 6
    assert {r.folder for r in recordings} == set(FOLDERS)
    splits = {r.fold: r.split for r in recordings if r.folder == "esc50"}
    assert splits == {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}
    assert all(r.split == split_of(r.source) for r in recordings if r.folder == "ambience")
    assert sum(not r.open for r in recordings) == 15


def test_no_source_is_in_two_splits(tables: Path) -> None:
    found = read_recordings(tables)
    assert torn(found) == []
    assert "5-209698-A-37.ogg" in {r.filename for r in found}


def test_the_real_tables_keep_these_rules(real: list[LabeledClip]) -> None:
    assert torn(real) == []
    allowed = re.compile(r"CC0|CC BY|public.domain|Apache", re.IGNORECASE)
    forbidden = re.compile(r"NC|SA|ND|Sampling")
    for r in real:
        assert not r.open or (allowed.match(r.license) and not forbidden.search(r.license)), r
    assert sum(r.folder == "esc50" for r in real) == 2_000 - len(IN_TWO_FOLDS)
    sizes = {
        folder: tuple(sum(r.split == s and r.folder == folder for r in real) for s in SPLITS)
        for folder in ("ambience", "events_extra", "dcase2016_task2")
    }
    assert sizes == {
        "ambience": (42, 23, 14),
        "events_extra": (488, 351, 85),
        "dcase2016_task2": (45, 14, 16),
    }


def test_what_leaves_out_the_clips_of_esc50_leaves_out_its_sources(real: list[LabeledClip]) -> None:
    sources = {r.source for r in real if r.folder == "esc50"}
    assert not [r for r in real if r.folder != "esc50" and r.source in sources]


def test_the_split_of_a_name_never_changes() -> None:
    assert split_of("precise-KrisGesling") == "test"


def test_missing_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"missing.*esc50.meta\.csv.*docs/recipes\.md"):
        read_recordings(tmp_path)


def recordings(label: str, *counts: int) -> list[LabeledClip]:
    """So many sources in train, validation and test, two recordings of each."""
    return [
        replace(recording(label, 2 * index + take), source=f"{label} {split} {index}", split=split)
        for split, n in zip(SPLITS, counts, strict=True)
        for index in range(n)
        for take in (0, 1)
    ]


def test_labels_need_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight sources of a place to train on and two elsewhere, thirty recordings of an event."""
    monkeypatch.setattr(label_rules, "FEWEST_EVENTS", 6)
    found = [
        *recordings("esc50/rain", 8, 2, 2),
        *recordings("esc50/wind", 7, 2, 2),
        *recordings("esc50/sea_waves", 8, 1, 2),
        *recordings("esc50/dog", 1, 1, 1),
        *recordings("esc50/cat", 2, 1, 0),
        *recordings("esc50/crow", 3, 0, 0),
    ]
    chosen = choose(found, {r.key: 1 for r in found})
    assert set(chosen.environments) == {"rain"}
    assert set(chosen.events) == {"dog"}  # of cats none is left to test, of crows to choose by
    assert set(chosen.tags) == {"rain", "wind", "sea waves", "dog", "cat"}
    silent = choose(found, {r.key: 0 for r in found})
    assert silent.events == ()


def test_where_people_sneeze_is_likely_in_training_and_unknown_in_the_figures() -> None:
    labels = LabelSets(tags=(), events=(), environments=("farmyard", "people indoors"))
    made = LabeledClip("a.ogg", "esc50/sneezing", "a", "train", "CC0", author="", title="")
    recordings = [replace(made, split=split) for split in SPLITS]
    assert [labels.learned_environment_of(r) for r in recordings] == [1, None, None]
    assert [labels.environment_of(r) for r in recordings] == [None] * 3
    rooster = replace(made, label="esc50/rooster", split="test")
    assert labels.environment_of(rooster) == labels.learned_environment_of(rooster) == 0
