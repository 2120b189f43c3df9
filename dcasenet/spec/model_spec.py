"""What a checkpoint is: its labels, its front end, its thresholds and where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dcasenet.errors import WeightsError
from dcasenet.spec.checks import (
    check_fields,
    checks,
    read_contexts,
    read_curves,
    read_familiarity,
    read_field,
    unusable,
)
from dcasenet.spec.parts import (
    FRAMES_PER_STEP,
    PAPER_POOLING,
    RELEASED_CONTEXT,
    ROWS_PER_STEP,
    TASKS,
    Context,
    FamiliarityStatistics,
    FrontEndSettings,
    OperatingCurve,
    Task,
    WeightsFile,
    scaled,
)


@dataclass(frozen=True)
class ModelSpec:
    """Everything that a checkpoint knows about itself, but for its weights.

    Attributes:
        name: Architecture name that `dcasenet.load` takes: ``"v1"``, ``"v2"`` or ``"v3"``.
        stage: Which training it comes from, such as ``"open"`` or ``"joint-tag"``.
        width: Factor on every channel, GRU and dense width.
        time_pooling: Steps of the network's last pooling in time (the paper's 5).
        tasks: Tasks that it answers.
        scenes: Scene labels, in the order of the network's outputs.
        tags: Tag labels, in that order.
        events: Event labels, in that order.
        heads: Task → ``"linear"`` where its head is one linear layer on the embedding, instead of
            the paper's.
        frontend: Front-end settings.
        resampler: ``"sinc"`` (the authors' windowed sinc) or ``"soxr"``.
        context: Task → the windows in which it reads a recording, and how they are pooled; by
            default as the released weights do. Where all tasks have the same windows
            (`has_one_grid`), one pass answers them all.
        thresholds: Event label → probability above which it counts as active.
        hysteresis: Share of its threshold above which an event that is active somewhere lasts; see
            `dcasenet.decode_events`. 1 for the released weights: the threshold itself.
        curves: Event label → its precision and recall by threshold, for thresholds by operating
            point; none where they were not measured.
        familiarity: Where the training data lie, to tell what is too far from them; None where
            that was not measured, and the model is always sure.
        selected_for: Task on which a joint checkpoint was selected, if it was on one.
        license: License of the weights.
        training_data: What it was trained on, with the license of the data.
        datasets: Names of the data sets among it, for the metadata of a model card.
        metrics: Measured or published figures: task → name → value.
        measured_on: Task → the data that its `metrics` are of, where that is not `datasets`.
        protocol: How `metrics` were measured.
        source: Where the weights come from, for people.
        members: Task → stage, for a model whose tasks are separate checkpoints.
        file: The weights file, for checkpoints of the manifest.
    """

    name: str
    stage: str
    width: float = 1.0
    time_pooling: int = 5
    tasks: tuple[Task, ...] = TASKS
    scenes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    heads: Mapping[Task, Literal["linear"]] = field(default_factory=dict)
    frontend: FrontEndSettings = field(default_factory=FrontEndSettings)
    resampler: Literal["sinc", "soxr"] = "soxr"
    context: Mapping[Task, Context] = field(default_factory=lambda: dict(RELEASED_CONTEXT))
    thresholds: Mapping[str, float] = field(default_factory=dict)
    hysteresis: float = 1.0
    curves: Mapping[str, OperatingCurve] = field(default_factory=dict)
    familiarity: FamiliarityStatistics | None = None
    selected_for: Task | None = None
    license: str = "unknown"
    training_data: str = "unknown"
    datasets: tuple[str, ...] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    measured_on: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""
    source: str = ""
    members: Mapping[Task, str] = field(default_factory=dict)
    file: WeightsFile | None = None

    def labels(self, task: Task) -> tuple[str, ...]:
        """Return the labels of one task, in the order of the network's outputs."""
        return {"scene": self.scenes, "tag": self.tags, "event": self.events}[task]

    @property
    def step(self) -> float:
        """Seconds from one step of the network to the next: 0.8 (the paper's) or 0.16.

        Example:
            >>> ModelSpec(name="v3", stage="joint").step
            0.8
        """
        return self.step_samples / self.frontend.sample_rate

    @property
    def step_samples(self) -> int:
        """Samples from one step of the network to the next."""
        return FRAMES_PER_STEP * self.time_pooling * self.frontend.hop_length

    @property
    def rows_per_step(self) -> int:
        """Rows of event probabilities for each step: 8 of 0.1 s in the paper's, else the step."""
        return ROWS_PER_STEP if self.time_pooling == PAPER_POOLING else 1

    @property
    def has_one_grid(self) -> bool:
        """Whether all tasks read the same windows, so that one pass answers them all.

        In a mean or maximum over such windows, those that are digital silence, or whose loudest
        moment is more than 60 dB under that of the loudest window, do not count (unless all are).

        Example:
            >>> ModelSpec(name="v3", stage="joint").has_one_grid
            False
        """
        grids = {(c.window, c.hop, c.shortest) for c in self.context.values()}
        return len(grids) == 1

    @property
    def embedding_size(self) -> int:
        """Length of an embedding: 512 × width (both GRU directions of both GRUs)."""
        return 2 * scaled(256, self.width)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, without what only the manifest knows (`file`)."""
        values = dataclasses.asdict(self)
        del values["file"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Read a spec from JSON values, as `to_dict` gives or the manifest holds them.

        Args:
            values: Field name → value; every field but ``name`` and ``stage`` has a default.

        Raises:
            WeightsError: A field is missing, unknown, or nothing that could be built.

        Example:
            >>> spec = ModelSpec(name="v3", stage="mine", scenes=("park", "tram"))
            >>> ModelSpec.from_dict(spec.to_dict()) == spec
            True
        """
        try:
            values = dict(values)
            if "licence" in values:  # how the first checkpoints spell it
                values["license"] = values.pop("licence")
            for name in ("tasks", "scenes", "tags", "events", "datasets"):
                if name in values:
                    if not isinstance(values[name], list | tuple):
                        raise unusable(name, values[name])
                    values[name] = tuple(values[name])
            check_fields(cls, values)
            frontend = values.pop("frontend", {})
            file = values.pop("file", None)
            check_fields(FrontEndSettings, frontend)
            check_fields(WeightsFile, file or {})
            frontend = FrontEndSettings(**frontend)
            for name, read in (
                ("context", read_contexts),
                ("curves", read_curves),
                ("familiarity", read_familiarity),
            ):
                if name in values:
                    values[name] = read_field(name, values[name], read)
            spec = cls(**values, frontend=frontend, file=WeightsFile(**file) if file else None)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise WeightsError(
                f"This is not the description of a checkpoint: {error}. It needs the fields of "
                f"dcasenet.ModelSpec: {', '.join(f.name for f in dataclasses.fields(cls))}."
            ) from error
        for name, sound in checks(spec).items():
            if not sound:
                raise unusable(name, getattr(spec, name, getattr(spec.frontend, name, None)))
        return spec


def with_measured(spec: ModelSpec, stored: ModelSpec | None) -> ModelSpec:
    """Return a checkpoint's description with what was measured and lies in its file alone.

    The manifest names checkpoints; their curves and statistics are too long for it.

    Args:
        spec: As the manifest has it.
        stored: As the file of weights has it, if it says anything.
    """
    if stored is None:
        return spec
    return dataclasses.replace(
        spec,
        curves=spec.curves or stored.curves,
        familiarity=spec.familiarity or stored.familiarity,
    )
