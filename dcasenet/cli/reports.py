"""Commands about results: `report`, `verify` and `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dcasenet.cli.batch import interruptible
from dcasenet.cli.options import (
    CheckpointOptions,
    ModelOptions,
    Overwrite,
    Paths,
    ThresholdOption,
    check_picture,
    parse_threshold,
    refusing_options,
    with_options,
)
from dcasenet.cli.output import fail, printable, progress, say, tell_passed_over, watching
from dcasenet.text import count


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (report, verify, calibrate):
        app.command()(command)


@with_options
def report(
    files: Paths,
    of_model: ModelOptions,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Page to write, such as report.html.")
    ],
    threshold: ThresholdOption = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    audio: Annotated[
        Literal["auto", "embed", "link", "none"],
        typer.Option(
            help="Embed the audio in the page, link to the files, or neither; auto embeds up to "
            "64 MB of sound into it and links to the rest."
        ),
    ] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Write one HTML page: player, pictures, events and a table of all recordings."""
    from dcasenet.report import check_replaceable, write_report

    if output.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"{output} does not end in .html, as a page does.")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {output.parent} to write the page to.")
    check_replaceable(output, overwrite)  # before anything is computed
    model = of_model.load()
    with (
        refusing_options(),
        interruptible(f"Stopped. {output} was not written."),
        watching("Analyzing") as watch,
    ):
        summary = write_report(
            model,
            files,
            output,
            threshold=parse_threshold(threshold, model.spec),
            title=title,
            audio=audio,
            overwrite=overwrite,
            watch=watch,
        )
    failed = f", {summary.n_failed:,} failed" if summary.n_failed else ""
    say(f"{output}: {count(summary.n_files, 'recording')}{failed}")
    tell_passed_over(summary.passed_over)
    for reason in summary.failures:
        fail(reason)
    if summary.n_failed:
        raise typer.Exit(1)


def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Results, reports or pictures.")
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model; by default the one named in the file."),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Checkpoint stage, for a name such as v3; default joint.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of the recordings, if they have moved.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of numbers that count as equal.")
    ] = 0.005,
) -> None:
    """Recompute stored results and compare."""
    from dcasenet.loading import load
    from dcasenet.verify import verify as check

    given: Any = None if model is None else load(model, stage=stage)
    failed = False
    for file in progress(files, "Verifying"):
        found = check(file, model=given, recordings=recordings, tolerance=tolerance)
        for remark in found.remarks:
            typer.echo(printable(f"{file}: {remark}"), err=True)
        about = f"{count(found.n_recordings, 'recording')}, {found.provenance.model}"
        if found.is_same:
            say(f"{file}: the same ({about})")
        else:
            failed = True
            say(f"{file}: DIFFERENT ({about})")
            for difference in found.differences:
                say(f"  {difference}")
    if failed:
        raise typer.Exit(1)


@with_options
def calibrate(
    labels: Annotated[
        Path,
        typer.Argument(help="A CSV of filename, onset, offset (in seconds) and event_label."),
    ],
    of_model: CheckpointOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to save the model to, with the measured curves."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the reliability diagram and the curves here.")
    ] = None,
    overwrite: Overwrite = False,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="Output format.")
    ] = "table",
) -> None:
    """Measure calibration of event probabilities and store operating points."""
    from dcasenet.weights.hub import check_folder

    if plot is not None:
        check_picture(plot, overwrite)
    if output is not None:
        check_folder(output, overwrite=overwrite)  # before anything is computed
    model = of_model.load_network()
    measured = model.calibrate(labels)
    if form == "json":
        say(measured.to_json())
    elif form == "csv":
        typer.echo(measured.to_csv(), nl=False)
    else:
        from dcasenet.cli.weights import show

        typer.echo(
            f"{count(measured.n_recordings, 'recording')}, {measured.n_segments:,} segments of "
            f"1 s, expected calibration error {measured.expected_calibration_error:.3f}"
        )
        show([{name: str(value) for name, value in row.items()} for row in measured.table])
    if plot is not None:
        from dcasenet.plot import save_reliability

        save_reliability(measured, plot)
    if output is not None:
        folder = model.save_pretrained(output, overwrite=overwrite)
        typer.echo(printable(f"{folder}: saved"), err=True)
