"""The ``dcasenet`` command: arguments in, tables or lines out; nothing that the API cannot do."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dcasenet import __version__, cli_export, cli_weights
from dcasenet.cli_output import Format, Report, fail, progress
from dcasenet.errors import DcasenetError

if TYPE_CHECKING:
    from dcasenet.model import SoundModel

app = typer.Typer(
    name="dcasenet",
    help="Classify the scene, tag the sounds and detect the events of recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cli_weights.register(app)
cli_export.register(app)


PICTURES = (".png", ".svg", ".pdf")


class Level(str, Enum):
    """What an embedding stands for."""

    clip = "clip"
    frame = "frame"


Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Recordings: WAV, FLAC, Ogg or MP3.")
]
Model = Annotated[
    str, typer.Option("--model", help="Architecture, folder, file or Hub repository.")
]
Stage = Annotated[str, typer.Option(help="Which training; see 'dcasenet models'.")]
Weights = Annotated[Path | None, typer.Option(help="A file of weights, instead of a stage.")]
Device = Annotated[str, typer.Option(help="Where to run, such as cpu or cuda.")]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Events are above it; by default the checkpoint's own."),
]
Top = Annotated[int, typer.Option(min=1, help="How many tags to show.")]
Output = Annotated[Format, typer.Option("--format", help="table, json (a line a file) or csv.")]


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
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    threshold: Threshold = None,
    top: Top = 5,
    output: Output = Format.table,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the log-mel and the events of one file here.")
    ] = None,
) -> None:
    """Answer every task that the model has: scene, tags and events."""
    if plot is not None and len(files) != 1:
        raise typer.BadParameter(f"--plot draws one file; {len(files)} were given.")
    if plot is not None and (not plot.parent.is_dir() or plot.suffix not in PICTURES):
        raise typer.BadParameter(
            f"--plot cannot write {plot}; give a file in a folder that exists, ending in "
            f"{', '.join(PICTURES)}."
        )
    loaded = _load(model, stage, weights, device)

    def answer(file: Path, report: Report) -> None:
        analysis = loaded.analyze(file, threshold=threshold)
        report.analysis(file, analysis, top)
        if plot is not None:
            from dcasenet.plot import save_plot

            save_plot(loaded, file, analysis, plot)

    _for_each(files, output, answer)


@app.command()
def scene(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    output: Output = Format.table,
) -> None:
    """Say where recordings were made."""
    loaded = _load(model, stage, weights, device)
    _for_each(files, output, lambda file, out: out.scene(file, loaded.classify_scene(file)))


@app.command()
def tags(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    top: Top = 5,
    output: Output = Format.table,
) -> None:
    """Say what is heard anywhere in recordings."""
    loaded = _load(model, stage, weights, device)
    _for_each(files, output, lambda file, out: out.tags(file, loaded.tag(file, top=top)))


@app.command()
def events(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    threshold: Threshold = None,
    output: Output = Format.table,
) -> None:
    """Say which sounds begin and end when."""
    loaded = _load(model, stage, weights, device)

    def answer(file: Path, report: Report) -> None:
        report.events(file, loaded.detect_events(file, threshold=threshold))

    _for_each(files, output, answer)


@app.command()
def embed(
    files: Files,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    device: Device = "cpu",
    level: Annotated[Level, typer.Option(help="A vector a clip, or one every 0.8 s.")] = Level.clip,
    output: Output = Format.table,
) -> None:
    """Give what the frozen trunk hears, as vectors."""
    loaded = _load(model, stage, weights, device)

    def answer(file: Path, report: Report) -> None:
        if level is Level.clip:
            report.vector(file, loaded.embed(file).numpy())
        else:
            steps = loaded.embed(file, level="frame")
            report.steps(file, steps.values.numpy(), steps.times)

    _for_each(files, output, answer)


def _load(name: str, stage: str, weights: Path | None, device: str) -> SoundModel:
    from dcasenet.loading import load

    try:
        return load(name, stage=stage, weights=weights, device=device)
    except DcasenetError:
        raise
    except ValueError as error:  # no such device
        raise typer.BadParameter(str(error)) from error


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
