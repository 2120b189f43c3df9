"""What each verb asks of a recording: which windows it hears, and how their outputs are read.

The averages are the authors' (``trainer.py``): softmax averaged over the crops of a scene,
probabilities averaged over the channels of an event recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dcasenet.decode import decode_events
from dcasenet.errors import TaskNotAvailableError
from dcasenet.manifest import available_models
from dcasenet.options import Channels
from dcasenet.passes import Answers, Split
from dcasenet.prepare import Prepared
from dcasenet.results import Analysis, Array, Embedding, Events, Floats, Scene, Tags
from dcasenet.spec import STEP, ModelSpec, Task
from dcasenet.windows import (
    EVENT_HOP,
    EVENT_WINDOW,
    ROW,
    Window,
    event_windows,
    join_steps,
    scene_windows,
    steps_to_rows,
    tag_windows,
)

Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True)
class Question(Generic[Result]):
    """One verb with its options, ready to be put to any number of recordings.

    Attributes:
        split: Which windows each task hears of a recording.
        decode: Its result, from those windows and what the network gave for them.
        channels: ``"mix"`` or ``"each"``: what the network hears of several channels.
    """

    split: Callable[[Prepared], Split]
    decode: Callable[[Prepared, Split, Answers], Result]
    channels: Channels = "mix"


@dataclass(frozen=True)
class Decoding:
    """How events are heard and read; see `SoundVerbs.detect_events`."""

    threshold: Mapping[str, float]
    median: float = 0.0
    min_gap: float = 0.0
    min_duration: float = 0.0
    window: float = EVENT_WINDOW
    hop: float = EVENT_HOP


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


def which_scene(spec: ModelSpec) -> Question[Scene]:
    """Ask for the scene: the softmax of each window, averaged."""

    def split(item: Prepared) -> Split:
        return {"scene": scene_windows(item.n_samples, item.sample_rate)}

    def decode(item: Prepared, split: Split, answers: Answers) -> Scene:
        scores = np.concatenate(answers["scene"]).astype(np.float64)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        windows = scores / scores.sum(axis=1, keepdims=True)
        return Scene(
            labels=spec.scenes,
            values=windows.mean(axis=0).astype(np.float32),
            windows=windows.astype(np.float32),
            times=_times(item, split["scene"]),
            warnings=item.warnings,
        )

    return Question(split, decode)


def which_tags(spec: ModelSpec, top: int | None) -> Question[Tags]:
    """Ask for the tags: each label's highest probability over the windows."""

    def split(item: Prepared) -> Split:
        return {"tag": tag_windows(item.n_samples, item.sample_rate)}

    def decode(item: Prepared, split: Split, answers: Answers) -> Tags:
        windows = _sigmoid(np.concatenate(answers["tag"]))
        return Tags(
            labels=spec.tags,
            values=windows.max(axis=0),
            windows=windows,
            times=_times(item, split["tag"]),
            warnings=item.warnings,
            limit=top,
        )

    return Question(split, decode)


def which_events(
    spec: ModelSpec, options: Decoding, channels: Channels = "mix"
) -> Question[Events]:
    """Ask for the events: probabilities averaged over channels, joined, and decoded."""

    def split(item: Prepared) -> Split:
        return {"event": _event_windows(item, options.window, options.hop)}

    def decode(item: Prepared, split: Split, answers: Answers) -> Events:
        steps = [_sigmoid(logits).mean(axis=0) for logits in answers["event"]]
        probabilities = steps_to_rows(_joined(item, split["event"], steps), item.n_rows)
        events = decode_events(
            probabilities,
            spec.events,
            ROW,
            options.threshold,
            options.median,
            options.min_gap,
            options.min_duration,
            duration=item.duration,
        )
        return Events(
            items=tuple(events),
            labels=spec.events,
            probabilities=probabilities,
            hop=ROW,
            resolution=STEP,
            duration=item.duration,
            source=item.source,
            warnings=item.warnings,
        )

    return Question(split, decode, channels)


def everything(spec: ModelSpec, options: Decoding) -> Question[Analysis]:
    """Ask for every task that the checkpoint answers; windows that tasks share are heard once."""
    scene = which_scene(spec) if "scene" in spec.tasks else None
    tags = which_tags(spec, None) if "tag" in spec.tasks else None
    events = which_events(spec, options) if "event" in spec.tasks else None

    def split(item: Prepared) -> Split:
        windows: dict[str, Sequence[Window]] = {}
        for question in (scene, tags, events):
            windows.update(question.split(item) if question else {})
        return windows

    def decode(item: Prepared, split: Split, answers: Answers) -> Analysis:
        return Analysis(
            scene=scene.decode(item, split, answers) if scene else None,
            tags=tags.decode(item, split, answers) if tags else None,
            events=events.decode(item, split, answers) if events else None,
            duration=item.duration,
            warnings=item.warnings,
            source=item.source,
        )

    return Question(split, decode)


def which_vector(as_array: Callable[[Floats], Array]) -> Question[Array]:
    """Ask for the clip's embedding: the mean over the steps of the tags' windows."""

    def split(item: Prepared) -> Split:
        return {"embedding": tag_windows(item.n_samples, item.sample_rate)}

    def decode(item: Prepared, split: Split, answers: Answers) -> Array:
        steps = np.concatenate([values[0] for values in answers["embedding"]])
        return as_array(steps.mean(axis=0, dtype=np.float64).astype(np.float32))

    return Question(split, decode)


def which_steps(as_array: Callable[[Floats], Array]) -> Question[Embedding[Array]]:
    """Ask for the embedding of each step, over the events' windows."""

    def split(item: Prepared) -> Split:
        return {"embedding": _event_windows(item, EVENT_WINDOW, EVENT_HOP)}

    def decode(item: Prepared, split: Split, answers: Answers) -> Embedding[Array]:
        parts = [values[0] for values in answers["embedding"]]
        steps = _joined(item, split["embedding"], parts)
        starts = np.arange(len(steps)) * STEP
        centres = (starts + np.minimum(starts + STEP, item.duration)) / 2
        return Embedding(values=as_array(steps), times=centres)

    return Question(split, decode)


def _event_windows(item: Prepared, window: float, hop: float) -> list[Window]:
    return event_windows(item.n_samples, item.sample_rate, window, hop)


def _joined(item: Prepared, windows: Sequence[Window], values: Sequence[Floats]) -> Floats:
    step = round(STEP * item.sample_rate)
    return join_steps(values, [start // step for start, _ in windows])


def _times(item: Prepared, windows: Sequence[Window]) -> NDArray[np.float64]:
    # Resampling rounds the length up, by less than one sample.
    return np.minimum(np.array(windows, dtype=np.float64) / item.sample_rate, item.duration)


def _sigmoid(logits: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
