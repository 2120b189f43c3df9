"""Every figure of a checkpoint from its shipped file, beside the teacher and a plain baseline.

::

    python -m recipes.evaluate DATA TEACHER --stage distilled --output figures.json

Recordings and soundscapes are of the test split; intervals are 95 %, by resampling
recordings. Tags are compared over the AudioSet classes that at least five test recordings are
labeled with.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import dcasenet
from dcasenet.annotations.segments import segment_activity
from dcasenet.errors import TaskNotAvailableError
from dcasenet.inference.model import SoundModel
from dcasenet.labels import to_audioset
from dcasenet.results import Event
from dcasenet.train.metrics import figures as task_figures
from dcasenet.train.metrics.events import event_counts, segment_counts
from dcasenet.train.metrics.intervals import Figure, intervals, number, values
from recipes.bank import SAMPLE_RATE, Decoded, decode_all, in_split, waveform_of
from recipes.distilled.teacher import load_teacher
from recipes.labels import LabelSets, named_tags
from recipes.pack import label_sets
from recipes.recordings import read_recordings
from recipes.soundscapes import Scape, make_soundscapes
from recipes.students import N_TAUGHT_TAGS, Lecturer
from recipes.tags import read_tags

log = logging.getLogger(__name__)

FEWEST_RECORDINGS = 5
ONSET_COLLAR = 0.2
SEGMENT = 1.0


@dataclass(frozen=True)
class Answers:
    """What a model says of test recordings.

    Attributes:
        tag: Probabilities over the AudioSet classes, (recordings, 527).
        scene: Probabilities over the environments, (recordings, environments); None of a teacher.
    """

    tag: NDArray[np.float64]
    scene: NDArray[np.float64] | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and write it."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    recordings = read_recordings(options.data)
    decoded = decode_all(recordings, options.data, options.cache)
    labels = label_sets(decoded)
    model = dcasenet.load("v3", stage=options.stage, weights=options.weights)
    table = evaluate(model, decoded, labels, options.teacher, options.soundscapes)
    text = render(table)
    log.info("\n%s", text)
    if options.output is not None:
        options.output.write_text(json.dumps(table, indent=1))


def evaluate(
    model: SoundModel, decoded: Sequence[Decoded], labels: LabelSets, teacher: Path, n_scapes: int
) -> dict[str, dict[str, object]]:
    """Return every figure of the test split, beside those of the teacher and of ``open``.

    Args:
        model: A checkpoint with AudioSet's tags.
        decoded: All recordings.
        labels: Their labels.
        teacher: Folder of the teacher.
        n_scapes: Soundscapes of each kind.
    """
    test = in_split(decoded, "test")
    tags = [tag.name for tag in read_tags(teacher / "labels.csv")]
    lecturer = Lecturer(load_teacher(teacher / "mn04_as.safetensors"))
    own, taught = predict(model, test), predict_by_teacher(lecturer, test)
    table = {
        "test": clip_figures(own, test, labels, tags),
        "teacher": clip_figures(taught, test, labels, tags),
    }
    other = dcasenet.load("v3", stage="open")
    of_tag = shared_classes(other, tags)
    shared = {"student": Answers(own.tag, None), "teacher": taught}
    shared["open"] = predict_by_other(other, test, of_tag)
    for name, answers in shared.items():
        figures = clip_figures(answers, test, labels, tags, set(of_tag.values()))
        table[f"{name}, tags of open"] = figures
    for name, folder in (("soundscapes", None), ("office", "dcase2016_task2")):
        scapes = make_soundscapes(decoded, labels, "test", n_scapes, folder=folder)
        table[name] = event_table(model, scapes, labels)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--stage", default="distilled")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--soundscapes", type=int, default=40)
    parser.add_argument("--output", type=Path)
    return parser


def predict(model: SoundModel, clips: Sequence[Decoded]) -> Answers:
    """Evaluate a model on recordings, by its verbs."""
    tag_rows, scene_rows = [], []
    for clip in clips:
        analysis = model.analyze(waveform_of(clip), SAMPLE_RATE)
        if analysis.tags is None or analysis.scene is None:
            raise TaskNotAvailableError(f"{model.spec.stage} has no tags or no environments.")
        tag_rows.append([analysis.tags.probabilities[name] for name in model.spec.tags])
        scene_rows.append([analysis.scene.probabilities[name] for name in model.spec.scenes])
    return Answers(np.array(tag_rows), np.array(scene_rows))


@torch.no_grad()
def predict_by_teacher(
    lecturer: Lecturer, clips: Sequence[Decoded], seconds: float = 10.0
) -> Answers:
    """Evaluate the teacher: the highest probability over windows of 10 s."""
    rows = []
    size = round(seconds * SAMPLE_RATE)
    for clip in clips:
        waveform = waveform_of(clip)
        starts = range(0, max(1, len(waveform) - size // 2), size)
        windows = [waveform[start : start + size] for start in starts]
        padded = np.stack([np.pad(w, (0, max(0, size - len(w)))) for w in windows])
        rows.append(lecturer(torch.from_numpy(padded)).tag.amax(dim=0).numpy())
    return Answers(np.array(rows), None)


def shared_classes(other: SoundModel, tags: Sequence[str]) -> dict[str, int]:
    """Return the tags of a model with labels of its own that are AudioSet classes, too.

    Returns:
        Tag → its index among the 527.
    """
    found = {}
    for tag in other.spec.tags:
        same = [c for c in to_audioset(tag) if c.relation in ("exact", "close")]
        if same:
            found[tag] = tags.index(same[0].name)
    return found


def predict_by_other(
    other: SoundModel, clips: Sequence[Decoded], of_tag: Mapping[str, int]
) -> Answers:
    """Evaluate a model with labels of its own: its tags in the columns of the AudioSet classes."""
    rows = np.zeros((len(clips), N_TAUGHT_TAGS))
    for row, clip in enumerate(clips):
        probabilities = other.tag(waveform_of(clip), SAMPLE_RATE).probabilities
        for tag, index in of_tag.items():
            rows[row, index] = max(rows[row, index], probabilities[tag])
    return Answers(rows, None)


def clip_figures(
    answers: Answers,
    clips: Sequence[Decoded],
    labels: LabelSets,
    tags: Sequence[str],
    within: Collection[int] | None = None,
) -> dict[str, object]:
    """Return the figures of environments and tags, each with its interval.

    Args:
        answers: What a model says of each recording.
        clips: The recordings.
        labels: What they are labeled with.
        tags: Names of the AudioSet classes.
        within: Classes that tags are compared over; all of them if None.
    """
    recordings = [clip.recording for clip in clips]
    found: dict[str, Figure] = {}
    own = [labels.tags_of(recording) for recording in recordings]
    truth = np.zeros((len(clips), len(labels.tags)))
    for row, indices in enumerate(own):
        truth[row, list(indices or ())] = 1.0
    named = np.array(named_tags(labels.tags, tags))
    every = truth @ named > 0
    frequent = every.sum(axis=0) >= FEWEST_RECORDINGS
    chosen = [i for i in np.flatnonzero(frequent) if within is None or i in within]
    classes = every[:, chosen]
    rows = classes.any(axis=1)
    of = number([r.source for r, kept in zip(recordings, rows, strict=True) if kept])
    scores = answers.tag[rows][:, chosen]
    found |= task_figures.tag_figures(scores, classes[rows], of)
    result = _with_intervals(found, of.max() + 1)
    result["tag_classes"] = len(chosen)
    if answers.scene is not None:
        place = [labels.environment_of(recording) for recording in recordings]
        known = [i for i, p in enumerate(place) if p is not None]
        of = number([recordings[i].source for i in known])
        target = np.array([place[i] for i in known])
        scenes = task_figures.scene_figures(answers.scene[known], target, of)
        result |= _with_intervals({f"scene_{k}": v for k, v in scenes.items()}, of.max() + 1)
        result["scene_calibration_error"] = calibration_error(answers.scene[known], target)
    return result


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


def event_table(model: SoundModel, scapes: Sequence[Scape], labels: LabelSets) -> dict[str, object]:
    """Return segment-based F1 at 1 s and event-based F1 with an onset collar of 200 ms."""
    segment, event = [], []
    n = len(labels.events)
    for scape in scapes:
        events = model.detect_events(scape.waveform, SAMPLE_RATE)
        predicted, true = event_rows(events, scape, labels.events)
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


def render(table: Mapping[str, Mapping[str, object]]) -> str:
    """Return the table as Markdown."""
    lines = ["| what | figure | value | 95 % interval |", "|--|--|--:|--|"]
    for what, row in table.items():
        for name, value in row.items():
            if isinstance(value, list):
                spread = f"{value[1]:.3f}-{value[2]:.3f}" if len(value) == 3 else ""
                lines.append(f"| {what} | {name} | {value[0]:.3f} | {spread} |")
            else:
                lines.append(f"| {what} | {name} | {value} | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
