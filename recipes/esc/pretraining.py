"""Pre-training for the ESC benchmarks: by the open checkpoint's recipe, without one fold.

::

    python -m recipes.esc.pretraining DATA --work runs/esc --output runs/esc/pretrained

Run k reads every clip of ESC-50, whatever its license, but those of fold k and of the recordings
that are in fold k. Its weights are for `recipes.esc.benchmark` and not to be passed on.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dcasenet.spec import ModelSpec
from dcasenet.train.data.esc import FOLDS
from dcasenet.train.metrics.thresholds import UNTUNED
from dcasenet.weights.checkpoint import write
from recipes.open import export
from recipes.open.data import OpenData, open_data
from recipes.open.module import frontend_settings, trained
from recipes.open.options import add_recipe_options, recipe_of
from recipes.open.recipe import Recipe
from recipes.open.training import train

log = logging.getLogger("recipes.esc.pretraining")  # also as a command

LICENSE = "not to be passed on: trained on clips of ESC-50 that are not openly licensed"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not there yet."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    recipe = recipe_of(options, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    for fold in options.folds:
        target = options.output / f"fold{fold}.safetensors"
        if target.is_file():
            log.info("%s is there.", target)
            continue
        data = open_data(options.data, options.work / "cache", fold)
        pretrain(data, recipe, options.work / f"fold{fold}", target)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.esc.pretraining",
        description="Pre-train five networks for the ESC benchmarks, each without one fold.",
    )
    command.add_argument("data", type=Path, help="folder of the data folders")
    command.add_argument("--work", type=Path, required=True, help="for the cache and the runs")
    command.add_argument("--output", type=Path, required=True, help="for fold<k>.safetensors")
    command.add_argument("--folds", type=int, nargs="+", choices=FOLDS, default=[*FOLDS])
    add_recipe_options(command, epochs=10, steps=70)
    command.add_argument("--seed", type=int, default=0)
    return command


def pretrain(data: OpenData, recipe: Recipe, run: Path, target: Path) -> ModelSpec:
    """Train on a data set without a fold and write the last epoch's weights.

    Args:
        data: The data set, without its fold.
        recipe: Hyperparameters; nothing is chosen by validation.
        run: Folder of the run, that an interrupted one goes on from.
        target: The safetensors file.
    """
    module, _ = trained(train(data, recipe, None, run), data)
    spec = ModelSpec(
        name="v3",
        stage=target.stem,
        width=recipe.width,
        scenes=data.names("scene"),
        tags=data.names("tag"),
        events=data.names("event"),
        thresholds=dict.fromkeys(data.names("event"), UNTUNED),
        frontend=frontend_settings(recipe),
        resampler="soxr",
        license=LICENSE,
        training_data=f"{len(data.used_clips('train'))} clips of the open data set and of ESC-50.",
        source="Trained by python -m recipes.esc.pretraining.",
    )
    write(target, export.half(module), spec)
    log.info("Wrote %s", target)
    return spec


if __name__ == "__main__":
    main()
