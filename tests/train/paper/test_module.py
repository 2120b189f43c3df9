import csv
import dataclasses
import errno
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

import dcasenet
from dcasenet.errors import DcasenetError
from dcasenet.spec import Task
from dcasenet.train.engine import augmentation
from dcasenet.train.paper import run
from dcasenet.train.paper.batches import PaperBatch, PaperBatches
from dcasenet.train.paper.data import paper_data
from dcasenet.train.paper.module import PaperTraining, trained_model
from dcasenet.train.paper.protocol import paper_events, paper_scene, paper_tags


@pytest.fixture(scope="module")
def labels(job: ModuleType) -> dict[Task, tuple[str, ...]]:
    return {"scene": job.SCENES, "tag": job.TAGS, "event": job.EVENTS}


@pytest.fixture(scope="module")
def batch(job: ModuleType, paper_folder: Path) -> PaperBatch:
    data = paper_data(job.paper_sets(paper_folder), job.RECIPE, paper_folder)
    return PaperBatches(data.samplers, job.RECIPE, epoch=0)[0]


@pytest.mark.parametrize("architecture", ["v1", "v2", "v3"])
def test_losses_are_the_authors(
    job: ModuleType, labels: Any, batch: PaperBatch, architecture: str
) -> None:
    recipe = dataclasses.replace(job.RECIPE, architecture=architecture)
    module = PaperTraining(recipe, labels).eval()
    with torch.no_grad():
        losses = module.losses(batch, np.random.default_rng(0))
        seen = {
            task: sound if sound.dim() == 3 else module.frontend(sound)
            for task, (sound, _) in batch.items()
        }
        scene = module.network(seen["scene"]).scene.log_softmax(dim=1)
        tag = module.network(seen["tag"]).tag.sigmoid()
        event = module.network(seen["event"]).event.sigmoid()
    true = batch["scene"].truth.argmax(dim=1)
    assert losses["scene"] == pytest.approx(float(nnf.nll_loss(scene, true)), rel=1e-4)
    for task, given in (("tag", tag), ("event", event)):
        expected = nnf.binary_cross_entropy(given, batch[task].truth)
        assert losses[task] == pytest.approx(float(expected), rel=1e-4)


def test_mixup_begins_in_its_epoch_and_mixes_sound_and_truth(
    job: ModuleType, labels: Any, batch: PaperBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = PaperTraining(dataclasses.replace(job.RECIPE, mixup_from=0), labels).eval()
    mixed: list[tuple[torch.Tensor, float]] = []

    def spy(values: torch.Tensor, own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        assert len(set(own.tolist())) == 1  # one share for a batch
        mixed.append((values, float(own[0])))
        return values

    monkeypatch.setattr(augmentation, "mixed", spy)
    module.losses(batch, np.random.default_rng(0))
    assert [values.dim() for values, _ in mixed] == [3, 2, 3, 2, 3, 3]
    assert all(mixed[i][1] == mixed[i + 1][1] for i in (0, 2, 4))
    module.recipe = dataclasses.replace(module.recipe, mixup_from=1)
    mixed.clear()
    module.losses(batch, np.random.default_rng(0))
    assert not mixed


def test_the_learning_rate_is_a_cosine_that_restarts(job: ModuleType, labels: Any) -> None:
    recipe = dataclasses.replace(job.RECIPE, steps=5, restart=2)
    given = PaperTraining(recipe, labels).configure_optimizers()
    optimizer, schedule = given["optimizer"], given["lr_scheduler"]["scheduler"]
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["weight_decay"] == 0
    assert not optimizer.defaults["amsgrad"]
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    k = np.arange(10)
    cosine = 1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * k / 10)) / 2
    assert rates == pytest.approx([*cosine, *cosine])


def test_joint_training_then_fine_tuning_of_one_task(
    job: ModuleType, paper_folder: Path, tmp_path: Path
) -> None:
    best = job.run(paper_folder, tmp_path / "joint")
    assert set(best) == {"best", "best-scene", "best-tag", "best-event"}
    assert list((tmp_path / "joint").glob("tensorboard/version_0/events*"))
    (table,) = (tmp_path / "joint").glob("log/version_0/metrics.csv")
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    scores = [row["score"] for row in rows if row["score"]]
    assert len(scores) == job.RECIPE.epochs

    recipe = dataclasses.replace(job.RECIPE, tasks=("scene",), epochs=1)
    tuned = job.run(paper_folder, tmp_path / "tuned", recipe, initial=best["best-scene"])
    begun, ended = trained_model(best["best-scene"], "joint"), trained_model(tuned["best"], "tuned")
    assert ended.spec.tasks == ("scene",)
    before, after = begun.network.state_dict(), ended.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("scene_branch") for name in changed)
    assert not any(name.startswith(("tag_", "event_")) for name in changed)


