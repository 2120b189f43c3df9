"""What the verbs give: frozen, typed values that know their labels and their time axis.

Arrays are NumPy, read-only; `to_dict` and `to_json` leave out the curves behind an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import exporters

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

Floats = NDArray[np.float32]
Array = TypeVar("Array")


class _Json:
    """A dataclass with a dictionary and a JSON form; by default all its fields."""

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(cast("DataclassInstance", self))

    def to_json(self, indent: int | None = None) -> str:
        """Give `to_dict` as JSON text, on one line unless `indent` is given."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


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
        """Give plain values; ``final`` is among them where it is False."""
        values = super().to_dict()
        return values if not self.final else {k: v for k, v in values.items() if k != "final"}


@dataclass(frozen=True, eq=False)
class _Ranked(_Json):
    """Labels with one probability each, and the windows that they come from.

    Attributes:
        labels: The labels, in the checkpoint's order.
        values: Probability of each, (labels,).
        windows: Probabilities of each window, (windows, labels).
        times: Start and end of each window in seconds, (windows, 2).
        warnings: What is odd about the audio.
    """

    labels: tuple[str, ...]
    values: Floats
    windows: Floats
    times: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.values, self.windows, self.times)

    @property
    def probabilities(self) -> dict[str, float]:
        """Label → probability, in the checkpoint's order."""
        return dict(zip(self.labels, self.values.tolist(), strict=True))

    def top(self, k: int) -> tuple[ScoredLabel, ...]:
        """Give the `k` most probable labels, best first; equals keep the checkpoint's order."""
        order = np.argsort(-self.values, kind="stable")[:k]
        return tuple(ScoredLabel(self.labels[i], float(self.values[i])) for i in order)


@dataclass(frozen=True, eq=False)
class Scene(_Ranked):
    """Where a recording was made: one of the labels is true, the probabilities sum to 1."""

    @property
    def label(self) -> str:
        """The most probable scene."""
        return self.top(1)[0].label

    @property
    def probability(self) -> float:
        """Its probability, 0 to 1."""
        return self.top(1)[0].probability

    def to_dict(self) -> dict[str, Any]:
        """Give label, probability and the probability of every label."""
        return {
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
        }

    def __repr__(self) -> str:
        return f"Scene(label={self.label!r}, probability={self.probability:.3f})"


@dataclass(frozen=True, eq=False)
class Tags(_Ranked, Sequence[ScoredLabel]):
    """What is heard anywhere in a recording, best first; any number of labels may be true.

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

    def to_dict(self) -> dict[str, Any]:
        """Give the labels of the sequence, best first."""
        return {"tags": [scored.to_dict() for scored in self]}

    def __repr__(self) -> str:
        best = ", ".join(f"{s.label} {s.probability:.3f}" for s in self.top(3))
        return f"Tags({best}{', …' if len(self.labels) > 3 else ''})"


@dataclass(frozen=True, eq=False)
class Events(_Json, Sequence[Event]):
    """Sounds with onset and offset, earliest first, and the curves that they were read from.

    Attributes:
        items: The events.
        labels: Label of each column of `probabilities`.
        probabilities: (frames, labels), one frame every `hop` seconds.
        hop: From one frame to the next, 0.1 s.
        resolution: True length of a step of the network, 0.8 s: no onset is more exact.
        duration: Length of the recording, in seconds.
        source: What the recording is called, for the exports' file column.
        warnings: What is odd about the audio.
    """

    items: tuple[Event, ...]
    labels: tuple[str, ...]
    probabilities: Floats
    hop: float
    resolution: float
    duration: float
    source: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.probabilities)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def to_dict(self) -> dict[str, Any]:
        """Give the events and the time axis, without the framewise probabilities."""
        return {
            "events": [event.to_dict() for event in self.items],
            "duration": self.duration,
            "hop": self.hop,
            "resolution": self.resolution,
        }

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """Give CSV with sed_eval's columns: filename, onset, offset, event_label.

        Args:
            path: Write the text to this file, too.
        """
        return exporters.save(exporters.csv_table(self.items, self.source), path)

    def to_audacity(self, path: str | PathLike[str] | None = None) -> str:
        """Give an Audacity label track: onset, offset and label, separated by tabs.

        Args:
            path: Write the text to this file, too.
        """
        return exporters.save(exporters.audacity_labels(self.items), path)

    def to_jams(self, path: str | PathLike[str] | None = None) -> str:
        """Give a JAMS 0.3 document with one annotation of the namespace ``tag_open``.

        Args:
            path: Write the text to this file, too.
        """
        return exporters.save(exporters.jams(self.items, self.duration, self.source), path)

    def to_dataframe(self) -> pd.DataFrame:
        """Give a pandas table: filename, onset, offset, event_label, probability.

        Raises:
            ImportError: pandas is not installed (extra ``pandas``).
        """
        return exporters.dataframe(self.items, self.source)

    def __repr__(self) -> str:
        return f"Events({list(self.items)!r})"


@dataclass(frozen=True, eq=False)
class Analysis(_Json):
    """Scene, tags and events of one recording; a task that the model lacks is None.

    Attributes:
        scene: Answer of `classify_scene`.
        tags: Answer of `tag`.
        events: Answer of `detect_events`.
        duration: Length of the recording, in seconds.
        warnings: What is odd about the audio, such as fewer frames than its header promises.
        source: What the recording is called.
    """

    scene: Scene | None
    tags: Tags | None
    events: Events | None
    duration: float
    warnings: tuple[str, ...] = ()
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "source": self.source,
            "duration": self.duration,
            "warnings": list(self.warnings),
            "scene": self.scene.to_dict() if self.scene else None,
            "tags": self.tags.to_dict()["tags"] if self.tags is not None else None,
            "events": self.events.to_dict()["events"] if self.events is not None else None,
        }

    def __repr__(self) -> str:
        return (
            f"Analysis(scene={self.scene!r}, tags={self.tags!r}, events={self.events!r}, "
            f"duration={self.duration:.2f})"
        )


@dataclass(frozen=True, eq=False)
class Embedding(_Json, Generic[Array]):
    """What the trunk heard over time.

    Attributes:
        values: (steps, size), a tensor or an array as the model's runtime gives.
        times: Centre of each step in seconds, (steps,).
    """

    values: Array
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        freeze(self.times)

    def to_dict(self) -> dict[str, Any]:
        """Give values and times as lists."""
        return {"values": np.asarray(self.values).tolist(), "times": self.times.tolist()}


def freeze(*arrays: NDArray[Any]) -> None:
    """Make arrays that a result holds read-only."""
    for array in arrays:
        array.flags.writeable = False
