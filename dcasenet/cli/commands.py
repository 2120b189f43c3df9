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
from dcasenet.cli import check, export, finetune, listen, redact, reports, reproduce, search, web
from dcasenet.cli import weights as cli_weights
from dcasenet.cli.answering import CommandQuery, respond
from dcasenet.cli.options import (
    STDIN,
    DetectionOptions,
    Level,
    ModelOptions,
    OutputOptions,
    Overwrite,
    Paths,
    ReadingOptions,
    Reject,
    ThresholdOption,
    Top,
    check_picture,
    parse_threshold,
    with_options,
)
from dcasenet.cli.output import fail, what_to_install
from dcasenet.cli.panels import PanelGroup
from dcasenet.errors import DcasenetError

if TYPE_CHECKING:
    from dcasenet.results import Analysis
    from dcasenet.types import Audio

app = typer.Typer(
    name="dcasenet",
    cls=PanelGroup,
    help="Classify the scene, tag the sounds and detect the events of recordings.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    check,
    cli_weights,
    export,
    finetune,
    reproduce,
    search,
    redact,
    listen,
    web,
    reports,
):
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
    reading: ReadingOptions,
    to: OutputOptions,
    threshold: ThresholdOption = None,
    top: Top = 5,
    reject: Reject = True,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Picture to draw of one file: spectrogram, probabilities, events, scenes."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Run every task of the model: scene, tags and events."""
    from dcasenet.batch import runner
    from dcasenet.batch.incremental import write_results

    if plot is not None:
        _check_plot(plot, files, to, overwrite)
    model = of_model.load()
    limits = parse_threshold(threshold, model.spec)
    read = reading.arguments()

    def answer(file: Audio) -> Analysis:
        analysis: Analysis = model.analyze(file, threshold=limits, reject=reject, **read)
        tags = analysis.tags and dataclasses.replace(analysis.tags, limit=top)
        return dataclasses.replace(analysis, tags=tags)

    def draw(file: str, analysis: Analysis) -> None:
        from dcasenet.plot import save_plot

        if plot is not None:
            save_plot(model.spec, file, analysis, plot)

    job = partial(runner.analyze, model, threshold=limits, top=top, reject=reject, **read)
    query = CommandQuery("analyze", answer, job, has_events="event" in model.spec.tasks, then=draw)
    streamed = partial(write_results, model, threshold=limits, reject=reject, **read)
    # The answers about each channel are averaged over the whole recording.
    respond(query, files, to, None if read["channels"] == "each" else streamed)


@app.command()
@with_options
def scene(
    files: Paths,
    of_model: ModelOptions,
    reading: ReadingOptions,
    to: OutputOptions,
    reject: Reject = True,
) -> None:
    """Classify the scene of recordings."""
    from dcasenet.batch import runner

    model = of_model.load()
    read = reading.arguments()
    query = CommandQuery(
        "scene",
        partial(model.classify_scene, reject=reject, **read),
        partial(runner.classify_scene, model, reject=reject, **read),
    )
    respond(query, files, to)


@app.command()
@with_options
def tags(
    files: Paths,
    of_model: ModelOptions,
    reading: ReadingOptions,
    to: OutputOptions,
    top: Top = 5,
    reject: Reject = True,
) -> None:
    """Tag the sounds of recordings."""
    from dcasenet.batch import runner

    model = of_model.load()
    read = reading.arguments()
    query = CommandQuery(
        "tags",
        partial(model.tag, top=top, reject=reject, **read),
        partial(runner.tag, model, top=top, reject=reject, **read),
    )
    respond(query, files, to)


@app.command()
@with_options
def events(
    files: Paths,
    of_model: ModelOptions,
    how: DetectionOptions,
    reading: ReadingOptions,
    to: OutputOptions,
) -> None:
    """Detect the sound events of recordings, with onset and offset."""
    from dcasenet.batch import runner

    model = of_model.load()
    options, read = how.arguments(model.spec), reading.arguments()
    query = CommandQuery(
        "events",
        partial(model.detect_events, **options, **read),
        partial(runner.detect_events, model, decoding=options, **read),
        has_events=True,
    )
    respond(query, files, to)


@app.command()
@with_options
def embed(
    files: Paths,
    of_model: ModelOptions,
    reading: ReadingOptions,
    to: OutputOptions,
    level: Annotated[
        Level, typer.Option(help="One vector per clip, or one per step of the network.")
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
    read = reading.arguments()
    job = partial(runner.embed, model, **read)
    if level is Level.frame:
        respond(CommandQuery("embed", partial(model.embed, level="frame", **read), job), files, to)
    else:
        respond(
            CommandQuery("embed", lambda file: np.asarray(model.embed(file, **read)), job),
            files,
            to,
        )


def _check_plot(plot: Path, files: list[Path], to: OutputOptions, overwrite: bool) -> None:
    if to.output is not None:
        raise typer.BadParameter("--plot and --output do not go together; call the command twice.")
    if len(files) != 1 or files[0].is_dir() or str(files[0]) == STDIN:
        raise typer.BadParameter(
            "--plot draws one file; it draws no folder, no standard input, and not several files."
        )
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
    except ImportError as error:
        fail(what_to_install(error))
        sys.exit(1)
    except (DcasenetError, OSError) as error:
        if type(error) is OSError and error.filename is None and error.strerror:
            fail(f"The results cannot be written: {error.strerror}.")
        else:
            fail(error)
        sys.exit(1)
    sys.exit(0)
