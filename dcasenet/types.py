"""What a caller may pass to the verbs: audio of any accepted kind, and options by keyword."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, TypedDict

import numpy as np

from dcasenet.errors import UnknownLabelError
from dcasenet.spec import Task

if TYPE_CHECKING:
    import os

    import torch
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[Any] | torch.Tensor"
# A dictionary or a decoder of the library datasets, or one of torchcodec, is any object.
Audio: TypeAlias = (
    "str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview | Samples "
    "| tuple[Samples, int] | Mapping[str, Any]"
)

Audios: TypeAlias = "Sequence[Audio]"
Rate: TypeAlias = "int | None"
# A number, an operating point such as "precision@0.9", or either by label.
Threshold: TypeAlias = "float | str | Mapping[str, float | str] | None"
Channels: TypeAlias = Literal["mix", "each"] | int
Resolution: TypeAlias = Literal["step", "fine"]

# Seconds (24 h): a small file may state, or hold, days.
MAX_DURATION = 86_400.0


class Options(TypedDict, total=False):
    """Options of every verb: how audio is read.

    Attributes:
        channels: ``"mix"`` averages the channels, and takes the louder one where they cancel each
            other; ``"each"`` averages the answers about each (the authors' protocol for four
            microphones); a number chooses one, the first being 0.
        channels_last: Whether arrays are (samples, channels).
        max_duration: How long a recording may be, in seconds, by default 24 h; None for any length.
        strict: Whether anything doubtful about a recording is an error.
    """

    channels: Channels
    channels_last: bool
    max_duration: float | None
    strict: bool


class SceneOptions(Options, total=False):
    """Options of `classify_scene`."""

    reject: bool


class TagOptions(SceneOptions, total=False):
    """Options of `tag`."""

    top: int | None


class AnalyzeOptions(SceneOptions, total=False):
    """Options of `analyze`."""

    threshold: Threshold


class DecodingOptions(TypedDict, total=False):
    """Options of `detect_events` that decide its answer on a file."""

    threshold: Threshold
    median: float
    min_gap: float
    min_duration: float
    window: float | None
    hop: float | None
    resolution: Resolution
    reject: bool
    hysteresis: float | None


class EventOptions(Options, DecodingOptions, total=False):
    """Options of `detect_events`."""


class EmbedOptions(Options, total=False):
    """Options of `embed`, but for its level, which decides the result's type."""

    task: Task


def find_label(label: str, known: Sequence[str], kind: str = "label") -> str:
    """Return the label of this name; if there is none, the only one that differs in capitals.

    Raises:
        ValueError: There is none, or more than one.

    Example:
        >>> find_label("dog", ["Cat", "Dog"]), find_label("dog", ["dog", "Dog"])
        ('Dog', 'dog')
    """
    if label in known:
        return label
    alike = [name for name in known if name.casefold() == str(label).casefold()]
    if len(alike) != 1:
        raise ValueError(str(UnknownLabelError(label, known, kind)))
    return alike[0]


def check_number(
    name: str,
    value: object,
    lowest: float,
    highest: float = math.inf,
    *,
    accepted: str,
    kind: type | tuple[type, ...] = numbers.Real,
) -> None:
    """Refuse what is no number, or out of range; text and truth values are no numbers.

    Args:
        name: Of the option.
        value: What was given.
        lowest: The lowest value accepted.
        highest: The highest; infinity itself is never accepted.
        accepted: What to say of what is, such as ``"give 0 to 1"``.
        kind: `numbers.Integral` for whole numbers.

    Raises:
        ValueError: It is refused.

    Example:
        >>> check_number("top", "3", 1, accepted="give 1 or more")
        Traceback (most recent call last):
        ValueError: top='3' is no number; give 1 or more.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is no number; {accepted}.")
    if not lowest <= value <= highest or value == math.inf:  # type: ignore[operator]
        raise ValueError(f"{name}={value} is out of range; {accepted}.")


def check_flags(**flags: object) -> None:
    """Refuse options that are neither True nor False; any text, "no" included, would count as True.

    Args:
        **flags: Options by name.

    Raises:
        ValueError: One is refused.

    Example:
        >>> check_flags(strict=True, reject="no")
        Traceback (most recent call last):
        ValueError: reject='no' is neither True nor False; give one of them.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name}={value!r} is neither True nor False; give one of them.")
