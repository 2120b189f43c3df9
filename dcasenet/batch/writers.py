"""Write the rows of a job to a Parquet, CSV, JSON lines or npz file.

The suffix determines the format. Parquet and JSON lines contain complete rows with nested lists and
structures; CSV contains flat rows, and a second file the status of each recording; npz contains one
array per column. Except for npz, the memory needed does not depend on the number of rows.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from dcasenet.batch.rows import ANSWER_COLUMNS, STATUS_COLUMNS, Row
from dcasenet.errors import JobError
from dcasenet.results import Provenance
from dcasenet.results.exporters import FLAT_COLUMNS, csv_text, flat_rows, vector_columns
from dcasenet.results.writing import check_sidecar, sidecar_path
from dcasenet.text import json_text

if TYPE_CHECKING:
    import pyarrow as pa


def arrow() -> Any:
    """Import and return pyarrow.

    Raises:
        ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "Parquet needs pyarrow. Type: pip install 'dcasenet[pandas]', or give a .jsonl or .csv."
        ) from error
    return pyarrow


def schema(command: str, size: int) -> pa.Schema:
    """Return the columns of a command's rows, with their types.

    Args:
        command: A key of `dcasenet.batch.rows.ANSWER_COLUMNS`.
        size: Length of an embedding; not used by other commands.

    Raises:
        ImportError: pyarrow is not installed.

    Example:
        >>> schema("embed", 64).field("embedding").type
        FixedSizeListType(fixed_size_list<item: float>[64])
    """
    pa = arrow()
    label = [("label", pa.string()), ("probability", pa.float64())]
    times = [("onset", pa.float64()), ("offset", pa.float64())]
    text = pa.string()
    types = {
        **dict.fromkeys(STATUS_COLUMNS, text),
        "duration": pa.float64(),
        "warnings": pa.list_(text),
        "familiarity": pa.float64(),
        "is_sure": pa.bool_(),
        "scene": pa.struct([*label, ("probabilities", pa.map_(text, pa.float64()))]),
        "tags": pa.list_(pa.struct(label)),
        "events": pa.list_(pa.struct([label[0], *times, label[1]])),
        "embedding": pa.list_(pa.float32(), size),
    }
    columns = (*STATUS_COLUMNS, *ANSWER_COLUMNS[command])
    return pa.schema([(name, types[name]) for name in columns])


def to_table(rows: Sequence[Row], columns: pa.Schema) -> pa.Table:
    """Return rows as an Arrow table."""
    pa = arrow()
    return pa.Table.from_arrays(
        [_column(pa, [row[field.name] for row in rows], field) for field in columns],
        schema=columns,
    )


def _column(pa: Any, values: list[Any], field: Any) -> Any:
    if field.name == "embedding":
        size = field.type.list_size
        none = np.zeros(size, np.float32)
        flat = np.concatenate([none if value is None else value for value in values])
        missing = pa.array([value is None for value in values])
        return pa.FixedSizeListArray.from_arrays(
            pa.array(flat.astype(np.float32)), type=field.type, mask=missing
        )
    if field.name == "scene":
        values = [
            value and {**value, "probabilities": list(value["probabilities"].items())}
            for value in values
        ]
    if field.name in ("filename", "error", "warnings"):
        values = _plain(values)
    return pa.array(values, field.type)


