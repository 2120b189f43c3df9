"""The rows of a job as Arrow columns, for Parquet and for data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dcasenet.batch.rows import STATUS_COLUMNS, Row

if TYPE_CHECKING:
    import pyarrow as pa


def arrow() -> Any:
    """Give pyarrow.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "Parquet needs pyarrow. Type: pip install 'dcasenet[pandas]', or give a .jsonl or .csv."
        ) from error
    return pyarrow


def schema(command: str, size: int) -> pa.Schema:
    """Give the columns of a command's rows, with their types.

    Args:
        command: ``"analyze"`` or ``"embed"``.
        size: Length of an embedding; of no account to analyze.

    Raises:
        ImportError: pyarrow is not installed.

    Example:
        >>> schema("embed", 64).field("embedding").type
        FixedSizeListType(fixed_size_list<item: float>[64])
    """
    pa = arrow()
    label = [("label", pa.string()), ("probability", pa.float64())]
    times = [("onset", pa.float64()), ("offset", pa.float64())]
    answers = {
        "analyze": [
            ("scene", pa.struct([*label, ("probabilities", pa.map_(pa.string(), pa.float64()))])),
            ("tags", pa.list_(pa.struct(label))),
            ("events", pa.list_(pa.struct([label[0], *times, label[1]]))),
        ],
        "embed": [("embedding", pa.list_(pa.float32(), size))],
    }
    types = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.list_(pa.string()))
    return pa.schema([*zip(STATUS_COLUMNS, types, strict=True), *answers[command]])


def to_table(rows: Sequence[Row], columns: pa.Schema) -> pa.Table:
    """Give rows as an Arrow table."""
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
    """The same without bytes that are no text, which file names may hold and Arrow refuses."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value and value.encode("utf-8", "backslashreplace").decode("utf-8")
