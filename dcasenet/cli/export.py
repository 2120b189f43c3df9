"""The command `export`: a model becomes a file for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dcasenet.cli.options import (
    Model,
    Overwrite,
    Stage,
    TaskName,
    Weights,
)
from dcasenet.cli.output import say, tell_passed_over
from dcasenet.spec import TASKS


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(export)


def export(
    target: Annotated[Path, typer.Argument(help="The file to write, such as model.onnx.")],
    model: Model = None,
    stage: Stage = None,
    weights: Weights = None,
    task: Annotated[
        list[TaskName] | None,
        typer.Option(help="Task to export; may be repeated. By default all."),
    ] = None,
    fmt: Annotated[Literal["onnx"], typer.Option("--format", help="File format.")] = "onnx",
    precision: Annotated[
        Literal["float32", "int8"], typer.Option(help="Precision of the exported model.")
    ] = "float32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Recordings for int8 calibration; not needed for checkpoints of the package.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a model as one ONNX file, from waveform to outputs, with its labels."""
    from dcasenet.audio.discovery import find_recordings
    from dcasenet.loading import load
    from dcasenet.onnx.export import to_onnx

    tasks = [name for name in TASKS if name in task] if task else None
    if calibrate is not None and precision == "float32":
        raise typer.BadParameter(
            "--calibrate is for --precision int8; float32 needs no recordings."
        )
    recordings = None
    if calibrate is not None:
        listing = find_recordings([calibrate])
        recordings = listing.files
        tell_passed_over(listing.passed_over)
    loaded = load(model, stage=stage, weights=weights)
    path = to_onnx(
        loaded, target, tasks, precision=precision, calibrate=recordings, overwrite=overwrite
    )
    say(f"{path}: {fmt}, {precision}, {path.stat().st_size / 1e6:.1f} MB")
