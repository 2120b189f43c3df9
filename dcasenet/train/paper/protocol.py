"""The paper's protocol beside the standard one, so that published figures can be compared.

The authors' scores of sound events are not the standard ones: what they call segments of 1 s are
blocks of 5 s without their last frame (`paper_blocks`). Reports hold both, apart.

Source: the authors' ``trainer.py`` and ``metric.py``; paper, Section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcasenet.annotations.segments import TimedLabel, segment_activity
from dcasenet.audio.io import read
from dcasenet.audio.preprocess import mono, prepare
from dcasenet.errors import DcasenetError
from dcasenet.inference.events import decode_events
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.inference.windowing import grid_of
from dcasenet.spec import Task
from dcasenet.train.data.dataset import Example, SoundDataset, Split
from dcasenet.train.metrics import classification, intervals
from dcasenet.train.metrics.events import (
    COLLARS,
    Counts,
    error_rate,
    event_counts,
    f1,
    segment_counts,
)
from dcasenet.train.metrics.figures import event_figures, scene_figures, tag_figures
from dcasenet.train.metrics.intervals import Figure, Interval, by_recording
from dcasenet.train.paper.segment_score import (
    paper_counts,
    paper_error_rate,
    paper_f1,
    paper_segment_score,
)

THRESHOLD = 0.3  # active means strictly above
MICROPHONES = 4  # channels of a recording of TAU-NIGENS 2020; one that is missing counts as 0
SEGMENTS = {"1s": 1.0, "5s": 5.0}  # true segments, in seconds


@dataclass(frozen=True)
class Report:
    """Figures of one task on one split of a data set.

    Attributes:
        task: The task.
        dataset: Name of the data set.
        split: Split.
        files: Number of files that were evaluated.
        recordings: Number of recordings that they were cut from: the units of the intervals.
        paper: Name → figure by the paper's protocol.
        standard: Name → figure by standard definitions.
        intervals: Name → 95 % interval of a figure of either kind.
        per_label: Label → name → figure: recall and precision of a scene, average precision and
            lwlrap of a tag, F1 and error rate at 1 s of an event; nan for what does not occur.
        incomplete: Recordings of which a channel is missing.
    """

    task: Task
    dataset: str
    split: Split
    files: int
    recordings: int
    paper: dict[str, float]
    standard: dict[str, float]
    intervals: dict[str, Interval]
    per_label: dict[str, dict[str, float]]
    incomplete: int = 0


def paper_scene(model: SoundVerbs[Any], dataset: SoundDataset, split: Split = "test") -> Report:
    """Grade scenes: three crops of a clip, the mean of their probabilities, accuracy.

    Args:
        model: Any model that has a scene head.
        dataset: Examples of scenes, one for each file.
        split: Split.

    Raises:
        DcasenetError: That split is empty, or has labels that the model lacks.
    """
    examples = _examples(dataset, split, "scene")
    index_of = _index_of(dataset, model.spec.scenes)
    truth = np.array([index_of[str(example.scene)] for example in examples])
    answers = model.classify_scene([example.path for example in examples])
    scores = np.stack([answer.values for answer in answers])
    of = _recordings(examples)
    figures = scene_figures(scores, truth, of)
    found = classification.confusion(scores, truth)
    per_label = {
        label: {"recall": float(found.recall[k]), "precision": float(found.precision[k])}
        for label, k in index_of.items()
    }
    paper = {"accuracy": figures["accuracy"]}
    return _report(dataset, split, of, (paper, figures), per_label)


def paper_tags(model: SoundVerbs[Any], dataset: SoundDataset, split: Split = "test") -> Report:
    """Grade tags: each clip whole, lwlrap; ranked by logits, for probabilities near 1 are ties.

    Args:
        model: Any model that has a tag head.
        dataset: Examples of tags, one for each file.
        split: Split.

    Raises:
        DcasenetError: That split is empty, or has labels that the model lacks.
    """
    examples = _examples(dataset, split, "tag")
    index_of = _index_of(dataset, model.spec.tags)
    truth = np.zeros((len(examples), len(model.spec.tags)), dtype=bool)
    for row, example in enumerate(examples):
        truth[row, [index_of[tag] for tag in example.tags or ()]] = True
    scores = np.stack([_tag_logits(model, example.path) for example in examples])
    of = _recordings(examples)
    figures = tag_figures(scores, truth, of)
    lwlrap = classification.lwlrap_by_label(scores, truth).per_label
    precisions = classification.average_precisions(scores, truth)
    per_label = {
        label: {"average_precision": float(precisions[k]), "lwlrap": float(lwlrap[k])}
        for label, k in index_of.items()
    }
    paper = {"lwlrap": figures["lwlrap"]}
    return _report(dataset, split, of, (paper, figures), per_label)


def paper_events(model: SoundVerbs[Any], dataset: SoundDataset, split: Split = "test") -> Report:
    """Grade events: the mean of four microphones' probabilities, active strictly above 0.3.

    A microphone that the data set lacks counts with probability 0. The paper's figures are of all
    files one after the other; their intervals are of blocks that straddle no two files, which is
    the same where all files are of whole blocks.

    Args:
        model: Any model that has an event head.
        dataset: Examples of events: the channels of a file, or a file without channels, whose
            channels are averaged.
        split: Split.

    Raises:
        DcasenetError: That split is empty, or has labels that the model lacks.
    """
    examples = _examples(dataset, split, "event")
    index_of = _index_of(dataset, model.spec.events)
    by_path: dict[Path, list[Example]] = {}
    for example in examples:
        by_path.setdefault(example.path, []).append(example)
    results = [_evaluate_file(model, group, index_of) for group in by_path.values()]
    of = _recordings([group[0] for group in by_path.values()])
    paper, standard = _event_figures(results, of)
    at_one = np.stack([file.segments(1.0) for file in results]).sum(axis=0)
    per_label = {
        label: _of_label(at_one[1 + column], at_one[1 + column, 1] > 0)
        for label, column in index_of.items()
    }
    incomplete = sum(g[0].channel is not None and len(g) < MICROPHONES for g in by_path.values())
    report = _report(dataset, split, of, (paper, standard), per_label, incomplete)
    score = paper_segment_score(
        np.concatenate([file.reference for file in results]),
        np.concatenate([file.prediction for file in results]),
    )
    report.paper.update(paper_f1=score.f1, paper_error_rate=score.error_rate)
    return report


def _event_figures(
    results: Sequence[_FileResult], of: NDArray[np.int64]
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Return the paper's figures and the standard ones as functions of the recordings' weights."""
    standard: dict[str, Figure] = {}
    for name, length in SEGMENTS.items():
        counts = np.stack([file.segments(length) for file in results])
        standard |= event_figures("segment", name, by_recording(counts, of))
    n_labels = results[0].reference.shape[1]
    for name, collar in COLLARS.items():
        counts = np.stack([event_counts(f.events, f.found, n_labels, collar) for f in results])
        standard |= event_figures("event", f"{name}_with_offset", by_recording(counts, of))
    blocks = by_recording(np.stack([paper_counts(f.reference, f.prediction) for f in results]), of)
    paper: dict[str, Figure] = {
        "paper_f1": lambda weights: paper_f1(np.tensordot(weights, blocks, axes=1)),
        "paper_error_rate": lambda weights: paper_error_rate(np.tensordot(weights, blocks, axes=1)),
    }
    return paper, standard


