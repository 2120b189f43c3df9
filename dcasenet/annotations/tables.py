"""Tables of labels as people write them: read with care, and every fault named by file and row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dcasenet.errors import DcasenetError
from dcasenet.text import shorten_list

DELIMITERS = ("\t", ",", ";")


@dataclass(frozen=True)
class TableRow:
    """One row of a table: its line, and what it says by column."""

    path: Path
    line: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    def fault(self, what: str) -> DcasenetError:
        """Return the error that something is wrong with this row."""
        return DcasenetError(f"{self.path}, line {self.line}: {what}")


@dataclass(frozen=True)
class Table:
    """A table: the columns that were found, and its rows."""

    path: Path
    columns: frozenset[str]
    rows: tuple[TableRow, ...]


def read_text(path: Path) -> str:
    """Read a text file as UTF-8, with or without a byte-order mark, whatever ends its lines.

    Raises:
        DcasenetError: It cannot be read, or is not UTF-8.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DcasenetError(
            f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}. Save "
            "the table as UTF-8 (in a spreadsheet: 'CSV UTF-8')."
        ) from error
    except OSError as error:
        raise DcasenetError(f"{path} cannot be read: {error.strerror or error}.") from error
    if "\0" in text:
        raise DcasenetError(f"{path} is not text: it contains zero bytes. Save the table as UTF-8.")
    return text


def read_table(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    required: Sequence[str] = (),
    hint: str = "",
) -> Table:
    r"""Read a table with a header, separated by tabs, commas or semicolons.

    Args:
        path: The file.
        columns: Name of a column → the names that it may have in the header.
        required: Columns that must be there.
        hint: Further sentence of the error if one is missing.

    Returns:
        Its rows by the names of `columns`; other columns are passed over, and so are blank lines.

    Raises:
        DcasenetError: It cannot be read, is not a table, or lacks a column or has it twice.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.csv")
        ...     _ = path.write_text("filename\tscene_label\r\na.wav\tpark")
        ...     read_table(path, {"scene": ["scene_label"]}).rows[0]["scene"]
        'park'
    """
    text = read_text(path)
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=header_line.count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        lines = [(reader.line_num, fields) for fields in reader if any(f.strip() for f in fields)]
    except csv.Error as error:
        raise DcasenetError(f"{path}, line {reader.line_num}: not a table ({error}).") from error
    header = [name.strip().lower() for name in lines[0][1]] if lines else []
    places = _places(path, header, columns)
    for name in required:
        if name not in places:
            raise DcasenetError(
                f"{path} has no column {' or '.join(map(repr, columns[name]))}. Its columns are "
                f"{', '.join(map(repr, header)) or 'none'}. {hint}".rstrip()
            )
    rows = []
    for line, fields in lines[1:]:
        values = {name: fields[i].strip() for name, i in places.items() if i < len(fields)}
        row = TableRow(path, line, values)
        if any(field.strip() for field in fields[len(header) :]):
            raise row.fault(
                f"{len(fields)} fields under {len(header)} columns. Put what holds a "
                f"{delimiter!r} in double quotes."
            )
        rows.append(row)
    return Table(path, frozenset(places), tuple(rows))


def _places(path: Path, header: list[str], columns: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Column → its place in the header."""
    places: dict[str, int] = {}
    for name, accepted in columns.items():
        found = [i for i, title in enumerate(header) if title in accepted]
        if len(found) > 1:
            titles = " and ".join(repr(header[i]) for i in found)
            raise DcasenetError(f"{path} has the {name} in two columns, {titles}. Leave one.")
        if found:
            places[name] = found[0]
    return places


def without_repeats(rows: Iterable[TableRow], column: str) -> tuple[list[TableRow], list[str]]:
    """Drop rows that say the same of the same file again.

    Args:
        rows: Rows.
        column: Column whose value a file may have only once.

    Returns:
        The rows that remain, and a sentence about each one dropped.

    Raises:
        DcasenetError: Two rows contradict each other.
    """
    first: dict[str, TableRow] = {}
    dropped = []
    for row in rows:
        earlier = first.setdefault(row[column], row)
        if earlier is row:
            continue
        if earlier.values != row.values:
            raise row.fault(
                f"{row[column]} is in line {earlier.line} already, and the two disagree. Leave one."
            )
        dropped.append(f"{row.path}, line {row.line}: {row[column]} again, as in {earlier.line}.")
    return list(first.values()), dropped


def check_label(row: TableRow, label: str, labels: Sequence[str]) -> str:
    """Return the label, if it is one of those that there are.

    Raises:
        DcasenetError: It is not.

    Example:
        >>> row = TableRow(Path("a.csv"), 3, {})
        >>> check_label(row, "prak", ["park", "tram"])  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        dcasenet.errors.DcasenetError: a.csv, line 3: the label 'prak' is unknown. Did you mean
        'park'? Known are park, tram.
    """
    if label in labels:
        return label
    close = get_close_matches(label, labels, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise row.fault(f"the label {label!r} is unknown.{hint} Known are {shorten_list(labels)}.")


def check_distinct(labels: Iterable[str], where: Path) -> None:
    """Refuse labels that differ in nothing but capitals, spaces and underscores.

    Raises:
        DcasenetError: Two do.

    Example:
        >>> labels = ["dog bark", "rain", "Dog_bark"]
        >>> check_distinct(labels, Path("my_sounds"))  # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        dcasenet.errors.DcasenetError: my_sounds: 'dog bark' and 'Dog_bark' differ in capitals or
        spaces only. Give what is one class one name.
    """
    seen: dict[str, str] = {}
    for label in labels:
        earlier = seen.setdefault("".join(label.replace("_", " ").split()).casefold(), label)
        if earlier != label:
            raise DcasenetError(
                f"{where}: {earlier!r} and {label!r} differ in capitals or spaces only. Give what "
                "is one class one name."
            )
