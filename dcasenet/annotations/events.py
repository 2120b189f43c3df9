"""Events as people annotate them: when what sounds in a recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from dcasenet.annotations.tables import TableRow, read_table
from dcasenet.audio.io import read
from dcasenet.errors import AudioError, DcasenetError

# Seconds by which an event may outlast its file: times are written with a digit or two.
SLACK = 0.1


@dataclass(frozen=True)
class LabeledEvent:
    """A true event: its label, onset and offset in seconds."""

    label: str
    onset: float
    offset: float


def events_of_file(path: Path, rows: Sequence[TableRow]) -> tuple[list[LabeledEvent], list[str]]:
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
        >>> events_of_file(Path("a.wav"), [TableRow(Path("a.csv"), 2, times)])[0]
        [LabeledEvent(label='dog', onset=0.5, offset=1.25)]
    """
    remarks: list[str] = []
    found: dict[LabeledEvent, TableRow] = {}
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


def _event(row: TableRow) -> LabeledEvent | None:
    """The event of a row; None if it says that there is none."""
    label = row["event_label"]
    if not (label or row["onset"] or row["offset"]):
        return None
    onset, offset = _seconds(row, "onset"), _seconds(row, "offset")
    if offset <= onset:
        raise row.fault(f"the event begins at {onset:g} s and ends at {offset:g} s.")
    if not label:
        raise row.fault("the event has no label.")
    return LabeledEvent(label, onset, offset)


def _seconds(row: TableRow, column: str) -> float:
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


EVENT_TABLE = {
    "filename": ("filename", "fname", "file", "path"),
    "onset": ("onset",),
    "offset": ("offset",),
    "event_label": ("event_label",),
}


def read_events(path: Path) -> tuple[dict[Path, list[LabeledEvent]], list[str]]:
    r"""Read a table of events: filename (relative to the table), onset, offset, event_label.

    Args:
        path: The table; a file in which nothing happens has a row with the other three empty.

    Returns:
        Recording → its events by onset; and a sentence about each row that was left out.

    Raises:
        DcasenetError: The table cannot be read, lacks a column or has no rows, a recording is
            missing, or a row is faulty: named, with its line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> with TemporaryDirectory() as folder:
        ...     soundfile.write(Path(folder, "a.wav"), np.zeros(16_000), 8_000)
        ...     table = Path(folder, "events.csv")
        ...     _ = table.write_text("filename,onset,offset,event_label\na.wav,0.5,1.5,dog\n")
        ...     events, _ = read_events(table)
        >>> list(events.values())
        [[LabeledEvent(label='dog', onset=0.5, offset=1.5)]]
    """
    hint = "Accepted are filename, onset, offset (in seconds) and event_label."
    table = read_table(path, EVENT_TABLE, list(EVENT_TABLE), hint)
    if not table.rows:
        raise DcasenetError(f"{path} has a header and no rows. {hint}")
    rows: dict[str, list[TableRow]] = {}
    for row in table.rows:
        if not row["filename"]:
            raise row.fault("the file name is empty.")
        rows.setdefault(row["filename"], []).append(row)
    found: dict[Path, list[LabeledEvent]] = {}
    remarks: list[str] = []
    for name, of_file in rows.items():
        recording = path.parent / name
        if not recording.is_file():
            raise of_file[0].fault(
                f"there is no file {name} in {path.parent}. File names are relative to the table."
            )
        found[recording], more = events_of_file(recording, of_file)
        remarks += more
    return found, remarks
