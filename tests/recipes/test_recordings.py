"""Which labels have enough recordings, and what ESC-50 shares with the other folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dcasenet.train.data.dataset import SPLITS
from recipes import labels as label_rules
from recipes.labels import choose
from recipes.recordings import Recording, read_recordings
from tests.recipes.conftest import recording


@pytest.fixture(scope="module")
def real(real_data: Path) -> list[Recording]:
    return read_recordings(real_data)


def test_what_leaves_out_the_clips_of_esc50_leaves_out_its_sources(real: list[Recording]) -> None:
    sources = {r.source for r in real if r.folder == "esc50"}
    assert not [r for r in real if r.folder != "esc50" and r.source in sources]


def recordings(label: str, *counts: int) -> list[Recording]:
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
