"""`redact`: copies of recordings without their speech."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from dcasenet.audio.discovery import find_places
from dcasenet.cli.options import Files, FormatOption, ModelOptions, with_options
from dcasenet.cli.output import Format, fail, progress, tell_passed_over, warn
from dcasenet.errors import DcasenetError
from dcasenet.text import json_text, one_line, spreadsheet_cell

if TYPE_CHECKING:
    from dcasenet.inference.redact import Redaction


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(redact)


@with_options
def redact(
    files: Files,
    of_model: ModelOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, or folder for the copies; by default NAME.redacted.SUFFIX "
            "next to each recording.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Event to silence; may be repeated. By default the events of speech."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Threshold of the events to silence.")
    ] = None,
    pad: Annotated[
        float | None,
        typer.Option(
            min=0, help="Padding before and after, in seconds; by default a step, at least 0.48."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing copies.")
    ] = False,
    form: FormatOption = Format.table,
) -> None:
    """Silence speech in copies of recordings, so that they can be shared.

    Listen to the copies before you share them: quiet, whispered or sung speech may be missed.
    """
    from dcasenet.inference import redact as module

    targets = _targets(files, output)
    loaded = of_model.load()
    report = _RedactionReport(form)
    failed = False
    for file, target in progress(list(targets.items()), "Analyzing"):
        try:
            if target is not None and output is not None and target != output:
                target.parent.mkdir(parents=True, exist_ok=True)
            done = module.redact(
                loaded,
                file,
                target,
                labels=label or None,
                threshold=module.THRESHOLD if threshold is None else threshold,
                pad=pad,
                overwrite=overwrite,
            )
        except (DcasenetError, OSError) as error:  # OSError: its folder cannot be made
            fail(error)
            failed = True
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        else:
            report.show(done)
            warn(file, done.warnings)
    if failed:
        raise typer.Exit(1)


def _targets(files: Sequence[Path], output: Path | None) -> dict[str, Path | None]:
    """Return where the copy of each recording goes; None beside it."""
    places, passed_over = find_places(files)
    folders = [path for path in files if path.is_dir()]
    if output is None:
        if folders:
            raise typer.BadParameter(
                f"{folders[0]} is a folder. Say with --output which folder the copies go to."
            )
        return dict.fromkeys(places)
    if not folders and not output.is_dir():
        if len(files) > 1:
            raise typer.BadParameter(
                f"--output {output} is not a folder, and there are {len(files)} recordings. "
                f"Create it, or give one recording."
            )
        return dict.fromkeys(places, output)
    for folder in folders:
        if output.resolve().is_relative_to(folder.resolve()):
            raise typer.BadParameter(
                f"--output {output} is in {folder}, whose recordings the copies would be the "
                f"next time. Give a folder elsewhere."
            )
    tell_passed_over(passed_over)
    return _in_folder(output, places)


def _in_folder(output: Path, places: Mapping[str, Path]) -> dict[str, Path | None]:
    """Return the copies' paths in a folder, with the structure of the recordings' folder."""
    from dcasenet.inference.redact import default_output

    short = {name: output / default_output(place) for name, place in places.items()}
    counts = Counter(short.values())
    targets: dict[str, Path | None] = {
        name: path
        if counts[path] == 1
        else path.with_name(f"{places[name].name}.redacted{path.suffix}")
        for name, path in short.items()
    }
    if len({*targets.values()}) < len(targets):
        raise typer.BadParameter(
            "Two recordings of the same name would be written to the same copy. Give them one by "
            "one."
        )
    return targets


class _RedactionReport:
    """Print what was silenced, file by file."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._console = Console(highlight=False)
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        if form is Format.csv:
            self._csv.writerow(("filename", "output", "onset", "offset"))

    def show(self, done: Redaction) -> None:
        if self._form is Format.json:
            sys.stdout.write(json_text(done.to_dict()) + "\n")
        elif self._form is Format.csv:
            for onset, offset in done.spans:
                names = spreadsheet_cell(done.source), spreadsheet_cell(done.output)
                self._csv.writerow((*names, f"{onset:.2f}", f"{offset:.2f}"))
        else:
            spans = ", ".join(f"{onset:.2f}-{offset:.2f}" for onset, offset in done.spans)
            silenced = f"{done.silenced:.2f} of {done.duration:.2f} s silenced"
            line = f"{done.output}  {silenced}{': ' if spans else ''}{spans}"
            self._console.print(Text(one_line(line)), soft_wrap=True)
        sys.stdout.flush()
