"""The table on ESC-10 and ESC-50."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import dcasenet
from dcasenet import DcasenetError
from dcasenet.train import untrained
from dcasenet.train.data.esc import ESC10_CLASSES
from recipes.esc import benchmark
from tests.fixtures.lightning_noise import LIGHTNING

RATE = 24_000
pytestmark = LIGHTNING


@pytest.fixture
def base(tmp_path: Path) -> Path:
    untrained("v3", width=1 / 16).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def ten(tmp_path: Path, base: Path) -> list[str]:
    """Options of the ESC benchmark: ten classes of one clip a fold, and a network."""
    random = np.random.default_rng(0)
    for number, name in enumerate(ESC10_CLASSES):
        (tmp_path / "esc10" / name).mkdir(parents=True)
        for fold in range(1, 6):
            audio = np.sin(np.arange(RATE) * 0.02 * (number + 1)) * 0.2
            audio += 1e-3 * random.standard_normal(RATE)
            soundfile.write(tmp_path / "esc10" / name / f"{fold}-{number}{fold}-A.ogg", audio, RATE)
    requested = [str(tmp_path / "esc10"), "--set", "esc10", "--work", str(tmp_path / "work")]
    return [*requested, "--pretrained", str(base), "--epochs", "1", "--width", "0.0625"]


def test_fine_tuning_on_esc_goes_on_from_the_probe(
    tmp_path: Path, ten: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[dict[str, str]] = []

    def tune(model: dcasenet.SoundModel, *_: object) -> dcasenet.SoundModel:
        starts.append(model.spec.heads)
        return model

    monkeypatch.setattr(benchmark, "tune", tune)
    benchmark.main([*ten, "--rows", "probe", "finetune"])
    results = json.loads((tmp_path / "work" / "results.json").read_text())["accuracy"]
    assert starts == [{"scene": "linear"}] * 5
    assert results["finetune"] == results["probe"]


def test_the_esc_table_is_made_fold_by_fold_and_goes_on(
    tmp_path: Path,
    ten: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    benchmark.main([*ten, "--rows", "probe"])
    table = capsys.readouterr().out
    assert table.splitlines()[0].startswith("| esc10, width 0.0625, epochs 1, seed 0 | fold 1 |")
    assert "linear probe" in table.splitlines()[2]
    results = json.loads((tmp_path / "work" / "results.json").read_text())["accuracy"]["probe"]
    assert set(results) == set("12345")
    trained: list[str] = []

    def one(row: str, fold: int, options: object) -> float:
        trained.append(f"{row} {fold}")
        if len(trained) == 2:
            raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(benchmark, "accuracy_of", one)
    with pytest.raises(KeyboardInterrupt):
        benchmark.main([*ten, "--rows", "finetune"])
    benchmark.main([*ten, "--rows", "finetune", "probe"])
    assert trained == ["finetune 1", "finetune 2", *(f"finetune {k}" for k in range(2, 6))]
    benchmark.main([*ten, "--rows", "scratch", "--folds", "2", "4"])
    assert trained[-2:] == ["scratch 2", "scratch 4"]
    assert "| everything fine-tuned | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 |" in (
        capsys.readouterr().out
    )
    with pytest.raises(DcasenetError, match="another --work"):
        benchmark.main([*ten, "--seed", "1"])


def test_no_clip_of_the_tested_fold_is_trained_on(tmp_path: Path, base: Path) -> None:
    for number, name in enumerate(ESC10_CLASSES):
        (tmp_path / "esc10" / name).mkdir(parents=True)
        for fold in range(1, 6):
            audio = np.full(RATE // 2, 0.1 * fold)
            path = tmp_path / "esc10" / name / f"{fold}-{number}{fold}-A.ogg"
            soundfile.write(path, audio, RATE)
    model = dcasenet.load(base)
    stores = set()
    for fold in range(1, 6):
        data = benchmark.ESC10(tmp_path / "esc10", test_fold=fold, validation=False)
        data, held = benchmark.four_folds(data, model, tmp_path / "cache")
        assert {example.fold for example in held} == {fold}
        assert {e.fold for e in data.train} == {1, 2, 3, 4, 5} - {fold}
        assert len(data.train) == 40
        stores.add(data.store.path)
    assert len(stores) == 1  # decoded once
