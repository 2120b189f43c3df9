"""Which recordings are held out, once or in folds: seeded, whole recordings, every label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import DcasenetError
from dcasenet.text import shorten_list
from dcasenet.train.data.dataset import SPLITS, Example


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[str]]:
    """Move a share of the training split to validation, by whole recordings.

    Recordings are taken label by label, a recording of several labels under its rarest: up to the
    share of each label's examples, rounded, and at least one recording. Never are all recordings of
    a label held out: where labels share recordings that may leave one without any in validation,
    which is said. What is drawn depends on the seed and the names of the recordings, not on the
    order of the examples.

    Args:
        examples: Examples; those that are not in the training split stay as they are.
        share: Share of the examples to hold out, 0 to below 1; 0 holds out nothing.
        seed: The same seed holds out the same.

    Returns:
        The examples in the same order, and sentences about the labels, if any, of which nothing is
        held out: they have a single recording, or share all of theirs with labels that would
        then have none to train.

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
    labels_of = _labels_by_recording(e for e in examples if e.split == "train")
    frequency = _frequency(labels_of)
    random = np.random.default_rng(seed)
    sizes = Counter(recording_of(e) for e in examples if e.split == "train")
    held: set[str] = set()
    for _, recordings in sorted(_by_rarest_label(labels_of, frequency).items()):
        drawn = [recordings[i] for i in random.permutation(len(recordings))]
        held.update(_up_to(share, drawn, sizes))
    _mend_hold_out(held, labels_of, frequency, random)
    moved = [
        replace(example, split="validation")
        if example.split == "train" and recording_of(example) in held
        else example
        for example in examples
    ]
    held_labels = {label for recording in held for label in labels_of[recording]}
    single = sorted(label for label, n in frequency.items() if n == 1)
    needed = sorted(frequency.keys() - held_labels - {*single})
    remarks = [
        f"Nothing of {shorten_list(names, shown=20)} is held out for validation: {why}."
        for names, why in (
            (single, "there is one recording, for training"),
            (needed, "its recordings are also those of labels that need them to train"),
        )
        if names
    ]
    return moved, remarks


def _up_to(share: float, recordings: Sequence[str], sizes: Mapping[str, int]) -> list[str]:
    """Take recordings in order, up to a share of their examples, at least one and never all."""
    most = max(1, round(share * sum(sizes[recording] for recording in recordings)))
    taken, n = [], 0
    for recording in recordings:
        if n + sizes[recording] <= most:
            taken.append(recording)
            n += sizes[recording]
    taken = taken or [min(recordings, key=lambda recording: sizes[recording])]
    return taken[: len(recordings) - 1]


def _mend_hold_out(
    held: set[str],
    labels_of: Mapping[str, set[str]],
    frequency: Counter[str],
    random: np.random.Generator,
) -> None:
    """Move recordings, or swap two, while more labels are then in training, or in validation."""
    in_held = Counter(label for recording in held for label in labels_of[recording])
    names = sorted(labels_of)
    order = [names[i] for i in random.permutation(len(names))]

    def n_missing() -> tuple[int, int]:
        not_trained = sum(in_held[label] == n for label, n in frequency.items())
        return not_trained, sum(in_held[label] == 0 for label in frequency)

    def move(recordings: Iterable[str]) -> None:
        for recording in recordings:
            if recording in held:
                held.remove(recording)
                in_held.subtract(labels_of[recording])
            else:
                held.add(recording)
                in_held.update(labels_of[recording])

    def improve(label: str) -> bool:
        mine = [recording for recording in order if label in labels_of[recording]]
        swaps = (
            (one, two)
            for one in mine
            for two in order
            if (one in held) != (two in held) and labels_of[one] & labels_of[two]
        )
        before = n_missing()
        for recordings in chain(((one,) for one in mine), swaps):
            move(recordings)
            if n_missing() < before:
                return True
            move(recordings)
        return False

    several = [label for label in sorted(frequency) if frequency[label] > 1]
    for label in several * 2:  # what is given back to one label may be another's only one
        while in_held[label] in (0, frequency[label]) and improve(label):
            pass


