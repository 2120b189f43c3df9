"""What of a stranger's description is believed: reading its fields, and refusing them by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcasenet.errors import WeightsError
from dcasenet.spec.parts import (
    CURVE_THRESHOLDS,
    POOLINGS,
    RELEASED_CONTEXT,
    TASKS,
    Context,
    FamiliarityStatistics,
    FrontEndSettings,
    OperatingCurve,
    Task,
    WeightsFile,
)
from dcasenet.spec.values import LONGEST_NAME, LONGEST_TEXT, is_name, is_number, is_text
from dcasenet.text import one_line

if TYPE_CHECKING:
    from dcasenet.spec.model_spec import ModelSpec

# Smallest share of a threshold at which events end: at 0 they never would.
LEAST_HYSTERESIS = 0.05
# Values of the log-mel that are in memory at once decide how much of it the network takes: the
# released files have 50 frames of 128 bins a second, in windows of up to 60 s.
MOST_VALUES_A_SECOND = 2 * 50 * 128
MOST_VALUES_A_WINDOW = 120 * 50 * 128

# What is accepted of the fields whose name and value do not say it.
ACCEPTED = {
    "hop_length": (
        f"so many samples that a second has up to {MOST_VALUES_A_SECOND:,} values, frames times "
        "mel bins"
    ),
    "tasks": "any of scene, tag and event, each once",
    **dict.fromkeys(
        ("scenes", "tags", "events"),
        f"names that differ, of 1 to {LONGEST_NAME} characters",
    ),
    **dict.fromkeys(("name", "stage"), f"a text of 1 to {LONGEST_NAME} characters"),
    **dict.fromkeys(
        ("license", "training_data", "protocol", "source"),
        f"a text of up to {LONGEST_TEXT:,} characters",
    ),
    "selected_for": "one of scene, tag and event, or none",
    "thresholds": "a number from 0 to 1 for every event",
    "hysteresis": f"a number from {LEAST_HYSTERESIS} to 1",
    "curves": (
        f"event → precision and recall, {len(CURVE_THRESHOLDS)} numbers from 0 to 1 of each"
    ),
    "familiarity": "the fields of dcasenet.spec.FamiliarityStatistics, whose lengths fit together",
    "context": (
        "scene, tag or event → window and hop in seconds, pooling, and shortest; a hop of a step "
        "or more, and at most a window, of up to 1 h"
    ),
    "metrics": "task → name → number",
}


def unusable(name: str, value: object) -> WeightsError:
    """Return the error that names a field, shows its value and says what is accepted."""
    accepted = f" Accepted: {ACCEPTED[name]}." if name in ACCEPTED else ""
    return WeightsError(
        f"The description of a checkpoint has an unusable {name}: {_shown(value)}.{accepted}"
    )


def _shown(value: object) -> str:
    """Quote a value that a file may hold, however long or deep it is."""
    if isinstance(value, str):
        text = one_line(value)
        return repr(text) if len(text) <= 60 else f"{text[:60]!r}… ({len(value):,} characters)"
    if isinstance(value, list | tuple):
        first = ", ".join(map(_shown, value[:3])) if all(map(_is_plain, value[:3])) else "…"
        return f"[{first}{', …' if len(value) > 3 else ''}] ({len(value):,})"
    if isinstance(value, Mapping):
        return f"a mapping of {len(value):,}"
    return repr(value)[:60]


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def check_fields(kind: type, values: object) -> None:
    """Refuse names that a description has no place for, and one that is no mapping at all.

    Raises:
        TypeError: `values` has one.
    """
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{_shown(values)} stands where a mapping of fields of {kind.__name__} is expected"
        )
    names = {field.name for field in dataclasses.fields(kind)}
    for name in values:
        if name not in names:
            raise TypeError(f"it has an unexpected field {_shown(name)}")


def read_field(name: str, values: Any, read: Callable[[Any], Any]) -> Any:
    """Read a field that has fields of its own.

    Raises:
        WeightsError: Its value is nothing that could be read.
    """
    try:
        return read(values)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise unusable(name, values) from error


def read_contexts(values: Mapping[Task, Mapping[str, Any]]) -> dict[Task, Context]:
    """Read contexts from JSON values."""
    return {**RELEASED_CONTEXT, **{task: Context(**own) for task, own in values.items()}}


def read_curves(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, OperatingCurve]:
    """Read curves from JSON values."""
    return {
        label: OperatingCurve(**{name: tuple(curve) for name, curve in curves.items()})
        for label, curves in values.items()
    }


def read_familiarity(values: Mapping[str, Any] | None) -> FamiliarityStatistics | None:
    """Read statistics from JSON values."""
    if values is None:
        return None
    check_fields(FamiliarityStatistics, values)
    lists = {name: tuple(values.get(name, ())) for name in ("scales", "distances", "scores")}
    return FamiliarityStatistics(**{**values, **lists})


def checks(spec: ModelSpec) -> dict[str, bool]:
    """Check of each field whether a model can be built from it; files may say anything."""
    f = spec.frontend
    thresholds, members, heads = spec.thresholds, spec.members, spec.heads
    labels = (spec.scenes, spec.tags, spec.events)
    n_fft = f.n_fft if is_number(f.n_fft, 2, 65_536, int) else 0
    return {
        "name": is_name(spec.name),
        "stage": is_name(spec.stage),
        "width": is_number(spec.width, 1 / 64, 16),
        "time_pooling": is_number(spec.time_pooling, 1, 5, int),
        "tasks": len(spec.tasks) > 0
        and all(_is_task(task) for task in spec.tasks)
        and len(set(spec.tasks)) == len(spec.tasks),
        **{
            name: all(map(is_name, of_task)) and len(set(of_task)) == len(of_task)
            for name, of_task in zip(("scenes", "tags", "events"), labels, strict=True)
        },
        "heads": isinstance(heads, Mapping)
        and all(_is_task(task) and kind == "linear" for task, kind in heads.items()),
        "resampler": spec.resampler in ("sinc", "soxr"),
        "context": all(
            task in TASKS and _is_usable(task, own, spec) for task, own in spec.context.items()
        ),
        "thresholds": isinstance(thresholds, Mapping)
        and all(is_name(name) and is_number(value, 0, 1) for name, value in thresholds.items())
        and ("event" not in spec.tasks or all(label in thresholds for label in spec.events)),
        "hysteresis": is_number(spec.hysteresis, LEAST_HYSTERESIS, 1),
        "curves": all(label in spec.events for label in spec.curves),
        # The members of a composed model share one front end.
        "members": isinstance(members, Mapping)
        and all(_is_task(task) and is_name(stage) for task, stage in members.items())
        and not (members and f.normalization != "clip"),
        "metrics": isinstance(spec.metrics, Mapping)
        and all(is_name(task) and _is_figures(values) for task, values in spec.metrics.items()),
        "measured_on": isinstance(spec.measured_on, Mapping)
        and all(
            is_name(task) and is_text(name, LONGEST_TEXT) for task, name in spec.measured_on.items()
        ),
        "datasets": all(is_name(name) for name in spec.datasets),
        "selected_for": spec.selected_for is None or _is_task(spec.selected_for),
        **{
            name: is_text(getattr(spec, name), LONGEST_TEXT)
            for name in ("license", "training_data", "protocol", "source")
        },
        "file": spec.file is None or _is_file(spec.file),
        "sample_rate": is_number(f.sample_rate, 1_000, 384_000, int),
        "n_fft": n_fft > 0,
        "win_length": is_number(f.win_length, 1, n_fft, int),
        "hop_length": is_number(f.hop_length, 1, n_fft, int)
        and values_a_second(f) <= MOST_VALUES_A_SECOND,
        "n_mels": is_number(f.n_mels, 1, 1_024, int),
        "pre_emphasis": is_number(f.pre_emphasis, 0, 1),
        "max_frequency": is_number(f.max_frequency, 1, 192_000),
        "normalization": f.normalization in ("clip", "fixed", "level"),
    }


def _is_usable(task: Task, context: Context, spec: ModelSpec) -> bool:
    settings = spec.frontend
    sizes = (spec.time_pooling, settings.hop_length, settings.sample_rate)
    are_sizes = all(is_number(size, 1, 1_000_000, int) for size in sizes)
    if not are_sizes or values_a_second(settings) > MOST_VALUES_A_SECOND:
        return True  # that is another field's fault, which is named instead
    most = MOST_VALUES_A_WINDOW / values_a_second(settings)
    return (
        is_number(context.window, spec.step, min(most, 3_600))
        and is_number(context.hop, spec.step, context.window)
        and is_number(context.shortest, 0, context.window)
        and context.pooling in POOLINGS[task]
    )


def values_a_second(settings: FrontEndSettings) -> float:
    """Return how many values of the log-mel a second has.

    Example:
        >>> values_a_second(FrontEndSettings())
        6400.0
    """
    sizes = (settings.sample_rate, settings.n_mels, settings.hop_length)
    if not all(is_number(size, 1, 1_000_000, int) for size in sizes):
        return 1.0  # that is those fields' fault
    return settings.sample_rate * settings.n_mels / settings.hop_length


def _is_task(value: object) -> bool:
    return isinstance(value, str) and value in TASKS


def _is_figures(values: object) -> bool:
    return isinstance(values, Mapping) and all(
        # Nothing could be said of the classes of a figure that is nan.
        is_name(name) and (is_number(value, -1e300, 1e300) or value != value)
        for name, value in values.items()
    )


def _is_file(file: WeightsFile) -> bool:
    places = (file.package, file.hub, file.github)
    return (
        is_text(file.digest, LONGEST_NAME)
        and (file.size is None or is_number(file.size, 0, 1 << 50, int))
        and all(place is None or is_text(place, 1000) for place in places)
    )
