import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import dcasenet
from dcasenet import cli
from dcasenet.errors import DcasenetError
from dcasenet.spec import Task
from dcasenet.train.data.dataset import Example, SoundDataset
from dcasenet.train.paper import miniature, tiny
from dcasenet.train.paper.published import TABLE_2, TABLE_3, Row, rows
from dcasenet.train.paper.reproduce import evaluate_released, reproduce
from dcasenet.weights import manifest
from dcasenet.weights.cache import checkpoint_folder
from dcasenet.weights.checksum import file_digest
from tests.fixtures.command import Done


@pytest.fixture
def output(call_command: Callable[..., Done]) -> Callable[..., str]:
    """Run the command, which must go well; what it printed."""

    def run(*words: object) -> str:
        done = call_command(*words)
        assert done.code == 0, done.err
        return done.out

    return run


def test_tables_are_the_papers_where_print_is_clear(shared: Path) -> None:
    text = (shared / "spec" / "paper.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if re.search(r"\t(8\.7|8\.9|13\.2)M\t", line)]
    printed = [re.findall(r"(?<![\w.-])\d+\.\d+(?!M)", line) for line in lines]
    ours = [[*row["joint"], *row["fine-tuned"]] for row in TABLE_3.values()]
    assert [[*map(float, line)] for line in printed] == ours
    clear = {"69.54", "79.34", "0.3085", "0.2926", "0.3486", "68.01", "67.68", "79.62", "68.33"}
    for figure in {
        f"{value:.2f}" for row in TABLE_2.values() for value in row["single"][:3]
    } & clear:
        assert figure.replace(".", " ") in text or figure in text


def test_accuracies_of_table_2_are_whole_numbers_of_clips() -> None:
    # Of 2,968 clips; some are printed truncated, some rounded.
    right = {"v1-nomix": 2_009, "v1": 2_024, "v2": 2_064, "v3": 2_028}
    for name, row in TABLE_2.items():
        percent = 100 * right[name] / 2_968
        assert row["single"][0] in (round(percent, 2), math.floor(100 * percent) / 100), name


def test_rows_by_name_and_by_architecture() -> None:
    assert [row.name for row in rows(2)] == ["v1-nomix", "v1", "v2", "v3"]
    assert len(rows(3)) == 16
    assert {row.architecture for row in rows(3, ["v2"])} == {"v2"}
    row = rows(3, ["v1-nomix:tag+event"])[0]
    assert (row.architecture, row.mixup, row.tasks) == ("v1", False, ("tag", "event"))
    assert row.published("fine-tuned")["event", "paper_error_rate"] == 0.3153
    with pytest.raises(DcasenetError, match="Table 2 has no row 'v9'; give any of v1-nomix, v1,"):
        rows(2, ["v9"])
    with pytest.raises(DcasenetError, match="no table 1"):
        rows(1)


@pytest.fixture
def scale(job: ModuleType) -> Any:
    return dataclasses.replace(job.RECIPE, epochs=1, steps=1)


def test_a_row_is_trained_jointly_then_fine_tuned_and_graded_once(
    job: ModuleType, paper_folder: Path, tmp_path: Path, scale: Any
) -> None:
    sets = job.paper_sets(paper_folder)
    chosen = rows(3, ["v3:scene+tag"])
    found = reproduce(chosen, sets, tmp_path, scale, workers=0)
    with_paper = [c for c in found if c.paper is not None]
    assert [(c.training, c.task, c.figure, c.paper) for c in with_paper] == [
        ("joint", "scene", "accuracy", 61.08),
        ("joint", "tag", "lwlrap", 65.03),
        ("fine-tuned", "scene", "accuracy", 70.35),
        ("fine-tuned", "tag", "lwlrap", 71.42),
    ]
    assert all(c.difference == pytest.approx(c.ours - c.paper) for c in with_paper)
    assert {c.figure for c in found} >= {"macro_recall", "map"}
    written = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert written["recipe"]["select_on_test"] is False
    assert len(written["figures"]) == len(found)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.ckpt")}
    assert reproduce(chosen, sets, tmp_path, scale, workers=0) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.ckpt")} == before


def test_single_tasks_of_table_2(
    job: ModuleType, paper_folder: Path, tmp_path: Path, scale: Any
) -> None:
    sets = {"event": job.paper_sets(paper_folder)["event"]}
    found = reproduce(rows(2, ["v1-nomix"]), sets, tmp_path, scale, workers=0)
    (f1,) = (c for c in found if c.figure == "paper_f1")
    assert (f1.row, f1.training, f1.paper) == ("v1-nomix", "single", 74.80)
    state = torch.load(tmp_path / "v1-nomix-single-event" / "last.ckpt", weights_only=True)
    assert (state["recipe"]["architecture"], state["recipe"]["mixup"]) == ("v1", 0.0)


def test_tiny_scale_runs_the_whole_path_and_says_that_it_means_nothing(
    job: ModuleType,
    paper_folder: Path,
    tmp_path: Path,
    scale: Any,
    output: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiny, "tiny_sets", lambda folder, seed: job.paper_sets(paper_folder))
    monkeypatch.setattr(tiny, "tiny_recipe", lambda seed: scale)
    printed = output(
        "reproduce", "--scale", "tiny", "--rows", "v3:tag+event", "--work-dir", tmp_path / "work"
    )
    assert printed.count("ITS NUMBERS MEAN NOTHING") == 2
    line = re.search(
        r"v3:tag\+event +fine-tuned +event paper_error_rate +(\S+) +(\S+) +(\S+)", printed
    )
    assert line
    ours, paper, difference = map(float, line.groups())
    assert paper == 0.2958
    assert difference == pytest.approx(ours - paper, abs=1e-3)
    assert "Epochs were chosen on validation" in printed


def test_training_from_the_command_line_on_the_real_layout(
    paper_sets: miniature.Miniatures, tmp_path: Path, output: Callable[..., str]
) -> None:
    output(
        *("train", "--tasks", "tag", "--model", "v2", "--tag", paper_sets.tag, "-o", tmp_path),
        *("--width", 1 / 16, "--epochs", 1, "--steps", 1, "--batch", "2,2,2", "--workers", 0),
        "--select-on-test",
    )
    spec = dcasenet.load(tmp_path).spec
    assert (spec.name, spec.tasks, len(spec.tags)) == ("v2", ("tag",), 80)
    assert "the test split, as the authors did: optimistic" in spec.protocol


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds narrow stand-ins of the six released files; nothing is downloaded."""
    content = json.loads(manifest.manifest_path().read_text("utf-8"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(dcasenet.create("v3", width=1 / 16).state_dict(), tmp_path / "standin.pt")
    for entry in content["models"]:
        if "github" in entry.get("file", {}):
            digest = file_digest(tmp_path / "standin.pt", "git_blob_sha1")
            entry |= {"width": 1 / 16, "file": {"digest": digest, "github": "a/b/c/standin.pt"}}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    for spec in manifest.available_models():
        if spec.stage.startswith(("joint-", "finetuned-")):
            folder = checkpoint_folder(spec, tmp_path / "cache")
            folder.mkdir(parents=True)
            (folder / "standin.pt").write_bytes((tmp_path / "standin.pt").read_bytes())
    return tmp_path / "cache"


def test_released_checkpoints_are_graded_without_training(
    job: ModuleType, paper_folder: Path, released: Path
) -> None:
    mine = job.paper_sets(paper_folder)["scene"]
    names = dict(zip(job.SCENES, ("park", "tram"), strict=True))
    sets: dict[Task, SoundDataset] = {
        "scene": SoundDataset(
            "scenes",
            "scene",
            ("park", "tram"),
            [Example(e.path, e.split, scene=names[str(e.scene)]) for e in mine],
        )
    }
    found = evaluate_released(sets, cache_dir=released, local_files_only=True)
    accuracies = [(c.training, c.paper) for c in found if c.figure == "accuracy"]
    assert accuracies == [("joint", 56.80), ("fine-tuned", 69.37)]
    assert Row(3, found[0].row).tasks == ("scene", "tag", "event")


def test_a_call_without_data_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dcasenet", "reproduce", "--table", "2"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1
    assert "give --asc DIR, --tag DIR or --sed DIR" in capsys.readouterr().err.replace("\n", " ")
