import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dcasenet.errors import DcasenetError
from dcasenet.spec import Task
from dcasenet.train.data.dataset import SPLITS
from recipes.open.data import splits
from recipes.open.labels import BACKGROUNDS, CANDIDATES, ESC50_TAGS, Candidate
from recipes.open.split import FEWEST, FOLDERS, choose, read_clips
from recipes.recordings import IN_TWO_FOLDS, Recording, split_of


def test_no_source_is_in_two_splits(tables: Path) -> None:
    clips = read_clips(tables)
    torn = {source: parts for source, parts in splits(clips).items() if len(parts) > 1}
    assert torn == {}
    assert "5-209698-A-37.ogg" in {clip.filename for clip in clips}


def test_only_clips_with_an_open_license_are_read(tables: Path) -> None:
    clips = read_clips(tables)
    assert len(clips) == 30 + 1 + 3 * 6
    assert {clip.license for clip in clips} == {"CC0", "CC BY 3.0"}


def test_run_k_never_reads_fold_k(tables: Path) -> None:
    for fold in (1, 4, 5):
        clips = read_clips(tables, fold)
        held = {clip.source for clip in clips if clip.split == "test" and clip.folder == "esc50"}
        used = [clip for clip in clips if clip.split == "train"]
        assert not held & {clip.source for clip in used}
        tested = [c.filename for c in clips if c.folder == "esc50" and c.split == "test"]
        assert {name[0] for name in tested} == {str(fold)}
        # Nine clips a fold, and the recording that is in two: it is in the test, or trained on.
        in_two = fold in (4, 5)
        assert len(tested) == 9 + in_two
        assert sum(clip.folder == "esc50" for clip in used) == 36 + 2 * (not in_two)
    assert {clip.folder for clip in clips} == set(FOLDERS)


def test_what_is_published_keeps_these_rules(real_clips: list[Recording]) -> None:
    assert all(len(parts) == 1 for parts in splits(real_clips).values())
    # ESC-50's ids and the other folders' recording_id share the "fs<number>" name.
    assert all(re.fullmatch(r"fs\d+", c.source) for c in real_clips if c.folder == "esc50")
    assert any(re.fullmatch(r"fs\d+", c.source) for c in real_clips if c.folder == "ambience")
    allowed = re.compile(r"CC0|CC BY|public.domain", re.IGNORECASE)
    forbidden = re.compile(r"NC|SA|ND|Sampling")
    for clip in real_clips:
        assert allowed.match(clip.license), clip
        assert not forbidden.search(clip.license), clip
    sizes = {
        folder: tuple(sum(c.split == p and c.folder == folder for c in real_clips) for p in SPLITS)
        for folder in FOLDERS
    }
    assert sum(sizes.pop("esc50")) == 1_770 - len(IN_TWO_FOLDS)
    assert sizes == {
        "ambience": (42, 23, 14),
        "events_extra": (488, 351, 85),
        "dcase2016_task2": (45, 14, 16),
    }


def test_the_split_of_a_name_never_changes() -> None:
    assert split_of("precise-KrisGesling") == "test"


def test_labels_are_chosen_of_what_is_published(real_clips: list[Recording]) -> None:
    found = {clip.label for clip in real_clips}
    named = {s for candidates in CANDIDATES.values() for c in candidates for s in c.sources}
    assert (named | set(BACKGROUNDS)) - found == set()
    categories = {clip.label.partition("/")[2] for clip in real_clips if clip.folder == "esc50"}
    assert set(ESC50_TAGS) == categories
    labels, _ = choose(CANDIDATES["tag"], real_clips, FEWEST["tag"])
    assert sum(any(s.startswith("esc50/") for s in label.sources) for label in labels) == 50
    labels, fates = choose(CANDIDATES["scene"], real_clips, FEWEST["scene"])
    assert len(labels) >= 10
    outcome = {fate.name: fate.outcome for fate in fates}
    assert outcome["thunderstorm"] == "merged into rain"
    assert outcome["stream"] == "dropped"


@pytest.mark.parametrize("task", ["scene", "tag", "event"])
def test_no_source_label_belongs_to_two_labels_of_a_task(task: Task) -> None:
    candidates = CANDIDATES[task]
    sources = [source for candidate in candidates for source in candidate.sources]
    assert len(sources) == len(set(sources))
    assert len({c.name for c in candidates}) == len(candidates)
    assert {c.into for c in candidates if c.into} <= {c.name for c in candidates}


def test_what_has_too_few_recordings_is_merged_or_dropped(
    make_clip: Callable[..., Recording],
) -> None:
    """Eight sources to train on and three elsewhere are enough, however many clips there are."""

    def clips(label: str, *counts: int) -> list[Recording]:
        return [
            make_clip(f"{label} {split} {number}", label, split)
            for split, n in zip(SPLITS, counts, strict=True)
            for number in range(n)
        ]

    candidates = [
        Candidate("rain", ("esc50/rain",)),
        Candidate("storm", ("esc50/storm", "ambience/storm"), into="rain"),
        Candidate("stream", ("esc50/stream",)),
        Candidate("rare", ("esc50/rare",), always=True),
        Candidate("wind", ("esc50/wind", "ambience/wind")),
    ]
    found = [
        *clips("esc50/rain", 8, 3, 3),
        *clips("esc50/storm", 8, 1, 3),
        *clips("ambience/storm", 0, 1, 0),
        *clips("esc50/stream", 7, 3, 3),
        *clips("esc50/rare", 1, 0, 0),
        *clips("esc50/wind", 7, 3, 2),
        *clips("ambience/wind", 1, 0, 1),
    ]
    again = [dataclasses.replace(clip, key=f"{clip.folder}/more {clip.filename}") for clip in found]
    labels, fates = choose(candidates, [*found, *again], FEWEST["scene"])
    assert {label.name: label.sources for label in labels} == {
        "rain": ("esc50/rain", "esc50/storm", "ambience/storm"),
        "rare": ("esc50/rare",),
        "wind": ("esc50/wind", "ambience/wind"),
    }
    assert [(fate.outcome, fate.recordings) for fate in fates] == [
        ("kept", (8, 3, 3)),
        ("merged into rain", (8, 2, 3)),
        ("dropped", (7, 3, 3)),
        ("kept, though its recordings are few", (1, 0, 0)),
        ("kept", (8, 3, 3)),
    ]


def test_missing_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"missing.*esc50.meta\.csv"):
        read_clips(tmp_path)
