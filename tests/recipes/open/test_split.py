import re
from pathlib import Path

import pytest

from dcasenet.errors import DcasenetError
from recipes.open.data import splits
from recipes.open.labels import BACKGROUNDS, CANDIDATES, ESC50_TAGS, Candidate
from recipes.open.split import (
    FEWEST,
    IN_TWO_FOLDS,
    SPLITS,
    Clip,
    choose,
    count_sources,
    read_clips,
    split_of_key,
)


def test_no_source_is_on_two_sides(clips_listed: list[Clip]) -> None:
    torn = {source: parts for source, parts in splits(clips_listed).items() if len(parts) > 1}
    assert torn == {}


def test_sources_of_one_freesound_recording_are_one_over_all_folders(
    clips_listed: list[Clip],
) -> None:
    # ESC-50's ids and the other folders' recording_id share the "fs<number>" name.
    assert all(re.fullmatch(r"fs\d+", c.source) for c in clips_listed if c.folder == "esc50")
    assert any(re.fullmatch(r"fs\d+", c.source) for c in clips_listed if c.folder == "ambience")


def test_only_clips_with_an_open_license_are_listed(clips_listed: list[Clip]) -> None:
    assert sum(clip.folder == "esc50" for clip in clips_listed) == 1_770 - len(IN_TWO_FOLDS)
    allowed = re.compile(r"CC0|CC BY|public.domain", re.IGNORECASE)
    forbidden = re.compile(r"NC|SA|ND|Sampling")
    for clip in clips_listed:
        assert allowed.match(clip.license), clip
        assert not forbidden.search(clip.license), clip


def test_parts_are_those_of_the_readme(clips_listed: list[Clip]) -> None:
    def sizes(folder: str) -> tuple[int, ...]:
        return tuple(sum(c.split == p and c.folder == folder for c in clips_listed) for p in SPLITS)

    assert sizes("ambience") == (42, 23, 14)
    assert sizes("events_extra") == (488, 351, 85)
    assert sizes("dcase2016_task2") == (45, 14, 16)
    assert split_of_key("precise-KrisGesling") == "test"


def test_every_source_of_the_tables_exists(clips_listed: list[Clip]) -> None:
    labels = {clip.label for clip in clips_listed}
    named = {s for candidates in CANDIDATES.values() for c in candidates for s in c.sources}
    assert (named | set(BACKGROUNDS)) - labels == set()


def test_all_fifty_categories_are_tags(clips_listed: list[Clip]) -> None:
    categories = {clip.label.partition("/")[2] for clip in clips_listed if clip.folder == "esc50"}
    assert set(ESC50_TAGS) == categories
    labels, _ = choose(CANDIDATES["tag"], clips_listed, FEWEST["tag"])
    assert sum(any(s.startswith("esc50/") for s in label.sources) for label in labels) == 50


@pytest.mark.parametrize("task", ["scene", "tag", "event"])
def test_no_source_label_belongs_to_two_labels_of_a_task(
    task: str, clips_listed: list[Clip]
) -> None:
    candidates = CANDIDATES[task]  # type: ignore[index]
    sources = [source for candidate in candidates for source in candidate.sources]
    assert len(sources) == len(set(sources))
    assert len({c.name for c in candidates}) == len(candidates)
    assert {c.into for c in candidates if c.into} <= {c.name for c in candidates}


def test_environments_have_enough_recordings_and_the_list_tells_the_rest(
    clips_listed: list[Clip],
) -> None:
    labels, fates = choose(CANDIDATES["scene"], clips_listed, FEWEST["scene"])
    assert len(labels) >= 10
    for label in labels:
        train, validation, test = count_sources(clips_listed, label.sources)
        assert (train >= 8, validation >= 3, test >= 3) == (True, True, True), label
    outcome = {fate.name: fate.outcome for fate in fates}
    assert outcome["thunderstorm"] == "merged into rain"
    assert outcome["stream"] == "dropped"
    assert [fate.name for fate in fates] == [c.name for c in CANDIDATES["scene"]]


def test_merged_labels_bring_their_sources(clips_listed: list[Clip]) -> None:
    labels, _ = choose(CANDIDATES["scene"], clips_listed, FEWEST["scene"])
    rain = next(label for label in labels if label.name == "rain")
    assert "esc50/thunderstorm" in rain.sources


def test_a_dropped_label_is_gone(clips_listed: list[Clip]) -> None:
    candidates = [Candidate("few", ("ambience/cafe",)), Candidate("many", ("esc50/dog",))]
    labels, fates = choose(candidates, clips_listed, FEWEST["scene"])
    assert [label.name for label in labels] == ["many"]
    assert fates[0].recordings == (1, 0, 0)


def test_missing_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"esc50/meta\.csv.*not found"):
        read_clips(tmp_path)
