"""One command from raw recordings to the open checkpoint, as it ships in the package.

::

    python -m recipes.open.checkpoint DATA --work runs/open --output dcasenet/data/open

DATA holds the folders ``esc50``, ``ambience``, ``events_extra`` and ``dcase2016_task2``. Training
runs in cycles, each from the best epoch of the one before, its learning rate risen once more (the
authors restart their cosine too). What was interrupted goes on from its last epoch;
``--package-only`` writes the files of finished cycles.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from dcasenet.spec import ModelSpec, Task
from dcasenet.weights.checkpoint import write
from recipes.open import export
from recipes.open.data import OpenData, open_data
from recipes.open.model_card import model_card
from recipes.open.module import JointTraining, frontend_settings, trained
from recipes.open.recipe import Recipe
from recipes.open.scores import Grade, grade, tune_thresholds
from recipes.open.training import train
from recipes.open.validation import ValidationSet

log = logging.getLogger("recipes.open.checkpoint")  # also as a command

# CC BY clips require credit, and so do the weights; nothing used requires more.
LICENSE = "CC BY 4.0"
# Soundscapes of the final evaluations: (split, seconds) → how many.
FINAL_SOUNDSCAPES = {"validation": ((60.0, 40),), "test": ((60.0, 60), (10.0, 120))}
CYCLES = 2  # as many as the authors': 160 epochs, restarted after 80 (their `train.sh`)

Graded = dict[str, dict[Task, Grade]]  # name of the evaluation → task → grade


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, choose, evaluate, write."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    recipe = Recipe(
        width=options.width,
        normalization=options.normalization,
        epochs=options.epochs,
        steps=options.steps,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    data = open_data(options.data, options.work / "cache")
    describe(data)
    runs = [options.work / f"run{cycle}" for cycle in range(1, options.cycles + 1)]
    if not options.package_only:
        watched = ValidationSet(data, "validation", options.watched_soundscapes)
        train_cycles(data, recipe, watched, runs)
    package(data, runs, options.output)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    defaults = Recipe()
    command = argparse.ArgumentParser(
        prog="python -m recipes.open.checkpoint",
        description="Train the open checkpoint from raw recordings and write it as it ships.",
    )
    command.add_argument("data", type=Path, help="folder of the data folders")
    command.add_argument("--work", type=Path, required=True, help="for the cache and the run")
    command.add_argument("--output", type=Path, required=True, help="for the files that ship")
    command.add_argument("--width", type=float, default=defaults.width)
    command.add_argument(
        "--normalization", choices=("fixed", "clip"), default=defaults.normalization
    )
    command.add_argument("--cycles", type=int, default=CYCLES)
    command.add_argument("--epochs", type=int, default=defaults.epochs, help="per cycle")
    command.add_argument("--steps", type=int, default=defaults.steps, help="per epoch")
    command.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    command.add_argument("--seed", type=int, default=defaults.seed)
    command.add_argument(
        "--watched-soundscapes", type=int, default=10, help="in the validation after each epoch"
    )
    command.add_argument(
        "--package-only", action="store_true", help="no training: write the files of a run"
    )
    return command


def describe(data: OpenData) -> None:
    """Log which labels were kept, merged and dropped, and what the gate left out."""
    for task, fates in data.fates.items():
        for fate in fates:
            log.info("%s %s: %s, recordings %s", task, fate.name, fate.outcome, fate.recordings)
    log.info("%d bursts; %d clips without a clear onset.", len(data.bursts), len(data.gated))


def train_cycles(
    data: OpenData, recipe: Recipe, watched: ValidationSet, runs: Sequence[Path]
) -> None:
    """Train a cycle in each folder, with a seed of its own, so that it draws other batches.

    Args:
        data: The data set.
        recipe: Hyperparameters of a cycle; its seed is the first one's.
        watched: Validation that each cycle's best epoch is chosen by.
        runs: Folder of each cycle.
    """
    best = None
    for number, run in enumerate(runs):
        of_cycle = dataclasses.replace(recipe, seed=recipe.seed + number)
        best = train(data, of_cycle, watched, run, initial=best)


def package(data: OpenData, runs: Sequence[Path], output: Path) -> ModelSpec:
    """Evaluate the last cycle's best epoch as it will ship, and write every file of the package.

    Args:
        data: The data set.
        runs: Folder of each cycle, with its best checkpoint and its log.
        output: Folder of the package.
    """
    module, epoch = trained(runs[-1] / "best.ckpt", data)
    recipe: Recipe = module.recipe
    tensors = export.half(module)
    export.load_tensors(module, tensors)  # evaluated as shipped: rounded to float16
    graded, thresholds = evaluate(module, data)
    chosen = f"epoch {epoch} of {recipe.epochs} of cycle {len(runs)}"
    spec = describe_checkpoint(data, recipe, graded, thresholds, chosen)
    used = data.used_clips("train")
    write(output / "model.safetensors", tensors, spec)
    export.write_credits(output / "ATTRIBUTION.md", used)
    export.summarize_logs(runs, output / "training_log.csv")
    card = model_card(data, recipe, len(runs), spec, graded, export.parameters(tensors))
    (output / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    write_metrics(output / "metrics.json", data, recipe, len(runs), graded)
    log.info("Wrote %s: %s", output, spec.metrics)
    return spec


def evaluate(module: JointTraining, data: OpenData) -> tuple[Graded, tuple[float, ...]]:
    """Tune the thresholds on validation, then grade validation and test with them."""
    graded: Graded = {}
    thresholds: tuple[float, ...] = ()
    for split, lengths in FINAL_SOUNDSCAPES.items():
        for duration, n_soundscapes in lengths:
            validation_set = ValidationSet(
                data, "validation" if split == "validation" else "test", n_soundscapes, duration
            )
            answers = validation_set.answers_of(module.frontend, module.network)
            if not thresholds:
                thresholds = tune_thresholds(answers, validation_set)
            graded[f"{split}_{duration:.0f}s"] = grade(
                answers, validation_set, thresholds, with_intervals=True
            )
    return graded, thresholds


def describe_checkpoint(
    data: OpenData,
    recipe: Recipe,
    graded: Graded,
    thresholds: Sequence[float],
    chosen: str,
) -> ModelSpec:
    """Put together what the checkpoint says about itself."""
    validation, test, short = (graded[k] for k in ("validation_60s", "test_60s", "test_10s"))
    events = data.names("event")
    metrics: dict[str, dict[str, float]] = {}
    for task, grade_of_test in test.items():
        figures = {f"test_{n}": v for n, v in grade_of_test.figures.items()}
        figures |= {f"validation_{n}": v for n, v in validation[task].figures.items()}
        metrics[task] = {name: round(value, 4) for name, value in figures.items()}
    metrics["event"] |= {f"test_10s_{n}": round(v, 4) for n, v in short["event"].figures.items()}
    counts = "; ".join(
        f"{task}: {validation[task].recordings} validation and {test[task].recordings} test"
        for task in test
    )
    used = data.used_clips("train")
    n_sources = len({clip.source for clip in used})
    minutes = sum(len(data.store.waveform(c)) for c in used) / data.store.sample_rate / 60
    return ModelSpec(
        name="v3",
        stage="open",
        width=recipe.width,
        scenes=data.names("scene"),
        tags=data.names("tag"),
        events=events,
        frontend=frontend_settings(recipe),
        resampler="soxr",
        thresholds=dict(zip(events, thresholds, strict=True)),
        license=LICENSE,
        training_data=(
            f"{len(used)} clips of {n_sources} recordings ({minutes:.0f} minutes), "
            "each CC0, CC BY or public domain: "
            "ESC-50 (open clips of folds 1-3), isolated events, ambiences and DCASE 2016 task 2 "
            "events; see ATTRIBUTION.md."
        ),
        datasets=("ESC-50", "DCASE 2016 Task 2"),
        metrics=metrics,
        protocol=(
            f"Source recordings behind the figures: {counts}. At most 4 files of one recording and "
            "label, the first 30 s of each, by the context rules of the verbs. Events: soundscapes "
            "of 60 s (10 s where named) mixed from the same split's recordings, segments of 1 s, "
            f"thresholds tuned on validation. Checkpoint of {chosen}, chosen on validation."
        ),
        source="Trained by python -m recipes.open.checkpoint.",
    )


def write_metrics(path: Path, data: OpenData, recipe: Recipe, cycles: int, graded: Graded) -> None:
    """Write every figure, per label too, with the recipe and what became of each label."""
    content = {
        "cycles": cycles,
        "recipe": dataclasses.asdict(recipe),
        "evaluations": {
            name: {task: dataclasses.asdict(grade) for task, grade in tasks.items()}
            for name, tasks in graded.items()
        },
        "labels": {
            task: [dataclasses.asdict(fate) for fate in fates] for task, fates in data.fates.items()
        },
        "audioset": {
            task: {label.name: label.audioset for label in labels if label.audioset}
            for task, labels in data.labels.items()
        },
        "bursts": len(data.bursts),
        "clips_without_clear_onset": len(data.gated),
    }
    # JSON has no nan: a label that nothing in the evaluation carries is null.
    text = json.dumps(content, indent=1).replace(": NaN", ": null")
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
