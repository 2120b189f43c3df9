import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcasenet.errors import DcasenetError
from dcasenet.train.engine import trainer
from dcasenet.train.engine.trainer import bfloat16_gain, precision
from dcasenet.train.engine.validation import Answers
from recipes.open.batches import UNKNOWN, JointBatches
from recipes.open.data import OpenData
from recipes.open.module import JointTraining, label_counts
from recipes.open.recipe import Recipe
from recipes.open.scores import grade, tune_thresholds
from recipes.open.training import fit_statistics, train
from recipes.open.validation import ValidationSet

RECIPE = replace(
    Recipe(),
    width=1 / 16,
    epochs=2,
    steps=2,
    rise=0.5,
    n_scene_clips=3,
    n_tag_clips=3,
    n_soundscapes=1,
    clip_seconds=2.0,
    soundscape_seconds=4.0,
)


@pytest.fixture
def module(small: OpenData) -> JointTraining:
    torch.manual_seed(0)
    return JointTraining(RECIPE, label_counts(small))


def test_training_chooses_a_checkpoint_and_resumes_where_it_stopped(
    small: OpenData, tmp_path: Path
) -> None:
    validation_set = ValidationSet(small, "validation", n_soundscapes=1, duration=4.0)
    whole = train(small, RECIPE, validation_set, tmp_path / "whole", workers=0)
    assert whole.name == "best.ckpt"
    halves = tmp_path / "halves"
    train(small, RECIPE, validation_set, halves, workers=0, stop_after=1)
    train(small, RECIPE, validation_set, halves, workers=0)
    ends = [
        torch.load(folder / "last.ckpt", weights_only=True)
        for folder in (tmp_path / "whole", halves)
    ]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 4
    for name, value in ends[0]["state_dict"].items():
        assert torch.allclose(value, ends[1]["state_dict"][name], atol=1e-6), name
    rows = []
    for path in sorted((tmp_path / "whole").glob("log/version_*/metrics.csv")):
        rows += list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert {row["epoch"] for row in rows if row["score"]} == {"0", "1"}


def test_a_run_does_not_go_on_with_another_recipe(small: OpenData, tmp_path: Path) -> None:
    validation_set = ValidationSet(small, "validation", n_soundscapes=1, duration=4.0)
    train(small, RECIPE, validation_set, tmp_path, workers=0, stop_after=1)
    with pytest.raises(DcasenetError, match="another folder"):
        train(small, replace(RECIPE, mixup=0.1), validation_set, tmp_path, workers=0)


def test_statistics_centre_and_scale_every_bin(small: OpenData, module: JointTraining) -> None:
    frontend = module.frontend
    fit_statistics(frontend, small, RECIPE)
    batches = JointBatches(small, RECIPE, epoch=RECIPE.epochs)
    values = torch.cat(
        [
            frontend.log_mel(waveforms).transpose(1, 2).reshape(-1, 128)
            for batch in (batches[0], batches[1])
            for waveforms in (batch.clips, batch.soundscapes)
        ]
    )
    normalized = (values - frontend.mean) / frontend.deviation
    assert normalized.mean(dim=0).abs().max() < 1e-3
    assert (normalized.std(dim=0) - 1).abs().max() < 1e-2


def test_losses_are_the_definition_without_mixup(small: OpenData, module: JointTraining) -> None:
    module.recipe = replace(RECIPE, mixup=0.0, low_pass=0.0, noise=0.0, masks=(0, 0))
    module.eval()
    batch = JointBatches(small, RECIPE, epoch=0)[0]
    batch.scene[-1] = UNKNOWN
    with torch.no_grad():
        losses = module.clip_losses(batch, np.random.default_rng(0))
        outputs = module.network(module.frontend(batch.clips))
    known = batch.scene != UNKNOWN
    chosen = outputs.scene.log_softmax(dim=1)[known].gather(1, batch.scene[known, None])
    assert losses["scene"] == pytest.approx(-float(chosen.mean()), rel=1e-4)
    right = torch.where(batch.tag == 1, outputs.tag.sigmoid(), 1 - outputs.tag.sigmoid())
    assert losses["tag"] == pytest.approx(-float(right.log().sum(dim=1).mean()), rel=1e-4)


def test_clips_without_labels_teach_nothing(small: OpenData, module: JointTraining) -> None:
    batch = JointBatches(small, RECIPE, epoch=0)[0]
    batch.scene[:] = UNKNOWN
    batch.tag[:] = 0.0
    losses = module.clip_losses(batch, np.random.default_rng(0))
    assert float(losses["scene"].detach()) == float(losses["tag"].detach()) == 0.0


def test_a_loss_that_is_not_finite_stops_the_training(
    small: OpenData, module: JointTraining
) -> None:
    batch = JointBatches(small, RECIPE, epoch=0)[0]
    batch.clips[:] = torch.nan
    with pytest.raises(DcasenetError, match="not finite at batch 7 of epoch 0"):
        module.training_step(batch, 7)


def test_validation_reads_every_recording_of_its_split(
    small: OpenData, module: JointTraining
) -> None:
    validation_set = ValidationSet(small, "test", n_soundscapes=2, duration=4.0)
    assert {clip.split for clip in validation_set.clips} == {"test"}
    module.eval()
    answers = Answers()
    with torch.no_grad():
        for batch in (validation_set[i] for i in range(len(validation_set))):
            answers.add(batch, module.frontend, module.network)
    scenes = small.index_of("scene")
    with_scene = {i for i, clip in enumerate(validation_set.clips) if clip.label in scenes}
    assert set(answers.found["scene"]) == with_scene
    assert set(answers.found["event"]) == {0, 1}
    graded = grade(answers, validation_set)
    for task, given in graded.items():
        assert given.recordings > 0, task
        assert 0 <= next(iter(given.figures.values())) <= 1
    tuned = grade(answers, validation_set, tune_thresholds(answers, validation_set))
    first = "segment_f1_1s"
    assert tuned["event"].figures[first] >= graded["event"].figures[first]  # 0.3 was a choice


@pytest.mark.parametrize(
    ("knows", "gain", "chosen"),
    [(True, 2.8, "bf16-mixed"), (True, 0.6, "32-true"), (False, 2.8, "32-true")],
)
def test_bfloat16_only_where_it_is_faster(
    knows: bool, gain: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": knows})
    monkeypatch.setattr(trainer, "bfloat16_gain", lambda: gain)
    assert precision("cpu") == chosen
    assert precision("mps") == "32-true"


def test_the_gain_of_bfloat16_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "PRODUCT", 64)  # without an instruction for it, 1,024 take long
    assert 0.001 < bfloat16_gain() < 1000
