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

from dcasenet.audio.preprocess import Facts
from dcasenet.errors import TaskNotAvailableError
from dcasenet.inference.events import decode_events, thresholds_for
from dcasenet.inference.windowing import (
    EVENT_HOP,
    EVENT_WINDOW,
    Grid,
    Joiner,
    Window,
    event_grid,
    scene_grid,
    steps_to_rows,
    tag_grid,
)
from dcasenet.results import Analysis, Array, Embedding, Events, Floats, Scene, Tags
from dcasenet.spec import ROW, STEP, ModelSpec, Task
from dcasenet.types import Channels, Threshold
from dcasenet.weights.manifest import available_models

Result = TypeVar("Result", covariant=True)

# Task → the windows that it heard; no task ("embedding") hears its own.
Split = Mapping[str, Sequence[Window]]
# Task → one array (channels, …) for each of its windows.
Answers = Mapping[str, Sequence[Floats]]


def as_it_is(values: Floats) -> Floats:
    """Give what the network gave."""
    return values


@dataclass(frozen=True)
class Question(Generic[Result]):
    """One verb with its options, ready to be put to any number of recordings.

    Attributes:
        grids: Which windows each task hears of a recording.
        decode: Its result, from those windows and what was kept of the network's answers.
        channels: ``"mix"`` or ``"each"``: what the network hears of several channels.
        keep: What is kept of a window's answers, (channels, …), until the recording ends.
    """

    grids: Mapping[str, Grid]
    decode: Callable[[Facts, Split, Answers], Result]
    channels: Channels = "mix"
    keep: Callable[[Floats], Floats] = as_it_is


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


def limits_for(spec: ModelSpec, threshold: Threshold) -> dict[str, float]:
    """Give every event its threshold, by default the spec's; none where there are no events.

    Raises:
        ValueError: A threshold is out of range or names no event.
    """
    if "event" not in spec.tasks:
        return {}
    return thresholds_for(spec.events, threshold, spec.thresholds)


def which_scene(spec: ModelSpec) -> Question[Scene]:
    """Ask for the scene: the softmax of each window, averaged."""

    def decode(item: Facts, split: Split, answers: Answers) -> Scene:
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

    return Question({"scene": scene_grid(spec.frontend.sample_rate)}, decode)


def which_tags(spec: ModelSpec, top: int | None) -> Question[Tags]:
    """Ask for the tags: each label's highest probability over the windows."""

    def decode(item: Facts, split: Split, answers: Answers) -> Tags:
        windows = _sigmoid(np.concatenate(answers["tag"]))
        return Tags(
            labels=spec.tags,
            values=windows.max(axis=0),
            windows=windows,
            times=_times(item, split["tag"]),
            warnings=item.warnings,
            limit=top,
        )

    return Question({"tag": tag_grid(spec.frontend.sample_rate)}, decode)


def which_events(
    spec: ModelSpec, options: Decoding, channels: Channels = "mix"
) -> Question[Events]:
    """Ask for the events: probabilities averaged over channels, joined, and decoded."""

    def decode(item: Facts, split: Split, answers: Answers) -> Events:
        steps = [step_probabilities(logits) for logits in answers["event"]]
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

    grid = event_grid(spec.frontend.sample_rate, options.window, options.hop)
    return Question({"event": grid}, decode, channels)


def everything(spec: ModelSpec, options: Decoding) -> Question[Analysis]:
    """Ask for every task that the checkpoint answers; windows that tasks share are heard once."""
    scene = which_scene(spec) if "scene" in spec.tasks else None
    tags = which_tags(spec, None) if "tag" in spec.tasks else None
    events = which_events(spec, options) if "event" in spec.tasks else None

    def decode(item: Facts, split: Split, answers: Answers) -> Analysis:
        return Analysis(
            scene=scene.decode(item, split, answers) if scene else None,
            tags=tags.decode(item, split, answers) if tags else None,
            events=events.decode(item, split, answers) if events else None,
            duration=item.duration,
            warnings=item.warnings,
            source=item.source,
        )

    asked = [question for question in (scene, tags, events) if question]
    return Question({t: grid for q in asked for t, grid in q.grids.items()}, decode)


def which_vector(spec: ModelSpec, as_array: Callable[[Floats], Array]) -> Question[Array]:
    """Ask for the clip's embedding: the mean over the steps of the tags' windows."""

    def keep(steps: Floats) -> Floats:
        mean: Floats = steps.mean(axis=(0, 1), dtype=np.float64)  # of one channel
        return mean

    def decode(item: Facts, split: Split, answers: Answers) -> Array:
        # The windows of one recording have equally many steps.
        return as_array(np.mean(answers["embedding"], axis=0).astype(np.float32))

    return Question({"embedding": tag_grid(spec.frontend.sample_rate)}, decode, keep=keep)


def which_steps(spec: ModelSpec, as_array: Callable[[Floats], Array]) -> Question[Embedding[Array]]:
    """Ask for the embedding of each step, over the events' windows."""

    def decode(item: Facts, split: Split, answers: Answers) -> Embedding[Array]:
        parts = [values[0] for values in answers["embedding"]]
        steps = _joined(item, split["embedding"], parts)
        starts = np.arange(len(steps)) * STEP
        centres = (starts + np.minimum(starts + STEP, item.duration)) / 2
        return Embedding(values=as_array(steps), times=centres)

    return Question({"embedding": event_grid(spec.frontend.sample_rate)}, decode)


def step_probabilities(logits: Floats) -> Floats:
    """Average the channels' probabilities: (channels, steps, labels) → (steps, labels)."""
    mean: Floats = _sigmoid(logits).mean(axis=0)
    return mean


def first_step(window: Window, sample_rate: int) -> int:
    """Give the index of the step with which a window begins."""
    return window[0] // round(STEP * sample_rate)


def _joined(item: Facts, windows: Sequence[Window], values: Sequence[Floats]) -> Floats:
    joiner, parts = Joiner(), []
    for window, steps in zip(windows, values, strict=True):
        first = first_step(window, item.sample_rate)
        parts.append(joiner.take(before=first))
        joiner.add(first, steps)
    return np.concatenate([part for part in (*parts, joiner.take()) if len(part)])


def _times(item: Facts, windows: Sequence[Window]) -> NDArray[np.float64]:
    # Resampling rounds the length up, by less than one sample.
    return np.minimum(np.array(windows, dtype=np.float64) / item.sample_rate, item.duration)


def _sigmoid(logits: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
