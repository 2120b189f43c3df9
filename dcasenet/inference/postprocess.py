"""What each verb wants to know of a recording: which windows, and how their outputs become results.

The averages are the authors' (``trainer.py``): softmax averaged over the crops of a scene,
probabilities averaged over the channels of an event recording.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.preprocess import AudioInfo
from dcasenet.errors import TaskNotAvailableError
from dcasenet.inference.events import check_hysteresis, decode_events
from dcasenet.inference.familiarity import FAMILIARITY, SHORTEST
from dcasenet.inference.windowing import (
    QUIET_DB,
    Grid,
    OverlapAdd,
    TimeAxis,
    Window,
    event_grid,
    grid_of,
    placed,
)
from dcasenet.results import (
    Analysis,
    Array,
    Embedding,
    Events,
    Floats,
    Scene,
    Tags,
    with_fields,
)
from dcasenet.spec import ModelSpec, Task
from dcasenet.types import Resolution, check_flags
from dcasenet.weights.manifest import available_models

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
AnyResult = TypeVar("AnyResult")


@dataclass(frozen=True, eq=False)
class InferredChunk:
    """What the network gave of a window.

    Attributes:
        window: Where it lies, in samples.
        active: Where what was inferred lies.
        level: Of its loudest moment, in dB re full scale; -inf for digital silence.
        outputs: Output → (channels, …).
    """

    window: Window
    active: Window
    level: float
    outputs: Mapping[str, Floats]


class Decoder(ABC, Generic[Result_co]):
    """Reads one recording's result from its windows, in order."""

    @abstractmethod
    def add(self, chunk: InferredChunk) -> None:
        """Take the next window."""

    @abstractmethod
    def result(self, info: AudioInfo) -> Result_co:
        """Return the result, after the last window."""


@dataclass(frozen=True)
class Query(Generic[Result_co]):
    """One verb with its options, ready for any number of recordings.

    Attributes:
        grids: Output of the network → the windows that it reads.
        decoder: Makes what reads the result of a recording.
        verb: The method that has it.
        options: The options that decide the result, as plain values.
    """

    grids: Mapping[str, Grid]
    decoder: Callable[[], Decoder[Result_co]]
    verb: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


# Above it, an event counts even where a window as a whole is unlike all training data: no shipped
# checkpoint says as much of noise, tones or silence (`recipes.steadiness`).
PROBABLE = 0.5


@dataclass(frozen=True)
class Decoding:
    """How events are inferred and decoded; see `SoundVerbs.detect_events`.

    Raises:
        ValueError: `reject` is neither True nor False, or `hysteresis` is out of range.
    """

    threshold: Mapping[str, float]
    median: float = 0.0
    min_gap: float = 0.0
    min_duration: float = 0.0
    window: float | None = None
    hop: float | None = None
    resolution: Resolution = "step"
    reject: bool = False
    hysteresis: float | None = None

    def __post_init__(self) -> None:
        check_flags(reject=self.reject)
        if self.hysteresis is not None:
            check_hysteresis(self.hysteresis)

    def hysteresis_for(self, spec: ModelSpec) -> float:
        """Return the hysteresis that was chosen, or the checkpoint's own."""
        return spec.hysteresis if self.hysteresis is None else self.hysteresis


def require(spec: ModelSpec, task: Task) -> None:
    """Refuse a task that a checkpoint has no head for.

    Raises:
        TaskNotAvailableError: It has none; the message names the stages that do.
    """
    if task not in spec.tasks:
        stages = [other.stage for other in available_models() if task in other.tasks]
        raise TaskNotAvailableError(
            f"{spec.name} {spec.stage!r} has no {task} head; it answers {', '.join(spec.tasks)}. "
            f"Stages that have one: {', '.join(stages)}. Type: dcasenet.load('v3', stage=...)"
        )


def scene_query(spec: ModelSpec, *, reject: bool = False) -> Query[Scene]:
    """Return what `classify_scene` wants to know: the softmax of each window, averaged."""
    check_flags(reject=reject)
    grids = {"scene": grid_of(spec, "scene")}
    options = {"reject": reject}
    query = Query(grids, partial(SceneDecoder, spec), verb="classify_scene", options=options)
    return _with_familiarity(query, spec) if reject else query


