"""Validation after each epoch: the paper's protocol, on waveforms that are decoded already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dcasenet.annotations.segments import segment_activity
from dcasenet.inference.windowing import TimeAxis, released_windows
from dcasenet.spec import ROW, ModelSpec, Task
from dcasenet.train.data.dataset import Example, SoundDataset, Split
from dcasenet.train.data.store import WaveformStore
from dcasenet.train.engine.validation import BATCH, Answers, Stretch, ValidationBatch
from dcasenet.train.metrics import classification
from dcasenet.train.paper.protocol import THRESHOLD
from dcasenet.train.paper.segment_score import paper_segment_score

# So many seconds of audio are evaluated at once: a recording's four channels of a minute.
BATCH_SECONDS = 240.0
# Task → the paper's figure that its checkpoint is chosen by.
CHOSEN_BY: dict[Task, str] = {
    "scene": "scene_accuracy",
    "tag": "tag_lwlrap",
    "event": "event_paper_f1",
}


class PaperValidationSet(Dataset[ValidationBatch]):
    """Batches of all that is evaluated of one split of the data sets, by the paper's protocol.

    Args:
        sets: Task → data set.
        stores: Task → waveforms, of that split at least; what is not in the store is left out.
        split: Which split.
    """

    def __init__(
        self,
        sets: Mapping[Task, SoundDataset],
        stores: Mapping[Task, WaveformStore],
        split: Split,
    ) -> None:
        self._sets, self._stores = sets, stores
        self._examples = {
            task: [e for e in data.split(split) if e in stores[task]] for task, data in sets.items()
        }
        self._plan = [
            (task, stretches)
            for task, examples in self._examples.items()
            for stretches in _plan(task, examples, stores[task])
        ]

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> ValidationBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index} among {len(self)}.")
        task, stretches = self._plan[index]
        examples, store = self._examples[task], self._stores[task]
        cut = [store.waveform(examples[i])[start:stop] for i, start, stop in stretches]
        return ValidationBatch([task], [s[0] for s in stretches], torch.from_numpy(np.stack(cut)))

    def figures(self, answers: Answers) -> dict[str, float]:
        """Grade the answers to every batch.

        Returns:
            The paper's figures, 0 to 1 (the error rate 0 and up), and ``score``: the mean of
            accuracy, lwlrap and F1, as far as they were evaluated.
        """
        found: dict[str, float] = {}
        for task, examples in self._examples.items():
            given, labels = answers.found[task], self._sets[task].labels
            if task == "event":
                found |= self._event_figures(given)
                continue
            scores = np.stack([np.mean(given[i], axis=0) for i in range(len(examples))])
            if task == "scene":
                truth = np.array([labels.index(str(e.scene)) for e in examples])
                found["scene_accuracy"] = classification.accuracy(scores, truth)
            else:
                true = np.array([[label in (e.tags or ()) for label in labels] for e in examples])
                found["tag_lwlrap"] = classification.lwlrap(scores, true)
        score = np.mean([found[CHOSEN_BY[task]] for task in self._examples])
        return found | {"score": float(score)}

    def _event_figures(self, given: Mapping[int, list[NDArray[np.float32]]]) -> dict[str, float]:
        """Grade events: the mean over a recording's channels, active strictly above 0.3."""
        examples, store = self._examples["event"], self._stores["event"]
        labels = self._sets["event"].labels
        channels: dict[Path, list[int]] = defaultdict(list)
        for index, example in enumerate(examples):
            channels[example.path].append(index)
        references, predictions = [], []
        axis = TimeAxis.of(ModelSpec("v3", "paper"))
        for indices in channels.values():
            example = examples[indices[0]]
            duration = len(store.waveform(example)) / store.sample_rate
            events = [(labels.index(e.label), e.onset, e.offset) for e in example.events or ()]
            references.append(segment_activity(events, len(labels), duration, ROW))
            steps = np.stack([given[i][0] for i in indices]).mean(axis=0)
            predictions.append(axis.rows(steps, len(references[-1])) > THRESHOLD)
        score = paper_segment_score(np.concatenate(references), np.concatenate(predictions))
        return {"event_paper_f1": score.f1, "event_paper_error_rate": score.error_rate}


def _plan(task: Task, examples: Sequence[Example], store: WaveformStore) -> list[list[Stretch]]:
    """Group what is read of each example by length, a batch at a time."""
    alike: dict[int, list[Stretch]] = defaultdict(list)
    for index, example in enumerate(examples):
        n_samples = len(store.waveform(example))
        windows = [(0, n_samples)]
        if task == "scene":
            windows = released_windows("scene", n_samples, store.sample_rate)
        for start, stop in windows:
            alike[stop - start].append((index, start, stop))
    plan: list[list[Stretch]] = []
    for length, stretches in alike.items():
        size = max(1, min(BATCH, int(BATCH_SECONDS * store.sample_rate / length)))
        plan += [stretches[i : i + size] for i in range(0, len(stretches), size)]
    return plan
