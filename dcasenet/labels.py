"""Labels of the shipped checkpoints and their AudioSet classes, in both directions.

::

    import dcasenet.labels

    dcasenet.labels.to_audioset("door knock")[0].mid       # "/m/07r4wb8"
    dcasenet.labels.from_audioset("Dog")                   # ("dog",)

AudioSet classes are known by a machine identifier (mid), a display name and the index that the
outputs of AudioSet taggers have. Relations are those of SKOS mapping properties: an ``exact`` match
means the same, a ``close`` one nearly, a ``broad`` class contains more than the label, a ``narrow``
one is a part of it, and a ``related`` one is the nearest where none of these holds.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from dcasenet.errors import UnknownLabelError

Relation = Literal["exact", "close", "broad", "narrow", "related"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)


@dataclass(frozen=True)
class AudioSetClass:
    """A class of AudioSet, and how the label that it was looked up for relates to it.

    Attributes:
        mid: Machine identifier, such as ``"/m/0bt9lr"``.
        name: Display name, such as ``"Dog"``.
        index: Position among the 527 classes, 0 to 526.
        relation: ``"exact"``, ``"close"``, ``"broad"``, ``"narrow"`` or ``"related"``.
    """

    mid: str
    name: str
    index: int
    relation: Relation = "exact"


@cache
def audioset_classes() -> tuple[AudioSetClass, ...]:
    """Return the 527 classes of AudioSet, by index.

    Example:
        >>> len(audioset_classes()), audioset_classes()[74].name
        (527, 'Dog')
    """
    return tuple(
        AudioSetClass(row["mid"], row["display_name"], int(row["index"]))
        for row in _table("audioset.csv")
    )


def label_sets() -> Mapping[str, tuple[str, ...]]:
    """Return the label sets of the shipped checkpoints that have a mapping, by name.

    Example:
        >>> label_sets()["tau2020-mobile"][:2]
        ('airport', 'bus')
    """
    return MappingProxyType({name: tuple(labels) for name, labels in _mapping().items()})


def to_audioset(label: str) -> tuple[AudioSetClass, ...]:
    """Return the AudioSet classes of a label, best match first.

    Args:
        label: A label of any shipped checkpoint, or a display name or mid of AudioSet. Case, and
            underscores for spaces, make no difference.

    Returns:
        At least one class, with the relation of each.

    Raises:
        UnknownLabelError: No label set has it; the message names the nearest one.

    Example:
        >>> [(c.name, c.relation) for c in to_audioset("church bells")]
        [('Church bell', 'close'), ('Change ringing (campanology)', 'narrow')]
        >>> to_audioset("Male_speech_and_man_speaking")[0].index
        1
    """
    known = _by_label()
    found = known.get(label) or _by_plain_label().get(_plain(label))
    if found is None:
        raise UnknownLabelError(label, list(known))
    return found


def from_audioset(
    audioset_class: str | AudioSetClass, label_set: str | None = None
) -> tuple[str, ...]:
    """Return the labels that map to an AudioSet class, the best matches first.

    Args:
        audioset_class: A mid, a display name, or what `to_audioset` returned.
        label_set: Look in one of `label_sets` only; by default in all of them.

    Returns:
        Labels without repetitions; none where no label maps to the class.

    Raises:
        UnknownLabelError: AudioSet has no such class, or there is no such label set.

    Example:
        >>> from_audioset("/m/0bt9lr"), from_audioset("Screaming", "tau-nigens-2020")
        (('dog',), ('female_scream', 'male_scream'))
    """
    mapping = _mapping()
    if label_set is not None:
        if label_set not in mapping:
            raise UnknownLabelError(label_set, list(mapping), "label set")
        mapping = {label_set: mapping[label_set]}
    mid = _mid_of(audioset_class)
    matches = [
        (RELATIONS.index(match.relation), label)
        for labels in mapping.values()
        for label, classes in labels.items()
        for match in classes
        if match.mid == mid
    ]
    matches.sort(key=lambda match: match[0])  # stable: the sets' order within a relation
    return tuple(dict.fromkeys(label for _, label in matches))


def _mid_of(audioset_class: str | AudioSetClass) -> str:
    if isinstance(audioset_class, AudioSetClass):
        return audioset_class.mid
    known = _by_class()
    found = known.get(_plain(audioset_class))
    if found is None:
        names = [entry.name for entry in audioset_classes()]
        raise UnknownLabelError(audioset_class, names, "class of AudioSet")
    return found.mid


def _plain(label: str) -> str:
    return " ".join(str(label).replace("_", " ").casefold().split())


@cache
def _by_class() -> dict[str, AudioSetClass]:
    return {_plain(key): entry for entry in audioset_classes() for key in (entry.name, entry.mid)}


@cache
def _mapping() -> dict[str, dict[str, tuple[AudioSetClass, ...]]]:
    """Label set → label → its classes, in the file's order, which is the best first."""
    by_mid = {entry.mid: entry for entry in audioset_classes()}
    found: dict[str, dict[str, list[AudioSetClass]]] = defaultdict(lambda: defaultdict(list))
    for row in _table("label_map.csv"):
        relation = next(known for known in RELATIONS if known == row["relation"])
        match = replace(by_mid[row["mid"]], relation=relation)
        found[row["label_set"]][row["label"]].append(match)
    return {
        name: {label: tuple(matches) for label, matches in labels.items()}
        for name, labels in found.items()
    }


@cache
def _by_label() -> dict[str, tuple[AudioSetClass, ...]]:
    """Every label → its classes; the shipped labels win over AudioSet's own names."""
    known: dict[str, tuple[AudioSetClass, ...]] = {
        key: (entry,) for entry in audioset_classes() for key in (entry.name, entry.mid)
    }
    for labels in _mapping().values():
        known.update(labels)
    return known


@cache
def _by_plain_label() -> dict[str, tuple[AudioSetClass, ...]]:
    return {_plain(label): classes for label, classes in _by_label().items()}


def _table(name: str) -> Sequence[Mapping[str, str]]:
    text = (files("dcasenet") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
