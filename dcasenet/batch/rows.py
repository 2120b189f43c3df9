"""Build the row of each file of a job: its results, or its error.

::

    filename status error duration warnings input  familiarity is_sure scene tags events   analyze
                                                   … scene | … tags | … events   scene tags events
                                                   embedding                                embed

`status` is ``"ok"`` or ``"error"``; for a file that failed, everything except filename, status,
error and input is empty. `input` is the SHA-256 of the file. Results are in their usual JSON form;
see `dcasenet.results`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcasenet.results import Floats, Result

Row = dict[str, Any]

OK, ERROR = "ok", "error"
STATUS_COLUMNS = ("filename", "status", "error", "duration", "warnings", "input")
CERTAINTY_COLUMNS = ("familiarity", "is_sure")
ANSWER_COLUMNS = {
    "analyze": (*CERTAINTY_COLUMNS, "scene", "tags", "events"),
    "scene": (*CERTAINTY_COLUMNS, "scene"),
    "tags": (*CERTAINTY_COLUMNS, "tags"),
    "events": (*CERTAINTY_COLUMNS, "events"),
    "embed": ("embedding",),
}


def failed_row(filename: str, error: str, command: str, digest: str | None = None) -> Row:
    """Return the row of a file that failed.

    Example:
        >>> failed_row("a.wav", "a.wav is empty.", "embed")["status"]
        'error'
    """
    return {
        **_status(filename, ERROR, error, None, (), digest),
        **dict.fromkeys(ANSWER_COLUMNS[command]),
    }


def result_row(filename: str, result: Result, command: str, digest: str | None = None) -> Row:
    """Return the row of a result.

    Args:
        filename: Name of the file.
        result: The result of the command.
        command: A key of `ANSWER_COLUMNS` except ``"embed"``.
        digest: SHA-256 of the file.
    """
    answers = {
        "familiarity": result.familiarity,
        "is_sure": result.is_sure,
        **result.by_task(),
    }
    return {
        **_status(filename, OK, None, result.duration, result.warnings, digest),
        **{name: answers[name] for name in ANSWER_COLUMNS[command]},
    }


def embedding_row(
    filename: str,
    embedding: Floats,
    duration: float | None,
    warnings: Sequence[str] = (),
    digest: str | None = None,
) -> Row:
    """Return the row of an embedding."""
    return {**_status(filename, OK, None, duration, warnings, digest), "embedding": embedding}


def to_line(row: Row) -> str:
    """Return a row as one line of JSON from which `from_line` restores exactly the same values.

    Example:
        >>> row = embedding_row("a.wav", np.array([0.1], np.float32), 1.0)
        >>> from_line(to_line(row))["embedding"]
        array([0.1], dtype=float32)
    """
    vector = row.get("embedding")
    if vector is not None:
        text = base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
        row = {**row, "embedding": text}
    return json.dumps(row)


def from_line(line: str) -> Row:
    """Return the row of a line that `to_line` wrote."""
    row: Row = json.loads(line)
    if row.get("embedding") is not None:
        row["embedding"] = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
    return row


def _status(
    filename: str,
    status: str,
    error: str | None,
    duration: float | None,
    warnings: Sequence[str],
    digest: str | None,
) -> Row:
    values = (filename, status, error, duration, list(warnings), digest)
    return dict(zip(STATUS_COLUMNS, values, strict=True))
