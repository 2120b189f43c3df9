"""`check`: problems of recordings, found without running a model."""

from __future__ import annotations

import sys
from math import inf
from typing import Annotated

import typer

from dcasenet.audio.check import AudioReport, check
from dcasenet.cli.answering import list_files
from dcasenet.cli.options import FormatOption, Paths, audio_of
from dcasenet.cli.output import Format, fail, progress, say
from dcasenet.errors import DcasenetError
from dcasenet.results.exporters import Cell, csv_text

COLUMNS = ("filename", "duration", "sample_rate", "channels", "peak", "rms", "kind", "message")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("check")(check_files)


def check_files(
    files: Paths,
    max_duration: Annotated[
        float, typer.Option(min=0, help="Longest recording accepted, in seconds.")
    ] = inf,
    strict: Annotated[
        bool, typer.Option("--strict", help="Treat audio warnings as errors.")
    ] = False,
    form: FormatOption = Format.table,
) -> None:
    """Check recordings for damage, clipping, silence, telephone sound ..."""
    failed = False
    if form is Format.csv:
        sys.stdout.write(csv_text([COLUMNS]))
    for file in progress(list_files(files), "Checking"):
        try:
            report = check(audio_of(file), max_duration=max_duration)
        except DcasenetError as error:
            fail(error)
            failed = True
            continue
        failed = failed or (strict and not report.is_ok)
        if form is Format.csv:
            sys.stdout.write(csv_text(_rows(report)))
        else:
            say(report.to_json() if form is Format.json else report)
    if failed:
        raise typer.Exit(1)


def _rows(report: AudioReport) -> list[tuple[Cell, ...]]:
    head = (
        report.source,
        f"{report.duration:.3f}",
        report.sample_rate,
        report.n_channels,
        f"{report.peak:.4f}",
        f"{report.rms:.5f}",
    )
    return [(*head, f.kind, f.message) for f in report.findings] or [(*head, "", "")]
