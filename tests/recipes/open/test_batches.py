from dataclasses import replace

import numpy as np
import pytest
import torch

from dcasenet.train.data.crops import crop
from dcasenet.train.data.targets import TrueEvent, step_targets
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


def test_targets_are_shares_of_steps() -> None:
    events = [TrueEvent(0, 0.0, 0.8), TrueEvent(1, 1.2, 2.8), TrueEvent(2, 0.9, 1.0)]
    targets = step_targets(events, n_events=3, duration=4.0)
    expected = np.array([[1, 0, 0], [0, 0.5, 1], [0, 1, 0], [0, 0.5, 0], [0, 0, 0]])
    assert targets == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_samples", [5, 10, 25])
def test_crops_have_the_length_asked_for(n_samples: int) -> None:
    samples = np.arange(1, 11, dtype=np.float32)
    for seed in range(10):
        cut = crop(samples, n_samples, np.random.default_rng(seed))
        assert len(cut) == n_samples
        assert set(cut) <= {0.0, *samples}
        assert n_samples < 10 or set(samples) <= set(cut)
