"""The paper's tables again: train the rows, grade them, hold the figures beside the paper's."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dcasenet.atomic import write_bytes
from dcasenet.inference.model import SoundModel
from dcasenet.loading import load
from dcasenet.spec import TASKS, Task
from dcasenet.train.data.dataset import SoundDataset
from dcasenet.train.engine.trainer import is_first
from dcasenet.train.paper.module import trained_model
from dcasenet.train.paper.protocol import Report, paper_events, paper_scene, paper_tags
from dcasenet.train.paper.published import FIGURES, RELEASED, Row
from dcasenet.train.paper.recipe import PaperRecipe
from dcasenet.train.paper.run import best_for, train_paper

log = logging.getLogger(__name__)

GRADE: dict[Task, Callable[..., Report]] = {
    "scene": paper_scene,
    "tag": paper_tags,
    "event": paper_events,
}
# Task → the end of the stages that were released for it.
RELEASED_AS: dict[Task, str] = {"scene": "asc", "tag": "tag", "event": "sed"}


@dataclass(frozen=True)
class Comparison:
    """One figure of one training.

    Attributes:
        row: Name of the row.
        training: ``"single"``, ``"joint"`` or ``"fine-tuned"``.
        task: The task.
        figure: What it is, by the paper's protocol or by standard definitions.
        ours: Percent; error rates as they are.
        paper: What the paper printed; None for a standard figure, which it did not.
    """

    row: str
    training: str
    task: Task
    figure: str
    ours: float
    paper: float | None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.paper is None else self.ours - self.paper


def reproduce(
    rows: Sequence[Row],
    sets: Mapping[Task, SoundDataset],
    work_dir: Path,
    recipe: PaperRecipe,
    *,
    workers: int = 2,
) -> list[Comparison]:
    """Train rows of the paper's tables, and grade them in the test splits.

    Every checkpoint is the best of its run for the task that it is graded on, and fine-tuning
    begins with the best joint one for its task, as the authors did. Trainings that are finished are
    not repeated, one that was interrupted goes on: the folder remembers them.

    Args:
        rows: What `dcasenet.train.paper.published.rows` gives.
        sets: Task → data set. A row of Table 2 trains those of its tasks that have one; one of
            Table 3 needs all of them.
        work_dir: Folder for decoded audio, checkpoints, logs and ``results.json``.
        recipe: Hyperparameters, but for architecture, tasks and mix-up, which a row says.
        workers: Processes that cut batches ahead of the training.

    Returns:
        The figures, in the order of the rows; empty in all processes but the first.
    """

    def run(row: Row, tasks: tuple[Task, ...], name: str, initial: Path | None) -> dict[Task, Path]:
        chosen = dataclasses.replace(
            recipe,
            architecture=row.architecture,
            tasks=tasks,
            mixup=recipe.mixup if row.mixup else 0.0,
        )
        log.info("%s: %s", name, chosen)
        checkpoints = train_paper(
            {task: sets[task] for task in tasks},
            chosen,
            work_dir / name.replace(":", "_"),
            cache=work_dir / "cache",
            initial=initial,
            workers=workers,
        )
        return {task: checkpoints[best_for(task)] for task in tasks}

    trained: list[tuple[Row, str, Task, Path]] = []
    for row in rows:
        joint = run(row, row.tasks, f"{row.name}-joint", None) if row.table == 3 else {}
        for task, name in joint.items():
            trained.append((row, "joint", task, name))
        training = "fine-tuned" if joint else "single"
        for task in (task for task in row.tasks if task in sets):
            found = run(row, (task,), f"{row.name}-{training}-{task}", joint.get(task))
            trained.append((row, training, task, found[task]))
    if not is_first():
        return []
    found_figures: list[Comparison] = []
    for row, training, task, checkpoint in trained:
        model = trained_model(checkpoint, training)
        found_figures += compare(row, training, task, model, sets)
    write(work_dir / "results.json", found_figures, recipe)
    return found_figures


def evaluate_released(sets: Mapping[Task, SoundDataset], **load_options: Any) -> list[Comparison]:
    """Grade the authors' six checkpoints, downloaded or from the cache, in the test splits.

    Args:
        sets: Task → data set; tasks without one are left out.
        load_options: Passed on to `dcasenet.load`.
    """
    row = Row(3, RELEASED)
    found: list[Comparison] = []
    for training, begin in (("joint", "joint"), ("fine-tuned", "finetuned")):
        for task in TASKS:
            if task in sets:
                stage = f"{begin}-{RELEASED_AS[task]}"
                model = load("v3", stage=stage, **load_options)
                found += compare(row, training, task, model, sets)
    return found


def compare(
    row: Row,
    training: str,
    task: Task,
    model: SoundModel,
    sets: Mapping[Task, SoundDataset],
) -> Iterator[Comparison]:
    """Grade a model in the test split of a task's data set.

    Yields:
        The paper's figures, then the standard ones.
    """
    if torch.cuda.is_available():
        model.to("cuda")
    report = GRADE[task](model, sets[task])
    published = row.published(training)
    for name in FIGURES[task]:
        ours = percent(name, report.paper[name])
        yield Comparison(row.name, training, task, name, ours, published[task, name])
    for name, value in report.standard.items():
        if name not in FIGURES[task]:
            yield Comparison(row.name, training, task, name, percent(name, value), None)


def percent(name: str, value: float) -> float:
    """Return a share in percent, as the paper does; error rates stay as they are."""
    return value if "error_rate" in name else 100.0 * value


def write(path: Path, found: Sequence[Comparison], recipe: PaperRecipe) -> None:
    """Write figures as JSON, with how they came about."""
    content = {
        "recipe": dataclasses.asdict(recipe),
        "figures": [dataclasses.asdict(c) | {"difference": c.difference} for c in found],
    }
    # JSON has no nan: a figure that does not exist is null.
    text = json.dumps(content, indent=1).replace(": NaN", ": null").replace(": Infinity", ": null")
    write_bytes(path, (text + "\n").encode())
