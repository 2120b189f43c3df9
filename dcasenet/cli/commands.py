"""The ``dcasenet`` command: arguments in, tables or lines out; nothing that the API cannot do."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
import typer

from dcasenet import __version__
from dcasenet.cli import export, finetune, listen, redact, reproduce, search, web
from dcasenet.cli import weights as cli_weights
from dcasenet.cli.batch import Job
from dcasenet.cli.options import (
    Device,
    Engine,
    EngineOption,
    Files,
    FormatOption,
    Level,
    Model,
    Overwrite,
    Paths,
    Precision,
    PrecisionOption,
    Restart,
    Runtime,
    RuntimeOption,
    Stage,
    Threshold,
    Top,
    Weights,
    Workers,
    load_model,
)
from dcasenet.cli.output import Format, Report, fail, progress
from dcasenet.cli.panels import PanelGroup
from dcasenet.errors import DcasenetError

app = typer.Typer(
    name="dcasenet",
    cls=PanelGroup,
    help="Classify the scene, tag the sounds and detect the events of recordings.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (cli_weights, export, finetune, reproduce, search, redact, listen, web):
    module.register(app)

PICTURES = (".png", ".svg", ".pdf")


@app.callback(invoke_without_command=True)
def top_level(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Classify the scene, tag the sounds and detect the events of recordings."""
    if version:
        typer.echo(f"dcasenet {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:  # `dcasenet` alone: Typer shows the help
        raise typer.Exit(2)


@app.command()
def analyze(
    files: Paths,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.float32,
    runtime: RuntimeOption = Runtime.auto,
    threshold: Threshold = None,
    top: Top = 5,
    form: FormatOption = Format.table,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the log-mel and the events of one file here.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write a .parquet, .jsonl or .csv instead of printing: a row a file, or, of one "
            "recording as .jsonl or .csv, line by line as it goes."
        ),
    ] = None,
    workers: Workers = None,
    restart: Restart = False,
    engine: EngineOption = Engine.local,
    overwrite: Overwrite = False,
) -> None:
    """Answer every task that the model has: scene, tags and events."""
    job = Job(output, workers, restart, engine, form)
    job.check()
    if plot is not None:
        _check_plot(plot, files, output, overwrite)
    loaded = load_model(model, stage, weights, device, precision, runtime)
    if output is not None:
        job.analyze(loaded, files, threshold, top)
        return

    def answer(file: Path, report: Report) -> None:
        analysis = loaded.analyze(file, threshold=threshold)
        report.analysis(file, analysis, top)
        if plot is not None:
            from dcasenet.plot import save_plot

            save_plot(loaded, file, analysis, plot)

    _for_each(files, form, answer)


@app.command()
def scene(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.float32,
    runtime: RuntimeOption = Runtime.auto,
    form: FormatOption = Format.table,
) -> None:
    """Say where recordings were made."""
    loaded = load_model(model, stage, weights, device, precision, runtime)
    _for_each(files, form, lambda file, out: out.scene(file, loaded.classify_scene(file)))


@app.command()
def tags(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.float32,
    runtime: RuntimeOption = Runtime.auto,
    top: Top = 5,
    form: FormatOption = Format.table,
) -> None:
    """Say what is heard anywhere in recordings."""
    loaded = load_model(model, stage, weights, device, precision, runtime)
    _for_each(files, form, lambda file, out: out.tags(file, loaded.tag(file, top=top)))


@app.command()
def events(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.float32,
    runtime: RuntimeOption = Runtime.auto,
    threshold: Threshold = None,
    form: FormatOption = Format.table,
) -> None:
    """Say which sounds begin and end when."""
    loaded = load_model(model, stage, weights, device, precision, runtime)

    def answer(file: Path, report: Report) -> None:
        report.events(file, loaded.detect_events(file, threshold=threshold))

    _for_each(files, form, answer)


@app.command()
def embed(
    files: Paths,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.float32,
    runtime: RuntimeOption = Runtime.auto,
    level: Annotated[Level, typer.Option(help="A vector a clip, or one every 0.8 s.")] = Level.clip,
    form: FormatOption = Format.table,
    output: Annotated[
        Path | None,
        typer.Option(help="Write a .parquet, .npz, .jsonl or .csv instead of printing."),
    ] = None,
    workers: Workers = None,
    restart: Restart = False,
    engine: EngineOption = Engine.local,
) -> None:
    """Give what the frozen trunk hears, as vectors."""
    job = Job(output, workers, restart, engine, form)
    job.check()
    if output is not None and level is Level.frame:
        raise typer.BadParameter("--output holds one vector a file; --level frame can be printed.")
    loaded = load_model(model, stage, weights, device, precision, runtime)
    if output is not None:
        job.embed(loaded, files)
        return

    def answer(file: Path, report: Report) -> None:
        if level is Level.clip:
            report.vector(file, np.asarray(loaded.embed(file)))
        else:
            steps = loaded.embed(file, level="frame")
            report.steps(file, np.asarray(steps.values), steps.times)

    _for_each(files, form, answer)


def _check_plot(plot: Path, files: Sequence[Path], output: Path | None, overwrite: bool) -> None:
    if output is not None:
        raise typer.BadParameter("--plot and --output do not go together; call the command twice.")
    if len(files) != 1:
        raise typer.BadParameter(f"--plot draws one file; {len(files)} were given.")
    if not plot.parent.is_dir() or plot.suffix not in PICTURES:
        raise typer.BadParameter(
            f"--plot cannot write {plot}; give a file in a folder that exists, ending in "
            f"{', '.join(PICTURES)}."
        )
    if overwrite or not os.path.lexists(plot):
        return
    from dcasenet.plot import is_plot

    if not is_plot(plot):
        raise typer.BadParameter(
            f"--plot does not replace {plot}, which it did not draw. Give another name, or "
            f"--overwrite."
        )


def _for_each(
    files: Sequence[Path], output: Format, answer: Callable[[Path, Report], None]
) -> None:
    """Answer file by file; one that fails is reported, the others still done, the exit code 1."""
    failed = False
    report = Report(output)
    for file in progress(files):
        try:
            answer(file, report)
        except DcasenetError as error:
            fail(error)
            failed = True
    if failed:
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run the command and exit: 0 if all went well, 1 if something failed, 2 for a wrong call."""
    for stream in (sys.stdout, sys.stderr):  # a file may have a name that the terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(1)
    except (DcasenetError, ImportError, OSError) as error:  # OSError: the output's disk is full
        fail(error)
        sys.exit(1)
    sys.exit(0)