def _of_label(counts: NDArray[np.int64], known: np.bool_) -> dict[str, float]:
    nan = float("nan")
    return {
        "f1": float(f1(counts)) if known else nan,
        "error_rate": float(error_rate(counts)) if known else nan,
    }


class _FileResult(NamedTuple):
    """A file: the true events and those found, and the activity of both every 0.1 s."""

    events: list[TimedLabel]
    found: list[TimedLabel]
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    duration: float

    def segments(self, length: float) -> Counts:
        """Count per segment."""
        n_labels = self.reference.shape[1]
        return segment_counts(
            segment_activity(self.events, n_labels, self.duration, length),
            segment_activity(self.found, n_labels, self.duration, length),
        )


def _evaluate_file(
    model: SoundVerbs[Any], group: Sequence[Example], index_of: Mapping[str, int]
) -> _FileResult:
    """Evaluate one file by the channels that the data set lists."""
    recording = read(group[0].path)
    channels = [e.channel for e in group if e.channel is not None]
    samples = recording.samples[channels] if channels else mono(recording)
    answer = model.detect_events(samples, recording.sample_rate, channels="each")
    share = np.float32(len(channels) / MICROPHONES if channels else 1.0)
    probabilities = answer.probabilities * share
    labels, n_labels = model.spec.events, len(model.spec.events)
    found = decode_events(probabilities, labels, answer.hop, THRESHOLD, duration=answer.duration)
    events = [(index_of[e.label], e.onset, e.offset) for e in group[0].events or ()]
    return _FileResult(
        events=events,
        found=[(labels.index(e.label), e.onset, e.offset) for e in found],
        reference=segment_activity(events, n_labels, answer.duration, answer.hop),
        prediction=probabilities > THRESHOLD,
        duration=answer.duration,
    )


def _tag_logits(model: SoundVerbs[Any], path: Path) -> NDArray[np.float32]:
    item = prepare(read(path), model.spec)
    windows = grid_of(model.spec, "tag").windows(item.n_samples)
    logits = [model.infer(item.waveforms[:, a:b], ["tag"])["tag"][0] for a, b in windows]
    return np.asarray(np.max(logits, axis=0))


def _examples(dataset: SoundDataset, split: Split, task: Task) -> list[Example]:
    if dataset.task != task:
        raise DcasenetError(
            f"{dataset.name} is labeled for the task {dataset.task}; give a data set for {task}."
        )
    examples = dataset.split(split)
    if not examples:
        raise DcasenetError(
            f"{dataset.name} has nothing in the split {split}; give split= one of "
            f"{', '.join(sorted({example.split for example in dataset}))}."
        )
    return examples


def _index_of(dataset: SoundDataset, labels: Sequence[str]) -> dict[str, int]:
    """Map the data set's labels to the model's outputs."""
    missing = [label for label in dataset.labels if label not in labels]
    if missing:
        raise DcasenetError(
            f"The model does not know {', '.join(missing)} of {dataset.name}; it knows "
            f"{', '.join(labels)}. Load a model of these labels, or fine-tune one."
        )
    return {label: labels.index(label) for label in dataset.labels}


def _recordings(examples: Sequence[Example]) -> NDArray[np.int64]:
    return intervals.number([example.recording or str(example.path) for example in examples])


def _report(
    dataset: SoundDataset,
    split: Split,
    of: NDArray[np.int64],
    figures: tuple[Mapping[str, Figure], Mapping[str, Figure]],
    per_label: dict[str, dict[str, float]],
    incomplete: int = 0,
) -> Report:
    paper, standard = figures
    n_recordings = int(of.max()) + 1
    return Report(
        task=dataset.task,
        dataset=dataset.name,
        split=split,
        files=len(of),
        recordings=n_recordings,
        paper=intervals.values(paper, n_recordings),
        standard=intervals.values(standard, n_recordings),
        intervals=intervals.intervals({**standard, **paper}, n_recordings),
        per_label=per_label,
        incomplete=incomplete,
    )
