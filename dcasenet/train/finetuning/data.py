"""What fine-tuning learns from: checked labels, decoded recordings, two splits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcasenet.annotations.tables import check_distinct
from dcasenet.errors import DcasenetError
from dcasenet.spec import STEP, ModelSpec, Task
from dcasenet.text import shorten_list
from dcasenet.train.data.dataset import Example, SoundDataset
from dcasenet.train.data.splits import hold_out, recording_of
from dcasenet.train.data.store import WaveformStore, decode_examples
from dcasenet.train.data.targets import TrueEvent, step_targets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuningData:
    """Examples of one task that can be used, with their waveforms.

    Attributes:
        name: What the data is called.
        task: What they are labeled for.
        labels: Its labels, in the order of the outputs.
        train: What is learned from.
        validation: What decides when to stop; may be empty.
        store: The waveforms.
        step: Seconds of a step of the network.
    """

    name: str
    task: Task
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    store: WaveformStore
    step: float = STEP

    def targets(self, example: Example) -> list[int]:
        """Return the indices of the labels that an example carries."""
        return [self.labels.index(label) for label in labels_of(example, self.task) or ()]

    def step_truth(self, example: Example, start: int, seconds: float) -> NDArray[np.float32]:
        """Return the events' truth at the network's steps of a stretch, (steps, labels).

        Args:
            example: One of the examples.
            start: First sample of the stretch.
            seconds: Its length: a number of steps.
        """
        offset = start / self.store.sample_rate
        events = [
            TrueEvent(self.labels.index(e.label), e.onset - offset, e.offset - offset)
            for e in example.events or ()
        ]
        return step_targets(events, len(self.labels), seconds, self.step)


def gather(
    data: SoundDataset, spec: ModelSpec, share: float, seed: int, folder: Path
) -> FinetuningData:
    """Check a data set, decode it at a model's rate and hold out a validation split.

    Args:
        data: The data set; examples in its test split are left alone.
        spec: Whose rate and resampler to use.
        share: Share of the recordings to hold out if the data has no validation split of its own; 0
            trains on everything.
        seed: The same seed holds out the same recordings.
        folder: Where decoded audio is kept.

    Raises:
        DcasenetError: The labels or the recordings cannot be trained on.
        ValueError: The share is out of range.
    """
    _check_labels(data)
    examples = [example for example in data if example.split != "test"]
    _check_examples(data, examples)
    store = decode_examples(examples, folder, spec.frontend.sample_rate, spec.resampler)
    usable = [example for example in examples if example in store]
    notes = list(data.left_out)
    if share and not any(example.split == "validation" for example in usable):
        usable, single = hold_out(usable, share, seed)
        notes += single
    for sentence in notes:
        log.warning("%s", sentence)
    train = tuple(example for example in usable if example.split == "train")
    _check_every_label(data, usable, examples)
    validation = tuple(example for example in usable if share and example.split == "validation")
    return FinetuningData(data.name, data.task, data.labels, train, validation, store, spec.step)


def labels_of(example: Example, task: Task) -> list[str] | None:
    """Return the labels that an example carries for one task; None if nobody said."""
    if task == "scene":
        return None if example.scene is None else [example.scene]
    if task == "tag":
        return None if example.tags is None else [*example.tags]
    return None if example.events is None else sorted({event.label for event in example.events})


def _check_labels(data: SoundDataset) -> None:
    fewest = 2 if data.task == "scene" else 1
    if len(data.labels) < fewest:
        raise DcasenetError(
            f"{data.name} has {len(data.labels)} label(s) ({', '.join(data.labels)}); "
            f"{data.task} needs {fewest} or more. Each class is a folder of its own, or a value in "
            f"the table."
        )
    repeated = [label for label, n in Counter(data.labels).items() if n > 1]
    if repeated:
        raise DcasenetError(
            f"{data.name} lists labels twice: {shorten_list(repeated)}. Once is enough."
        )
    check_distinct(data.labels, Path(data.name))


def _check_examples(data: SoundDataset, examples: Sequence[Example]) -> None:
    if not any(example.split == "train" for example in examples):
        raise DcasenetError(f"{data.name} has nothing in its training split.")
    silent_about = [str(e.path) for e in examples if labels_of(e, data.task) is None]
    if silent_about:
        raise DcasenetError(
            f"{data.name} does not say which {data.task} {len(silent_about)} of its "
            f"{len(examples)} recordings have: {shorten_list(silent_about)}. Label them, or "
            f"leave them out."
        )
    unknown = Counter(
        label
        for example in examples
        for label in labels_of(example, data.task) or ()
        if label not in data.labels
    )
    if unknown:
        counts = shorten_list([f"{label!r} ({n} recordings)" for label, n in unknown.items()])
        raise DcasenetError(
            f"{data.name} has unknown labels: {counts}. Its labels are {shorten_list(data.labels)}."
        )


def _check_every_label(
    data: SoundDataset, usable: Sequence[Example], examples: Sequence[Example]
) -> None:
    learnable = _counts(data, [example for example in usable if example.split == "train"])
    missing = [label for label in data.labels if not learnable[label]]
    if missing:
        left, given = _counts(data, usable), _counts(data, examples)
        counts = [f"{label!r} (usable: {left[label]} of {given[label]})" for label in missing]
        # What the data itself holds out: `hold_out` leaves a recording of each label to learn from.
        held = [repr(label) for label in missing if left[label]]
        there = (
            f" {shorten_list(held)} has recordings in the validation split alone: move one to the "
            "training split."
            if held
            else ""
        )
        raise DcasenetError(
            f"{data.name} has nothing to learn some labels from: {shorten_list(counts)}.{there} "
            "Add recordings that can be read and are not silent, or leave the labels out."
        )


def _counts(data: SoundDataset, examples: Sequence[Example]) -> Counter[str]:
    """Count the examples of each label."""
    return Counter(
        label for example in examples for label in set(labels_of(example, data.task) or ())
    )


def n_recordings(examples: Sequence[Example]) -> int:
    """Count the recordings that examples were cut from."""
    return len({recording_of(example) for example in examples})
