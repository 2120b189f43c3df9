"""Thresholds by what they are to achieve: ``"f1"``, ``"precision@0.9"``, ``"recall@0.9"``.

A checkpoint stores for each event how precision and recall depend on the threshold, measured on
held-out recordings (`dcasenet.spec.OperatingCurve`); a point on that curve is a threshold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dcasenet.inference.events import thresholds_for
from dcasenet.spec import CURVE_THRESHOLDS, ModelSpec, OperatingCurve
from dcasenet.types import Threshold, find_label

POINT = re.compile(r"(?P<kind>precision|recall)@(?P<target>[0-9.]+)")
ACCEPTED = (
    "Accepted are a number from 0 to 1, 'f1', 'precision@P', 'recall@R' (P and R above 0, up to "
    "1), or some labels' own of these by label."
)
# A curve's values are rounded: what falls short of a target by less than this reaches it.
ROUNDING = 1e-9
NEVER = 1.0  # nothing is strictly above it


def limits_for(spec: ModelSpec, threshold: Threshold) -> dict[str, float]:
    """Return the threshold of every event of a checkpoint; none where it detects none.

    Args:
        spec: The checkpoint's.
        threshold: A number, an operating point, or either for some labels by label; labels that
            are not named, and None, have the checkpoint's own.

    Returns:
        Label → probability; active means strictly above it.

    Raises:
        ValueError: A threshold is out of range, is no operating point, names no event, or needs
            curves that the checkpoint does not store.

    Example:
        >>> own = {"dog": 0.3, "cat": 0.5}
        >>> spec = ModelSpec("v3", "mine", events=("dog", "cat"), thresholds=own)
        >>> limits_for(spec, {"dog": 0.4})
        {'dog': 0.4, 'cat': 0.5}
    """
    if "event" not in spec.tasks:
        return {}
    if isinstance(threshold, str):
        threshold = dict.fromkeys(spec.events, threshold)
    if isinstance(threshold, Mapping):
        own = {find_label(label, spec.events, "event"): v for label, v in threshold.items()}
        points = {label: value for label, value in own.items() if isinstance(value, str)}
        threshold = {**own, **_resolved(spec, points)}
    return thresholds_for(
        spec.events, cast("float | Mapping[str, float]", threshold), spec.thresholds
    )


def choose(curve: OperatingCurve, point: str) -> float:
    """Return the threshold of an operating point on a curve.

    ``"f1"``: where F1 is highest, the middle one of equally good thresholds. ``"precision@P"``:
    where recall is highest among the thresholds with a precision of at least P; where there are
    none, 1.0, so that the label is never reported.
    ``"recall@R"``: the highest threshold with a recall of at least R; where there are none, the
    one of the highest recall. Of these, too, the highest of equally good ones.

    Args:
        curve: Precision and recall by threshold.
        point: The operating point.

    Raises:
        ValueError: It is none.

    Example:
        >>> rising = tuple(t / 100 for t in range(1, 100))
        >>> curve = OperatingCurve(precision=rising, recall=rising[::-1])
        >>> choose(curve, "precision@0.9"), choose(curve, "recall@0.9"), choose(curve, "f1")
        (0.9, 0.1, 0.5)
    """
    precision, recall = np.array(curve.precision), np.array(curve.recall)
    kind, target = parse(point)
    if kind == "precision":
        enough = precision >= target - ROUNDING
        return _last_best(np.where(enough, recall, -1.0)) if enough.any() else NEVER
    if kind == "recall":
        enough = recall >= target - ROUNDING
        return _last(enough) if enough.any() else _last_best(recall)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = np.flatnonzero(f1 >= f1.max() - ROUNDING)
    return float(CURVE_THRESHOLDS[int(best[len(best) // 2])])


def parse(point: str) -> tuple[str, float]:
    """Return what an operating point demands: its kind and the target, 0 for F1.

    Raises:
        ValueError: It is none.

    Example:
        >>> parse("precision@0.9"), parse("f1")
        (('precision', 0.9), ('f1', 0.0))
    """
    if point == "f1":
        return "f1", 0.0
    found = POINT.fullmatch(point)
    try:
        target = float(found["target"]) if found else 0.0
    except ValueError:
        target = 0.0
    if found is None or not 0 < target <= 1:
        raise ValueError(f"threshold={point!r} is no operating point. {ACCEPTED}")
    return found["kind"], target


def _resolved(spec: ModelSpec, points: Mapping[str, str]) -> dict[str, float]:
    """The thresholds of operating points by label; labels that are no events are left out."""
    for point in points.values():
        parse(point)
        if not spec.curves:
            raise ValueError(
                f"threshold={point!r} needs precision and recall by threshold, and {spec.name} "
                f"{spec.stage!r} stores none. Measure them on recordings of your own, "
                f"model.calibrate('labels.csv'), or give a number."
            )
    # A label that was missing among the recordings has no curve, and keeps its own threshold.
    return {
        label: choose(spec.curves[label], point) if label in spec.curves else spec.thresholds[label]
        for label, point in points.items()
        if label in spec.events
    }


def _last(mask: NDArray[np.bool_]) -> float:
    return float(CURVE_THRESHOLDS[int(np.flatnonzero(mask)[-1])])


def _last_best(values: NDArray[np.float64]) -> float:
    return _last(values >= values.max() - ROUNDING)
