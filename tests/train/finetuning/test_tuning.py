"""Fine-tuning a whole network: what it reads, what it learns, how it stops and goes on."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch

import dcasenet
from dcasenet import DcasenetError, SoundModel, TaskNotAvailableError, UnknownModelError
from dcasenet.spec import FrontEndSettings
from dcasenet.train import AudioFolder, Example, LabeledEvent, SoundDataset, finetune, untrained
from dcasenet.train.engine import checkpoints, trainer
from dcasenet.train.finetuning import tuning as tuning_module
from dcasenet.train.finetuning.batches import TuningBatches, balanced, steps_per_epoch
from dcasenet.train.finetuning.data import FinetuningData, gather
from dcasenet.train.finetuning.evaluation import Evaluation
from dcasenet.train.finetuning.recipe import FinetuneRecipe
from dcasenet.train.finetuning.surgery import with_new_layer
from dcasenet.train.finetuning.tuning import Tuning, tune
from tests.fixtures.lightning_noise import LIGHTNING

pytestmark = LIGHTNING
RATE = 24_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes: nine recordings of one, three of the other."""
    folder = tmp_path_factory.mktemp("my_sounds")
    for label, n in (("hiss", 9), ("hum", 3)):
        (folder / label).mkdir()
        for take in range(n):
            random = np.random.default_rng(take)
            hiss, time = random.standard_normal(RATE), np.arange(RATE)
            audio = 0.1 * hiss if label == "hiss" else 0.3 * np.sin(time * 0.02) + 1e-4 * hiss
            soundfile.write(folder / label / f"{take}.wav", audio, RATE)
    return folder


