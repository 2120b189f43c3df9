"""The ``dcasenet`` command: arguments in, tables or lines out; nothing that the API cannot do."""

from __future__ import annotations

import dataclasses
import io
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import numpy as np
import typer

from dcasenet import __version__
from dcasenet.cli import export, finetune, listen, redact, reports, reproduce, search, web
from dcasenet.cli import weights as cli_weights
from dcasenet.cli.answering import Query, respond
from dcasenet.cli.options import (
    DecodingOptions,
    Level,
    ModelOptions,
    OutputOptions,
    Overwrite,
    Paths,
    ThresholdOption,
    Top,
    check_picture,
    parse_threshold,
    with_options,
)
from dcasenet.cli.output import fail
from dcasenet.cli.panels import PanelGroup
from dcasenet.errors import DcasenetError

if TYPE_CHECKING:
    from dcasenet.results import Analysis

app = typer.Typer(
    name="dcasenet",
    cls=PanelGroup,
    help="Classify the scene, tag the sounds and detect the events of recordings.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (cli_weights, export, finetune, reproduce, search, redact, listen, web, reports):
    module.register(app)


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
@with_options
def analyze(
    files: Paths,
    of_model: ModelOptions,
    to: OutputOptions,
    threshold: ThresholdOption = None,
    top: Top = 5,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw one file here: spectrogram, probabilities, events, scenes."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Answer every task that the model has: scene, tags and events."""
    from dcasenet.batch import runner

    if plot is not None:
        _check_plot(plot, files, to, overwrite)
    model = of_model.load()
    limits = parse_threshold(threshold, model.spec)

    def answer(file: str) -> Analysis:
        analysis = model.analyze(file, threshold=limits)
        tags = analysis.tags and dataclasses.replace(analysis.tags, limit=top)
        return dataclasses.replace(analysis, tags=tags)

    def draw(file: str, analysis: Analysis) -> None:
        from dcasenet.plot import save_plot

        if plot is not None:
            save_plot(model.spec, file, analysis, plot)

    job = partial(runner.analyze, model, threshold=limits, top=top)
    query = Query("analyze", answer, job, has_events="event" in model.spec.tasks, then=draw)
    respond(query, files, to, streamed=(model, limits))


@app.command()
@with_options
def scene(files: Paths, of_model: ModelOptions, to: OutputOptions) -> None:
    """Say where recordings were made."""
    from dcasenet.batch import runner

    model = of_model.load()
    query = Query("scene", model.classify_scene, partial(runner.classify_scene, model))
    respond(query, files, to)


@app.command()
@with_options
def tags(files: Paths, of_model: ModelOptions, to: OutputOptions, top: Top = 5) -> None:
    """Say what sounds anywhere in recordings."""
    from dcasenet.batch import runner

    model = of_model.load()
    query = Query("tags", partial(model.tag, top=top), partial(runner.tag, model, top=top))
    respond(query, files, to)


@app.command()
@with_options
def events(files: Paths, of_model: ModelOptions, how: DecodingOptions, to: OutputOptions) -> None:
    """Say which sounds begin and end when."""
    from dcasenet.batch import runner

    model = of_model.load()
    options = how.arguments(model.spec)
    query = Query(
        "events",
        partial(model.detect_events, **options),
        partial(runner.detect_events, model, decoding=options),
        has_events=True,
    )
    respond(query, files, to)


@app.command()
@with_options
def embed(
    files: Paths,
    of_model: ModelOptions,
    to: OutputOptions,
    level: Annotated[
        Level, typer.Option(help="A vector for a clip, or one for each step of the network.")
    ] = Level.clip,
) -> None:
    """Print the embeddings of recordings."""
    from dcasenet.batch import runner

    if level is Level.frame and to.output is not None and to.output.suffix:
        raise typer.BadParameter(
            f"{to.output} holds one vector a file; --level frame is printed, or written to a "
            f"folder."
        )
    model = of_model.load()
    job = partial(runner.embed, model)
    if level is Level.frame:
        respond(Query("embed", partial(model.embed, level="frame"), job), files, to)
    else:
        respond(Query("embed", lambda file: np.asarray(model.embed(file)), job), files, to)


def _check_plot(plot: Path, files: list[Path], to: OutputOptions, overwrite: bool) -> None:
    if to.output is not None:
        raise typer.BadParameter("--plot and --output do not go together; call the command twice.")
    if len(files) != 1 or files[0].is_dir():
        raise typer.BadParameter(f"--plot draws one file; {len(files)} were given.")
    check_picture(plot, overwrite)


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