def _plain(value: Any) -> Any:
    """Escape undecodable bytes, which file names may contain and Arrow refuses."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value and value.encode("utf-8", "backslashreplace").decode("utf-8")


SUFFIXES = {
    **dict.fromkeys(ANSWER_COLUMNS, (".parquet", ".jsonl", ".csv")),
    "embed": (".parquet", ".npz", ".jsonl", ".csv"),
}
# Key of the provenance in a Parquet file's metadata.
PROVENANCE_KEY = "dcasenet.provenance"
# An npz is built in memory: 0.2 GB of vectors at full width.
MAX_NPZ_FILES = 100_000
# Rows in a row group of a Parquet file: about 4 MB of vectors at full width.
ROW_GROUP = 2048


def status_path(output: Path) -> Path:
    """Return the path of the second file of a CSV, with the status of each recording.

    Example:
        >>> status_path(Path("out.csv")).name
        'out.status.csv'
    """
    return output.with_suffix(".status.csv")


def check_output(output: Path, command: str) -> None:
    """Check that an output can be written, before anything is computed.

    Raises:
        ValueError: Its suffix is not supported, or its folder does not exist.
        ImportError: Parquet is requested and pyarrow is not installed.
        JobError: A file that no job wrote has the name of one that accompanies the output.
    """
    if output.suffix not in SUFFIXES[command]:
        raise ValueError(
            f"{output} cannot be written by {command}: its name must end in "
            f"{', '.join(SUFFIXES[command])}."
        )
    if not output.parent.is_dir():
        raise ValueError(f"{output} cannot be written: there is no folder {output.parent}.")
    if output.is_dir():
        raise ValueError(f"{output} is a folder. Give the name of a file.")
    if output.suffix == ".parquet":
        arrow()
    beside = companions(output)
    if sidecar_path in beside:
        check_sidecar(output)
    if status_path in beside and not _is_free(status_path(output)):
        raise JobError(
            f"{status_path(output)} exists, and no job of dcasenet wrote it. The status of each "
            f"recording would be written there. Move it, or give another output."
        )


def _is_free(path: Path) -> bool:
    """Return whether the path is free, or is the second file of a CSV."""
    if not os.path.lexists(path):
        return True
    head = csv_text([STATUS_COLUMNS]).encode()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def check_count(output: Path, n_files: int) -> None:
    """Refuse more files than an npz may contain.

    Raises:
        ValueError: There are more than 100,000.
    """
    if output.suffix == ".npz" and n_files > MAX_NPZ_FILES:
        raise ValueError(
            f"{output}: an .npz holds up to {MAX_NPZ_FILES:,} files, and there are {n_files:,}. "
            f"Give {output.with_suffix('.parquet').name} instead."
        )


@dataclass(frozen=True)
class TableKind:
    """The columns and the provenance of a table.

    Attributes:
        command: A key of `dcasenet.batch.rows.ANSWER_COLUMNS`.
        size: Length of an embedding.
        provenance: Provenance of the results.
    """

    command: str
    size: int
    provenance: Provenance

    @property
    def description(self) -> str:
        """The provenance as JSON text."""
        return json.dumps(self.provenance.to_dict())


def write_table(rows: Iterable[Row], path: Path, output: Path, kind: TableKind) -> None:
    """Write rows to a file.

    Args:
        rows: Rows, as in `dcasenet.batch.rows`.
        path: The file to write; a CSV's second file goes to `status_path` of it, and the
            provenance of CSV and JSON lines to `sidecar_path` of it.
        output: Its final path, which determines the format.
        kind: The columns and the provenance.

    Raises:
        OSError: The disk is full, or the file cannot be written for another reason.
    """
    writers: dict[str, Callable[[Iterable[Row], Path, TableKind], None]] = {
        ".parquet": _write_parquet,
        ".jsonl": _write_jsonl,
        ".csv": _write_csv,
        ".npz": _write_npz,
    }
    writers[output.suffix](rows, path, kind)
    if output.suffix in (".csv", ".jsonl"):
        sidecar_path(path).write_text(kind.description + "\n", encoding="utf-8")


def companions(output: Path) -> list[Callable[[Path], Path]]:
    """Return the functions from an output's path to the paths of the files beside it."""
    beside: dict[str, list[Callable[[Path], Path]]] = {
        ".csv": [status_path, sidecar_path],
        ".jsonl": [sidecar_path],
    }
    return beside.get(output.suffix, [])


def _write_parquet(rows: Iterable[Row], path: Path, kind: TableKind) -> None:
    import pyarrow.parquet as pq

    columns = schema(kind.command, kind.size).with_metadata({PROVENANCE_KEY: kind.description})
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        iterator = iter(rows)
        while group := list(islice(iterator, ROW_GROUP)):
            writer.write_table(to_table(group, columns))


def _write_jsonl(rows: Iterable[Row], path: Path, kind: TableKind) -> None:
    with _text(path) as file:
        for row in rows:
            if row.get("embedding") is not None:
                row = {**row, "embedding": row["embedding"].tolist()}
            file.write(json_text(row) + "\n")


def _write_csv(rows: Iterable[Row], path: Path, kind: TableKind) -> None:
    is_embedding = kind.command == "embed"
    columns = vector_columns(kind.size) if is_embedding else FLAT_COLUMNS
    with _text(path) as table, _text(status_path(path)) as statuses:
        table.write(csv_text([columns]))
        statuses.write(csv_text([STATUS_COLUMNS]))
        for row in rows:
            table.write(csv_text(_vector_rows(row) if is_embedding else flat_rows(row)))
            status = {**row, "warnings": "; ".join(row["warnings"])}
            statuses.write(csv_text([[status[name] for name in STATUS_COLUMNS]]))


def _write_npz(rows: Iterable[Row], path: Path, kind: TableKind) -> None:
    size = kind.size
    columns: dict[str, list[Any]] = {n: [] for n in STATUS_COLUMNS if n != "warnings"}
    vectors = []
    for row in rows:
        for name, values in columns.items():
            values.append(row[name])
        vector = row["embedding"]
        vectors.append(np.full(size, np.nan, np.float32) if vector is None else vector)
    arrays: dict[str, Any] = {
        name: np.array(
            [np.nan if v is None else v for v in values]
            if name == "duration"
            else [storable(v or "") for v in values]
        )
        for name, values in columns.items()
    }
    with path.open("wb") as file:  # NumPy would append a suffix to a path
        embedding = np.array(vectors, np.float32).reshape(-1, size)
        np.savez(file, **arrays, embedding=embedding, provenance=np.array(kind.description))


def _vector_rows(row: Row) -> Iterator[tuple[Any, ...]]:
    if row["embedding"] is not None:
        yield (row["filename"], *row["embedding"].tolist())


def storable(text: str) -> str:
    """Return text with escapes for what UTF-8 cannot encode, as in some file names."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextlib.contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    # File names may contain undecodable bytes, which are written as escapes.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file
