"""Events in the formats that other programs read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from dcasenet.results import Event

# sed_eval and dcase_util name the columns of an event list so.
COLUMNS = ("filename", "onset", "offset", "event_label")


def csv_table(events: Sequence[Event], filename: str) -> str:
    r"""Give a CSV table with a header and sed_eval's columns; times with 3 decimals.

    Example:
        >>> csv_table([], "a.wav")
        'filename,onset,offset,event_label\n'
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(COLUMNS)
    for event in events:
        table.writerow([filename, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label])
    return buffer.getvalue()


def audacity_labels(events: Sequence[Event]) -> str:
    """Give the lines of an Audacity label track."""
    return "".join(f"{e.onset:.6f}\t{e.offset:.6f}\t{e.label}\n" for e in events)


def jams(events: Sequence[Event], duration: float, filename: str) -> str:
    """Give a JAMS document (schema 0.3) with the events as ``tag_open`` observations."""
    document = {
        "annotations": [
            {
                "namespace": "tag_open",
                "data": [
                    {
                        "time": event.onset,
                        "duration": round(event.offset - event.onset, 6),
                        "value": event.label,
                        "confidence": event.probability,
                    }
                    for event in events
                ],
                "annotation_metadata": {"annotation_tools": "dcasenet", "data_source": "program"},
                "sandbox": {},
                "time": 0.0,
                "duration": duration,
            }
        ],
        "file_metadata": {"title": filename, "duration": duration, "jams_version": "0.3.4"},
        "sandbox": {},
    }
    return json.dumps(document, ensure_ascii=False)


def dataframe(events: Sequence[Event], filename: str) -> pd.DataFrame:
    """Give a pandas table of the events, one row each.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "to_dataframe() needs pandas. Type: pip install 'dcasenet[pandas]'"
        ) from error
    rows = [(filename, e.onset, e.offset, e.label, e.probability) for e in events]
    return pd.DataFrame(rows, columns=[*COLUMNS, "probability"])


def save(text: str, path: str | PathLike[str] | None) -> str:
    """Give the text, and write it to `path` where there is one."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
