"""The open data's figures beside chance and beside a plain baseline, each with its interval.

::

    python -m recipes.open.baseline_comparison DATA --work runs/open --output compare.json

DATA and the cache in the working folder are those of `recipes.open.checkpoint`. The
checkpoint is the one that ships, or another one that was trained on the same labels (``--model``).
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import dcasenet
from dcasenet.errors import DcasenetError
from dcasenet.spec import STEP, FrontEndSettings, Task
from dcasenet.train.data.dataset import Split
from dcasenet.train.engine.validation import Answers
from recipes.open.baseline import choose, featurize
from recipes.open.data import OpenData, open_data
from recipes.open.recipe import Recipe
from recipes.open.scores import Grade, grade
from recipes.open.validation import ValidationSet

log = logging.getLogger("recipes.open.baseline_comparison")  # also as a command

# Soundscapes of a minute: to train the baseline, to tune it, and for the test.
SOUNDSCAPES: dict[Split, int] = {"train": 100, "validation": 40, "test": 60}

OPEN = "open"  # the checkpoint that ships
BASELINE, CHANCE, EVERY_EVENT = "baseline", "most frequent label", "every event"
# Who answers in the table, in the order of its columns, and for scenes and tags or for events.
COLUMNS: dict[Task, tuple[str, str]] = {
    "scene": (BASELINE, CHANCE),
    "tag": (BASELINE, CHANCE),
    "event": (BASELINE, EVERY_EVENT),
}

Rows = dict[str, dict[Task, Grade]]  # who answered → task → grade


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate, log a table, write the figures."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.open.baseline_comparison",
        description="Evaluate chance, a plain baseline and a checkpoint on the open data.",
    )
    command.add_argument("data", type=Path, help="folder of the data folders")
    command.add_argument("--work", type=Path, required=True, help="folder of the cache")
    command.add_argument("--output", type=Path, required=True, help="JSON file to write")
    command.add_argument("--model", default=OPEN, help="folder or file to evaluate, or 'open'")
    options = command.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    data = open_data(options.data, options.work / "cache")
    compared = compare(data, SOUNDSCAPES, options.model)
    for split, rows in compared.items():
        log.info("%s:\n\n%s\n", split, table(rows, options.model))
    write(options.output, compared, data)


def compare(
    data: OpenData,
    soundscapes: Mapping[Split, int],
    model: str,
    duration: float = 60.0,
) -> dict[Split, Rows]:
    """Grade everyone on validation and test.

    Args:
        data: The open data.
        soundscapes: How many each split has.
        model: The checkpoint: ``"open"``, or a file or folder as `dcasenet.load` takes it.
        duration: Length of a soundscape, in seconds.

    Returns:
        Split → who answered → task → grade, with intervals.
    """
    settings = FrontEndSettings(max_frequency=Recipe().max_frequency)
    splits = {
        split: ValidationSet(data, split, number, duration) for split, number in soundscapes.items()
    }
    features = {
        split: featurize(validation_set, settings) for split, validation_set in splits.items()
    }
    baseline, thresholds = choose(
        (splits["train"], features["train"]), (splits["validation"], features["validation"])
    )
    log.info("Penalties %s, thresholds %s", baseline.penalties, thresholds)
    compared: dict[Split, Rows] = {}
    for split in ("validation", "test"):
        validation_set = splits[split]
        rows: Rows = {
            model: _evaluated(model, validation_set),
            BASELINE: _grade(baseline.answer(features[split]), validation_set, thresholds),
            CHANCE: _grade(most_frequent(validation_set), validation_set),
            "no event": _grade(constant_events(validation_set, active=False), validation_set),
            EVERY_EVENT: _grade(constant_events(validation_set, active=True), validation_set),
        }
        compared[split] = rows
    return compared


def most_frequent(validation_set: ValidationSet) -> Answers:
    """Answer every clip without listening: scenes and tags as often as training has them."""
    data = validation_set.data
    answers = Answers()
    tasks: tuple[Task, ...] = ("scene", "tag")
    for task in tasks:
        index_of = data.index_of(task)
        known = [
            index_of[c.label] for c in data.clips if c.split == "train" and c.label in index_of
        ]
        counts = np.bincount(known, minlength=len(data.labels[task]))
        shares = (counts / counts.sum()).astype(np.float32)
        wanted_windows = [
            i for i, clip in enumerate(validation_set.clips) if clip.label in index_of
        ]
        answers.found[task] = {index: [shares] for index in wanted_windows}
    return answers


def constant_events(validation_set: ValidationSet, *, active: bool) -> Answers:
    """Answer every soundscape without listening: every event all the time, or none ever."""
    steps = int(np.ceil(validation_set.duration / STEP))
    shape = (steps, len(validation_set.data.labels["event"]))
    answers = Answers()
    for number in range(validation_set.n_soundscapes):
        answers.found["event"][number] = [np.full(shape, float(active), np.float32)]
    return answers


def uniform(data: OpenData) -> dict[Task, dict[str, float]]:
    """Return what answers at an even chance would score on average."""
    n_scenes, n_tags = len(data.labels["scene"]), len(data.labels["tag"])
    # One true tag at an even chance of every rank: the mean of 1 / rank.
    lwlrap = sum(1 / rank for rank in range(1, n_tags + 1)) / n_tags
    return {
        "scene": {"accuracy": 1 / n_scenes, "macro_recall": 1 / n_scenes},
        "tag": {"lwlrap": lwlrap, "top1_accuracy": 1 / n_tags},
    }


def table(rows: Rows, model: str) -> str:
    """Return the figures as Markdown: the checkpoint's with intervals, the baseline's, chance.

    Args:
        rows: Of one split.
        model: Name of the checkpoint among them.
    """
    lines = [
        "| task | figure | checkpoint (95 %) | baseline (95 %) | chance | recordings |",
        "|--|--|--:|--:|--:|--:|",
    ]
    for task, graded in rows[model].items():
        baseline, chance = (rows[name][task] for name in COLUMNS[task])
        for figure in graded.figures:
            cells = (
                task,
                figure.replace("_", " "),
                _with_interval(graded, figure),
                _with_interval(baseline, figure),
                f"{chance.figures[figure]:.3f}",
                str(graded.recordings),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(graded: Grade, figure: str) -> str:
    low, high = graded.intervals[figure]
    return f"{graded.figures[figure]:.3f} ({low:.3f}–{high:.3f})"


def write(path: Path, compared: Mapping[Split, Rows], data: OpenData) -> None:
    """Write every figure with its interval as JSON; what is not defined is null."""
    content: dict[str, Any] = {"uniform": uniform(data)}
    for split, rows in compared.items():
        content[split] = {
            name: {task: asdict(graded) for task, graded in tasks.items()}
            for name, tasks in rows.items()
        }
    text = json.dumps(content, indent=1, ensure_ascii=False).replace(": NaN", ": null")
    path.write_text(text + "\n", encoding="utf-8")


def _grade(
    answers: Answers, validation_set: ValidationSet, thresholds: Sequence[float] | float = 0.5
) -> dict[Task, Grade]:
    return grade(answers, validation_set, thresholds, with_intervals=True)


def _evaluated(name: str, validation_set: ValidationSet) -> dict[Task, Grade]:
    model = dcasenet.load("v3", stage=OPEN) if name == OPEN else dcasenet.load(name)
    events = validation_set.data.names("event")
    if model.spec.scenes != validation_set.data.names("scene") or model.spec.events != events:
        raise DcasenetError(
            f"{name} has other labels than this data set; give a checkpoint that was trained on it."
        )
    answers = validation_set.answers_of(model.frontend, model.network)
    return _grade(answers, validation_set, [model.spec.thresholds[event] for event in events])


if __name__ == "__main__":
    main()
