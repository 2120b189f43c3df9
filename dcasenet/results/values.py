"""The results of a model: frozen, typed values with their labels and their time axis.

Arrays are NumPy, read-only. All results have the methods `to_dict`, `to_json`, `to_csv` and
`to_dataframe`, and HTML for notebooks. Results that are written to a file include their provenance;
see `dcasenet.results.provenance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import exporters, html, writing
from dcasenet.results.provenance import Provenance
from dcasenet.text import json_text

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

Floats = NDArray[np.float32]
Array = TypeVar("Array")
AnyResult = TypeVar("AnyResult")
StrPath = str | PathLike[str]


class _Json:
    """A base for dataclasses with a dictionary and a JSON form; by default of all fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(cast("DataclassInstance", self))

    def to_json(self, indent: int | None = None) -> str:
        """Return `to_dict` as JSON text, on one line unless `indent` is given."""
        return json_text(self.to_dict(), indent)


@dataclass(frozen=True)
class ScoredLabel(_Json):
    """A label and its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Event(_Json):
    """A detected sound event, with onset and offset in seconds from the start.

    `probability` is the mean over the event, 0 to 1.

    Attributes:
        final: False only for an early event of a stream that may still change.
    """

    label: str
    onset: float
    offset: float
    probability: float
    final: bool = field(default=True, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values; ``final`` is included only if it is False."""
        values = super().to_dict()
        return values if not self.final else {k: v for k, v in values.items() if k != "final"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Result(ABC):
    """The common base of all results.

    Attributes:
        source: Name of the recording: its path as it was given, or for example ``"<array>"``.
        duration: Duration of the recording, in seconds.
        warnings: Problems of the audio, one sentence each.
        familiarity: Share of held-out recordings that are further from the training data, 0 to 1;
            None for a checkpoint without these statistics.
        is_sure: Whether the recording is familiar enough for a meaningful result.
        provenance: How the result was computed; None for one created by hand.
    """

    source: str = ""
    duration: float = 0.0
    warnings: tuple[str, ...] = ()
    familiarity: float | None = None
    is_sure: bool = True
    provenance: Provenance | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for part in fields(self):
            if isinstance(value := getattr(self, part.name), np.ndarray):
                freeze(value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # unpickled arrays are writable

    def __eq__(self, other: object) -> bool:
        """Return whether all fields except the provenance are equal."""
        if type(other) is not type(self):
            return NotImplemented
        names = [part.name for part in fields(self) if part.name != "provenance"]
        return all(_is_equal(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        return hash((type(self), self.source, self.duration))

    @abstractmethod
    def values_dict(self) -> dict[str, Any]:
        """Return the content as plain values, without the fields common to all results."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: filename, duration, warnings, familiarity, is_sure, the content."""
        return {
            "filename": self.source,
            "duration": self.duration,
            "warnings": list(self.warnings),
            "familiarity": self.familiarity,
            "is_sure": self.is_sure,
            **self.values_dict(),
        }

    def to_json(self, indent: int | None = None, *, path: StrPath | None = None) -> str:
        """Return `to_dict` as JSON text.

        Args:
            indent: Spaces per level; by default everything is on one line.
            path: Also write the text to this file, with its provenance inside.

        Raises:
            OSError: The file cannot be written.
        """
        values = self.to_dict()
        if path is not None:
            values = writing.with_provenance(values, self.provenance)
        text = json_text(values, indent)
        if path is not None:
            writing.write_text(path, text + "\n")
        return text

    def to_csv(self, path: StrPath | None = None) -> str:
        """Return CSV: filename, task, label, onset, offset, probability.

        Args:
            path: Also write the text to this file, with its provenance next to it.

        Raises:
            OSError: The file cannot be written.
        """
        text = exporters.csv_text([exporters.FLAT_COLUMNS, *exporters.flat_rows(self._rows())])
        return self._saved(text, path)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table: filename, task, label, onset, offset, probability.

        Raises:
            ImportError: pandas is not installed (extra ``pandas``).
        """
        return self._described(exporters.flat_dataframe(self._rows()))

    def by_task(self) -> dict[str, Any]:
        """Return the content as plain values by task: any of scene, tags and events."""
        return self.values_dict()

    def _rows(self) -> Mapping[str, Any]:
        return {"filename": self.source, **self.by_task()}

    def _saved(self, text: str, path: StrPath | None) -> str:
        if path is not None:
            writing.write_text(path, text, self.provenance)
        return text

    def _described(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.provenance is not None:
            table.attrs["provenance"] = self.provenance.to_dict()
        return table

    @property
    def _doubt(self) -> str:
        return "" if self.is_sure else "not sure: "


@dataclass(frozen=True, eq=False)
class _Ranked(Result):
    """Labels with one probability each, and the probabilities of the windows.

    Attributes:
        labels: The labels, in the checkpoint's order.
        values: Probability of each label, (labels,).
        windows: Probabilities of each window, (windows, labels).
        times: Start and end of each window in seconds, (windows, 2).
    """

    labels: tuple[str, ...]
    values: Floats
    windows: Floats
    times: NDArray[np.float64]

    @property
    def probabilities(self) -> dict[str, float]:
        """Label → probability, in the checkpoint's order."""
        return dict(zip(self.labels, self.values.tolist(), strict=True))

    def top(self, k: int) -> tuple[ScoredLabel, ...]:
        """Return the `k` most probable labels, best first; ties keep the checkpoint's order."""
        order = np.argsort(-self.values, kind="stable")[:k]
        return tuple(ScoredLabel(self.labels[i], float(self.values[i])) for i in order)


@dataclass(frozen=True, eq=False)
class Scene(_Ranked):
    """The scene where a recording was made: exactly one label applies, probabilities sum to 1."""

    @property
    def label(self) -> str:
        """The most probable scene, whether or not the model is sure."""
        return self.top(1)[0].label

    @property
    def probability(self) -> float:
        """The probability of the most probable scene, 0 to 1."""
        return self.top(1)[0].probability

    def values_dict(self) -> dict[str, Any]:
        """Return label, probability and the probability of every label."""
        return {
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
        }

    def by_task(self) -> dict[str, Any]:
        """Return the scene as plain values, under the name of its task."""
        return {"scene": self.values_dict()}

    def __repr__(self) -> str:
        return f"Scene({self._doubt}label={self.label!r}, probability={self.probability:.3f})"

    def _repr_html_(self) -> str:
        return html.page(self, html.scene(self))


@dataclass(frozen=True, eq=False)
class Tags(_Ranked, Sequence[ScoredLabel]):
    """The sounds anywhere in a recording, best first; any number of labels may apply.

    As a sequence it contains the `limit` best; `probabilities` always has every label.

    Attributes:
        limit: Number of labels in the sequence; None for all.
    """

    limit: int | None = None

    @property
    def ranked(self) -> tuple[ScoredLabel, ...]:
        """The labels of the sequence, best first."""
        return self.top(len(self.labels) if self.limit is None else self.limit)

    @overload
    def __getitem__(self, index: int) -> ScoredLabel: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ScoredLabel, ...]: ...
    def __getitem__(self, index: int | slice) -> ScoredLabel | tuple[ScoredLabel, ...]:
        return self.ranked[index]

    def __len__(self) -> int:
        return len(self.ranked)

    def __iter__(self) -> Iterator[ScoredLabel]:
        return iter(self.ranked)

    def __contains__(self, item: object) -> bool:
        """Return whether the sequence contains a label, given by name or with its probability."""
        if isinstance(item, str):
            return any(scored.label == item for scored in self.ranked)
        return item in self.ranked

    def values_dict(self) -> dict[str, Any]:
        """Return the labels of the sequence, best first."""
        return {"tags": [scored.to_dict() for scored in self]}

    def __repr__(self) -> str:
        best = ", ".join(f"{s.label} {s.probability:.3f}" for s in self.top(3))
        return f"Tags({self._doubt}{best}{', …' if len(self.labels) > 3 else ''})"

    def _repr_html_(self) -> str:
        return html.page(self, html.tags(self))


@dataclass(frozen=True, eq=False)
class Events(Result, Sequence[Event]):
    """Sound events, earliest first, and the framewise probabilities they were detected from.

    Attributes:
        items: The events.
        labels: Label of each column of `probabilities`.
        probabilities: (frames, labels), one frame every `hop` seconds.
        hop: Time between frames, in seconds.
        resolution: Duration of a step of the network, in seconds: onsets are not more precise.
        thresholds: Label → probability above which an event is active.
        max_frequency: Highest frequency that the model uses, in Hz.
    """

    items: tuple[Event, ...]
    labels: tuple[str, ...]
    probabilities: Floats
    hop: float
    resolution: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    max_frequency: float = 12_000.0

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: object) -> bool:
        """Return whether an event, or any event of a label, is included."""
        if isinstance(item, str):
            return any(event.label == item for event in self.items)
        return item in self.items

    def values_dict(self) -> dict[str, Any]:
        """Return the events and the time axis, without the framewise probabilities."""
        return {
            "events": [event.to_dict() for event in self.items],
            "hop": self.hop,
            "resolution": self.resolution,
        }

    def to_csv(self, path: StrPath | None = None) -> str:
        """Return CSV with sed_eval's columns: filename, onset, offset, event_label.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        return self._saved(exporters.events_csv(self), path)

    def to_audacity(self, path: StrPath | None = None) -> str:
        """Return an Audacity label track: onset, offset and label, separated by tabs.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        return self._saved(exporters.audacity(self), path)

    def to_raven(self, path: StrPath | None = None) -> str:
        """Return a Raven selection table.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        return self._saved(exporters.raven(self), path)

    def to_textgrid(self, path: StrPath | None = None) -> str:
        """Return a Praat TextGrid with an interval tier for each label that occurs.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        return self._saved(exporters.textgrid(self), path)

    def to_sed_scores(self, path: StrPath | None = None) -> str:
        """Return the framewise probabilities as a score table of sed_scores_eval.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        return self._saved(exporters.sed_scores(self), path)

    def to_webvtt(self, path: StrPath | None = None) -> str:
        """Return WebVTT captions: one cue per event.

        Args:
            path: Also write the text to this file, with its provenance as a comment.
        """
        return self._with_input(exporters.webvtt, path)

    def to_jams(self, path: StrPath | None = None) -> str:
        """Return a JAMS 0.3 document with one annotation of the namespace ``tag_open``.

        Args:
            path: Also write the text to this file, with its provenance inside.
        """
        return self._with_input(exporters.jams, path)

    def to_label_studio(self, path: StrPath | None = None, *, url: str | None = None) -> str:
        """Return a Label Studio import: one task with the events as predictions to correct.

        Args:
            path: Also write the text to this file, with its provenance inside.
            url: Address of the recording for Label Studio; by default its name as it was read.
        """
        return self._with_input(lambda events: exporters.label_studio(events, url), path)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table: filename, onset, offset, event_label, probability.

        Raises:
            ImportError: pandas is not installed (extra ``pandas``).
        """
        columns = (*exporters.EVENT_COLUMNS, "probability")
        rows = [(self.source, e.onset, e.offset, e.label, e.probability) for e in self.items]
        return self._described(exporters.dataframe(columns, rows))

    def _with_input(self, export: Callable[[Events], str], path: StrPath | None) -> str:
        if path is None:
            return export(self)
        text = export(writing.stamped(self))
        writing.write_text(path, text)
        return text

    def __repr__(self) -> str:
        return f"Events({self._doubt}{list(self.items)!r})"

    def _repr_html_(self) -> str:
        return html.page(self, html.events(self))


@dataclass(frozen=True, eq=False)
class Analysis(Result):
    """Scene, tags and events of one recording; a task that the model lacks is None.

    Attributes:
        scene: The result of `classify_scene`.
        tags: The result of `tag`.
        events: The result of `detect_events`.
    """

    scene: Scene | None
    tags: Tags | None
    events: Events | None

    def values_dict(self) -> dict[str, Any]:
        """Return scene, tags and events as plain values."""
        return {
            "scene": self.scene.values_dict() if self.scene else None,
            "tags": self.tags.values_dict()["tags"] if self.tags is not None else None,
            "events": self.events.values_dict()["events"] if self.events is not None else None,
        }

    def __repr__(self) -> str:
        return (
            f"Analysis({self._doubt}scene={self.scene!r}, tags={self.tags!r}, "
            f"events={self.events!r}, duration={self.duration:.2f})"
        )

    def _repr_html_(self) -> str:
        parts = [
            html.scene(self.scene) if self.scene is not None else "",
            html.tags(self.tags) if self.tags is not None else "",
            html.events(self.events) if self.events is not None else "",
        ]
        return html.page(self, "".join(parts))


@dataclass(frozen=True, eq=False)
class Embedding(Result, Generic[Array]):
    """The backbone's embedding over time.

    Attributes:
        values: (steps, size), a tensor or an array, depending on the model's runtime.
        times: Center of each step in seconds, (steps,).
    """

    values: Array
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        freeze(self.times)

    def values_dict(self) -> dict[str, Any]:
        """Return values and times as lists."""
        return {"values": np.asarray(self.values).tolist(), "times": self.times.tolist()}

    def to_csv(self, path: StrPath | None = None) -> str:
        """Return CSV: filename, time, e0, e1, …; one row per step.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        rows: Iterator[tuple[exporters.Cell, ...]] = (
            (self.source, f"{t:.3f}", *values) for t, values in self._steps()
        )
        return self._saved(exporters.csv_text([self._columns(), *rows]), path)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table: filename, time, e0, e1, …; one row per step.

        Raises:
            ImportError: pandas is not installed (extra ``pandas``).
        """
        rows = [(self.source, t, *values) for t, values in self._steps()]
        return self._described(exporters.dataframe(self._columns(), rows))

    def _steps(self) -> Iterator[tuple[float, list[float]]]:
        return zip(self.times.tolist(), np.asarray(self.values).tolist(), strict=True)

    def _columns(self) -> tuple[str, ...]:
        return exporters.vector_columns(np.asarray(self.values).shape[1], "time")

    def __repr__(self) -> str:
        steps, size = np.asarray(self.values).shape
        return f"Embedding({steps} steps of {size} values)"

    def _repr_html_(self) -> str:
        return html.page(self, html.embedding(np.asarray(self.values), self.times))


def with_recording(made: Provenance, source: str) -> Provenance:
    """Return the provenance for a recording, which may be a file."""
    try:
        status = Path(source).stat()
        read = (status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):  # not a file
        read = None
    return replace(made, source=source, read=read)


def with_source(result: AnyResult, made: Provenance) -> AnyResult:
    """Return a result with the provenance of its own recording; other values are unchanged."""
    if not isinstance(result, Result):
        return result
    return with_fields(result, provenance=with_recording(made, result.source))


def with_fields(result: AnyResult, **values: Any) -> AnyResult:
    """Return a result with changed fields, also in its parts; other values are unchanged."""
    if not isinstance(result, Result):
        return result
    parts: dict[str, Any] = {
        part.name: replace(value, **values)
        for part in fields(result)
        if isinstance(value := getattr(result, part.name), Result)
    }
    return replace(result, **values, **parts)


def _is_equal(one: Any, other: Any) -> bool:
    if hasattr(one, "shape"):  # an array or a tensor
        return np.array_equal(np.asarray(one), np.asarray(other))
    return bool(one == other)


def freeze(*arrays: NDArray[Any]) -> None:
    """Make the arrays of a result read-only."""
    for array in arrays:
        array.flags.writeable = False
