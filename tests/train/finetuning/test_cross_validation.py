"""Cross-validation: every recording is predicted once, by a model that never saw it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import dcasenet
from dcasenet import SoundModel
from dcasenet.cli import app
from dcasenet.errors import DcasenetError
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings, ModelSpec
from dcasenet.train import (
    Example,
    LabeledEvent,
    SoundDataset,
    cross_validate,
    finetune,
)
from dcasenet.train.data.splits import k_folds
from dcasenet.train.finetuning import cross_validation as module
from dcasenet.train.metrics.classification import Confusion
from tests.fixtures.lightning_noise import LIGHTNING

RATE = 24_000
pytestmark = LIGHTNING


@pytest.fixture(scope="module")
def model() -> SoundModel:
    """A network with random weights, whose front end does not take the clip's mean away."""
    settings = FrontEndSettings(normalization="fixed")
    spec = ModelSpec(
        "v3",
        "base",
        width=1 / 16,
        scenes=("in", "out"),
        tags=("a", "b"),
        events=("x", "y"),
        thresholds={"x": 0.3, "y": 0.3},
        frontend=settings,
    )
    frontend = LogMel(settings)
    frontend.mean -= 8.0
    frontend.deviation *= 4.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create("v3", n_scenes=2, n_tags=2, n_events=2, width=1 / 16)
    return SoundModel(spec, frontend, network)


def sound(label: str, take: int, seconds: float = 0.5) -> np.ndarray:
    random = np.random.default_rng([take, len(label)])
    time = np.arange(round(seconds * RATE))
    if label == "hiss":
        return 0.2 * random.standard_normal(len(time))
    pitch = {"hum": 0.02, "whistle": 0.6}[label] * random.uniform(0.9, 1.1)
    return 0.3 * np.sin(pitch * time) + 1e-3 * random.standard_normal(len(time))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for label in ("hiss", "hum", "whistle"):
        (folder / label).mkdir()
        for take in range(4):
            soundfile.write(folder / label / f"{take}.wav", sound(label, take), RATE)
    return folder


def test_folds_are_whole_recordings_and_hold_every_label() -> None:
    examples = [
        Example(Path(f"{label}{i}.wav"), scene=label, recording=f"{label}{i // 2}")
        for label, n in (("rain", 20), ("wind", 8), ("tram", 4))
        for i in range(n)
    ]
    folds = k_folds(examples, 4, seed=3)
    assert sorted(e.key for fold in folds for e in fold) == sorted(e.key for e in examples)
    of = [{e.recording for e in fold} for fold in folds]
    assert all(not one & two for i, one in enumerate(of) for two in of[:i])
    assert all(4 <= sum(e.scene == "rain" for e in fold) <= 6 for fold in folds)
    assert all(sum(e.scene == "wind" for e in fold) == 2 for fold in folds)
    assert sum(any(e.scene == "tram" for e in fold) for fold in folds) == 2  # it has two
    assert k_folds(examples, 4, seed=3) == folds
    assert k_folds(examples[::-1], 4, seed=3) == [fold[::-1] for fold in folds]
    assert k_folds(examples, 4, seed=4) != folds
    for n_folds, says in ((1, "to 1 folds"), (17, "16 recordings cannot be dealt to 17 folds")):
        with pytest.raises(DcasenetError, match=says):
            k_folds(examples, n_folds, seed=0)
    with pytest.raises(DcasenetError, match=r"two recordings of each label.*gust has one"):
        k_folds([*examples, Example(Path("gust.wav"), scene="gust")], 4, seed=0)


def test_sounds_that_can_be_told_apart(model: SoundModel, sounds: Path) -> None:
    report = cross_validate(model, sounds, "scene", folds=4)
    assert (report.n_examples, report.n_recordings, report.folds) == (12, 12, 4)
    assert report.mean("accuracy") == 1.0
    assert report.deviation("accuracy") == 0.0
    assert report.confusion is not None
    np.testing.assert_array_equal(report.confusion.counts, 4 * np.eye(3))
    values = json.loads(report.to_json())
    assert values["figures"]["accuracy"]["folds"] == [1.0] * 4
    assert values["confusion"][0] == [4, 0, 0]


