"""A model's own verbs on the recordings of a data set, and how right they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dcasenet.annotations.segments import TimedLabel, segment_activity
from dcasenet.audio.preprocess import AudioInfo, LoadedAudio
from dcasenet.inference.calibration import segments
from dcasenet.inference.events import decode_events
from dcasenet.inference.pipeline import answer_loaded
from dcasenet.inference.postprocess import Decoding, Query, event_query, scene_query, tag_query
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Events
from dcasenet.spec import ModelSpec, Task
from dcasenet.train.data.dataset import Example
from dcasenet.train.data.store import WaveformStore
from dcasenet.train.finetuning.data import FinetuningData
from dcasenet.train.metrics import classification
from dcasenet.train.metrics.events import (
    COUNTS,
    ONSET_COLLAR,
    event_counts,
    score_of,
    segment_counts,
)
from dcasenet.train.metrics.thresholds import SEGMENT, UNTUNED, best_thresholds


@dataclass(frozen=True)
class Evaluation:
    """How right a model is.

    Attributes:
        figures: Name → value; the first is the one that decides.
        thresholds: Event label → the threshold that the figures were got with, the best there is.
    """

    figures: dict[str, float]
    thresholds: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """What a choice between models is made by, the higher the better."""
        return next(iter(self.figures.values()), float("nan"))


def verb(spec: ModelSpec, task: Task) -> Query[Any]:
    """Return what the verb of a task wants to know of recordings."""
    if task == "scene":
        return scene_query(spec)
    if task == "tag":
        return tag_query(spec, None)
    return event_query(spec, Decoding(dict.fromkeys(spec.events, UNTUNED)))


def predict(
    model: SoundVerbs[Any],
    query: Query[Any],
    examples: Sequence[Example],
    store: WaveformStore,
    backbone: Task = "tag",
) -> Iterator[Any]:
    """Answer a query about examples, in order, as a verb does about files.

    Args:
        model: Any runtime.
        query: What is to be known.
        examples: Examples that the store has.
        store: Their waveforms, at the model's rate.
        backbone: Whose embedding, where tasks have networks of their own.
    """
    recordings = (loaded(example, store) for example in examples)
    return answer_loaded(recordings, query, partial(model.infer, backbone=backbone), model.spec)


def loaded(example: Example, store: WaveformStore) -> LoadedAudio:
    """Return a decoded example, at the model's rate."""
    waveform = store.waveform(example)
    return LoadedAudio(
        waveform[None], AudioInfo(len(waveform), store.sample_rate, str(example.path))
    )


def evaluate(
    data: FinetuningData,
    examples: Sequence[Example],
    results: Sequence[Any],
    thresholds: Mapping[str, float] | None = None,
) -> Evaluation:
    """Compare a verb's results with the truth.

    Scene: ``macro_recall`` (the mean over the labels) decides. Tag: ``map`` decides, the mean
    average precision. Event: ``segment_f1_1s`` decides, of events decoded with the thresholds that
    are best by the highest probability in each second; ``event_f1_200ms`` compares onsets.

    Args:
        data: The data set.
        examples: Some of its examples.
        results: What the verb answered, one for each.
        thresholds: Of events, those to evaluate with; by default those at which they are best.
    """
    if data.task == "event":
        return _evaluate_events(data, examples, results, thresholds)
    scores = np.stack([result.values for result in results]).astype(np.float64)
    truth = np.zeros(scores.shape, bool)
    for row, example in enumerate(examples):
        truth[row, data.targets(example)] = True
    if data.task == "tag":
        return Evaluation(
            {
                "map": classification.mean_average_precision(scores, truth),
                "lwlrap": classification.lwlrap(scores, truth),
            }
        )
    confusion = classification.confusion(scores, truth.argmax(axis=1))
    return Evaluation(
        {"macro_recall": float(np.nanmean(confusion.recall)), "accuracy": confusion.accuracy}
    )


def _evaluate_events(
    data: FinetuningData,
    examples: Sequence[Example],
    results: Sequence[Events],
    given: Mapping[str, float] | None,
) -> Evaluation:
    thresholds = given
    if thresholds is None:
        compared = (segments(r, e.events or ()) for e, r in zip(examples, results, strict=True))
        reference, curve = (np.concatenate(part) for part in zip(*compared, strict=True))
        thresholds = dict(zip(data.labels, best_thresholds(reference, curve), strict=True))
    rows = [
        _rows(data, example, result, thresholds)
        for example, result in zip(examples, results, strict=True)
    ]
    n_labels = len(data.labels)
    segment, event = np.zeros((2, 1 + n_labels, len(COUNTS)), np.int64)
    for (true, found), result in zip(rows, results, strict=True):
        activity = (segment_activity(r, n_labels, result.duration, SEGMENT) for r in (true, found))
        segment += segment_counts(*activity)
        event += event_counts(true, found, n_labels, ONSET_COLLAR, offset_share=None)
    by_segment, by_event = score_of(segment[0]), score_of(event[0])
    return Evaluation(
        {
            "segment_f1_1s": by_segment.f1,
            "segment_error_rate_1s": by_segment.error_rate,
            "event_f1_200ms": by_event.f1,
            "event_error_rate_200ms": by_event.error_rate,
        },
        {label: thresholds[label] for label in data.labels},
    )


def _rows(
    data: FinetuningData, example: Example, result: Events, thresholds: Mapping[str, float]
) -> tuple[list[TimedLabel], list[TimedLabel]]:
    """Return true events and those decoded by some thresholds, as the metrics compare them."""
    found = decode_events(
        result.probabilities, data.labels, result.hop, thresholds, duration=result.duration
    )
    true, decoded = (
        [(data.labels.index(event.label), event.onset, event.offset) for event in events]
        for events in (example.events or (), found)
    )
    return true, decoded
