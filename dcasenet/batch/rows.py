"""One row for each file of a job: what was heard, or why nothing was.

::

    filename  status  error  duration  warnings  scene  tags  events      analyze
    filename  status  error  duration  warnings  embedding                embed

`status` is ``"ok"`` or ``"error"``; of a file that failed, all but filename, status and error is
empty.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dcasenet.results import Analysis, Floats

Row = dict[str, Any]

OK, ERROR = "ok", "error"
STATUS_COLUMNS = ("filename", "status", "error", "duration", "warnings")
ANSWER_COLUMNS = {"analyze": ("scene", "tags", "events"), "embed": ("embedding",)}
FLAT_COLUMNS = ("filename", "task", "label", "onset", "offset", "probability")


def failed_row(filename: str, error: str, command: str) -> Row:
    """Give the row of a file that failed.

    Example:
        >>> failed_row("a.wav", "a.wav is empty.", "embed")["status"]
        'error'
    """
    return {
        **_status(filename, ERROR, error, None, ()),
        **dict.fromkeys(ANSWER_COLUMNS[command]),
    }


def analysis_row(filename: str, analysis: Analysis, top: int) -> Row:
    """Give the row of an analysis, with its `top` best tags."""
    values = analysis.to_dict()
    tags = None if values["tags"] is None else values["tags"][:top]
    return {
        **_status(filename, OK, None, analysis.duration, analysis.warnings),
        "scene": values["scene"],
        "tags": tags,
        "events": values["events"],
    }


def embedding_row(
    filename: str, embedding: Floats, duration: float | None, warnings: Sequence[str] = ()
) -> Row:
    """Give the row of an embedding."""
    return {**_status(filename, OK, None, duration, warnings), "embedding": embedding}


def flat_rows(row: Row) -> Iterator[tuple[Any, ...]]:
    """Give an analysis as rows of `FLAT_COLUMNS`: the scene, each tag, each event.

    Times have two decimals and probabilities three, as people read them.

    Example:
        >>> scene = {"label": "park", "probability": 0.7512}
        >>> list(flat_rows({"filename": "a.wav", "scene": scene, "tags": None, "events": []}))
        [('a.wav', 'scene', 'park', '', '', '0.751')]
    """
    name = row["filename"]
    if row["scene"]:
        yield (name, "scene", row["scene"]["label"], "", "", f"{row['scene']['probability']:.3f}")
    for tag in row["tags"] or ():
        yield (name, "tag", tag["label"], "", "", f"{tag['probability']:.3f}")
    for event in row["events"] or ():
        times = f"{event['onset']:.2f}", f"{event['offset']:.2f}"
        yield (name, "event", event["label"], *times, f"{event['probability']:.3f}")


def vector_columns(size: int, *more: str) -> tuple[str, ...]:
    """Name the columns of a table of embeddings.

    Example:
        >>> vector_columns(2, "time")
        ('filename', 'time', 'e0', 'e1')
    """
    return ("filename", *more, *(f"e{index}" for index in range(size)))


def to_line(row: Row) -> str:
    """Give a row as one line of JSON that `from_line` reads back to the last bit.

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
    """Read a row."""
    row: Row = json.loads(line)
    if row.get("embedding") is not None:
        row["embedding"] = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
    return row


def _status(
    filename: str, status: str, error: str | None, duration: float | None, warnings: Sequence[str]
) -> Row:
    return dict(
        zip(STATUS_COLUMNS, (filename, status, error, duration, list(warnings)), strict=True)
    )