def tag_query(spec: ModelSpec, top: int | None, *, reject: bool = False) -> Query[Tags]:
    """Return what `tag` wants to know: each label's probability, pooled over the windows."""
    check_flags(reject=reject)
    grids = {"tag": grid_of(spec, "tag")}
    options = {"top": top, "reject": reject}
    query = Query(grids, partial(TagDecoder, spec, top), verb="tag", options=options)
    return _with_familiarity(query, spec) if reject else query


def event_query(spec: ModelSpec, options: Decoding) -> Query[Events]:
    """Return what `detect_events` wants to know: probabilities averaged over channels, joined."""
    query = _event_query(spec, options)
    return _with_familiarity(query, spec) if options.reject else query


def _event_query(spec: ModelSpec, options: Decoding) -> Query[Events]:
    """Return the same without how familiar the recording is."""
    grid = event_grid(spec, options.window, options.hop)
    output = "fine_event" if is_fine(spec, options) else "event"
    return Query(
        {output: grid},
        partial(FramewiseDecoder, spec, options),
        verb="detect_events",
        options=asdict(options),
    )


def analysis_query(spec: ModelSpec, options: Decoding, top: int | None = None) -> Query[Analysis]:
    """Return every query that the checkpoint answers; windows that tasks share are read once."""
    queries: dict[Task, Query[Any]] = {}
    if "scene" in spec.tasks:
        queries["scene"] = scene_query(spec)
    if "tag" in spec.tasks:
        queries["tag"] = tag_query(spec, top)
    if "event" in spec.tasks:
        queries["event"] = _event_query(spec, options)
    grids = {output: grid for q in queries.values() for output, grid in q.grids.items()}
    described = {"threshold": options.threshold, "top": top, "reject": options.reject}
    query = Query(grids, partial(AnalysisDecoder, queries), verb="analyze", options=described)
    return _with_familiarity(query, spec) if options.reject else query


def clip_embedding_query(spec: ModelSpec, as_array: Callable[[Floats], Array]) -> Query[Array]:
    """Return what a clip's embedding takes: the mean over the steps of the tags' windows."""
    grids = {"embedding": grid_of(spec, "tag")}
    return Query(grids, partial(ClipEmbeddingDecoder, spec, as_array))


def frame_embedding_query(
    spec: ModelSpec, as_array: Callable[[Floats], Array], task: Task = "tag"
) -> Query[Embedding[Array]]:
    """Return what the embedding of each step takes: the events' windows, joined."""
    grids = {"embedding": grid_of(spec, "event")}
    decoder = partial(FrameEmbeddingDecoder, spec, as_array)
    return Query(grids, decoder, verb="embed", options={"level": "frame", "task": task})


def is_fine(spec: ModelSpec, options: Decoding) -> bool:
    """Return whether events are wanted at finer steps than the network's own."""
    return options.resolution == "fine" and spec.time_pooling > 1