def test_labels_that_mean_nothing_are_found_out(
    model: SoundModel, sounds: Path, tmp_path: Path
) -> None:
    """Were a model evaluated on what it was trained on, one linear layer would know by heart."""
    paths = [path for path in sorted(sounds.rglob("*.wav")) if path.parent.name == "hiss"]
    for take in range(4, 16):
        soundfile.write(tmp_path / f"{take}.wav", sound("hiss", take), RATE)
    paths += sorted(tmp_path.glob("*.wav"))
    examples = [Example(path, scene="ab"[i % 2]) for i, path in enumerate(paths)]
    report = cross_validate(model, SoundDataset("coins", "scene", ("a", "b"), examples), "scene")
    assert report.mean("accuracy") < 0.85


def test_no_model_is_evaluated_on_what_it_has_seen(
    model: SoundModel, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[Any] = []
    original = module.choose_head

    def spying(spec: Any, data: Any, train: Any, held: Any) -> Any:
        rounds.append({e.key for e in (*data.train, *data.validation)})
        assert len(train) == len(data.train)
        assert len(held) == len(data.validation) > 0
        return original(spec, data, train, held)

    evaluated: list[set[str]] = []

    def evaluating(data: Any, examples: Any, results: Any, thresholds: Any) -> Any:
        evaluated.append({e.key for e in examples})
        return evaluate(data, examples, results, thresholds)

    evaluate = module.evaluate
    monkeypatch.setattr(module, "choose_head", spying)
    monkeypatch.setattr(module, "evaluate", evaluating)
    cross_validate(model, sounds, "tag", folds=3)
    assert len(evaluated) == 3
    assert all(not seen & requested for seen, requested in zip(rounds, evaluated, strict=True))
    assert set.union(*evaluated) == {str(path) for path in sounds.rglob("*.wav")}


def test_data_that_comes_in_folds_keeps_them(model: SoundModel, sounds: Path) -> None:
    examples = [
        Example(path, scene=path.parent.name, fold=int(path.stem) // 2)
        for path in sorted(sounds.rglob("*.wav"))
    ]
    assert module._folds(examples, 2, 0) == [
        [e for e in examples if e.fold == number] for number in (0, 1)
    ]
    with pytest.raises(DcasenetError, match=r"comes in 2 folds, and 3 are requested.*folds=2"):
        module._folds(examples, 3, 0)
    tested = [replace(e, split="test" if e.fold == 1 else "train") for e in examples]
    data = SoundDataset("folded", "scene", sorted({str(e.scene) for e in tested}), tested)
    report = cross_validate(model, data, "scene", folds=2)
    assert report.n_examples == len(examples)  # those of the test fold, too
    half = [replace(examples[0], fold=None), *examples[1:]]
    assert module._folds(half, 2, 0) != [[e for e in half if e.fold == n] for n in (0, 1)]


def test_few_shot_finetuning_learns_from_everything(
    model: SoundModel, sounds: Path, tmp_path: Path
) -> None:
    tuned = finetune(model, sounds, "scene", folds=4)
    metrics = tuned.spec.metrics["scene"]
    assert metrics["4_fold_accuracy"] == 1.0
    assert metrics["4_fold_accuracy_deviation"] == 0.0
    assert not [name for name in metrics if name.startswith("validation")]
    assert "4 folds over 12 examples of 12 recordings" in tuned.spec.protocol
    assert "12 examples of 12 recordings" in tuned.spec.training_data
    assert tuned.classify_scene(sound("whistle", 50), RATE).label == "whistle"
    tuned.save_pretrained(tmp_path)
    assert dcasenet.load(tmp_path).spec.metrics["scene"] == metrics
    report = cross_validate(model, sounds, "scene", folds=4)
    again = finetune(model, sounds, "scene", folds=report)
    np.testing.assert_allclose(
        again.network.linear["scene"].weight.detach(),
        tuned.network.linear["scene"].weight.detach(),
        atol=1e-5,
    )


def test_tags_and_their_confusion(model: SoundModel, sounds: Path) -> None:
    paths = sorted(sounds.rglob("*.wav"))
    one = [Example(path, tags=(path.parent.name,)) for path in paths]
    labels = ("hiss", "hum", "whistle")
    report = cross_validate(model, SoundDataset("one", "tag", labels, one), "tag", folds=2)
    assert report.mean("map") > 0.9
    assert report.confusion is not None
    assert report.confusion.counts.sum() == 12
    more = [replace(one[0], tags=("hiss", "hum")), *one[1:]]
    report = cross_validate(model, SoundDataset("more", "tag", labels, more), "tag", folds=2)
    assert report.confusion is None
    assert "true \\ answered" not in str(report)


def test_events_are_scored_by_thresholds_chosen_without_the_fold(
    model: SoundModel, tmp_path: Path
) -> None:
    examples = []
    for take in range(6):
        audio = 0.1 * sound("hum", take, 6.4)
        onset = 0.8 * (1 + take % 3)
        audio[round(onset * RATE) :][: round(1.6 * RATE)] += sound("hiss", take, 1.6)
        soundfile.write(tmp_path / f"{take}.wav", audio, RATE)
        events = (LabeledEvent("hiss", onset, onset + 1.6),)
        examples.append(Example(tmp_path / f"{take}.wav", events=events))
    data = SoundDataset("hisses", "event", ("hiss",), examples)
    report = cross_validate(model, data, "event", folds=3)
    assert report.mean("segment_f1_1s") > 0.7
    assert report.confusion is None
    assert 0 < report.thresholds["hiss"] < 1
    tuned = finetune(model, data, "event", folds=report)
    assert tuned.spec.thresholds == report.thresholds
    assert tuned.spec.metrics["event"]["3_fold_segment_f1_1s"] == round(
        report.mean("segment_f1_1s"), 4
    )


def test_a_whole_network_in_folds(model: SoundModel, sounds: Path, tmp_path: Path) -> None:
    options = {"freeze": "none", "epochs": 1, "batch_size": 4}
    report = cross_validate(model, sounds, "scene", folds=2, work_dir=tmp_path, **options)
    assert len(report.figures["accuracy"]) == 2
    assert report.confusion is not None
    assert report.confusion.counts.sum() == 12
    assert report.decay is None
    tuned = finetune(model, sounds, "scene", folds=report, **options)
    assert "2_fold_accuracy" in tuned.spec.metrics["scene"]
    assert "validation_accuracy" in tuned.spec.metrics["scene"]


def test_the_report_as_text() -> None:
    counts = Confusion(np.array([[9, 1], [0, 5]]))
    report = module.CrossValidation(
        "scene", ("dog", "siren"), 2, 15, 12, {"accuracy": (1.0, 0.8)}, counts
    )
    lines = str(report).splitlines()
    assert lines[0] == "2 folds over 15 examples of 12 recordings"
    assert lines[1].split() == ["accuracy", "0.900", "±", "0.100", "(folds:", "1.000", "0.800)"]
    assert lines[4].split() == ["dog", "9", "1", "0.90"]
    assert lines[5].split() == ["siren", "0", "5", "1.00"]
    assert lines[6].split() == ["precision", "1.00", "0.83"]


def test_the_command_prints_the_report(model: SoundModel, sounds: Path, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "base")
    requested = ["finetune", str(sounds), "--task", "scene", "-o", str(tmp_path / "mine")]
    done = CliRunner().invoke(app, [*requested, "--model", str(tmp_path / "base"), "--folds", "4"])
    assert done.exit_code == 0, done.output
    assert "4 folds over 12 examples of 12 recordings" in done.stdout
    assert "true \\ answered" in done.stdout
    assert dcasenet.load(tmp_path / "mine").spec.metrics["scene"]["4_fold_accuracy"] == 1.0
    few = CliRunner().invoke(app, [*requested, "--model", str(tmp_path / "base"), "--folds", "1"])
    assert few.exit_code == 2


def test_calls_that_cannot_be(model: SoundModel, sounds: Path) -> None:
    with pytest.raises(DcasenetError, match="12 recordings cannot be dealt to 13 folds"):
        cross_validate(model, sounds, "scene", folds=13)
    with pytest.raises(ValueError, match="freeze='head' is not known"):
        cross_validate(model, sounds, "scene", freeze="head")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs=0 is out of range"):
        cross_validate(model, sounds, "scene", epochs=0)
