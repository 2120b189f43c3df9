"""Commands about training: `finetune`."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dcasenet.cli.options import CheckpointOptions, Overwrite, TaskName, with_options
from dcasenet.cli.output import say, shown
from dcasenet.spec import ModelSpec, Task

# Task → the command that answers it.
COMMANDS: dict[Task, str] = {"scene": "scene", "tag": "tags", "event": "events"}


class Freeze(StrEnum):
    """Which weights are not trained."""

    trunk = "trunk"
    none = "none"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(finetune)


@with_options
def finetune(
    data: Annotated[
        Path, typer.Argument(help="A folder with one folder per class, or a CSV with labels.")
    ],
    task: Annotated[
        TaskName,
        typer.Option(help="scene: one label per clip; tag: any number; event: labels with times."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the new model.")],
    of_model: CheckpointOptions,
    freeze: Annotated[
        Freeze, typer.Option(help="trunk: one linear layer, in seconds; none: everything.")
    ] = Freeze.trunk,
    epochs: Annotated[
        int, typer.Option(min=1, help="Maximum number of epochs, with --freeze none.")
    ] = 30,
    batch_size: Annotated[int, typer.Option(min=2, help="Recordings per step.")] = 32,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate of the new last layer.")
    ] = 1e-3,
    backbone_lr_scale: Annotated[
        float, typer.Option(min=0, help="Factor on the learning rate for the other layers.")
    ] = 0.3,
    mixup: Annotated[float, typer.Option(min=0, help="Alpha of mix-up; 0 disables it.")] = 0.4,
    validation: Annotated[
        float,
        typer.Option(min=0, help="Share of the recordings held out for validation; 0 disables it."),
    ] = 0.2,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="For few recordings: cross-validate with this many folds, and print how the "
            "recordings left out fare, with a confusion table.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="What in a file's name says which recording it was cut from, such as '^[^_]+': "
            "no recording is then both trained on and held out.",
        ),
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="Folder for decoded audio and checkpoints, to resume from.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune a model on labeled recordings, and write it as a folder."""
    from dcasenet.weights.hub import check_folder

    check_folder(output, overwrite=overwrite)  # before anything is computed
    loaded = of_model.load_network()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it greets and advises
    try:
        from dcasenet.train import cross_validate
        from dcasenet.train import finetune as teach

        options: dict[str, Any] = {
            "freeze": freeze.value,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "backbone_lr_scale": backbone_lr_scale,
            "mixup": mixup,
            "validation": validation,
            "seed": seed,
            "group": group,
            "work_dir": work_dir,
        }
        report = None
        if folds is not None:
            report = cross_validate(loaded, data, task.value, folds=folds, **options)
            say(f"{report}\n")
        tuned = teach(loaded, data, task.value, folds=report, **options)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    tuned.save_pretrained(output, overwrite=overwrite)
    _show(tuned.spec, task.value, output)


def _show(spec: ModelSpec, task: Task, output: Path) -> None:
    """Print the validation metrics and the next commands."""
    console = Console(highlight=False)
    table = Table(min_width=52)
    table.add_column("figure", ratio=1)
    table.add_column("value", justify="right")
    for name, value in spec.metrics.get(task, {}).items():
        table.add_row(shown(name), f"{value:.3f}")
    if table.row_count:
        console.print(table)
    console.print(shown(spec.protocol.partition(" Other tasks:")[0]), soft_wrap=True)
    labels = spec.labels(task)
    console.print(f"{output}: {len(labels)} {task} labels. Type:", soft_wrap=True, markup=False)
    console.print(
        f"  dcasenet {COMMANDS[task]} recording.wav --model {output}", soft_wrap=True, markup=False
    )
