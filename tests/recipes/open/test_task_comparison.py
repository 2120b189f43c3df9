"""Single, joint and fine-tuned networks side by side, and runs of the ESC benchmark."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import dcasenet
from recipes.esc.pretraining import pretrain
from recipes.open import task_comparison
from recipes.open.batches import JointBatches
from recipes.open.data import OpenData
from recipes.open.module import JointTraining, label_counts
from recipes.open.recipe import Recipe
from recipes.open.task_comparison import run, run_row, table
from recipes.open.validation import ValidationSet

RECIPE = Recipe(
    width=1 / 16,
    epochs=1,
    steps=2,
    n_scene_clips=2,
    n_tag_clips=2,
    n_soundscapes=1,
    clip_seconds=2.0,  # shorter ones meet a fault of bfloat16 convolutions
    soundscape_seconds=4.0,
)


@pytest.fixture
def few_soundscapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_comparison, "N_SOUNDSCAPES", 1)


def test_a_single_task_reads_its_own_stream_alone(small: OpenData) -> None:
    used = {"scene": ({"scene"}, 2, 0), "tag": ({"tag"}, 2, 0), "event": ({"event"}, 0, 1)}
    for task, (losses, n_clips, n_soundscapes) in used.items():
        alone = dataclasses.replace(RECIPE, tasks=(task,))
        batch = JointBatches(small, alone, epoch=0)[0]
        assert (len(batch.clips), len(batch.soundscapes)) == (n_clips, n_soundscapes)
        module = JointTraining(alone, label_counts(small))
        assert set(module.losses(batch, np.random.default_rng(0))) == losses
        requested = ValidationSet(small, "test", 1, 4.0, tasks=(task,))
        assert {t for i in range(len(requested)) for t in requested[i].tasks} == {task}


@pytest.mark.usefixtures("few_soundscapes")
def test_fine_tuning_starts_from_the_joint_network_and_nothing_is_trained_twice(
    small: OpenData, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(RECIPE, steps=3)  # a third of it is one step
    tuned = run_row("fine-tuned", small, recipe, tmp_path)
    assert {name.split("/")[1] for name in tuned} == {"scene", "tag", "event"}
    joint = torch.load(tmp_path / "joint-0" / "last.ckpt", weights_only=True)["state_dict"]
    after = torch.load(tmp_path / "tuned-tag-0" / "last.ckpt", weights_only=True)["state_dict"]
    # What the tag's loss does not reach is the joint network's still.
    assert torch.equal(after["network.event_head.weight"], joint["network.event_head.weight"])
    assert not torch.equal(after["network.tag_head.6.weight"], joint["network.tag_head.6.weight"])
    done = tmp_path / "joint-0" / "figures.json"
    kept = json.loads(done.read_text("utf-8"))
    kept["figures"]["test/scene/accuracy"] = 0.125
    done.write_text(json.dumps(kept), encoding="utf-8")
    assert run(small, recipe, tmp_path / "joint-0")["test/scene/accuracy"] == 0.125


def test_the_table_has_the_mean_and_deviation_over_seeds() -> None:
    figures = {
        f"test/{task}/{name}": 0.5
        for task, names in task_comparison.SHOWN.items()
        for name in names
    }
    found = {"single/0": figures, "single/1": {name: 0.7 for name in figures}, "joint/0": figures}
    lines = table(found, "test").splitlines()
    assert lines[2].startswith("| single | 0.600 ± 0.141 | ")
    assert lines[3].startswith("| joint | 0.500 | ")


def test_pretrained_weights_load_and_say_that_they_are_not_to_be_passed_on(
    small: OpenData, tmp_path: Path
) -> None:
    target = tmp_path / "fold3.safetensors"
    pretrain(small, RECIPE, tmp_path / "run", target)
    model = dcasenet.load(target)
    assert model.spec.stage == "fold3"
    assert "not to be passed on" in str(model.spec.license)
    assert model.spec.tags == small.names("tag")
