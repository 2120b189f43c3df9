"""Every figure of the shipped checkpoints, beside the teacher's and those of a plain baseline.

::

    python -m recipes.evaluate DATA --cache DECODED.npz --teacher mn04_as.safetensors

Recordings and soundscapes are of the test split; intervals are 95 %, by resampling recordings
(soundscapes). Tags are compared over the AudioSet classes that at least five test recordings are
labeled with; where a checkpoint lacks some of them, also over those that all have.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import dcasenet
from dcasenet.annotations.segments import segment_activity
from dcasenet.errors import TaskNotAvailableError
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.labels import to_audioset
from dcasenet.results import Event
from dcasenet.train.metrics import figures as task_figures
from dcasenet.train.metrics.events import event_counts, segment_counts
from dcasenet.train.metrics.intervals import (
    Figure,
    by_recording,
    intervals,
    number,
    ratio,
    values,
)
from dcasenet.weights.manifest import DEFAULT_STAGES
from recipes import baseline
from recipes.bank import SAMPLE_RATE, Decoded, decode_all, in_split, waveform_of
from recipes.distilled.teacher import load_teacher
from recipes.labels import LabelSets, labeled_classes, taught_tags
from recipes.pack import label_sets
from recipes.recordings import read_recordings
from recipes.soundscapes import Scape, make_soundscapes
from recipes.students import N_TAUGHT_TAGS, Lecturer

log = logging.getLogger(__name__)

FEWEST_RECORDINGS = 5
ONSET_COLLAR = 0.2
SEGMENT = 1.0


# Figures of a model: where they are from → name → value and interval, or a number.
MetricTable = dict[str, dict[str, object]]


class Predictions(NamedTuple):
    """Probabilities that a model predicts for test recordings.

    Attributes:
        tag: Probabilities over the AudioSet classes, (recordings, 527); 0 of those that it lacks.
        scene: Probabilities over the environments, (recordings, environments); None where it has
            none, or others.
    """

    tag: NDArray[np.float64]
    scene: NDArray[np.float64] | None


@dataclass(frozen=True)
class EvaluationSet:
    """What models are evaluated on.

    Args:
        decoded: All recordings.
        labels: Their labels.
        n_soundscapes: Soundscapes of each kind.
    """

    decoded: Sequence[Decoded]
    labels: LabelSets
    n_soundscapes: int

    @cached_property
    def clips(self) -> list[Decoded]:
        """The recordings."""
        return in_split(self.decoded, "test")

    @cached_property
    def soundscapes(self) -> dict[str, list[Scape]]:
        """Soundscapes of 60 s by the name of their kind."""
        return {
            name: make_soundscapes(
                self.decoded, self.labels, "test", self.n_soundscapes, folder=folder
            )
            for name, folder in (("soundscapes", None), ("office", "dcase2016_task2"))
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and write it."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    decoded = decode_all(read_recordings(options.data), options.data, options.cache)
    split = EvaluationSet(decoded, label_sets(decoded), options.soundscapes)
    models = {stage: dcasenet.load("v3", stage=stage) for stage in options.stages}
    answers = {stage: predict(model, split) for stage, model in models.items()}
    if options.teacher is not None:
        answers["teacher"] = predict_by_teacher(
            Lecturer(load_teacher(options.teacher)), split.clips
        )
    fitted = baseline.choose(split.decoded, split.labels)
    answers["baseline"] = Predictions(*fitted.answer(split.clips))
    tables = clip_tables(answers, split)
    for stage, model in models.items():
        if model.spec.events == split.labels.events:
            tables[stage] |= event_tables(detector(model), split)
    tables["baseline"] |= event_tables(lambda scape: fitted.detect(scape.waveform), split)
    log.info("\n%s", render(tables))
    if options.output is not None:
        options.output.write_text(json.dumps(tables, indent=1))


def evaluate(model: SoundVerbs[Any], split: EvaluationSet) -> MetricTable:
    """Return every figure of a checkpoint that has the split's labels."""
    table = {"test": clip_figures(predict(model, split), split.clips, split.labels)}
    return table | event_tables(detector(model), split)


