"""What a data set is to training: examples with their truth, labels in order, splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dcasenet.annotations.events import LabeledEvent as LabeledEvent
from dcasenet.spec import Task

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One recording, or one channel of it, and what is true of it.

    Attributes:
        path: The audio file.
        split: Split that it is on.
        scene: Its scene; None where nobody said.
        tags: Its tags; None where it is not known, empty where there are none.
        events: Its events; None where it is not known, empty where there are none.
        channel: Which channel of the file, from 0; None is the average of all.
        recording: What it was cut from: examples of one recording stay in one split. By default
            the path.
        fold: Its fold, for data that comes in folds.
    """

    path: Path
    split: Split = "train"
    scene: str | None = None
    tags: tuple[str, ...] | None = None
    events: tuple[LabeledEvent, ...] | None = None
    channel: int | None = None
    recording: str = ""
    fold: int | None = None

    @property
    def key(self) -> str:
        """Name that no other example has: the path, and the channel if there are several."""
        return str(self.path) if self.channel is None else f"{self.path}:{self.channel}"


class SoundDataset(Sequence[Example]):
    """Examples of one task.

    Args:
        name: What it is called.
        task: What the examples are labeled for.
        labels: Its labels, in the order of a network's outputs.
        examples: The examples.
        left_out: What is in the data but not among the examples, and what could not be held out
            for validation: a sentence each.

    Example:
        >>> data = SoundDataset("mine", "scene", ("park",), [Example(Path("a.wav"), scene="park")])
        >>> len(data), [example.scene for example in data.split("train")]
        (1, ['park'])
    """

    def __init__(
        self,
        name: str,
        task: Task,
        labels: Sequence[str],
        examples: Sequence[Example],
        left_out: Sequence[str] = (),
    ) -> None:
        self.name, self.task = name, task
        self.labels, self.examples = tuple(labels), tuple(examples)
        self.left_out = tuple(left_out)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]  # no slices
        return self.examples[index]

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    def split(self, split: Split) -> list[Example]:
        """Return the examples of one split."""
        return [example for example in self.examples if example.split == split]
