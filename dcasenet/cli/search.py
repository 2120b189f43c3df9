"""`search`: recordings that sound like another one, or that have a tag."""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dcasenet.cli.batch import JobProgress
from dcasenet.cli.options import (
    FormatOption,
    ModelOptions,
    Runtime,
    refusing_options,
    with_options,
)
from dcasenet.cli.output import Format, tell_left_out, tell_passed_over
from dcasenet.errors import DcasenetError
from dcasenet.text import json_text, one_line, spreadsheet_cell

if TYPE_CHECKING:
    from dcasenet.batch.search import Index, Match
    from dcasenet.inference.verbs import SoundVerbs


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(search)


@with_options
def search(
    arguments: Annotated[
        list[Path],
        typer.Argument(
            metavar="[FILE] PLACE...",
            help="The recording to compare with (not with --label), and where to search: folders "
            "of recordings, or one table that 'dcasenet embed --output' wrote.",
        ),
    ],
    of_model: ModelOptions,
    label: Annotated[
        str | None, typer.Option(help="Tag of the model to search for, instead of a recording.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many recordings to show.")] = 10,
    index: Annotated[
        Path | None,
        typer.Option(help="An .npz file for the folders' embeddings, instead of the cache."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read the folders' recordings.")
    ] = None,
    form: FormatOption = Format.table,
) -> None:
    """Find the recordings nearest to a given one, or to a tag, by their embeddings.

    A folder's recordings are embedded once; later, only those that are new or have changed.
    """
    query = None if label is not None else arguments[0]
    places = arguments if label is not None else arguments[1:]
    if not places:
        raise typer.BadParameter(
            "Say where to search: dcasenet search dog.wav FOLDER, or dcasenet search --label dog "
            "FOLDER."
        )
    if query is None and of_model.runtime is Runtime.auto and find_spec("torch") is not None:
        # To run the tag head alone, ONNX needs another package.
        of_model = dataclasses.replace(of_model, runtime=Runtime.torch)
    loaded = of_model.load()
    with refusing_options():
        found = _index(loaded, places, index, workers)
        tell_passed_over(found.passed_over)
        tell_left_out(found.n_failed)
        if query is None:
            matches = found.labeled(loaded, str(label), top)
        else:
            matches = found.nearest(loaded.embed(query), top, without=[query])
    _show(matches, "similarity" if query is not None else "probability", form)


def _index(
    model: SoundVerbs[Any], places: Sequence[Path], path: Path | None, workers: int | None
) -> Index:
    from dcasenet.batch.search import TABLES, Index, index_recordings

    tables = [place for place in places if place.suffix in TABLES and not place.is_dir()]
    if not tables:
        with JobProgress() as progress:
            return index_recordings(model, places, path, workers=workers, watch=progress)
    if len(places) > 1:
        raise typer.BadParameter(f"{tables[0]} is a table; give it alone, or folders alone.")
    if path is not None:
        raise typer.BadParameter("--index keeps the embeddings of folders; a table has its own.")
    _check_model(tables[0], model)
    return Index.read(tables[0])


def _check_model(table: Path, model: SoundVerbs[Any]) -> None:
    """Refuse a table of embeddings that another model made, where it says which."""
    from dcasenet.verify import read_provenance

    try:
        made = read_provenance(table)
    except DcasenetError:  # it does not say so; what is wrong with the table is said later
        return
    if made.weights != model.digest_of(("tag",)):
        raise DcasenetError(
            f"{table} was made with {made.model}, whose weights are others than those of "
            f"{model.spec.name} {model.spec.stage}. Give the same --model, or embed the "
            f"recordings again."
        )


def _show(matches: Sequence[Match], column: str, form: Format) -> None:
    rows = [(match.filename, match.score) for match in matches]
    if form is Format.json:
        for name, score in rows:
            line = {"filename": name, column: round(score, 6)}
            sys.stdout.write(json_text(line) + "\n")
        return
    if form is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("filename", column))
        writer.writerows((spreadsheet_cell(name), f"{score:.6f}") for name, score in rows)
        return
    table = Table(min_width=52)
    table.add_column(column, justify="right")
    table.add_column("recording", ratio=1, overflow="fold")
    for name, score in rows:
        table.add_row(f"{score:.3f}", Text(one_line(name)))
    Console(highlight=False).print(table)
