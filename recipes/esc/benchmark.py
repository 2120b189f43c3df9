"""Five-fold accuracy on ESC-10 or ESC-50: linear probe, fine-tuning, and from random weights.

::

    python -m recipes.esc.benchmark DATA --set esc10 --work runs/esc10 --pretrained CHECKPOINT

The checkpoint must not have seen ESC-50 (``python -m recipes.train … --without esc50``). A fold
that is finished is kept in ``WORK/results.json``; give the same command to go on. Nothing is chosen
on the test fold: training runs to the end of its schedule, on the other four folds. Fine-tuning
goes on from the probe, whose linear layer is right at once: the first gradients of a random one
would spoil what the backbone knows (Kumar et al., ICLR 2022).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dcasenet.atomic import write_bytes
from dcasenet.errors import DcasenetError
from dcasenet.inference.model import SoundModel
from dcasenet.loading import load
from dcasenet.spec import FrontEndSettings, Task
from dcasenet.train.data.dataset import Example, SoundDataset
from dcasenet.train.data.esc import ESC10, ESC50, FOLDS
from dcasenet.train.data.store import WaveformStore, decode_examples
from dcasenet.train.engine.untrained import untrained
from dcasenet.train.finetuning.data import FinetuningData
from dcasenet.train.finetuning.evaluation import predict, verb
from dcasenet.train.finetuning.learning import learn
from dcasenet.train.finetuning.recipe import FinetuneRecipe
from dcasenet.train.finetuning.tuning import tune

log = logging.getLogger("recipes.esc.benchmark")  # also as a command

SETS: dict[str, Callable[..., SoundDataset]] = {"esc10": ESC10, "esc50": ESC50}
# Rows of the table: what is trained, and from where.
ROWS = {
    "probe": "linear probe on the frozen backbone",
    "finetune": "everything fine-tuned",
    "scratch": "from random weights",
}
TASK: Task = "scene"  # one label is true

LEARNING_RATE, MIXUP, CLIP_SECONDS = 2e-3, 0.4, 2.4

Results = dict[str, dict[str, float]]  # row → fold → accuracy


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test what is not finished yet, then print the table."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    path: Path = options.work / "results.json"
    settings = {
        "set": options.set,
        "width": options.width,
        "epochs": options.epochs,
        "seed": options.seed,
        "pretrained": str(options.pretrained or ""),
    }
    results = read_results(path, settings)
    rows = [row for row in ROWS if row in (options.rows or ROWS)]
    if options.pretrained is None:
        rows = [row for row in rows if row == "scratch"]
    for fold in options.folds:
        for row in rows:
            if str(fold) in results.setdefault(row, {}):
                continue
            results[row][str(fold)] = accuracy_of(row, fold, options)
            content = json.dumps({"settings": settings, "accuracy": results}, indent=1)
            write_bytes(path, content.encode())
            log.info("%s, fold %d: %.4f", row, fold, results[row][str(fold)])
    sys.stdout.write(table(results, settings) + "\n")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.esc.benchmark",
        description="Five-fold accuracy on ESC-10 or ESC-50, as a Markdown table.",
    )
    command.add_argument("data", type=Path, help="folder of the data set")
    command.add_argument("--set", choices=[*SETS], required=True)
    command.add_argument("--work", type=Path, required=True, help="for the cache and the results")
    command.add_argument("--pretrained", type=Path, help="a checkpoint that never saw ESC-50")
    command.add_argument("--rows", nargs="+", choices=[*ROWS], help="by default all")
    command.add_argument("--folds", type=int, nargs="+", choices=FOLDS, default=[*FOLDS])
    command.add_argument("--width", type=float, default=0.25, help="from random weights")
    command.add_argument("--epochs", type=int, default=40)
    command.add_argument("--seed", type=int, default=0)
    return command


def accuracy_of(row: str, fold: int, options: argparse.Namespace) -> float:
    """Train on four folds and give the accuracy on the fifth."""
    dataset = SETS[options.set](options.data, test_fold=fold, validation=False, task=TASK)
    model = _scratch(options) if row == "scratch" else load(options.pretrained)
    data, held = four_folds(dataset, model, options.work / "cache")
    recipe = FinetuneRecipe(
        task=TASK,
        labels=data.labels,
        architecture=model.spec.name,
        width=model.spec.width,
        epochs=options.epochs,
        batch_size=32,
        learning_rate=LEARNING_RATE,
        backbone_lr_scale=1.0,
        mixup=MIXUP,
        seed=options.seed,
        clip_seconds=CLIP_SECONDS,
    )
    folder = options.work / f"{row}-{fold}"
    tuned = learn(model, data, recipe, folder, "none" if row == "scratch" else "trunk")
    if row == "finetune":
        tuned = tune(tuned, data, recipe, folder)
    answers = predict(tuned, verb(tuned.spec, TASK), held, data.store)
    best = (int(answer.values.argmax()) for answer in answers)
    right = [k in data.targets(example) for k, example in zip(best, held, strict=True)]
    return float(np.mean(right))


def four_folds(
    dataset: SoundDataset, model: SoundModel, cache: Path
) -> tuple[FinetuningData, list[Example]]:
    """Return four folds to train on, and the fifth to be tested on, decoded once for all folds."""
    # In an order of their own and whole, so that every fold finds the same cache.
    examples = sorted(dataset, key=lambda example: example.path)
    store = decode_all(examples, model, cache)
    train = tuple(e for e in examples if e.split == "train" and e in store)
    held = [e for e in examples if e.split == "test" and e in store]
    return FinetuningData(dataset.name, dataset.task, dataset.labels, train, (), store), held


def decode_all(examples: Sequence[Example], model: SoundModel, cache: Path) -> WaveformStore:
    """Decode every clip of the folders that examples are in, used by this fold or not."""
    folders = sorted({example.path.parent for example in examples})
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    suffixes = {example.path.suffix for example in examples}
    everything = [Example(file) for file in files if file.suffix in suffixes]
    spec = model.spec
    return decode_examples(everything, cache, spec.frontend.sample_rate, spec.resampler)


def table(results: Results, settings: dict[str, object]) -> str:
    """Return the accuracies as a Markdown table.

    Example:
        >>> print(table({"probe": {"1": 0.5, "2": 0.75}}, {"set": "esc10", "epochs": 2}))
        | esc10, epochs 2 | fold 1 | fold 2 | fold 3 | fold 4 | fold 5 | mean |
        |---|---|---|---|---|---|---|
        | linear probe on the frozen backbone | 50.0 | 75.0 | – | – | – | 62.5 |
    """
    title = ", ".join(
        str(value) if name == "set" else f"{name} {value}"
        for name, value in settings.items()
        if name != "pretrained"
    )
    folds = [str(fold) for fold in FOLDS]
    lines = [
        "| " + " | ".join([title, *(f"fold {fold}" for fold in folds), "mean"]) + " |",
        "|---" * (len(folds) + 2) + "|",
    ]
    for row, found in results.items():
        if found:
            cells = [f"{100 * found[fold]:.1f}" if fold in found else "–" for fold in folds]
            mean = f"{100 * np.mean([*found.values()]):.1f}"
            lines.append("| " + " | ".join([ROWS[row], *cells, mean]) + " |")
    return "\n".join(lines)


def read_results(path: Path, settings: dict[str, object]) -> Results:
    """Read what is finished, if anything.

    Raises:
        DcasenetError: It was begun with other settings.
    """
    if not path.is_file():
        return {}
    found = json.loads(path.read_text("utf-8"))
    if found["settings"] != settings:
        raise DcasenetError(
            f"{path} was begun with {found['settings']}, not with {settings}. Give the same "
            f"options, or another --work."
        )
    accuracy: Results = found["accuracy"]
    return accuracy


def _scratch(options: argparse.Namespace) -> SoundModel:
    frontend = FrontEndSettings(normalization="level")
    return untrained("v3", width=options.width, frontend=frontend, seed=options.seed)


if __name__ == "__main__":
    main()
