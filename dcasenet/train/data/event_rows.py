"""Rows that say when an event is heard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import soundfile

from dcasenet.audio.io import read
from dcasenet.errors import AudioError
from dcasenet.train.data.dataset import LabelledEvent
from dcasenet.train.data.label_tables import Row

# Seconds by which an event may outlast its file: times are written with a digit or two.
SLACK = 0.1


def events_of_file(path: Path, rows: Sequence[Row]) -> tuple[list[LabelledEvent], list[str]]:
    """Read the events of one file.

    Args:
        path: The file.
        rows: Its rows, of columns ``onset``, ``offset`` and ``event_label``; all three are empty
            where nothing happens.

    Returns:
        The events by onset, cut at the end of the file; and a sentence about each row that
        repeats another or lies in part beyond the end.

    Raises:
        DcasenetError: A time is none, an event ends before it begins, begins after the end of the
            file or has no label.

    Example:
        >>> times = {"onset": "0.5", "offset": "1.25", "event_label": "dog"}
        >>> events_of_file(Path("a.wav"), [Row(Path("a.csv"), 2, times)])[0]
        [LabelledEvent(label='dog', onset=0.5, offset=1.25)]
    """
    remarks: list[str] = []
    found: dict[LabelledEvent, Row] = {}
    for row in rows:
        event = _event(row)
        earlier = found.setdefault(event, row) if event else row
        if earlier is not row:
            remarks.append(f"{row.path}, line {row.line}: the event of line {earlier.line} again.")
    end = _end(path, max((event.offset for event in found), default=0.0))
    events = []
    for event, row in found.items():
        if event.onset >= end:
            raise row.fault(
                f"the event begins at {event.onset:g} s and {path.name} ends at {end:.2f} s. "
                "Times are in seconds from the start of the file."
            )
        if event.offset > end + SLACK:
            remarks.append(
                f"{row.path}, line {row.line}: what lies beyond the end of {path.name} "
                f"(the event ends at {event.offset:g} s, the file at {end:.2f} s)."
            )
        events.append(replace(event, offset=min(event.offset, end)))
    return sorted(events, key=lambda event: (event.onset, event.offset, event.label)), remarks


def _event(row: Row) -> LabelledEvent | None:
    """The event of a row; None if it says that there is none."""
    label = row["event_label"]
    if not (label or row["onset"] or row["offset"]):
        return None
    onset, offset = _seconds(row, "onset"), _seconds(row, "offset")
    if offset <= onset:
        raise row.fault(f"the event begins at {onset:g} s and ends at {offset:g} s.")
    if not label:
        raise row.fault("the event has no label.")
    return LabelledEvent(label, onset, offset)


def _seconds(row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise row.fault(f"the {column} is {row[column]!r}. Accepted are seconds, such as 1.25.")
    return value


def _end(path: Path, latest: float) -> float:
    """Length of a file in seconds; infinite if it cannot be read, which decoding will name."""
    try:
        promised = float(soundfile.info(path).duration)
        # Headers can be wrong; the whole file is read only where it matters.
        return promised if promised >= latest else read(path).duration
    except (soundfile.LibsndfileError, AudioError, OSError):
        return math.inf
