"""The options of the verbs, as types: what a caller may pass by keyword."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

from dcasenet.audio.reader import Audio
from dcasenet.spec import Task

Audios: TypeAlias = "Sequence[Audio]"
Rate: TypeAlias = "int | None"
Threshold: TypeAlias = "float | Mapping[str, float] | None"
Channels: TypeAlias = Literal["mix", "each"]


class Options(TypedDict, total=False):
    """Options of every verb."""

    channels_last: bool


class TagOptions(Options, total=False):
    """Options of `tag`."""

    top: int | None


class AnalyzeOptions(Options, total=False):
    """Options of `analyze`."""

    threshold: Threshold


class EventOptions(AnalyzeOptions, total=False):
    """Options of `detect_events`."""

    median: float
    min_gap: float
    min_duration: float
    window: float
    hop: float
    channels: Channels


class EmbedOptions(Options, total=False):
    """Options of `embed`, but for its level, which decides the result's type."""

    task: Task
