"""How the command shows results: tables for people, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from dcasenet.batch.rows import FLAT_COLUMNS, vector_columns
from dcasenet.results import Analysis, Events, Floats, Scene, Tags
from dcasenet.text import json_line, one_line, spreadsheet_cell


class Format(StrEnum):
    """Forms of output."""

    table = "table"
    json = "json"
    csv = "csv"


class Report:
    """Write the results of file after file to standard output, in one format.

    What is odd about a file goes to standard error, but for the JSON of an analysis, which has a
    place for it.

    Args:
        output: The format; CSV gets its header before the first row.
    """

    def __init__(self, output: Format) -> None:
        self.output = output
        self.console = Console(highlight=False)
        self.csv = csv.writer(sys.stdout, lineterminator="\n")
        self.has_header = False

    def analysis(self, file: Path, analysis: Analysis, top: int) -> None:
        """Show everything about one file."""
        if self.output is Format.json:
            values = analysis.to_dict()
            del values["source"]
            if values["tags"] is not None:
                values["tags"] = values["tags"][:top]
            self._line(file, values)
            return
        self._title(file, f"{analysis.duration:.2f} s")
        if analysis.scene is not None:
            self._scene(file, analysis.scene)
        if analysis.tags is not None:
            self._tags(file, analysis.tags, top)
        if analysis.events is not None:
            self._events(file, analysis.events)
        warn(file, analysis.warnings)

    def scene(self, file: Path, scene: Scene) -> None:
        """Show a scene."""
        if self.output is Format.json:
            self._line(file, scene.to_dict())
        else:
            self._title(file)
            self._scene(file, scene)
        warn(file, scene.warnings)

    def tags(self, file: Path, tags: Tags) -> None:
        """Show tags, best first."""
        if self.output is Format.json:
            self._line(file, tags.to_dict())
        else:
            self._title(file)
            self._tags(file, tags, len(tags))
        warn(file, tags.warnings)

    def events(self, file: Path, events: Events) -> None:
        """Show events, earliest first."""
        if self.output is Format.json:
            self._line(file, events.to_dict())
        else:
            self._title(file)
            self._events(file, events)
        warn(file, events.warnings)

    def vector(self, file: Path, vector: Floats) -> None:
        """Show the embedding of a clip."""
        if self.output is Format.json:
            self._line(file, {"embedding": vector.tolist()})
        elif self.output is Format.csv:
            self._rows(vector_columns(len(vector)), [(file, *vector.tolist())])
        else:
            self.console.print(
                f"{shown(file)}  {len(vector)} values: {_begin(vector)}", soft_wrap=True
            )

    def steps(self, file: Path, values: Floats, times: NDArray[Any]) -> None:
        """Show the embedding of each step."""
        if self.output is Format.json:
            self._line(file, {"times": times.tolist(), "embeddings": values.tolist()})
        elif self.output is Format.csv:
            rows = zip(times.tolist(), values.tolist(), strict=True)
            columns = vector_columns(values.shape[1], "time")
            self._rows(columns, ((file, f"{time:.3f}", *row) for time, row in rows))
        else:
            shape = f"{len(values)} steps of {values.shape[1]} values"
            self.console.print(f"{shown(file)}  {shape}: {_begin(values[0])}", soft_wrap=True)

    def _scene(self, file: Path, scene: Scene) -> None:
        if self.output is Format.csv:
            best = scene.top(1)[0]
            self._rows(FLAT_COLUMNS, [(file, "scene", best.label, "", "", _p(best.probability))])
        else:
            self._table(("scene",), [(s.label, _p(s.probability)) for s in scene.top(3)])

    def _tags(self, file: Path, tags: Tags, top: int) -> None:
        rows = [(scored.label, _p(scored.probability)) for scored in tags[:top]]
        if self.output is Format.csv:
            self._rows(FLAT_COLUMNS, [(file, "tag", label, "", "", p) for label, p in rows])
        else:
            self._table(("tag",), rows)

    def _events(self, file: Path, events: Events) -> None:
        rows = [(e.label, f"{e.onset:.2f}", f"{e.offset:.2f}", _p(e.probability)) for e in events]
        if self.output is Format.csv:
            self._rows(FLAT_COLUMNS, [(file, "event", *row) for row in rows])
        else:
            none = [("none above its threshold", "", "", "")]
            self._table(("event", "onset (s)", "offset (s)"), rows or none)

    def _line(self, file: Path, values: dict[str, Any]) -> None:
        sys.stdout.write(json_line({"filename": str(file), **values}) + "\n")
        sys.stdout.flush()

    def _rows(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        if not self.has_header:
            self.csv.writerow(columns)
            self.has_header = True
        for row in rows:
            self.csv.writerow([c if isinstance(c, float) else spreadsheet_cell(c) for c in row])
        sys.stdout.flush()

    def _title(self, file: Path, more: str = "") -> None:
        if self.output is Format.table:
            self.console.print(f"[bold]{shown(file)}[/]  {more}".rstrip(), soft_wrap=True)

    def _table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(min_width=52)
        table.add_column(columns[0], ratio=1)
        for column in (*columns[1:], "probability"):
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*map(shown, row))
        self.console.print(table)


def printable(text: str) -> str:
    """Return lines of text without control characters from names and labels among them."""
    return "\n".join(map(one_line, text.split("\n")))


def say(text: object) -> None:
    """Print lines on standard output, without control characters from names among them."""
    typer.echo(printable(str(text)))


def shown(text: object) -> str:
    """Return text that rich shows as it is: without its markup, without control characters."""
    return escape(one_line(str(text)))


def progress(files: Sequence[Path]) -> Iterator[Path]:
    """Give the files, with a progress bar on a terminal's standard error from the second on."""
    console = Console(stderr=True)
    hidden = len(files) < 2 or not console.is_terminal
    # Redirected, what is printed would go to the bar's console instead of standard output.
    bar = Progress(
        console=console,
        transient=True,
        disable=hidden,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        yield from bar.track(files, description="Listening")


def warn(file: Path, warnings: Sequence[str]) -> None:
    """Say on standard error what is odd about a file."""
    for warning in warnings:
        _on_stderr(f"warning: {warning if str(file) in warning else f'{file}: {warning}'}")


def fail(error: Exception) -> None:
    """Say on standard error, in one line, what went wrong."""
    _on_stderr(f"error: {error}")


def _on_stderr(text: str) -> None:
    sys.stderr.write(one_line(" ".join(text.splitlines())) + "\n")


def _begin(vector: Floats) -> str:
    return ", ".join(f"{value:.3f}" for value in vector[:4]) + ", …"


def _p(probability: float) -> str:
    return f"{probability:.3f}"
