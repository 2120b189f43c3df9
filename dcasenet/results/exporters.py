"""Convert results to text in the formats of other programs.

Labels and file names may be untrusted; every format passes them through `one_line`, and CSV through
the writer below.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcasenet.text import json_text, one_line, spreadsheet_cell

if TYPE_CHECKING:
    import pandas as pd

    from dcasenet.results.values import Event, Events

# Columns of every flat table of results, with a row for the scene, each tag and each event.
FLAT_COLUMNS = ("filename", "task", "label", "onset", "offset", "probability")
# Columns of an event list in sed_eval and dcase_util.
EVENT_COLUMNS = ("filename", "onset", "offset", "event_label")
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin File",
    "Label",
    "Probability",
)

Cell = str | float | int | None


def csv_text(rows: Iterable[Sequence[Cell]], delimiter: str = ",") -> str:
    r"""Return rows as CSV; every text table of this package is written by this function.

    Control characters are escaped, and text that a spreadsheet would run as a formula is preceded
    by an apostrophe.

    Args:
        rows: The header, if any, and the rows; None is an empty cell.
        delimiter: Separator of cells.

    Example:
        >>> csv_text([["label"], ["=1+1"], ["a\nb, c"]])
        'label\n\'=1+1\n"a\\nb, c"\n'
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    for row in rows:
        table.writerow([spreadsheet_cell(c) if isinstance(c, str) else c for c in row])
    return buffer.getvalue()


def flat_rows(values: Mapping[str, Any]) -> Iterable[tuple[Cell, ...]]:
    """Return the JSON form of a result as rows of `FLAT_COLUMNS`: scene, tags, events.

    Times are rounded to two decimals and probabilities to three. A scene or tag has no times.

    Args:
        values: ``filename`` and any of ``scene``, ``tags`` and ``events``, as `to_dict` returns.

    Example:
        >>> scene = {"label": "park", "probability": 0.7512}
        >>> list(flat_rows({"filename": "a.wav", "scene": scene, "tags": None, "events": []}))
        [('a.wav', 'scene', 'park', None, None, '0.751')]
    """
    name = values["filename"]
    scene, tags, events = (values.get(key) for key in ("scene", "tags", "events"))
    if scene:
        yield (name, "scene", scene["label"], None, None, f"{scene['probability']:.3f}")
    for tag in tags or ():
        yield (name, "tag", tag["label"], None, None, f"{tag['probability']:.3f}")
    for event in events or ():
        times = f"{event['onset']:.2f}", f"{event['offset']:.2f}"
        yield (name, "event", event["label"], *times, f"{event['probability']:.3f}")


def flat_dataframe(values: Mapping[str, Any]) -> pd.DataFrame:
    """Return the JSON form of a result as a pandas table of `FLAT_COLUMNS`, unrounded.

    Raises:
        ImportError: pandas is not installed.
    """
    name = values["filename"]
    scene, tags, events = (values.get(key) for key in ("scene", "tags", "events"))
    rows: list[tuple[Any, ...]] = []
    if scene:
        rows.append((name, "scene", scene["label"], None, None, scene["probability"]))
    rows += [(name, "tag", t["label"], None, None, t["probability"]) for t in tags or ()]
    rows += [
        (name, "event", e["label"], e["onset"], e["offset"], e["probability"]) for e in events or ()
    ]
    return dataframe(FLAT_COLUMNS, rows)


def dataframe(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return a pandas table whose columns have types even if there are no rows.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "to_dataframe() needs pandas. Type: pip install 'dcasenet[pandas]'"
        ) from error
    table = pd.DataFrame(rows, columns=list(columns))
    numbers = ("onset", "offset", "probability")
    return table.astype({name: "float64" if name in numbers else "object" for name in columns})


def event_rows(events: Events) -> Iterable[tuple[Cell, ...]]:
    """Return events as rows of `EVENT_COLUMNS`; times with 3 decimals."""
    for event in events:
        yield (events.source, f"{event.onset:.3f}", f"{event.offset:.3f}", event.label)


def events_csv(events: Events) -> str:
    """Return a table with a header and sed_eval's columns: filename, onset, offset, event_label."""
    return csv_text([EVENT_COLUMNS, *event_rows(events)])


def audacity(events: Events) -> str:
    """Return an Audacity label track: onset, offset and label, separated by tabs."""
    return "".join(f"{e.onset:.6f}\t{e.offset:.6f}\t{one_line(e.label)}\n" for e in events)


def raven(events: Events) -> str:
    """Return a Raven selection table: one row per event, over the model's whole frequency range."""
    rows = [
        (
            number,
            "Spectrogram 1",
            1,
            f"{event.onset:.6f}",
            f"{event.offset:.6f}",
            0,
            f"{events.max_frequency:g}",
            events.source,
            event.label,
            f"{event.probability:.4f}",
        )
        for number, event in enumerate(events, start=1)
    ]
    return csv_text([RAVEN_COLUMNS, *rows], delimiter="\t")


