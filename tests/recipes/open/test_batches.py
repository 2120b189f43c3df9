from dataclasses import replace

import torch

from recipes.open.batches import UNKNOWN, JointBatches
from recipes.open.data import OpenData
from recipes.open.recipe import Recipe

RECIPE = replace(
    Recipe(),
    steps=2,
    n_scene_clips=3,
    n_tag_clips=4,
    n_soundscapes=1,
    clip_seconds=2.0,
    soundscape_seconds=4.0,
)


def test_a_batch_has_the_shapes_it_says(small: OpenData) -> None:
    batch = JointBatches(small, RECIPE, epoch=0)[0]
    assert batch.clips.shape == (7, 48_001)
    assert batch.soundscapes.shape == (1, 96_000)
    assert batch.event.shape == (1, 5, len(small.labels["event"]))
    assert batch.tag.shape == (7, len(small.labels["tag"]))
    assert all(t.dtype == torch.float32 for t in (batch.clips, batch.tag, batch.event))


def test_a_batch_depends_on_seed_epoch_number_and_rank_alone(small: OpenData) -> None:
    first = JointBatches(small, RECIPE, epoch=3)
    again = JointBatches(small, RECIPE, epoch=3)
    assert all(torch.equal(a, b) for a, b in zip(first[1], again[1], strict=True))
    others = [
        first[0],
        JointBatches(small, RECIPE, epoch=4)[1],
        JointBatches(small, replace(RECIPE, seed=1), epoch=3)[1],
        JointBatches(small, RECIPE, epoch=3, rank=1)[1],
    ]
    assert not any(torch.equal(first[1].clips, other.clips) for other in others)
    assert not any(torch.equal(first[1].soundscapes, other.soundscapes) for other in others)


def test_scene_stream_has_scenes_and_every_label_counts(small: OpenData) -> None:
    batch = JointBatches(small, RECIPE, epoch=0)[0]
    assert (batch.scene[:3] != UNKNOWN).all()
    assert batch.tag.sum(dim=1).eq(1).all()  # every clip of this data set has one tag


def test_all_batches_are_iterated_and_no_more(small: OpenData) -> None:
    assert len(list(JointBatches(small, RECIPE, epoch=0))) == RECIPE.steps