class WindowPool:
    """The mean or the maximum over windows, of which very quiet ones may not count.

    What is held does not grow with the number of windows: sums by level, in whole dB.

    Args:
        pooling: ``"mean"`` or ``"max"``.
        by_level: Whether windows that are digital silence or more than 60 dB under the loudest do
            not count, unless all are silent.

    Example:
        >>> pool = WindowPool("mean", by_level=True)
        >>> for value, level in ((1.0, -20.0), (0.0, -90.0), (0.5, -30.0)):
        ...     pool.add(np.array([value]), level)
        >>> pool.pooled().tolist()
        [0.75]
    """

    def __init__(self, pooling: str, *, by_level: bool) -> None:
        self._pooling, self._by_level = pooling, by_level
        self._pools: dict[float, tuple[NDArray[Any], int]] = {}  # level → value, windows

    def add(self, values: NDArray[Any], level: float) -> None:
        """Take the values of one window."""
        key = np.floor(level) if self._by_level else 0.0
        if key not in self._pools:
            self._pools[key] = values, 1
            return
        before, n_windows = self._pools[key]
        self._pools[key] = self._joined(before, values), n_windows + 1

    def pooled(self) -> NDArray[Any]:
        """Return the mean or maximum over the windows that count."""
        loudest = max(self._pools)
        counted = [pool for level, pool in self._pools.items() if level >= loudest - QUIET_DB]
        total, n_windows = counted[0]
        for values, n in counted[1:]:
            total, n_windows = self._joined(total, values), n_windows + n
        pooled: NDArray[Any] = total / n_windows if self._pooling == "mean" else total
        return pooled

    def _joined(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        joined: NDArray[Any] = one + other if self._pooling == "mean" else np.maximum(one, other)
        return joined


class _WindowDecoder(Decoder[Result_co]):
    """A decoder of one output for each window, which are pooled."""

    def __init__(self, spec: ModelSpec, task: Task) -> None:
        self._task = task
        self._rate = spec.frontend.sample_rate
        self._pool = WindowPool(spec.context[task].pooling, by_level=spec.has_one_grid)
        self._probabilities: list[NDArray[Any]] = []
        self._windows: list[Window] = []

    @abstractmethod
    def probabilities(self, logits: Floats) -> NDArray[Any]:
        """Return a window's probabilities (labels,) from its logits (channels, labels)."""

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window; see `Decoder`."""
        probabilities = self.probabilities(chunk.outputs[self._task])
        self._pool.add(probabilities, chunk.level)
        self._probabilities.append(probabilities)
        self._windows.append(chunk.window)

    def fields(self, info: AudioInfo) -> dict[str, Any]:
        """Return what scenes and tags have alike."""
        # Resampling rounds the length up, by less than one sample.
        times = np.array(self._windows, dtype=np.float64) / self._rate
        return {
            "values": self._pool.pooled().astype(np.float32),
            "windows": np.stack(self._probabilities).astype(np.float32),
            "times": np.minimum(times, info.duration),
            **_about(info),
        }


class SceneDecoder(_WindowDecoder[Scene]):
    """Softmax, averaged over the windows."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, "scene")
        self._labels = spec.scenes

    def probabilities(self, logits: Floats) -> NDArray[Any]:
        """Return the softmax, averaged over channels."""
        scores = logits.astype(np.float64)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        mean: NDArray[Any] = (scores / scores.sum(axis=1, keepdims=True)).mean(axis=0)
        return mean

    def result(self, info: AudioInfo) -> Scene:
        """Return the result; see `Decoder`."""
        return Scene(labels=self._labels, **self.fields(info))


class TagDecoder(_WindowDecoder[Tags]):
    """Probabilities, of which the highest over the windows counts (or what the context says)."""

    def __init__(self, spec: ModelSpec, top: int | None = None) -> None:
        super().__init__(spec, "tag")
        self._labels, self._top = spec.tags, top

    def probabilities(self, logits: Floats) -> NDArray[Any]:
        """Return the sigmoid, averaged over channels."""
        mean: NDArray[Any] = sigmoid(logits).mean(axis=0)
        return mean

    def result(self, info: AudioInfo) -> Tags:
        """Return the result; see `Decoder`."""
        return Tags(labels=self._labels, limit=self._top, **self.fields(info))


class FramewiseDecoder(Decoder[Events]):
    """Probabilities averaged over channels, joined over windows, and decoded."""

    def __init__(self, spec: ModelSpec, options: Decoding) -> None:
        fine = is_fine(spec, options)
        self._labels, self._options = spec.events, options
        self._highest = min(spec.frontend.max_frequency, spec.frontend.sample_rate / 2)
        self._limit = 0.0 if spec.familiarity is None else spec.familiarity.limit
        self._output = "fine_event" if fine else "event"
        self._hysteresis = options.hysteresis_for(spec)
        self._axis = TimeAxis.of(spec, fine=fine)
        self._steps = _JoinedSteps(self._axis)

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window; see `Decoder`."""
        self._steps.add(chunk, flagged_steps(chunk, self._output, self._limit))

    def result(self, info: AudioInfo) -> Events:
        """Return the result; see `Decoder`."""
        n_rows = self._axis.n_rows(info.n_samples, info.sample_rate)
        probabilities, sure = unflagged(self._axis.rows(self._steps.joined(), n_rows))
        if self._limit > 0 and self._options.reject and info.duration < SHORTEST:
            sure = np.zeros_like(probabilities)
        options = self._options
        events = decode_events(
            sure,
            self._labels,
            self._axis.hop,
            options.threshold,
            options.median,
            options.min_gap,
            options.min_duration,
            hysteresis=self._hysteresis,
            duration=info.duration,
        )
        return Events(
            items=tuple(events),
            labels=self._labels,
            probabilities=probabilities,
            hop=self._axis.hop,
            resolution=self._axis.step,
            thresholds=options.threshold,
            max_frequency=self._highest,
            **_about(info),
        )


class AnalysisDecoder(Decoder[Analysis]):
    """The decoders of all tasks, side by side."""

    def __init__(self, queries: Mapping[Task, Query[Any]]) -> None:
        self._decoders = {task: (tuple(q.grids), q.decoder()) for task, q in queries.items()}

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window; see `Decoder`."""
        for outputs, decoder in self._decoders.values():
            if not chunk.outputs.keys().isdisjoint(outputs):
                decoder.add(chunk)

    def result(self, info: AudioInfo) -> Analysis:
        """Return the result; see `Decoder`."""
        results = {task: decoder.result(info) for task, (_, decoder) in self._decoders.items()}
        return Analysis(
            scene=results.get("scene"),
            tags=results.get("tag"),
            events=results.get("event"),
            **_about(info),
        )


class FamiliarityDecoder(Decoder[AnyResult]):
    """Another decoder, whose results know how familiar the recording is.

    That is as familiar as its most familiar window. Windows that are not familiar enough have
    events only where they are probable (`unflagged`).

    Args:
        inner: What makes the other decoder.
        limit: Familiarity below which the model is not sure.
    """

    def __init__(self, inner: Callable[[], Decoder[AnyResult]], limit: float) -> None:
        self._inner, self._pool = inner(), FamiliarityPool(limit)

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window."""
        self._inner.add(chunk)
        self._pool.add(chunk)

    def result(self, info: AudioInfo) -> AnyResult:
        """Return the result, after the last window."""
        return with_fields(self._inner.result(info), **self._pool.fields(info))


class FamiliarityPool:
    """How familiar a recording is: as its most familiar window; one that is too short is not.

    Args:
        limit: Familiarity below which the model is not sure.
    """

    def __init__(self, limit: float) -> None:
        self._limit, self._highest = limit, 0.0

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window."""
        self._highest = max(self._highest, familiarity_of(chunk) or 0.0)

    def fields(self, info: AudioInfo) -> dict[str, Any]:
        """Return the fields of a result that say so, after the last window."""
        known = self._highest if info.duration >= SHORTEST else 0.0
        return {"familiarity": known, "is_sure": known >= self._limit}


def familiarity_of(chunk: InferredChunk) -> float | None:
    """Return a window's familiarity, 0 for digital silence; None where it was not requested."""
    values = chunk.outputs.get(FAMILIARITY)
    if values is None:
        return None
    return 0.0 if chunk.level == -np.inf else float(values.mean())


def _with_familiarity(query: Query[AnyResult], spec: ModelSpec) -> Query[AnyResult]:
    """Return a query whose results say how familiar the recording is, if that can be known."""
    if spec.familiarity is None:
        return query
    grid = next(iter(query.grids.values()))
    decoder = partial(FamiliarityDecoder, query.decoder, spec.familiarity.limit)
    grids = {**query.grids, FAMILIARITY: grid}
    return dataclasses.replace(query, grids=grids, decoder=decoder)


class ClipEmbeddingDecoder(Decoder[Array]):
    """The mean over the steps of each window, and over the windows."""

    def __init__(self, spec: ModelSpec, as_array: Callable[[Floats], Array]) -> None:
        self._pool = WindowPool("mean", by_level=spec.has_one_grid)
        self._as_array = as_array

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window; see `Decoder`."""
        # The windows of one recording have equally many steps, or nearly so.
        mean = chunk.outputs["embedding"].mean(axis=(0, 1), dtype=np.float64)
        self._pool.add(mean, chunk.level)

    def result(self, info: AudioInfo) -> Array:
        """Return the result; see `Decoder`."""
        return self._as_array(self._pool.pooled().astype(np.float32))


class FrameEmbeddingDecoder(Decoder[Embedding[Array]]):
    """The steps of all windows, joined."""

    def __init__(self, spec: ModelSpec, as_array: Callable[[Floats], Array]) -> None:
        self._axis = TimeAxis.of(spec)
        self._steps = _JoinedSteps(self._axis)
        self._as_array = as_array

    def add(self, chunk: InferredChunk) -> None:
        """Take the next window; see `Decoder`."""
        self._steps.add(chunk, chunk.outputs["embedding"].mean(axis=0))

    def result(self, info: AudioInfo) -> Embedding[Array]:
        """Return the result; see `Decoder`."""
        # A short recording is repeated, and has the steps of that.
        n_steps = self._axis.n_steps(info.n_samples, info.sample_rate)
        values = self._steps.joined()[:n_steps]
        n_whole = (
            info.n_samples * self._axis.sample_rate // (self._axis.step_samples * info.sample_rate)
        )
        silent = max(0, n_whole - len(values))  # behind the last window
        values = np.pad(values, ((0, silent), (0, 0)))
        starts = np.arange(len(values)) * self._axis.step
        centers = (starts + np.minimum(starts + self._axis.step, info.duration)) / 2
        return Embedding(values=self._as_array(values), times=centers, **_about(info))


class _JoinedSteps:
    """The steps of a recording, joined while its windows come."""

    def __init__(self, axis: TimeAxis) -> None:
        self._axis, self._joined = axis, OverlapAdd()
        self._final: list[Floats] = []

    def add(self, chunk: InferredChunk, steps: Floats) -> None:
        first = self._axis.first_step(chunk.window)
        self._final.append(self._joined.take(before=first))
        self._joined.add(first, placed(steps, chunk.window, chunk.active, self._axis.step_samples))

    def joined(self) -> Floats:
        self._final.append(self._joined.take())
        return np.concatenate([steps for steps in self._final if len(steps)])


def flagged_steps(chunk: InferredChunk, output: str, limit: float) -> Floats:
    """Return a window's event probabilities, and whether the model is sure of it as a last column.

    Args:
        chunk: What the network gave.
        output: ``"event"`` or ``"fine_event"``.
        limit: Familiarity below which the model is not sure.

    Returns:
        (steps, labels + 1).
    """
    steps = step_probabilities(chunk.outputs[output])
    known = familiarity_of(chunk)
    flag = 1.0 if known is None or known >= limit else 0.0
    return np.concatenate((steps, np.full((len(steps), 1), flag, np.float32)), axis=1)


def unflagged(rows: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities of flagged rows, and those that events may come of.

    Where windows overlap, one familiar window is enough. In an unfamiliar one, such as noise with
    a call in it, only what is probable counts.

    Args:
        rows: What became of `flagged_steps`, (rows, labels + 1).

    Returns:
        The probabilities (rows, labels), and the same with 0 in place of those up to `PROBABLE`
        where the model is not sure.
    """
    probabilities = np.ascontiguousarray(rows[:, :-1])
    if (rows[:, -1] > 0).all():
        return probabilities, probabilities
    counts = (rows[:, -1:] > 0) | (probabilities > PROBABLE)
    return probabilities, np.where(counts, probabilities, np.float32(0.0))


def _about(info: AudioInfo) -> dict[str, Any]:
    """What every result says of its recording."""
    return {"source": info.source, "duration": info.duration, "warnings": info.warnings}


def step_probabilities(logits: Floats) -> Floats:
    """Average the channels' probabilities: (channels, steps, labels) → (steps, labels)."""
    mean: Floats = sigmoid(logits).mean(axis=0)
    return mean


def sigmoid(logits: Floats) -> Floats:
    """Return the probabilities of logits, of any shape."""
    return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