def test_a_checkpoint_that_does_not_fit_is_not_fine_tuned(
    job: ModuleType, labels: Any, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(job.RECIPE, tasks=("scene",))
    begun = PaperTraining(job.RECIPE, labels)
    checkpoint: dict[str, Any] = {"state_dict": begun.state_dict()}
    begun.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "joint.ckpt")
    tuned = PaperTraining(recipe, {"scene": job.SCENES}, initial=tmp_path / "joint.ckpt")
    assert tuned.labels == labels  # those of the other tasks are the checkpoint's
    other = dataclasses.replace(recipe, architecture="v2")
    with pytest.raises(DcasenetError, match=r"v3 of width 0\.0625, not a v2 of width 0\.0625"):
        PaperTraining(other, {"scene": job.SCENES}, initial=tmp_path / "joint.ckpt")
    with pytest.raises(DcasenetError, match="not trained for the scene labels of this data set"):
        PaperTraining(recipe, {"scene": ("a", "b")}, initial=tmp_path / "joint.ckpt")
    weights = tmp_path / "weights.pt"
    torch.save(tuned.network.state_dict(), weights)
    (tmp_path / "text.ckpt").write_text("# Not a checkpoint")
    for path in (weights, tmp_path / "text.ckpt"):
        with pytest.raises(
            DcasenetError, match=r"is not the checkpoint of a run.*last\.ckpt"
        ) as told:
            PaperTraining(recipe, {"scene": job.SCENES}, initial=path)
        assert "weights_only" not in str(told.value)


def test_validation_gives_the_protocols_figures(
    job: ModuleType, paper_folder: Path, tmp_path: Path
) -> None:
    sets = job.paper_sets(paper_folder)
    recipe = dataclasses.replace(job.RECIPE, epochs=1, select_on_test=True)
    best = job.run(paper_folder, tmp_path, recipe, arithmetic="32-true")
    (table,) = tmp_path.glob("log/version_0/metrics.csv")
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    found = next({k: float(v) for k, v in row.items() if v} for row in rows if row["score"])
    model = trained_model(best["best"], "mine")
    reports = [paper_scene(model, sets["scene"]), paper_tags(model, sets["tag"])]
    # Two microphones of four: the protocol counts the others as 0, the validation does not.
    assert found["scene_accuracy"] == pytest.approx(reports[0].paper["accuracy"], abs=1e-6)
    assert found["tag_lwlrap"] == pytest.approx(reports[1].paper["lwlrap"], abs=1e-6)
    assert 0 <= found["event_paper_f1"] <= 1
    assert paper_events(model, sets["event"]).incomplete == 1


def test_what_is_trained_is_a_folder_that_load_reads(
    job: ModuleType, paper_folder: Path, tmp_path: Path
) -> None:
    sets = job.paper_sets(paper_folder)
    recipe = dataclasses.replace(job.RECIPE, tasks=("tag", "event"), epochs=1)
    del sets["scene"]
    run.train_and_save(sets, recipe, tmp_path, cache=paper_folder, workers=0)
    model = dcasenet.load(tmp_path)
    assert (model.spec.tasks, model.spec.tags) == (("tag", "event"), job.TAGS)
    assert model.spec.thresholds == {"dog": 0.3, "speech": 0.3}
    assert "validation" in model.spec.protocol
    found = model.analyze(np.zeros(48_000, np.float32), sample_rate=24_000)
    assert found.scene is None
    assert found.tags is not None


def test_a_full_disk_leaves_the_previous_checkpoint(
    job: ModuleType, paper_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(job.RECIPE, epochs=2, tasks=("tag",))
    job.run(paper_folder, tmp_path, recipe, stop_after=1)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")}

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("dcasenet.train.engine.checkpoints.write_bytes", full)
        with pytest.raises(DcasenetError, match=r"No space left on device\. The previous one"):
            job.run(paper_folder, tmp_path, recipe)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    job.run(paper_folder, tmp_path, recipe)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1


def test_a_loss_that_is_not_finite_names_its_batch(
    job: ModuleType, labels: Any, batch: PaperBatch
) -> None:
    module = PaperTraining(job.RECIPE, labels)
    spoiled = batch["tag"]._replace(sound=torch.full_like(batch["tag"].sound, torch.nan))
    with pytest.raises(DcasenetError, match=r"not finite at batch 3 of epoch 0: .*tag nan"):
        module.training_step({**batch, "tag": spoiled}, 3)
