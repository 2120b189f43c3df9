"""What a checkpoint is and says of itself: `ModelSpec`, and its parts."""

from dcasenet.spec.checks import LEAST_HYSTERESIS
from dcasenet.spec.model_spec import ModelSpec, with_measured
from dcasenet.spec.parts import (
    CURVE_THRESHOLDS,
    RELEASED_CONTEXT,
    ROW,
    ROWS_PER_STEP,
    STEP,
    TASKS,
    Context,
    FamiliarityStatistics,
    FrontEndSettings,
    OperatingCurve,
    Task,
    WeightsFile,
    check_tasks,
    scaled,
)
from dcasenet.spec.values import LONGEST_NAME, LONGEST_TEXT

__all__ = [
    "CURVE_THRESHOLDS",
    "LEAST_HYSTERESIS",
    "LONGEST_NAME",
    "LONGEST_TEXT",
    "RELEASED_CONTEXT",
    "ROW",
    "ROWS_PER_STEP",
    "STEP",
    "TASKS",
    "Context",
    "FamiliarityStatistics",
    "FrontEndSettings",
    "ModelSpec",
    "OperatingCurve",
    "Task",
    "WeightsFile",
    "check_tasks",
    "scaled",
    "with_measured",
]