def clip_tables(answers: Mapping[str, Predictions], split: EvaluationSet) -> dict[str, MetricTable]:
    """Return figures of tags and environments of several models.

    A tag that a model lacks it never names. Where one lacks some, tags are also compared over the
    classes that all have.
    """
    known = {name: np.asarray(own.tag.any(axis=0)) for name, own in answers.items()}
    labeled = frequent_classes(labeled_classes([c.recording for c in split.clips], split.labels))
    tables: dict[str, MetricTable] = {
        name: {"test": clip_figures(own, split.clips, split.labels)}
        for name, own in answers.items()
    }
    common = np.all([*known.values()], axis=0)
    if not common[labeled].all():
        for name, own in answers.items():
            figures = clip_figures(own._replace(scene=None), split.clips, split.labels, common)
            tables[name]["tags in common"] = figures
    return tables


Detector = Callable[[Scape], Iterable[Event]]


def detector(model: SoundVerbs[Any]) -> Detector:
    """Return how a model finds the events of a soundscape."""
    return lambda scape: model.detect_events(scape.waveform, SAMPLE_RATE)


def event_tables(detect: Detector, split: EvaluationSet) -> MetricTable:
    """Return the figures of each kind of soundscape."""
    return {
        name: event_table(detect, scapes, split.labels)
        for name, scapes in split.soundscapes.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--stages", nargs="+", default=[*DEFAULT_STAGES])
    parser.add_argument("--teacher", type=Path, help="mn04_as.safetensors, to stand beside them")
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--soundscapes", type=int, default=30)
    parser.add_argument("--output", type=Path)
    return parser


def predict(model: SoundVerbs[Any], split: EvaluationSet) -> Predictions:
    """Evaluate a model on recordings, by its verbs; its tags in the columns of AudioSet's."""
    tag_rows, scene_rows = [], []
    for clip in split.clips:
        analysis = model.analyze(waveform_of(clip), SAMPLE_RATE)
        if analysis.tags is None or analysis.scene is None:
            raise TaskNotAvailableError(f"{model.spec.stage} has no tags or no environments.")
        tag_rows.append([analysis.tags.probabilities[name] for name in model.spec.tags])
        scene_rows.append([analysis.scene.probabilities[name] for name in model.spec.scenes])
    tag = np.zeros((len(tag_rows), N_TAUGHT_TAGS))
    for own, column in enumerate(audioset_columns(model.spec.tags)):
        if column is not None:
            tag[:, column] = np.maximum(tag[:, column], np.array(tag_rows)[:, own])
    same = model.spec.scenes == split.labels.environments
    return Predictions(tag, np.array(scene_rows) if same else None)


def audioset_columns(tags: Sequence[str]) -> list[int | None]:
    """Return the index of the AudioSet class that each tag is, None where there is none.

    Example:
        >>> audioset_columns(["dog", "Speech", "can opening"])
        [74, 0, None]
    """
    taught = taught_tags()
    if tuple(tags) == taught:
        return list(range(len(taught)))
    same = [[c for c in to_audioset(t) if c.relation in ("exact", "close")] for t in tags]
    return [taught.index(found[0].name) if found else None for found in same]


@torch.no_grad()
def predict_by_teacher(
    lecturer: Lecturer, clips: Sequence[Decoded], seconds: float = 10.0
) -> Predictions:
    """Evaluate the teacher: the highest probability over windows of 10 s."""
    rows = []
    size = round(seconds * SAMPLE_RATE)
    for clip in clips:
        waveform = waveform_of(clip)
        starts = range(0, max(1, len(waveform) - size // 2), size)
        windows = [waveform[start : start + size] for start in starts]
        padded = np.stack([np.pad(w, (0, max(0, size - len(w)))) for w in windows])
        rows.append(lecturer(torch.from_numpy(padded)).tag.amax(dim=0).numpy())
    return Predictions(np.array(rows), None)


def frequent_classes(labeled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which classes enough recordings are labeled with, (527,)."""
    return np.asarray(labeled.sum(axis=0) >= FEWEST_RECORDINGS)


def clip_figures(
    answers: Predictions,
    clips: Sequence[Decoded],
    labels: LabelSets,
    within: NDArray[np.bool_] | None = None,
) -> dict[str, object]:
    """Return the figures of environments and tags, each with its interval.

    Args:
        answers: What a model says of each recording.
        clips: The recordings.
        labels: What they are labeled with.
        within: Classes that tags are compared over, (527,); all of them if None.
    """
    recordings = [clip.recording for clip in clips]
    every = labeled_classes(recordings, labels)
    chosen = frequent_classes(every)
    if within is not None:
        chosen &= within
    classes = every[:, chosen]
    rows = np.asarray(classes.any(axis=1))
    of = number([r.source for r, kept in zip(recordings, rows, strict=True) if kept])
    found = task_figures.tag_figures(answers.tag[rows][:, chosen], classes[rows], of)
    found["top5_accuracy"] = within_first(5, answers.tag[rows][:, chosen], classes[rows], of)
    if within is None:
        for k in (1, 5):
            found[f"top{k}_of_all_tags"] = within_first(k, answers.tag[rows], every[rows], of)
    result = _with_intervals(found, of.max() + 1)
    result["tag_classes"] = int(chosen.sum())
    if answers.scene is not None:
        place = [labels.environment_of(recording) for recording in recordings]
        known = [i for i, p in enumerate(place) if p is not None]
        of = number([recordings[i].source for i in known])
        target = np.array([place[i] for i in known])
        scenes = task_figures.scene_figures(answers.scene[known], target, of)
        result |= _with_intervals({f"scene_{k}": v for k, v in scenes.items()}, of.max() + 1)
        result["scene_calibration_error"] = calibration_error(answers.scene[known], target)
    return result


def within_first(
    k: int, scores: NDArray[np.float64], truth: NDArray[np.bool_], of: NDArray[np.int64]
) -> Figure:
    """Return the share of recordings that have a label among their first `k` tags.

    Example:
        >>> scores, truth = np.array([[0.3, 0.2, 0.1]]), np.array([[False, True, False]])
        >>> first, second = (within_first(k, scores, truth, np.array([0])) for k in (1, 2))
        >>> float(first(np.ones((1, 1)))[0]), float(second(np.ones((1, 1)))[0])
        (0.0, 1.0)
    """
    first = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.asarray(np.take_along_axis(truth, first, axis=1).any(axis=1))
    return ratio(by_recording(found, of), by_recording(np.asarray(truth.any(axis=1)), of))


def calibration_error(
    probabilities: NDArray[np.float64], target: NDArray[np.int64], bins: int = 15
) -> float:
    """Return the expected calibration error of the likeliest label (Guo et al., ICML 2017).

    Example:
        >>> calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 0]))
        0.1
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == target
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[index == b].mean() - right[index == b].mean()) * (index == b).mean()
        for b in range(bins)
        if (index == b).any()
    ]
    return round(float(np.sum(gaps)), 4)


