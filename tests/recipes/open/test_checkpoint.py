import csv
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import dcasenet
from dcasenet.spec import ModelSpec
from dcasenet.weights.manifest import find
from recipes.open import checkpoint, export
from recipes.open.data import OpenData
from recipes.open.module import JointTraining, label_counts
from recipes.open.recipe import Recipe
from recipes.open.validation import ValidationSet

RECIPE = replace(Recipe(), width=1 / 16)
LOG = """epoch,score,train_scene_loss,lr-AdamW,step
,,,0.001,0
0,0.25,,,1
0,,2.5,,1
"""


@pytest.fixture(scope="module")
def output(small: OpenData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of the package, of an untrained network in the second of two cycles."""
    first, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("run")
    write_log(first, 0, LOG)
    torch.manual_seed(0)
    module = JointTraining(RECIPE, label_counts(small))
    state = {"state_dict": module.state_dict(), "epoch": 4, "recipe": asdict(RECIPE)}
    torch.save(state, folder / "best.ckpt")
    for version, text in ((0, LOG), (1, LOG.replace("0,0.25", "1,0.5").replace("0,,2.5", "1,,2"))):
        write_log(folder, version, text)
    with pytest.MonkeyPatch.context() as patch:
        few = {"validation": ((60.0, 1),), "test": ((60.0, 2), (10.0, 2))}
        patch.setattr(checkpoint, "FINAL_SOUNDSCAPES", few)
        checkpoint.package(small, [first, folder], folder / "package")
    return folder / "package"


def write_log(run: Path, version: int, text: str) -> None:
    (run / "log" / f"version_{version}").mkdir(parents=True)
    (run / "log" / f"version_{version}" / "metrics.csv").write_text(text)


def test_the_weights_describe_themselves(output: Path, small: OpenData) -> None:
    with safe_open(output / "model.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["spec"])
    spec = ModelSpec.from_dict(described)
    assert (spec.name, spec.stage, spec.width) == ("v3", "open", RECIPE.width)
    assert (spec.scenes, spec.tags, spec.events) == tuple(
        small.names(task) for task in ("scene", "tag", "event")
    )
    assert set(spec.thresholds) == set(spec.events)
    assert spec.frontend.max_frequency == 8_000.0
    assert spec.license == "CC BY 4.0"
    assert 0 <= spec.metrics["scene"]["test_accuracy"] <= 1
    assert f"epoch 5 of {RECIPE.epochs} of cycle 2" in spec.protocol


def test_tensors_are_float16_and_make_the_network_again(output: Path, small: OpenData) -> None:
    tensors = load_file(output / "model.safetensors")
    assert all(
        t.dtype == (torch.float32 if n.startswith("frontend.") else torch.float16)
        for n, t in tensors.items()
        if t.is_floating_point()
    )
    assert {"frontend.mean", "frontend.deviation"} <= set(tensors)
    module = JointTraining(RECIPE, label_counts(small))
    export.load_tensors(module, tensors)
    again = export.half(module)
    assert set(again) == set(tensors)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    trainable = sum(p.numel() for p in module.network.parameters())
    assert export.parameters(tensors) == trainable


def test_every_training_clip_is_credited(output: Path, small: OpenData) -> None:
    text = (output / "ATTRIBUTION.md").read_text("utf-8")
    used = small.used_clips("train")
    assert used
    for clip in used:
        line = next(row for row in text.splitlines() if f"`{clip.filename}`" in row)
        assert " ".join(clip.author.split()) in line
        assert clip.license in line
    assert sum(row.startswith("- `") for row in text.splitlines()) == len(used)


def test_each_cycle_starts_from_the_best_of_the_one_before(
    small: OpenData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, int, str]] = []

    def train(
        data: OpenData,
        recipe: Recipe,
        validation_set: ValidationSet,
        folder: Path,
        *,
        initial: Path | None,
    ) -> Path:
        begun.append((folder.name, recipe.seed, initial.parent.name if initial else ""))
        return folder / "best.ckpt"

    monkeypatch.setattr(checkpoint, "train", train)
    runs = [tmp_path / "run1", tmp_path / "run2"]
    watched = ValidationSet(small, "validation", 1)
    checkpoint.train_cycles(small, replace(RECIPE, seed=4), watched, runs)
    assert begun == [("run1", 4, ""), ("run2", 5, "run1")]


def test_a_cycle_that_is_done_is_not_trained_again(small: OpenData, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, steps=1, n_scene_clips=2, n_tag_clips=2)
    watched = ValidationSet(small, "validation", 1)
    runs = [tmp_path / "run1", tmp_path / "run2"]
    checkpoint.train_cycles(small, recipe, watched, runs)
    first, second = (run.joinpath("best.ckpt").read_bytes() for run in runs)
    assert first != second
    checkpoint.train_cycles(small, recipe, watched, runs)
    assert [run.joinpath("best.ckpt").read_bytes() for run in runs] == [first, second]


def test_the_log_has_one_row_per_epoch_of_every_session_and_cycle(output: Path) -> None:
    rows = list(csv.DictReader((output / "training_log.csv").read_text("utf-8").splitlines()))
    columns = ("cycle", "epoch", "score", "train_scene_loss")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("1", "0", "0.2500", "2.5000"),
        ("2", "0", "0.2500", "2.5000"),
        ("2", "1", "0.5000", "2"),
    ]


def test_the_card_and_the_figures_are_written(output: Path, small: OpenData) -> None:
    card = (output / "MODEL_CARD.md").read_text("utf-8")
    assert "not a DCASE scene classifier" in " ".join(card.split())
    figures = json.loads((output / "metrics.json").read_text("utf-8"))
    assert set(figures["evaluations"]) == {"validation_60s", "test_60s", "test_10s"}
    assert (figures["recipe"]["seed"], figures["cycles"]) == (RECIPE.seed, 2)
    assert len(figures["labels"]["tag"]) > len(small.labels["tag"])
    test = figures["evaluations"]["test_60s"]
    for task, figure in (("scene", "accuracy"), ("event", "event_f1_800ms")):
        value = test[task]["figures"][figure]
        low, high = test[task]["intervals"][figure]
        assert re.search(
            rf"\| {task} \| {figure} \| .* \| {value:.3f} \| {low:.3f}–{high:.3f} \|", card
        )


def test_nothing_written_names_a_place_on_this_machine(output: Path) -> None:
    for path in output.iterdir():
        assert str(output.parent).encode() not in path.read_bytes()
        assert str(Path.home()).encode() + b"/" not in path.read_bytes()


def test_the_command_line_makes_the_shipped_checkpoint_by_default() -> None:
    options = checkpoint.parser().parse_args(["data", "--work", "w", "--output", "o"])
    shipped = find("v3", "open")
    log = Path(dcasenet.__file__).parent / "data" / "open" / "training_log.csv"
    rows = list(csv.DictReader(log.read_text("utf-8").splitlines()))
    n_epochs = {cycle: len([r for r in rows if r["cycle"] == cycle]) for cycle in ("1", "2")}
    assert options.width == shipped.width
    assert n_epochs == {"1": options.epochs, "2": options.epochs}
    assert options.data == Path("data")
