"""Does learning three tasks at once help? The rows of the paper's Table 3, on the open data.

::

    python -m recipes.open.task_comparison DATA --work runs/comparison

Single: a network for each task alone. Joint: one network for all three. Fine-tuned: from the
joint one, a network for each task. Every row is trained from several seeds and graded on the test
split; what is done is kept, so that an interrupted command goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcasenet.spec import TASKS, Task
from dcasenet.train.engine.trainer import LAST
from recipes.open.data import OpenData, open_data
from recipes.open.module import trained
from recipes.open.options import add_recipe_options, recipe_of
from recipes.open.recipe import Recipe
from recipes.open.scores import grade, tune_thresholds
from recipes.open.training import train
from recipes.open.validation import ValidationSet

log = logging.getLogger("recipes.open.task_comparison")  # also as a command

ROWS = ("single", "joint", "joint, clip", "fine-tuned")
# What the table shows of each task: name of the figure → heading.
SHOWN: dict[Task, dict[str, str]] = {
    "scene": {"accuracy": "scene accuracy"},
    "tag": {"lwlrap": "tag lwlrap", "map": "tag mAP"},
    "event": {"segment_f1_1s": "event F1 at 1 s", "segment_error_rate_1s": "event ER at 1 s"},
}
# Fine-tuning takes this share of the steps, at this share of the learning rate.
TUNING_STEPS, TUNING_RATE = 1 / 3, 0.25
N_SOUNDSCAPES = 40  # of 60 s, on the validation and in the test split

Figures = dict[str, dict[str, float]]  # "row/seed" → "split/task/figure" → value


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and grade what is not there yet, then print the table."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    data = open_data(options.data, options.work / "cache")
    found: Figures = {}
    for seed in options.seeds:
        recipe = recipe_of(options, seed)
        for row in options.rows:
            found[f"{row}/{seed}"] = run_row(row, data, recipe, options.work)
    for split in ("validation", "test"):
        log.info("%s, %d seeds:\n\n%s", split, len(options.seeds), table(found, split))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.open.task_comparison",
        description="Train single, joint and fine-tuned networks on the open data; compare them.",
    )
    command.add_argument("data", type=Path, help="folder of the data folders")
    command.add_argument("--work", type=Path, required=True, help="for the cache and the runs")
    command.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add_recipe_options(command, epochs=5, steps=60)
    return command


def run_row(row: str, data: OpenData, recipe: Recipe, work: Path) -> dict[str, float]:
    """Train one row from one seed, a network a task or one for all, and grade it."""
    joint = work / f"joint-{recipe.seed}"
    if row == "joint":
        return run(data, recipe, joint)
    if row == "joint, clip":
        clip = dataclasses.replace(recipe, normalization="clip")
        return run(data, clip, work / f"clip-{recipe.seed}")
    figures: dict[str, float] = {}
    for task in TASKS:
        alone = dataclasses.replace(recipe, tasks=(task,))
        if row == "single":
            figures |= run(data, alone, work / f"single-{task}-{recipe.seed}")
            continue
        run(data, recipe, joint)
        tuning = dataclasses.replace(
            alone,
            steps=round(recipe.steps * TUNING_STEPS),
            learning_rate=recipe.learning_rate * TUNING_RATE,
        )
        figures |= run(data, tuning, work / f"tuned-{task}-{recipe.seed}", joint / LAST)
    return figures


def run(
    data: OpenData, recipe: Recipe, folder: Path, initial: Path | None = None
) -> dict[str, float]:
    """Train and grade one network, unless its figures are there."""
    done = folder / "figures.json"
    if not done.is_file():
        checkpoint = train(data, recipe, None, folder, initial=initial)
        figures = evaluate(data, recipe, checkpoint)
        content = {"recipe": dataclasses.asdict(recipe), "figures": figures}
        done.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    found: dict[str, float] = json.loads(done.read_text("utf-8"))["figures"]
    log.info("%s: %s", folder.name, {name: round(value, 3) for name, value in found.items()})
    return found


def evaluate(data: OpenData, recipe: Recipe, checkpoint: Path) -> dict[str, float]:
    """Grade a network's tasks on both splits, events by thresholds tuned on validation."""
    module, _ = trained(checkpoint, data)
    figures: dict[str, float] = {}
    thresholds: Sequence[float] = ()
    for split in ("validation", "test"):
        validation_set = ValidationSet(
            data,
            "validation" if split == "validation" else "test",
            N_SOUNDSCAPES,
            tasks=recipe.tasks,
        )
        answers = validation_set.answers_of(module.frontend, module.network)
        if "event" in recipe.tasks and not thresholds:
            thresholds = tune_thresholds(answers, validation_set)
        for task, graded in grade(answers, validation_set, thresholds).items():
            for name, value in graded.figures.items():
                figures[f"{split}/{task}/{name}"] = value
    return figures


def table(found: Figures, split: str) -> str:
    """Return the rows as Markdown: mean and standard deviation over the seeds."""
    columns = [
        (f"{split}/{t}/{n}", head) for t, names in SHOWN.items() for n, head in names.items()
    ]
    lines = [
        "| trained for | " + " | ".join(head for _, head in columns) + " |",
        "|--|" + "--:|" * len(columns),
    ]
    for row in dict.fromkeys(name.split("/")[0] for name in found):
        runs = [figures for name, figures in found.items() if name.split("/")[0] == row]
        cells = [_spread([figures[key] for figures in runs]) for key, _ in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


if __name__ == "__main__":
    main()