def webvtt(events: Events) -> str:
    """Return WebVTT captions: one cue per event, with label and probability."""
    parts = ["WEBVTT\n"]
    if events.provenance is not None:
        note = json.dumps(events.provenance.to_dict())
        # A comment ends at an empty line, must not contain an arrow, and may be read as HTML.
        note = note.replace("<", "\\u003c").replace(">", "\\u003e")
        parts.append(f"NOTE provenance {note}\n")
    for number, event in enumerate(events, start=1):
        text = one_line(event.label)
        for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(character, entity)
        times = f"{_timestamp(event.onset)} --> {_timestamp(event.offset)}"
        parts.append(f"{number}\n{times}\n{text} {event.probability:.2f}\n")
    return "\n".join(parts)


def textgrid(events: Events) -> str:
    """Return a Praat TextGrid with one interval tier per label that occurs."""
    labels = list(dict.fromkeys(event.label for event in events))
    end = f"{events.duration:.6f}"
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end}",
        "tiers? <exists>",
        f"size = {len(labels)}",
        "item []:",
    ]
    for number, label in enumerate(labels, start=1):
        intervals = _intervals([e for e in events if e.label == label], events.duration)
        quoted = _praat(label)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {quoted}",
            "        xmin = 0",
            f"        xmax = {end}",
            f"        intervals: size = {len(intervals)}",
        ]
        for index, (onset, offset, is_event) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {onset:.6f}",
                f"            xmax = {offset:.6f}",
                f"            text = {quoted if is_event else _praat('')}",
            ]
    return "\n".join(lines) + "\n"


def jams(events: Events) -> str:
    """Return a JAMS 0.3 document with the events as ``tag_open`` observations."""
    observations = [
        {
            "time": event.onset,
            "duration": round(event.offset - event.onset, 6),
            "value": one_line(event.label),
            "confidence": event.probability,
        }
        for event in events
    ]
    provenance = _provenance(events)
    annotation = {
        "namespace": "tag_open",
        "data": observations,
        "annotation_metadata": {
            "annotation_tools": "dcasenet",
            "data_source": "program",
            "version": provenance.get("provenance", {}).get("version", ""),
        },
        "sandbox": provenance,
        "time": 0.0,
        "duration": events.duration,
    }
    document = {
        "annotations": [annotation],
        "file_metadata": {
            "title": one_line(events.source),
            "duration": events.duration,
            "jams_version": "0.3.4",
        },
        "sandbox": {},
    }
    return json_text(document)


def label_studio(events: Events, url: str | None = None) -> str:
    """Return a Label Studio import: one task with the events as predictions to correct.

    The project's labeling configuration needs ``<Audio name="audio" value="$audio"/>`` and
    ``<Labels name="label" toName="audio">``.

    Args:
        events: The events.
        url: Address of the recording for Label Studio; by default its name as it was read.
    """
    return json_text([label_studio_task(events, url)])


def label_studio_task(events: Events, url: str | None = None) -> dict[str, Any]:
    """Return one task of a Label Studio import; see `label_studio`."""
    regions = [
        {
            "id": f"event{number}",
            "from_name": "label",
            "to_name": "audio",
            "type": "labels",
            "original_length": events.duration,
            "score": event.probability,
            "value": {
                "start": event.onset,
                "end": event.offset,
                "channel": 0,
                "labels": [one_line(event.label)],
            },
        }
        for number, event in enumerate(events, start=1)
    ]
    mean = sum(event.probability for event in events) / len(events) if len(events) else 0.0
    name = events.provenance.model if events.provenance is not None else "dcasenet"
    return {
        "data": {"audio": one_line(events.source) if url is None else url},
        "predictions": [{"model_version": name, "score": mean, "result": regions}],
        "meta": _provenance(events),
    }


def sed_scores(events: Events) -> str:
    """Return the framewise probabilities as a score table of sed_scores_eval.

    The columns, separated by tabs, are onset, offset and one per label; rows cover the time from 0
    to the end without gaps.
    """
    n_rows = len(events.probabilities)
    onsets = [round(index * events.hop, 6) for index in range(n_rows)]
    offsets = [*onsets[1:], events.duration] if n_rows else []
    rows = (
        (f"{onset:g}", f"{offset:.6f}".rstrip("0").rstrip("."), *(f"{p:.6g}" for p in values))
        for onset, offset, values in zip(
            onsets, offsets, events.probabilities.tolist(), strict=True
        )
    )
    return csv_text([("onset", "offset", *events.labels), *rows], delimiter="\t")


def _provenance(events: Events) -> dict[str, Any]:
    return {} if events.provenance is None else {"provenance": events.provenance.to_dict()}


def _timestamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds / 1000:06.3f}"


def _praat(text: str) -> str:
    return '"' + one_line(text).replace('"', '""') + '"'


def _intervals(events: Sequence[Event], duration: float) -> list[tuple[float, float, bool]]:
    """Return the events of one label, in order, and the gaps between them, from 0 to the end."""
    intervals, position = [], 0.0
    for event in events:
        if event.onset > position:
            intervals.append((position, event.onset, False))
        intervals.append((event.onset, event.offset, True))
        position = event.offset
    if position < duration or not intervals:
        intervals.append((position, duration, False))
    return intervals


def vector_columns(size: int, *more: str) -> tuple[str, ...]:
    """Return the column names of a table of embeddings.

    Example:
        >>> vector_columns(2, "time")
        ('filename', 'time', 'e0', 'e1')
    """
    return ("filename", *more, *(f"e{index}" for index in range(size)))
