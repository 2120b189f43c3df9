import json
from pathlib import Path

import numpy as np
import pytest

from dcasenet.errors import DcasenetError
from dcasenet.spec import TASKS, FrontEndSettings, ModelSpec
from dcasenet.weights.checkpoint import write
from recipes.open import baseline_comparison, export
from recipes.open.baseline import choose, featurize, fit
from recipes.open.data import OpenData
from recipes.open.module import JointTraining, frontend_settings, label_counts
from recipes.open.recipe import Recipe
from recipes.open.scores import grade
from recipes.open.validation import ValidationSet

SETTINGS = FrontEndSettings(max_frequency=8_000.0)
FEW = {"train": 4, "validation": 2, "test": 2}


@pytest.fixture(scope="module")
def checkpoint(small: OpenData, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained network of the small data set's labels."""
    recipe = Recipe(width=1 / 16)
    labels = {f"{task}s": small.names(task) for task in TASKS}
    spec = ModelSpec(
        name="v3",
        stage="untrained",
        width=recipe.width,
        frontend=frontend_settings(recipe),
        thresholds=dict.fromkeys(labels["events"], 0.5),
        **labels,
    )
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    write(path, export.half(JointTraining(recipe, label_counts(small))), spec)
    return str(path)


@pytest.fixture(scope="module")
def compared(small: OpenData, checkpoint: str) -> dict[str, baseline_comparison.Rows]:
    return baseline_comparison.compare(small, FEW, checkpoint, duration=20.0)


def test_features_leave_out_what_the_network_does_not_read(small: OpenData) -> None:
    validation_set = ValidationSet(small, "train", n_soundscapes=1, duration=4.0)
    features = featurize(validation_set, SETTINGS)
    sizes = {f.shape[-1] for of in features.found.values() for each in of.values() for f in each}
    (size,) = sizes
    assert 2 * 100 < size < 2 * 128  # mean and deviation of the bins below 8 kHz
    assert features.found["event"][0][0].shape == (5, size)
    every = featurize(validation_set, FrontEndSettings())
    assert every.found["event"][0][0].shape == (5, 2 * 128)


def test_it_learns_what_it_was_trained_on(small: OpenData) -> None:
    validation_set = ValidationSet(small, "train", n_soundscapes=4, duration=20.0)
    features = featurize(validation_set, SETTINGS)
    for task, name, least in (
        ("scene", "accuracy", 0.95),
        ("tag", "lwlrap", 0.95),
        ("event", "segment_f1_1s", 0.6),
    ):
        answers = fit(validation_set, features, task, penalty=1.0).answer(features)
        assert grade(answers, validation_set)[task].figures[name] > least


def test_the_penalty_is_the_validations_choice(small: OpenData) -> None:
    splits = [ValidationSet(small, split, 2, 10.0) for split in ("train", "validation")]
    training, validation = ((split, featurize(split, SETTINGS)) for split in splits)
    baseline, thresholds = choose(training, validation, penalties=(1e-4, 1e-1))
    assert len(thresholds) == len(small.labels["event"])
    for task in ("scene", "tag"):
        figures = {}
        for penalty in (1e-4, 1e-1):
            answers = fit(*training, task, penalty).answer(validation[1])
            figures[penalty] = next(iter(grade(answers, validation[0])[task].figures.values()))
        assert figures[baseline.penalties[task]] == max(figures.values())


def test_chance_and_baseline_stand_side_by_side(
    compared: dict[str, baseline_comparison.Rows], small: OpenData
) -> None:
    assert set(compared) == {"validation", "test"}
    for rows in compared.values():
        frequent, nothing, everything = (
            rows[name] for name in ("most frequent label", "no event", "every event")
        )
        assert nothing["event"].figures["segment_f1_1s"] == 0
        assert nothing["event"].figures["segment_error_rate_1s"] == 1
        assert 0 < everything["event"].figures["segment_f1_1s"] < 0.9
        assert everything["event"].figures["segment_error_rate_1s"] > 1
        # The same answer to every clip: right for one label, at the middle of the ranking.
        assert frequent["scene"].figures["macro_recall"] == pytest.approx(
            1 / len(small.labels["scene"])
        )
        assert rows["baseline"]["scene"].intervals
        assert rows["baseline"]["scene"].recordings == frequent["scene"].recordings


def test_the_baseline_beats_chance_on_rain_and_waves_and_dogs(
    compared: dict[str, baseline_comparison.Rows],
) -> None:
    rows = compared["test"]
    for task, name, chance in (
        ("tag", "lwlrap", "most frequent label"),
        ("event", "segment_f1_1s", "every event"),
    ):
        assert rows["baseline"][task].figures[name] > rows[chance][task].figures[name]


def test_an_even_chance_by_hand(small: OpenData) -> None:
    n_tags = len(small.labels["tag"])
    expected = baseline_comparison.uniform(small)
    draw = np.random.default_rng(0)
    ranks = draw.integers(1, n_tags + 1, size=100_000)
    assert expected["tag"]["lwlrap"] == pytest.approx((1 / ranks).mean(), abs=0.01)


def test_figures_are_written_and_told(
    compared: dict[str, baseline_comparison.Rows], small: OpenData, tmp_path: Path
) -> None:
    baseline_comparison.write(tmp_path / "compare.json", compared, small)
    text = (tmp_path / "compare.json").read_text("utf-8")
    written = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    baseline = written["test"]["baseline"]["scene"]
    assert baseline["figures"] == compared["test"]["baseline"]["scene"].figures
    assert len(baseline["intervals"]["accuracy"]) == 2


def test_the_table_has_the_checkpoint_beside_the_baseline_and_chance(
    compared: dict[str, baseline_comparison.Rows], checkpoint: str
) -> None:
    rows = compared["test"]
    lines = baseline_comparison.table(rows, checkpoint).splitlines()
    figures = sum(len(given.figures) for given in rows[checkpoint].values())
    assert len(lines) == 2 + figures
    accuracy = rows["baseline"]["scene"].figures["accuracy"]
    frequent = rows["most frequent label"]["scene"].figures["accuracy"]
    cells = lines[2].split(" | ")
    assert cells[0] == "| scene"
    assert cells[3].startswith(f"{accuracy:.3f} (")
    assert cells[4] == f"{frequent:.3f}"
    untrained = rows[checkpoint]["scene"]
    assert cells[2].startswith(f"{untrained.figures['accuracy']:.3f} (")


def test_a_checkpoint_of_other_labels_is_refused(small: OpenData) -> None:
    with pytest.raises(DcasenetError, match="open has other labels"):
        baseline_comparison.compare(small, FEW, "open", duration=4.0)
