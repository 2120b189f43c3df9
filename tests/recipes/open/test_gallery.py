"""The gallery: drawn before it is looked at, honest about failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dcasenet
from dcasenet.results import Analysis
from recipes.open import gallery
from recipes.open.gallery import COUNT, Picture, draw
from recipes.recordings import Recording


@pytest.fixture(scope="module")
def model() -> dcasenet.SoundModel:
    return dcasenet.load("v3", stage="open")


@pytest.fixture(scope="module")
def analysis(model: dcasenet.SoundModel) -> Analysis:
    return model.analyze(np.zeros(24_000, np.float32), 24_000)


def make_clips(make_clip: Callable[..., Recording], n: int) -> list[Recording]:
    names = [f"{index}.ogg" for index in range(n)]
    clips = [make_clip(name, "esc50/dog", "test") for name in names]
    return [*clips, make_clip("trained.ogg", "esc50/dog", "train")]


def test_the_draw_is_of_the_test_split_one_clip_a_source_and_by_the_seed(
    make_clip: Callable[..., Recording], model: dcasenet.SoundModel
) -> None:
    clips = make_clips(make_clip, 30)
    takes = [
        dataclasses.replace(clip, key=f"{clip.folder}/again {clip.filename}") for clip in clips
    ]
    drawn = draw([*clips, *takes], model.spec, seed=1)
    assert len({clip.source for clip in drawn}) == len(drawn) == COUNT
    assert {clip.split for clip in drawn} == {"test"}
    assert drawn == draw([*clips, *takes], model.spec, seed=1)
    assert drawn != draw([*clips, *takes], model.spec, seed=2)


def test_what_the_model_has_no_label_for_is_not_drawn(
    make_clip: Callable[..., Recording], model: dcasenet.SoundModel
) -> None:
    clips = [*make_clips(make_clip, 10), make_clip("x.ogg", "events_extra/rollercoaster", "test")]
    assert {clip.label for clip in draw(clips, model.spec, seed=0)} == {"esc50/dog"}


def test_agreement_is_of_the_best_environment_or_of_three_tags(
    make_clip: Callable[..., Recording], analysis: Analysis
) -> None:
    clip = make_clip("a|b.ogg", "esc50/dog", "test")
    assert analysis.scene is not None
    assert analysis.tags is not None
    third, fourth = analysis.tags[2].label, analysis.tags[3].label
    assert Picture(clip, frozenset({third}), analysis).agrees
    assert not Picture(clip, frozenset({fourth}), analysis).agrees
    assert Picture(clip, frozenset({analysis.scene.label}), analysis).agrees
    row = Picture(clip, frozenset({fourth}), analysis).row()
    assert row.startswith("| a/b.ogg, somebody, CC0 | dog | ")
    assert row.endswith("| fails |")
    assert row.count("|") == gallery.HEADER.splitlines()[0].count("|")


def test_every_recording_of_the_gallery_was_kept_from_training(
    real_data: Path, real_clips: list[Recording], model: dcasenet.SoundModel
) -> None:
    drawn = draw(real_clips, model.spec, gallery.SEED)
    trained = {clip.source for clip in real_clips if clip.split == "train"}
    assert not trained & {clip.source for clip in drawn}
    pictures = gallery.gallery(real_data)
    assert [picture.clip for picture in pictures] == drawn
