"""The commands `train` and `reproduce`: the paper's training, and its tables again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcasenet.errors import DcasenetError
from dcasenet.spec import TASKS, Task, check_tasks

if TYPE_CHECKING:
    from dcasenet.train.data.dataset import SoundDataset
    from dcasenet.train.paper.recipe import PaperRecipe
    from dcasenet.train.paper.reproduce import Comparison

TINY = """\
####################################################################
# --scale tiny: miniature data, a sixteenth of the width, two short
# epochs. This tests that everything runs. ITS NUMBERS MEAN NOTHING.
####################################################################"""


class Scale(StrEnum):
    """Size of a reproduction."""

    paper = "paper"
    tiny = "tiny"


Scenes = Annotated[
    Path | None, typer.Option("--asc", metavar="DIR", help="TAU Urban 2020 Mobile: scenes.")
]
Tags = Annotated[
    Path | None, typer.Option("--tag", metavar="DIR", help="FSDKaggle2019 curated: tags.")
]
Events = Annotated[
    Path | None, typer.Option("--sed", metavar="DIR", help="TAU-NIGENS 2020: events.")
]
OnTest = Annotated[
    bool,
    typer.Option(
        "--select-on-test", help="Choose epochs on the test sets, as the authors did: optimistic."
    ),
]
Width = Annotated[float, typer.Option(min=1 / 16, max=16, help="Factor on every layer.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs; the paper's are 160.")]
Steps = Annotated[int, typer.Option(min=1, help="Optimizer steps per epoch; the paper's are 500.")]
Batch = Annotated[
    str, typer.Option(metavar="S,T,E", help="Scene, tag and event batch, in each process.")
]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that load batches.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(train)
    app.command()(reproduce)


def train(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the model, which dcasenet.load reads."),
    ],
    tasks: Annotated[
        str, typer.Option(help="Tasks to train jointly: any of scene,tag,event.")
    ] = ",".join(TASKS),
    model: Annotated[str, typer.Option(help="Architecture: v1, v2 or v3.")] = "v3",
    asc: Scenes = None,
    tag: Tags = None,
    sed: Events = None,
    initial: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A run's checkpoint to fine-tune."),
    ] = None,
    select_on_test: OnTest = False,
    width: Width = 1.0,
    epochs: Epochs = 160,
    steps: Steps = 500,
    batch: Batch = "32,32,24",
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Train from scratch as in the paper; the same command resumes after an interruption.

    Under torchrun it trains on every process: torchrun --nproc-per-node 2 -m dcasenet train ...
    """
    from dcasenet.train.paper.run import train_and_save

    _log()
    sets = data_sets(asc, tag, sed, select_on_test, seed)
    recipe = recipe_of(
        _tasks(tasks),
        batch,
        model,
        width=width,
        epochs=epochs,
        steps=steps,
        select_on_test=select_on_test,
        seed=seed,
    )
    train_and_save(sets, recipe, output, initial=initial, workers=workers)


def reproduce(
    table: Annotated[int, typer.Option(min=2, max=3, help="Table of the paper: 2 or 3.")] = 3,
    rows: Annotated[
        list[str] | None,
        typer.Option(help="A row such as v3:scene+tag, or v3 for all its rows; may be repeated."),
    ] = None,
    asc: Scenes = None,
    tag: Tags = None,
    sed: Events = None,
    work_dir: Annotated[
        Path, typer.Option(help="Folder for decoded audio, checkpoints, logs and results.")
    ] = Path("reproduction"),
    evaluate_released: Annotated[
        bool,
        typer.Option("--evaluate-released", help="Evaluate the authors' files, without training."),
    ] = False,
    select_on_test: OnTest = False,
    scale: Annotated[
        Scale,
        typer.Option(
            help="tiny: the whole path in a minute on synthetic data; meaningless numbers."
        ),
    ] = Scale.paper,
    width: Width = 1.0,
    epochs: Epochs = 160,
    steps: Steps = 500,
    batch: Batch = "32,32,24",
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Reproduce rows of the paper's Table 2 or 3, and compare the results."""
    from dcasenet.train.engine.trainer import is_first
    from dcasenet.train.paper import reproduce as again
    from dcasenet.train.paper.published import rows as rows_of

    _log()
    if scale is Scale.tiny:
        from dcasenet.train.paper.tiny import SMALLEST, tiny_recipe, tiny_sets

        typer.echo(TINY)
        sets, recipe = tiny_sets(work_dir / "data", seed), tiny_recipe(seed)
        rows, workers = rows or list(SMALLEST[table]), 0
    else:
        sets = data_sets(asc, tag, sed, select_on_test, seed)
        recipe = recipe_of(
            tuple(sets),
            batch,
            width=width,
            epochs=epochs,
            steps=steps,
            select_on_test=select_on_test,
            seed=seed,
        )
    if evaluate_released:
        found = again.evaluate_released(sets)
    else:
        chosen_rows = rows_of(table, rows or ())
        chosen = [row for row in chosen_rows if table == 2 or set(row.tasks) <= set(sets)]
        if not chosen:
            raise DcasenetError(
                f"No row of Table {table} that was requested has only the tasks "
                f"{', '.join(sets)}. Give --asc, --tag and --sed."
            )
        found = again.reproduce(chosen, sets, work_dir, recipe, workers=workers)
    if is_first():
        show(found, trained=not evaluate_released, on_test=recipe.select_on_test)
        if scale is Scale.tiny:
            typer.echo(TINY)


