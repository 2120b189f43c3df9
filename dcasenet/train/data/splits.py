"""Which recordings are held out, once or in folds: seeded, whole recordings, every label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dcasenet.errors import DcasenetError
from dcasenet.text import shorten_list
from dcasenet.train.data.dataset import SPLITS, Example


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[str]]:
    """Move a share of the training split's recordings to validation.

    Recordings are taken label by label, a recording of several labels under its rarest: the share
    of each label's recordings, rounded, but at least one and never all. What is drawn depends on
    the seed and the names of the recordings, not on the order of the examples.

    Args:
        examples: Examples; those that are not in the training split stay as they are.
        share: Share to hold out, 0 to below 1; 0 holds out nothing.
        seed: The same seed holds out the same.

    Returns:
        The examples in the same order, and a sentence about the labels, if any, that have a
        single recording: it stays in the training split.

    Raises:
        ValueError: The share is not from 0 to below 1.

    Example:
        >>> from pathlib import Path
        >>> clips = [Example(Path(f"{i}.wav"), scene="park") for i in range(10)]
        >>> held, _ = hold_out(clips, share=0.2, seed=0)
        >>> [example.split for example in held].count("validation")
        2
    """
    if not 0 <= share < 1:
        raise ValueError(
            f"The share for validation is {share!r}. Accepted is 0 (none) to below 1, such as 0.2."
        )
    if share == 0:
        return list(examples), []
    by_label, frequency = _by_rarest_label(e for e in examples if e.split == "train")
    random = np.random.default_rng(seed)
    held: set[str] = set()
    for label in sorted(by_label):
        recordings = by_label[label]
        n = min(max(1, round(share * len(recordings))), len(recordings) - 1)
        held.update(recordings[i] for i in random.permutation(len(recordings))[:n])
    moved = [
        replace(example, split="validation")
        if example.split == "train" and recording_of(example) in held
        else example
        for example in examples
    ]
    single = sorted(label for label, n in frequency.items() if n == 1)
    if single:
        remark = (
            f"Validation has none of {shorten_list(single, shown=20)}: one recording, which trains."
        )
        return moved, [remark]
    return moved, []


def k_folds(examples: Sequence[Example], n_folds: int, seed: int) -> list[list[Example]]:
    """Deal examples to folds: whole recordings, and each label's as evenly as can be.

    Args:
        examples: Examples.
        n_folds: How many folds, 2 or more.
        seed: The same seed deals the same.

    Returns:
        The examples of each fold, none of them empty.

    Raises:
        DcasenetError: There are fewer recordings than folds, or a label has a single one.

    Example:
        >>> from pathlib import Path
        >>> clips = [Example(Path(f"{i}.wav"), scene=("park", "tram")[i % 2]) for i in range(6)]
        >>> [sorted(e.scene for e in fold) for fold in k_folds(clips, 3, seed=0)]
        [['park', 'tram'], ['park', 'tram'], ['park', 'tram']]
    """
    by_label, frequency = _by_rarest_label(examples)
    single = sorted(label for label, n in frequency.items() if n == 1)
    if single:
        raise DcasenetError(
            f"Folds need two recordings of each label, to learn from and to evaluate; "
            f"{shorten_list(single)} has one. Add recordings, or leave the label out."
        )
    n_recordings = sum(map(len, by_label.values()))
    if n_folds < 2 or n_folds > n_recordings:
        raise DcasenetError(
            f"{n_recordings} recordings cannot be dealt to {n_folds} folds. Give 2 to "
            f"{n_recordings} folds."
        )
    random = np.random.default_rng(seed)
    dealt: dict[str, int] = {}
    for label in sorted(by_label):
        recordings = by_label[label]
        for i in random.permutation(len(recordings)):
            dealt[recordings[i]] = len(dealt) % n_folds
    folds: list[list[Example]] = [[] for _ in range(n_folds)]
    for example in examples:
        folds[dealt[recording_of(example)]].append(example)
    return folds


def _by_rarest_label(examples: Iterable[Example]) -> tuple[dict[str, list[str]], Counter[str]]:
    """Group recordings under the rarest of their labels, and count the recordings of each label."""
    labels_of: dict[str, set[str]] = {}
    for example in examples:
        labels_of.setdefault(recording_of(example), set()).update(labels(example))
    frequency = Counter(label for found in labels_of.values() for label in found)
    by_label: dict[str, list[str]] = {}
    for recording in sorted(labels_of):
        found = labels_of[recording]
        rarest = min(found, key=lambda label: (frequency[label], label)) if found else ""
        by_label.setdefault(rarest, []).append(recording)
    return by_label, frequency


def recording_of(example: Example) -> str:
    """Return the recording that an example was cut from."""
    return example.recording or str(example.path)


def labels(example: Example) -> set[str]:
    """Return every label that an example carries.

    Example:
        >>> from pathlib import Path
        >>> sorted(labels(Example(Path("a.wav"), tags=("rain", "wind"))))
        ['rain', 'wind']
    """
    events = {event.label for event in example.events or ()}
    return {*([example.scene] if example.scene else []), *(example.tags or ()), *events}


def keep_apart(examples: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """Leave out of training and validation what shares a recording with a later split.

    Returns:
        The others, and a sentence about each one left out.

    Example:
        >>> from pathlib import Path
        >>> one = Example(Path("a.wav"), recording="1")
        >>> kept, left_out = keep_apart([one, replace(one, path=Path("b.wav"), split="test")])
        >>> [example.path.name for example in kept]
        ['b.wav']
    """
    last: dict[str, int] = {}
    for example in examples:
        name = recording_of(example)
        last[name] = max(last.get(name, 0), SPLITS.index(example.split))
    kept, left_out = [], []
    for example in examples:
        latest = SPLITS[last[recording_of(example)]]
        if latest == example.split:
            kept.append(example)
        else:
            left_out.append(
                f"{example.path.name} is not used for {example.split}: its recording "
                f"{recording_of(example)} is in the {latest} split as well."
            )
    return kept, left_out
