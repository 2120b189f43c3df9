"""One run of the paper's training, from data sets to checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcasenet.spec import TASKS, Task
from dcasenet.train.data.dataset import SoundDataset
from dcasenet.train.engine.module import seeded
from dcasenet.train.engine.trainer import fit, is_first
from dcasenet.train.paper.data import PaperModule, paper_data
from dcasenet.train.paper.module import PaperTraining, trained_model
from dcasenet.train.paper.recipe import PaperRecipe
from dcasenet.train.paper.validation import CHOSEN_BY

BEST = "best"  # the checkpoint with the best mean of the tasks' figures


def best_for(task: Task) -> str:
    """Name the checkpoint that is the best for one task."""
    return f"{BEST}-{task}"


def train_paper(
    sets: Mapping[Task, SoundDataset],
    recipe: PaperRecipe,
    folder: Path,
    *,
    cache: Path | None = None,
    initial: Path | None = None,
    workers: int = 2,
    stop_after: int | None = None,
    **fit_options: Any,
) -> dict[str, Path]:
    """Train as the paper does, from scratch or from where a run in the same folder stopped.

    Args:
        sets: Task → data set, of the recipe's tasks at least.
        recipe: Hyperparameters.
        folder: Where checkpoints and logs go.
        cache: Where decoded audio is kept; by default in the folder.
        initial: A joint training's checkpoint to begin with.
        workers: Processes that cut batches ahead of the training.
        stop_after: Epoch to stop after, to go on another time; the schedule stays the whole one.
        fit_options: More of `dcasenet.train.engine.trainer.fit`'s.

    Returns:
        ``"best"`` (by the mean of the tasks' figures) and ``"best-scene"``, ``"best-tag"``,
        ``"best-event"``, as far as they were trained → checkpoint.

    Raises:
        DcasenetError: The data cannot be used, the loss is not finite, a checkpoint cannot be
            written, or the folder's run has another recipe.
    """
    data = paper_data(sets, recipe, cache or folder / "cache")
    with seeded(recipe.seed):
        return fit(
            PaperTraining(recipe, data.labels, data.validation_set, initial),
            PaperModule(data, recipe, workers),
            folder,
            epochs=recipe.epochs if stop_after is None else stop_after,
            steps=recipe.steps,
            watch={BEST: "score"} | {best_for(task): CHOSEN_BY[task] for task in recipe.tasks},
            idle_parts=set(recipe.tasks) != set(TASKS),
            **fit_options,
        )


def train_and_save(
    sets: Mapping[Task, SoundDataset], recipe: PaperRecipe, output: Path, **options: Any
) -> None:
    """Train, then write the best checkpoint as a folder that `dcasenet.load` reads.

    Args:
        sets: As `train_paper` takes them.
        recipe: Likewise.
        output: Folder of the model; the run itself is its folder ``run``.
        options: More of `train_paper`'s.
    """
    best = train_paper(sets, recipe, output / "run", **options)[BEST]
    if not is_first():
        return
    names = [data.name for task, data in sets.items() if task in recipe.tasks]
    on_test = recipe.select_on_test
    chosen_on = "the test split, as the authors did: optimistic" if on_test else "validation"
    model = trained_model(
        best,
        "trained",
        training_data=", ".join(names),
        datasets=tuple(names),
        protocol=f"Epoch chosen on {chosen_on}.",
        source=f"Trained by dcasenet train with {recipe}.",
    )
    model.save_pretrained(output)
