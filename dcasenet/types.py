"""What a caller may pass to the verbs: audio of any accepted kind, and options by keyword."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, TypedDict

from dcasenet.spec import Task

if TYPE_CHECKING:
    import os

    import torch
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[Any] | torch.Tensor"
Audio: TypeAlias = "str | os.PathLike[str] | BinaryIO | bytes | Samples | tuple[Samples, int]"

Audios: TypeAlias = "Sequence[Audio]"
Rate: TypeAlias = "int | None"
# A number, an operating point such as "precision@0.9", or either by label.
Threshold: TypeAlias = "float | str | Mapping[str, float | str] | None"
Channels: TypeAlias = Literal["mix", "each"]
Resolution: TypeAlias = Literal["step", "fine"]


class Options(TypedDict, total=False):
    """Options of every verb."""

    channels_last: bool


class TagOptions(Options, total=False):
    """Options of `tag`."""

    top: int | None


class AnalyzeOptions(Options, total=False):
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
    channels: Channels


class EventOptions(Options, DecodingOptions, total=False):
    """Options of `detect_events`."""


class EmbedOptions(Options, total=False):
    """Options of `embed`, but for its level, which decides the result's type."""

    task: Task