def data_sets(
    asc: Path | None, tag: Path | None, sed: Path | None, select_on_test: bool, seed: int
) -> dict[Task, SoundDataset]:
    """Open the data sets that were given; the authors held nothing out for validation."""
    from dcasenet.train.data.fsdkaggle import FSDKaggle2019Curated
    from dcasenet.train.data.nigens import TAUNigens2020
    from dcasenet.train.data.urban import TAUUrban2020Mobile

    share = 0.0 if select_on_test else 0.1
    sets: dict[Task, SoundDataset] = {}
    if asc is not None:
        sets["scene"] = TAUUrban2020Mobile(asc, validation=share, seed=seed)
    if tag is not None:
        sets["tag"] = FSDKaggle2019Curated(tag, validation=share, seed=seed)
    if sed is not None:
        sets["event"] = TAUNigens2020(sed, validation=not select_on_test)
    if not sets:
        raise DcasenetError("No data set was given; give --asc DIR, --tag DIR or --sed DIR.")
    return sets


def recipe_of(tasks: Sequence[Task], batch: str, model: str = "v3", **options: Any) -> PaperRecipe:
    """Return the paper's recipe, changed by the options."""
    from dcasenet.train.paper.recipe import PaperRecipe

    sizes = batch.split(",")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise typer.BadParameter(f"--batch is {batch!r}; give three numbers, such as 32,32,24.")
    n_scene, n_tag, n_event = (int(size) for size in sizes)
    return PaperRecipe(
        architecture=model,
        tasks=tuple(tasks),
        n_scene=n_scene,
        n_tag=n_tag,
        n_event=n_event,
        **options,
    )


def show(found: Sequence[Comparison], *, trained: bool, on_test: bool) -> None:
    """Print results next to the paper's."""
    typer.echo(f"{'row':26}{'training':12}{'figure':34}{'ours':>9}{'paper':>9}{'difference':>12}")
    for c in found:
        name = f"{c.task} {c.figure}"
        digits = 4 if "error_rate" in c.figure else 2
        beside = f"{'-':>9}{'-':>12}"
        if c.paper is not None and c.difference is not None:
            beside = f"{c.paper:9.{digits}f}{c.difference:+12.{digits}f}"
        typer.echo(f"{c.row:26}{c.training:12}{name:34}{c.ours:9.{digits}f}{beside}")
    typer.echo(
        "Percent, but error rates. The paper's SED figures are of blocks of 5 s without their last "
        "frame\n(paper_f1, paper_error_rate): compare them with nothing else."
    )
    if trained and on_test:
        typer.echo("Epochs were chosen on the test sets, as the authors did: optimistic figures.")
    elif trained:
        typer.echo("Epochs were chosen on validation; the paper chose them on the test sets.")


def _tasks(names: str) -> tuple[Task, ...]:
    given = [name.strip() for name in names.split(",")]
    try:
        check_tasks(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return tuple(task for task in TASKS if task in given)


def _log() -> None:
    """Log what training does on standard error."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("dcasenet").setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric"):  # on hardware and products
        logging.getLogger(name).setLevel(logging.WARNING)
