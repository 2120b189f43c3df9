"""How commands show results: tables for people, lines and files for programs."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from dcasenet.audio.discovery import describe_counts
from dcasenet.results import Analysis, Embedding, Events, Floats, Result, Scene, Tags
from dcasenet.results.exporters import FLAT_COLUMNS, Cell, csv_text, flat_rows, vector_columns
from dcasenet.results.formats import export
from dcasenet.text import json_text, one_line

Item = TypeVar("Item")

COLLECTIONS = ("dev", "docs", "test")  # extras that repeat others'


class Format(StrEnum):
    """Output formats."""

    table = "table"
    json = "json"
    csv = "csv"


# Forms of a result; all after csv are for events.
ResultFormat: TypeAlias = Literal[
    "table",
    "json",
    "csv",
    "audacity",
    "raven",
    "textgrid",
    "webvtt",
    "jams",
    "labelstudio",
    "scores",
]


class Printer:
    """Write the results of file after file to standard output, in one format.

    Warnings go to standard error, except in formats that have a field for them.

    Args:
        form: The format; CSV gets its header before the first row.
    """

    def __init__(self, form: ResultFormat) -> None:
        self.form = form
        self._console = Console(highlight=False)
        self._has_header = False

    def result(self, result: Result) -> None:
        """Show a result."""
        if self.form == "json":
            self._write(json_text(result.to_dict()) + "\n")
            return
        if self.form == "csv":
            self._csv(result)
        elif self.form == "table":
            self._tables(result)
        else:
            self._write(export(result, self.form))
        warn(result.source, result.warnings)

    def vector(self, file: str, vector: Floats) -> None:
        """Show the embedding of a clip."""
        if self.form == "json":
            self._write(json_text({"filename": file, "embedding": vector.tolist()}) + "\n")
        elif self.form == "csv":
            self._rows(vector_columns(len(vector)), [(file, *vector.tolist())])
        else:
            self._line(f"{one_line(file)}  {len(vector)} values: {_begin(vector)}")

    def _csv(self, result: Result) -> None:
        if isinstance(result, Embedding):
            head, _, rows = result.to_csv().partition("\n")
            self._write(rows if self._has_header else f"{head}\n{rows}")
            self._has_header = True
        else:
            self._rows(FLAT_COLUMNS, flat_rows({"filename": result.source, **result.by_task()}))

    def _tables(self, result: Result) -> None:
        if isinstance(result, Embedding):
            values = np.asarray(result.values)
            shape = f"{len(values)} steps of {values.shape[1]} values"
            self._line(f"{one_line(result.source)}  {shape}: {_begin(values[0])}")
            return
        duration = f"  {result.duration:.2f} s" if isinstance(result, Analysis) else ""
        doubt = "" if result.is_sure else "  not sure"
        title = Text(one_line(result.source), "bold").append(duration + doubt, "not bold")
        self._console.print(title, soft_wrap=True)
        parts = [result]
        if isinstance(result, Analysis):
            parts = [p for p in (result.scene, result.tags, result.events) if p is not None]
        for part in parts:
            self._console.print(_table(part))

    def _rows(self, columns: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> None:
        if not self._has_header:
            rows = (columns, *rows)
            self._has_header = True
        self._write(csv_text(rows))

    def _line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def printable(text: str) -> str:
    """Return lines of text without control characters from names and labels among them."""
    return "\n".join(map(one_line, text.split("\n")))


def say(text: object) -> None:
    """Print lines on standard output, without control characters from names among them."""
    typer.echo(printable(str(text)))


def shown(text: object) -> str:
    """Return text that rich shows verbatim: markup escaped, control characters removed."""
    return escape(one_line(str(text)))


def check_format(form: ResultFormat, n_files: int, *, has_events: bool = True) -> None:
    """Refuse a format that cannot be printed.

    Raises:
        ValueError: It is for events and there are none, or holds one recording and there are more.
    """
    if form in ("table", "json", "csv"):
        return
    if not has_events:
        raise ValueError(f"--format {form} is for events. Accepted are table, json, csv.")
    if n_files > 1:
        raise ValueError(
            f"--format {form} holds one recording, and {n_files:,} were given. Give "
            f"--output FOLDER for a file for each."
        )


def _table(result: Result) -> Table:
    if isinstance(result, Scene):
        title = "scene" if result.is_sure else "scene (not sure)"
        return _rich_table((title,), [(s.label, _p(s.probability)) for s in result.top(3)])
    if isinstance(result, Tags):
        title = "tag" if result.is_sure else "tag (not sure)"
        return _rich_table((title,), [(s.label, _p(s.probability)) for s in result])
    rows = [
        (e.label, f"{e.onset:.2f}", f"{e.offset:.2f}", _p(e.probability))
        for e in (result if isinstance(result, Events) else ())
    ]
    none = [("none above its threshold", "", "", "")]
    return _rich_table(("event", "onset (s)", "offset (s)"), rows or none)


def _rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(min_width=52)
    table.add_column(columns[0], ratio=1)
    for column in (*columns[1:], "probability"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    return table


@contextmanager
def watching(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal's standard error, for more than one item.

    Yields:
        A function that takes the number of finished items and the total.
    """
    console = Console(stderr=True)
    # Redirected, what is printed would go to the bar's console instead of standard output.
    with Progress(
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task(description, total=None, visible=False)

        def watch(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=total > 1)

        yield watch


def progress(items: Sequence[Item], description: str) -> Iterator[Item]:
    """Yield items, with a progress bar on a terminal's standard error from the second on."""
    with watching(description) as watch:
        for done, item in enumerate(items):
            watch(done, len(items))
            yield item


def warn(file: str | Path, warnings: Sequence[str]) -> None:
    """Print warnings about a file on standard error."""
    for warning in warnings:
        _on_stderr(f"warning: {warning if str(file) in warning else f'{file}: {warning}'}")


def fail(error: Exception | str) -> None:
    """Print an error on standard error, in one line."""
    _on_stderr(f"error: {error}")


def what_to_install(error: ImportError) -> ImportError:
    """Return an error that says how to install a missing package; others unchanged.

    Args:
        error: The error of an import.

    Example:
        >>> what_to_install(ModuleNotFoundError("No module named 'lightning'", name="lightning"))
        ImportError("This needs the package lightning. Type: pip install 'dcasenet[train]'")
    """
    module = (error.name or "").partition(".")[0]
    if type(error) is not ModuleNotFoundError or not module:
        return error
    needed = module
    for requirement in metadata.requires("dcasenet") or ():
        name = re.match(r"[\w-]+", requirement)
        extra = re.search(r"extra == ['\"](\w+)", requirement)
        if name and name.group().replace("-", "_").lower() == module.lower():
            if extra is None:
                needed = "dcasenet"
                break
            if extra.group(1) not in COLLECTIONS:
                needed = f"'dcasenet[{extra.group(1)}]'"
                break
    return ImportError(f"This needs the package {module}. Type: pip install {needed}")


def tell_passed_over(counts: Counter[str]) -> None:
    """Print the counts of files without an audio suffix on standard error, in one line."""
    if counts:
        _on_stderr(f"passed over: {describe_counts(counts)}")


def tell_left_out(n_files: int) -> None:
    """Print the number of recordings that were skipped on standard error, in one line.

    Args:
        n_files: Number of recordings that cannot be used.
    """
    if n_files:
        _on_stderr(f"left out: {n_files:,} that cannot be used (dcasenet check says why)")


def _on_stderr(text: str) -> None:
    sys.stderr.write(one_line(" ".join(text.splitlines())) + "\n")


def _begin(vector: Floats) -> str:
    return ", ".join(f"{value:.3f}" for value in vector[:4]) + ", …"


def _p(probability: float) -> str:
    return f"{probability:.3f}"
