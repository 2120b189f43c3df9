"""Results of the verbs: frozen, typed values that know their labels and their time axis.

Arrays are NumPy, read-only. Every result has the same forms: `to_dict`, `to_json`, `to_csv`,
`to_dataframe`, and HTML in notebooks. A form that is written to a file says what the result was
made with; see `dcasenet.results.provenance`.
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
    """A dataclass with a dictionary and a JSON form; by default all its fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
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
    """A sound that begins and ends: onset and offset in seconds from the start.

    `probability` is the mean over the event, 0 to 1.

    Attributes:
        final: False only for what a stream says early of an event that may still change.
    """

    label: str
    onset: float
    offset: float
    probability: float
    final: bool = field(default=True, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; ``final`` is among them where it is False."""
        values = super().to_dict()
        return values if not self.final else {k: v for k, v in values.items() if k != "final"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Result(ABC):
    """What the results of all verbs have in common.

    Attributes:
        source: Name of the recording: its path as it was given, or ``"<array>"`` and the like.
        duration: Length of the recording, in seconds.
        warnings: What is odd about the audio, one sentence each.
        familiarity: Share of held-out recordings that lie further from the training data, 0 to 1;
            None for a checkpoint without such statistics.
        is_sure: Whether the recording is familiar enough for the answer to mean something.
        provenance: What the result was made with; None for one that was made by hand.
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
        self.__post_init__()  # a pickled array can be written to

    def __eq__(self, other: object) -> bool:
        """Whether all is the same but the provenance, which says how it came about."""
        if type(other) is not type(self):
            return NotImplemented
        names = [part.name for part in fields(self) if part.name != "provenance"]
        return all(_is_equal(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        return hash((type(self), self.source, self.duration))

    @abstractmethod
    def values_dict(self) -> dict[str, Any]:
        """Return the answer alone as plain values, without what all results have."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: filename, duration, warnings, familiarity, is_sure, the answer."""
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
            indent: Spaces for each level; by default all is on one line.
            path: Write the text to this file, too, with its provenance.

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
        """Return the answer as plain values by task: any of scene, tags and events."""
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
    """Labels with one probability each, and the windows that they come from.

    Attributes:
        labels: The labels, in the checkpoint's order.
        values: Probability of each, (labels,).
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
        """Return the `k` most probable labels, best first; equals keep the checkpoint's order."""
        order = np.argsort(-self.values, kind="stable")[:k]
        return tuple(ScoredLabel(self.labels[i], float(self.values[i])) for i in order)


@dataclass(frozen=True, eq=False)
class Scene(_Ranked):
    """Where a recording was made: one of the labels is true, the probabilities sum to 1."""

    @property
    def label(self) -> str:
        """The most probable scene, whether or not the model is sure."""
        return self.top(1)[0].label

    @property
    def probability(self) -> float:
        """Its probability, 0 to 1."""
        return self.top(1)[0].probability

    def values_dict(self) -> dict[str, Any]:
        """Return label, probability and the probability of every label."""
        return {
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
        }

    def by_task(self) -> dict[str, Any]:
        """Return the scene as plain values under the name of its task."""
        return {"scene": self.values_dict()}

    def __repr__(self) -> str:
        return f"Scene({self._doubt}label={self.label!r}, probability={self.probability:.3f})"

    def _repr_html_(self) -> str:
        return html.page(self, html.scene(self))


@dataclass(frozen=True, eq=False)
class Tags(_Ranked, Sequence[ScoredLabel]):
    """What sounds anywhere in a recording, best first; any number of labels may be true.

    As a sequence it holds the `limit` best; `probabilities` always has every label.

    Attributes:
        limit: How many of the labels the sequence holds; None for all.
    """

    limit: int | None = None

    @property
    def ranked(self) -> tuple[ScoredLabel, ...]:
        """The labels that the sequence holds."""
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
        """Whether the sequence holds a label, given by name or with its probability."""
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
    """Sounds with onset and offset, earliest first, and the curves that they were read from.

    Attributes:
        items: The events.
        labels: Label of each column of `probabilities`.
        probabilities: (frames, labels), one frame every `hop` seconds.
        hop: From one frame to the next, in seconds.
        resolution: True length of a step of the network, in seconds: no onset is more exact.
        thresholds: Label → probability above which it counted as active.
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
        """Whether an event, or any event of a label, is among them."""
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
        """Return WebVTT captions: a cue for each event.

        Args:
            path: Write the text to this file, too, with the provenance as a comment.
        """
        return self._with_input(exporters.webvtt, path)

    def to_jams(self, path: StrPath | None = None) -> str:
        """Return a JAMS 0.3 document with one annotation of the namespace ``tag_open``.

        Args:
            path: Write the text to this file, too, with its provenance.
        """
        return self._with_input(exporters.jams, path)

    def to_label_studio(self, path: StrPath | None = None, *, url: str | None = None) -> str:
        """Return a Label Studio import: one task whose events are predictions to be corrected.

        Args:
            path: Write the text to this file, too, with its provenance.
            url: Where Label Studio finds the recording; by default its name as it was read.
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
        scene: Answer of `classify_scene`.
        tags: Answer of `tag`.
        events: Answer of `detect_events`.
    """

    scene: Scene | None
    tags: Tags | None
    events: Events | None

    def values_dict(self) -> dict[str, Any]:
        """Return the three answers as plain values."""
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
        values: (steps, size), a tensor or an array, as the model's runtime has it.
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
        """Return CSV: filename, time, e0, e1, …; a row for each step.

        Args:
            path: Also write the text to this file, with its provenance next to it.
        """
        rows: Iterator[tuple[exporters.Cell, ...]] = (
            (self.source, f"{t:.3f}", *values) for t, values in self._steps()
        )
        return self._saved(exporters.csv_text([self._columns(), *rows]), path)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table: filename, time, e0, e1, …; a row for each step.

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
    """Return a provenance of a recording, which may be a file."""
    try:
        status = Path(source).stat()
        read = (status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):  # it is no file
        read = None
    return replace(made, source=source, read=read)


def with_source(result: AnyResult, made: Provenance) -> AnyResult:
    """Return a result, or what is none, with the provenance of its own recording."""
    if not isinstance(result, Result):
        return result
    return with_fields(result, provenance=with_recording(made, result.source))


def with_fields(result: AnyResult, **values: Any) -> AnyResult:
    """Return a result, or what is none, with other values of fields, in its parts as well."""
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
    """Make arrays that a result holds read-only."""
    for array in arrays:
        array.flags.writeable = False