def k_folds(examples: Sequence[Example], n_folds: int, seed: int) -> list[list[Example]]:
    """Deal examples to folds: whole recordings, those of each label evenly.

    Rare labels come first. Where labels share recordings, a label may be in fewer folds than it has
    recordings for, but never in a single one.

    Args:
        examples: Examples.
        n_folds: How many folds, 2 or more.
        seed: The same seed deals the same.

    Returns:
        The examples of each fold, none of them empty.

    Raises:
        DcasenetError: There are fewer recordings than folds, or a label has a single one or is in
            a single fold.

    Example:
        >>> from pathlib import Path
        >>> clips = [Example(Path(f"{i}.wav"), scene=("park", "tram")[i % 2]) for i in range(6)]
        >>> [sorted(e.scene for e in fold) for fold in k_folds(clips, 3, seed=0)]
        [['park', 'tram'], ['park', 'tram'], ['park', 'tram']]
    """
    labels_of = _labels_by_recording(examples)
    frequency = _frequency(labels_of)
    single = sorted(label for label, n in frequency.items() if n == 1)
    if single:
        raise DcasenetError(
            f"Folds need two recordings of each label, to learn from and to evaluate; "
            f"{shorten_list(single)} has one. Add recordings, or leave the label out."
        )
    n_recordings = len(labels_of)
    if n_folds < 2 or n_folds > n_recordings:
        raise DcasenetError(
            f"{n_recordings} recordings cannot be dealt to {n_folds} folds. Give 2 to "
            f"{n_recordings} folds."
        )
    dealt = _deal(labels_of, frequency, n_folds, seed)
    folds: list[list[Example]] = [[] for _ in range(n_folds)]
    for example in examples:
        folds[dealt[recording_of(example)]].append(example)
    return folds


def _deal(
    labels_of: Mapping[str, set[str]], frequency: Counter[str], n_folds: int, seed: int
) -> dict[str, int]:
    """Deal recordings to folds, those of rare labels first.

    Raises:
        DcasenetError: All recordings of a label are in one fold.

    Source: Sechidis et al., "On the stratification of multi-label data", 2011.
    """
    random = np.random.default_rng(seed)
    counts = {label: np.zeros(n_folds, np.int64) for label in ("", *frequency)}
    sizes = np.zeros(n_folds, np.int64)
    dealt: dict[str, int] = {}
    groups = _by_rarest_label(labels_of, frequency)
    for rarest in sorted(groups, key=lambda label: (frequency[label], label)):
        recordings = groups[rarest]
        for i in random.permutation(len(recordings)):
            own = labels_of[recordings[i]]
            others = sum((counts[m] / frequency[m] for m in sorted(own)), np.zeros(n_folds))
            fold = int(np.lexsort((sizes, others.round(9), counts[rarest]))[0])
            dealt[recordings[i]] = fold
            sizes[fold] += 1
            for label in own or {""}:
                counts[label][fold] += 1
    by_rarity = sorted(frequency, key=lambda label: (frequency[label], label))
    for label in by_rarity:
        while _spread(label, dealt, labels_of, counts):
            pass
    together = [label for label in by_rarity if (counts[label] > 0).sum() == 1]
    if together:
        raise DcasenetError(
            f"With {n_folds} folds all recordings of {shorten_list(together)} are in one fold, for "
            "they share recordings with other labels: nothing would be left to learn from. Give "
            "more folds or another seed, or leave the label out."
        )
    return dealt


def _spread(
    label: str,
    dealt: dict[str, int],
    labels_of: Mapping[str, set[str]],
    counts: Mapping[str, NDArray[np.int64]],
) -> bool:
    """Move a recording to a fold without its label, if no label is then in fewer folds."""
    own = counts[label]
    empty = np.flatnonzero(own == 0).tolist() if own.max() > 1 else []
    for recording, fold in dealt.items():
        if not empty or label not in labels_of[recording] or own[fold] < 2:
            continue
        for target in empty:
            if all(
                counts[other][fold] > 1 or counts[other][target] == 0
                for other in labels_of[recording]
            ):
                dealt[recording] = target
                for other in labels_of[recording]:
                    counts[other][fold] -= 1
                    counts[other][target] += 1
                return True
    return False


def _labels_by_recording(examples: Iterable[Example]) -> dict[str, set[str]]:
    """Return the labels of each recording, over all examples that were cut from it."""
    labels_of: dict[str, set[str]] = {}
    for example in examples:
        labels_of.setdefault(recording_of(example), set()).update(labels(example))
    return labels_of


def _frequency(labels_of: Mapping[str, set[str]]) -> Counter[str]:
    """Count the recordings of each label."""
    return Counter(label for found in labels_of.values() for label in found)


def _by_rarest_label(
    labels_of: Mapping[str, set[str]], frequency: Counter[str]
) -> dict[str, list[str]]:
    """Group recordings, by name, under the rarest of their labels, "" if they have none."""
    by_label: dict[str, list[str]] = {}
    for recording in sorted(labels_of):
        found = labels_of[recording]
        rarest = min(found, key=lambda label: (frequency[label], label)) if found else ""
        by_label.setdefault(rarest, []).append(recording)
    return by_label


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