Rows = list[tuple[int, float, float]]  # index of a label, onset, offset


def event_rows(events: Iterable[Event], scape: Scape, labels: Sequence[str]) -> tuple[Rows, Rows]:
    """Return predicted and true events as the metrics compare them."""
    predicted = [(labels.index(e.label), e.onset, e.offset) for e in events]
    return predicted, [(e.label, e.onset, e.offset) for e in scape.events]


def event_table(detect: Detector, scapes: Sequence[Scape], labels: LabelSets) -> dict[str, object]:
    """Return segment-based F1 at 1 s and event-based F1 with an onset collar of 200 ms."""
    segment, event = [], []
    n = len(labels.events)
    for scape in scapes:
        predicted, true = event_rows(detect(scape), scape, labels.events)
        duration = len(scape.waveform) / SAMPLE_RATE
        activity = [segment_activity(rows, n, duration, SEGMENT) for rows in (true, predicted)]
        segment.append(segment_counts(*activity))
        event.append(event_counts(true, predicted, n, ONSET_COLLAR, offset_share=None))
    found = task_figures.event_figures("segment", "1s", np.array(segment))
    found |= task_figures.event_figures("event", "200ms", np.array(event))
    return _with_intervals(found, len(scapes))


def _with_intervals(found: Mapping[str, Figure], n_recordings: int) -> dict[str, object]:
    once = values(found, n_recordings)
    spread = intervals(found, n_recordings)
    return {
        name: [round(value, 4), *(round(x, 4) for x in spread.get(name, ()))]
        for name, value in once.items()
    }


def render(tables: Mapping[str, MetricTable]) -> str:
    """Return figures as Markdown, a column each model."""
    lines = ["| | figure | " + " | ".join(tables) + " |", "|--|--|" + "--:|" * len(tables)]
    rows = {(where, name): None for t in tables.values() for where in t for name in t[where]}
    for where, name in rows:
        cells = [_cell(table.get(where, {}).get(name)) for table in tables.values()]
        lines.append(f"| {where} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if not isinstance(value, list):
        return "" if value is None else str(value)
    spread = f" ({value[1]:.3f}–{value[2]:.3f})" if len(value) == 3 else ""
    return f"{value[0]:.3f}{spread}"


if __name__ == "__main__":
    main()