def recipe_for(model: SoundModel, data: FinetuningData, **changes: object) -> FinetuneRecipe:
    recipe = FinetuneRecipe(
        task=data.task,
        labels=data.labels,
        architecture="v3",
        width=model.spec.width,
        epochs=2,
        batch_size=4,
        learning_rate=1e-3,
        backbone_lr_scale=1.0,
        mixup=0.4,
        seed=0,
    )
    return dataclasses.replace(recipe, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> SoundModel:
    return untrained("v3", width=1 / 16)


@pytest.fixture
def data(model: SoundModel, sounds: Path, tmp_path: Path) -> FinetuningData:
    return gather(AudioFolder(sounds), model.spec, 0.2, 0, tmp_path / "cache")


@pytest.mark.parametrize("stage", ["distilled", "open"])
@pytest.mark.parametrize("task", ["scene", "tag"])
def test_what_is_tuned_from_a_shipped_checkpoint_can_be_loaded(
    stage: str, task: Literal["scene", "tag"], sounds: Path, tmp_path: Path
) -> None:
    shipped = dcasenet.load(stage=stage)
    own = gather(AudioFolder(sounds, task=task), shipped.spec, 0.2, 0, tmp_path / "cache")
    recipe = recipe_for(shipped, own)
    with_new_layer(shipped, own, recipe).save_pretrained(tmp_path / "model")
    again = dcasenet.load(tmp_path / "model")
    assert again.spec.tasks == (task,)
    assert not again.spec.curves
    assert not again.spec.thresholds


def test_it_learns_saves_and_answers_its_own_task_alone(sounds: Path, tmp_path: Path) -> None:
    front = FrontEndSettings(normalization="fixed", max_frequency=8000.0)
    model = untrained("v3", width=1 / 16, frontend=front)
    tuned = finetune(
        model, sounds, "scene", freeze="none", epochs=6, batch_size=4, learning_rate=0.01,
        backbone_lr_scale=1.0, mixup=0.0, validation=0.3,
    )  # fmt: skip
    assert tuned.spec.metrics["scene"]["validation_accuracy"] == 1.0
    assert tuned.spec.tasks == ("scene",)
    assert not tuned.network.training
    assert tuned.frontend.mean.abs().min() > 0  # fitted to the data, for it had none
    tuned.save_pretrained(tmp_path)
    again = dcasenet.load(tmp_path)
    assert again.spec == tuned.spec
    path = sounds / "hum" / "0.wav"
    assert again.classify_scene(path).label == "hum"
    np.testing.assert_allclose(
        again.classify_scene(path).values, tuned.classify_scene(path).values, atol=1e-6
    )
    with pytest.raises(TaskNotAvailableError, match="it answers scene"):
        again.tag(path)
    assert again.analyze(path).tags is None


def test_the_same_seed_gives_the_same_model_and_a_stopped_run_goes_on(
    model: SoundModel, data: FinetuningData, tmp_path: Path
) -> None:
    recipe = recipe_for(model, data, epochs=3)
    whole = tune(with_new_layer(model, data, recipe), data, recipe, tmp_path / "whole")
    fit = trainer.fit

    def interrupted(*given: object, **options: object) -> object:
        return fit(*given, **{**options, "epochs": 1})  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcasenet.train.finetuning.tuning.fit", interrupted)
        tune(with_new_layer(model, data, recipe), data, recipe, tmp_path / "halves")
    again = tune(with_new_layer(model, data, recipe), data, recipe, tmp_path / "halves")
    for folder in ("whole", "halves"):
        last = torch.load(tmp_path / folder / "last.ckpt", weights_only=True)
        assert last["global_step"] == 3 * steps_per_epoch(data, recipe)
    for (name, one), two in zip(
        whole.network.state_dict().items(), again.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, two, msg=name)
    other = dataclasses.replace(recipe, mixup=0.1)
    with pytest.raises(DcasenetError, match="another folder"):
        tune(with_new_layer(model, data, other), data, other, tmp_path / "whole")


def test_a_run_that_stopped_early_has_ended(
    model: SoundModel, data: FinetuningData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    losses = Tuning.losses
    evaluated = iter([0.5, 0.1, 0.1, 0.1, 1.0, 1.0])

    def counted(self: Tuning, *given: Any) -> Any:
        batches.append(1)
        return losses(self, *given)

    monkeypatch.setattr(Tuning, "losses", counted)
    monkeypatch.setattr(
        tuning_module, "evaluate", lambda *given: Evaluation({"accuracy": next(evaluated)})
    )
    recipe = recipe_for(model, data, epochs=6)
    once = tune(with_new_layer(model, data, recipe), data, recipe, tmp_path)
    n_batches = len(batches)
    assert n_batches == 4 * steps_per_epoch(data, recipe)  # the best, and three without a gain
    again = tune(with_new_layer(model, data, recipe), data, recipe, tmp_path)
    assert len(batches) == n_batches
    for one, two in zip(once.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, two)
    other = dataclasses.replace(recipe, mixup=0.1)
    with pytest.raises(DcasenetError, match="another folder"):
        tune(with_new_layer(model, data, other), data, other, tmp_path)


def test_training_leaves_random_numbers_and_the_log_alone(
    model: SoundModel,
    data: FinetuningData,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talkers = [logging.getLogger(name) for name in trainer.TALKERS]
    for logger in talkers:
        monkeypatch.setattr(logger, "propagate", True)  # to caplog
        caplog.set_level(logging.INFO, logger.name)
    recipe = recipe_for(model, data, epochs=1)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    tune(with_new_layer(model, data, recipe), data, recipe, tmp_path)
    assert torch.equal(torch.rand(1), expected)
    assert [record.getMessage() for record in caplog.records] == []
    assert [logger.level for logger in talkers] == [logging.INFO] * 2


class Payload:
    """Pickled, a call that makes a file: what a hostile checkpoint does when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.path,)


def test_a_hostile_checkpoint_runs_no_code(
    model: SoundModel, data: FinetuningData, tmp_path: Path
) -> None:
    recipe = recipe_for(model, data)
    folder = tmp_path / "run"
    tune(with_new_layer(model, data, recipe), data, recipe, folder)
    last = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({**last, "extra": Payload(tmp_path / "owned")}, folder / "last.ckpt")
    with pytest.raises(DcasenetError, match=r"last\.ckpt is damaged, or holds objects .*anew"):
        tune(with_new_layer(model, data, recipe), data, recipe, folder)
    (folder / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(DcasenetError, match=r"last\.ckpt is damaged"):
        tune(with_new_layer(model, data, recipe), data, recipe, folder)
    assert not (tmp_path / "owned").exists()


def test_a_new_last_layer_and_all_else_from_the_checkpoint(
    model: SoundModel, data: FinetuningData
) -> None:
    start = with_new_layer(model, data, recipe_for(model, data))
    old, new = model.network.state_dict(), start.network.state_dict()
    changed = {n for n in new if old[n].shape != new[n].shape or not torch.equal(old[n], new[n])}
    assert {name.rpartition(".")[0] for name in changed} == {
        "scene_head",
        "tag_head.6",
        "event_head",
    }
    assert start.network.scene_head.out_features == 2
    tuning = Tuning(start, data, recipe_for(model, data, backbone_lr_scale=0.25))
    groups = tuning_groups(tuning)
    assert groups == {"scene_head": 1e-3, "all else": 0.25e-3}
    assert tuning.network.training


def tuning_groups(tuning: Tuning) -> dict[str, float]:
    """Which layers learn how fast at most."""
    optimizer = tuning.configure_optimizers()["optimizer"]
    head, rest = optimizer.param_groups
    named = {id(p): n for n, p in tuning.network.named_parameters()}
    assert {named[id(p)] for p in head["params"]} == {"scene_head.weight", "scene_head.bias"}
    assert len(head["params"]) + len(rest["params"]) == len(named)
    return {"scene_head": head["max_lr"], "all else": rest["max_lr"]}


@pytest.mark.parametrize("epochs", range(1, 9))
def test_the_cycle_has_any_length(model: SoundModel, data: FinetuningData, epochs: int) -> None:
    recipe = recipe_for(model, data, epochs=epochs, batch_size=64)  # a step an epoch
    tuning = Tuning(with_new_layer(model, data, recipe), data, recipe)
    optimizers = tuning.configure_optimizers()
    for _ in range(epochs):
        optimizers["optimizer"].step()
        rate = optimizers["lr_scheduler"]["scheduler"].get_last_lr()[0]
        assert 0 <= rate <= 1.001e-3
        if _ < epochs - 1:
            optimizers["lr_scheduler"]["scheduler"].step()


def test_rare_labels_are_drawn_as_often_as_common_ones(
    model: SoundModel, data: FinetuningData
) -> None:
    recipe = recipe_for(model, data, batch_size=8)
    batches = [TuningBatches(data, recipe, epoch)[0] for epoch in range(4)]
    for batch in batches:
        assert batch.waveforms.shape == (8, 5 * RATE + 1)
        assert batch.targets.sum(dim=0).tolist() == [4.0, 4.0]
        assert batch.waveforms.abs().max() <= 1.0
    assert not torch.equal(batches[0].waveforms, batches[1].waveforms)
    again = TuningBatches(data, recipe, 1)[0]
    assert torch.equal(batches[1].waveforms, again.waveforms)
    with pytest.raises(IndexError, match="no batch 9"):
        TuningBatches(data, recipe, 0)[9]
    order = balanced([[0, 1, 2], [3, 4, 5]], 6, np.random.default_rng(0))
    assert sorted(order) == [0, 1, 2, 3, 4, 5]  # of even classes each is drawn once


def test_events_are_cut_with_their_times(tmp_path: Path, model: SoundModel) -> None:
    audio = 0.01 * np.random.default_rng(0).standard_normal(60 * RATE)
    audio[40 * RATE : 44 * RATE] *= 50
    soundfile.write(tmp_path / "long.wav", audio, RATE)
    soundfile.write(tmp_path / "short.wav", audio[: 3 * RATE], RATE)
    examples = [
        Example(tmp_path / "long.wav", events=(LabeledEvent("burst", 40.0, 44.0),)),
        Example(tmp_path / "short.wav", events=()),
    ]
    data = SoundDataset("bursts", "event", ("burst",), examples)
    gathered = gather(data, model.spec, 0.0, 0, tmp_path / "cache")
    recipe = recipe_for(model, gathered, batch_size=16)
    batch = TuningBatches(gathered, recipe, 0)[0]
    n_steps = 38  # 30 s, the paper's crop, up to whole steps of 0.8 s
    assert batch.targets.shape == (16, n_steps, 1)
    seen = 0
    for waveform, target in zip(batch.waveforms, batch.targets[..., 0], strict=True):
        steps = waveform[: n_steps * 19_200].reshape(n_steps, 19_200).square().mean(dim=1).sqrt()
        loud = steps / steps.max() > 0.5
        if target.any():
            seen += 1
            assert (target[loud] > 0).all()
            assert (target[steps / steps.max() < 0.1] < 0.2).all()
    assert seen > 0
    tuned = finetune(model, data, "event", freeze="none", epochs=1, batch_size=4, validation=0)
    assert tuned.spec.thresholds == {"burst": 0.3}
    assert "trained on everything" in tuned.spec.protocol
    assert tuned.detect_events(tmp_path / "short.wav").probabilities.shape == (30, 1)


def test_losses_are_the_definition(model: SoundModel, data: FinetuningData) -> None:
    recipe = recipe_for(model, data, mixup=0.0, masks=(0, 0))
    tuning = Tuning(with_new_layer(model, data, recipe), data, recipe)
    tuning.eval()
    batch = TuningBatches(data, recipe, 0)[0]
    with torch.no_grad():
        logits = tuning.network(tuning.frontend(batch.waveforms)).scene
        (loss,) = tuning.losses(batch, np.random.default_rng(0)).values()
    chosen = logits.log_softmax(dim=1)[batch.targets.bool()]
    assert float(loss) == pytest.approx(-float(chosen.mean()), rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run(
    model: SoundModel, data: FinetuningData, tmp_path: Path
) -> None:
    recipe = recipe_for(model, data)
    start = with_new_layer(model, data, recipe)
    with torch.no_grad():
        start.network.scene_head.weight.fill_(torch.nan)
    with pytest.raises(DcasenetError, match=r"not finite at batch 0 of epoch 0.*Lower the learn"):
        tune(start, data, recipe, tmp_path / "run")


def test_a_full_disk_leaves_the_last_checkpoint(
    model: SoundModel, data: FinetuningData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes, kept = checkpoints.write_bytes, {}

    def full(path: Path, content: bytes) -> None:
        if path.name == "last.ckpt" and path.exists():
            kept[path] = path.read_bytes()
            raise OSError(28, "No space left on device")
        write_bytes(path, content)

    monkeypatch.setattr(checkpoints, "write_bytes", full)
    recipe = recipe_for(model, data)
    with pytest.raises(DcasenetError, match="No space left on device"):
        tune(with_new_layer(model, data, recipe), data, recipe, tmp_path / "run")
    assert [path.read_bytes() for path in kept] == [*kept.values()]
    monkeypatch.setattr(checkpoints, "write_bytes", write_bytes)
    tune(with_new_layer(model, data, recipe), data, recipe, tmp_path / "run")  # goes on


def test_a_model_of_random_weights() -> None:
    one, two = untrained("v2", width=1 / 16, seed=1), untrained("v2", width=1 / 16, seed=1)
    assert one.spec.stage == "untrained"
    for left, right in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(
        next(one.network.parameters()), next(untrained("v2", width=1 / 16).network.parameters())
    )
    with pytest.raises(UnknownModelError):
        untrained("v9")
