"""What a checkpoint is: its labels, its front end, its thresholds and where it comes from."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from dcasenet.errors import WeightsError
from dcasenet.text import one_line

Task = Literal["scene", "tag", "event"]
TASKS: tuple[Task, ...] = ("scene", "tag", "event")
# Of the paper's networks: seconds of one step (2 · 2 · 2 · 5 = 40 frames of 20 ms), and of one row
# of the grid on which their event probabilities are given.
STEP, ROW = 0.8, 0.1
# Frames that the three poolings of the backbone make one of, before the last pooling; and rows that
# a step of the paper's is given as.
FRAMES_PER_STEP = ROWS_PER_STEP = 8
PAPER_POOLING = 5  # steps of the paper's last pooling


# Smallest share of a threshold at which events end: at 0 they never would.
LEAST_HYSTERESIS = 0.05
# Most characters of a name, a label or a figure's name; and of a text for people.
LONGEST_NAME, LONGEST_TEXT = 200, 100_000


def scaled(size: int, width: float) -> int:
    """Return a layer's size at a width: the nearest even number, for GRUs read in two directions.

    Example:
        >>> scaled(256, 0.5), scaled(256, 0.3)
        (128, 76)
    """
    return max(2, 2 * round(size * width / 2))


def check_tasks(tasks: Sequence[str]) -> None:
    """Refuse a task that no network has.

    Raises:
        ValueError: A name is none of scene, tag and event.
    """
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f"There is no task {task!r}; give any of {', '.join(TASKS)}.")


@dataclass(frozen=True)
class FrontEndSettings:
    """How a waveform becomes a log-mel (paper, Section 4.2; authors' ``utils.py``).

    Attributes:
        sample_rate: Rate the network reads, in Hz.
        n_fft: Length of the Fourier transform, in samples.
        win_length: Length of the Hamming window, in samples (40 ms).
        hop_length: From one frame to the next, in samples (20 ms).
        n_mels: Number of mel bins.
        pre_emphasis: Share of the previous sample that is taken off each sample.
        max_frequency: Normalized bins that reach above this many Hz are 0.
        normalization: ``"clip"``: mean and deviation of each bin over the clip (the released
            weights). ``"fixed"``: mean and deviation of each bin stored in the checkpoint.
            ``"level"``: the same, of a log-mel relative to the loudest 0.18 s of the clip, so that
            neither the gain nor silence around a sound changes what the network reads.
    """

    sample_rate: int = 24_000
    n_fft: int = 2048
    win_length: int = 960
    hop_length: int = 480
    n_mels: int = 128
    pre_emphasis: float = 0.97
    max_frequency: float = 12_000.0
    normalization: Literal["clip", "fixed", "level"] = "clip"


@dataclass(frozen=True)
class Context:
    """How a task reads a recording: in which windows, and how their answers become one.

    Attributes:
        window: Length of a window, in seconds; a shorter recording is one window.
        hop: From one window to the next, in seconds.
        pooling: ``"mean"``, ``"max"``, or ``"overlap"``: averaged where windows overlap, with
            weights that rise linearly from each window's edges.
        shortest: A window loses the silence at its ends; what is shorter then is repeated up to
            this length, in seconds; 0 leaves windows as they are.
    """

    window: float
    hop: float
    pooling: Literal["mean", "max", "overlap"]
    shortest: float = 0.0


# What the authors' protocol reads: three crops of 5 s of a scene of 10 s, whole clips of up to 30 s
# for tags, whole minutes for events (their ``dataloaders.py`` and ``trainer.py``).
RELEASED_CONTEXT: Mapping[Task, Context] = MappingProxyType(
    {
        "scene": Context(window=5.0, hop=2.5, pooling="mean"),
        "tag": Context(window=30.0, hop=30.0, pooling="max"),
        "event": Context(window=60.0, hop=48.0, pooling="overlap"),
    }
)
# How the windows of a task can be pooled.
POOLINGS: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {"scene": ("mean",), "tag": ("max", "mean"), "event": ("overlap",)}
)


@dataclass(frozen=True)
class WeightsFile:
    """Where the weights of a checkpoint are found, and what proves that they are the right ones.

    Attributes:
        digest: ``"sha256:…"`` or ``"git_blob_sha1:…"`` of the file as published.
        size: Its size in bytes, where known.
        package: Path inside the package, for a checkpoint that ships with it.
        hub: ``"org/name@revision/path"``: the same bytes in a Hugging Face repository.
        github: ``"owner/repository/commit/path"``: a raw file at a pinned commit.
    """

    digest: str
    size: int | None = None
    package: str | None = None
    hub: str | None = None
    github: str | None = None


# Thresholds at which an `OperatingCurve` is known: 0.01, 0.02, …, 0.99.
CURVE_THRESHOLDS = tuple(step / 100 for step in range(1, 100))


@dataclass(frozen=True)
class OperatingCurve:
    """How precision and recall of one event depend on its threshold, on held-out recordings.

    Attributes:
        precision: At each of `CURVE_THRESHOLDS`, 0 to 1; 1 where nothing is reported.
        recall: Likewise.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("precision", self.precision), ("recall", self.recall)):
            if len(values) != len(CURVE_THRESHOLDS) or not all(
                _is_number(value, 0, 1) for value in values
            ):
                raise ValueError(
                    f"the {name} of a curve must be {len(CURVE_THRESHOLDS)} numbers from 0 to 1"
                )


@dataclass(frozen=True)
class FamiliarityStatistics:
    """Where embeddings of the training data lie; see `dcasenet.inference.familiarity`.

    Attributes:
        size: Length of an embedding.
        mean: Their mean, float16 in base64, (size,).
        components: Their principal components, float16 in base64, (rank, size).
        scales: Standard deviation along each component, (rank,).
        residual: Standard deviation along all other directions.
        distances: Quantiles of the distances of held-out recordings, rising.
        contrast: Direction along which noise, tones and the like lie far from recordings, float16
            in base64, (size,); empty where that was not measured.
        scores: Quantiles of the scores of held-out recordings along it, rising.
        limit: Familiarity below which the model is not sure, 0 to 1.
    """

    size: int
    mean: str
    components: str
    scales: tuple[float, ...]
    residual: float
    distances: tuple[float, ...]
    limit: float
    contrast: str = ""
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        rank = len(self.scales)
        is_usable = (
            _is_number(self.size, 1, 1 << 16, int)
            and _is_base64(self.mean, 2 * self.size)
            and _is_base64(self.components, 2 * rank * self.size)
            and all(_is_number(value, 1e-30, 1e30) for value in (*self.scales, self.residual))
            and _is_rising(self.distances, 0, 1e30)
            and _is_base64(self.contrast, 2 * self.size * bool(self.contrast))
            and (not self.contrast or _is_rising(self.scores, -1e30, 1e30))
            and _is_number(self.limit, 0, 1)
        )
        if not is_usable:
            raise ValueError("the statistics of familiarity do not fit together")


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
    frontend: FrontEndSettings = FrontEndSettings()
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
                        raise _unusable(name, values[name])
                    values[name] = tuple(values[name])
            _known(cls, values)
            frontend = values.pop("frontend", {})
            file = values.pop("file", None)
            _known(FrontEndSettings, frontend)
            _known(WeightsFile, file or {})
            frontend = FrontEndSettings(**frontend)
            for name, read in (
                ("context", _context),
                ("curves", _curves),
                ("familiarity", _familiarity),
            ):
                if name in values:
                    values[name] = _read(name, values[name], read)
            spec = cls(**values, frontend=frontend, file=WeightsFile(**file) if file else None)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise WeightsError(
                f"This is not the description of a checkpoint: {error}. It needs the fields of "
                f"dcasenet.ModelSpec: {', '.join(f.name for f in dataclasses.fields(cls))}."
            ) from error
        for name, sound in _checks(spec).items():
            if not sound:
                raise _unusable(name, getattr(spec, name, getattr(spec.frontend, name, None)))
        return spec


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


def _unusable(name: str, value: object) -> WeightsError:
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


def _known(kind: type, values: object) -> None:
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


def _read(name: str, values: Any, read: Callable[[Any], Any]) -> Any:
    """Read a field that has fields of its own.

    Raises:
        WeightsError: Its value is nothing that could be read.
    """
    try:
        return read(values)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _unusable(name, values) from error


def _context(values: Mapping[Task, Mapping[str, Any]]) -> dict[Task, Context]:
    """Read contexts from JSON values."""
    return {**RELEASED_CONTEXT, **{task: Context(**own) for task, own in values.items()}}


def _curves(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, OperatingCurve]:
    """Read curves from JSON values."""
    return {
        label: OperatingCurve(**{name: tuple(curve) for name, curve in curves.items()})
        for label, curves in values.items()
    }


def _familiarity(values: Mapping[str, Any] | None) -> FamiliarityStatistics | None:
    """Read statistics from JSON values."""
    if values is None:
        return None
    _known(FamiliarityStatistics, values)
    lists = {name: tuple(values.get(name, ())) for name in ("scales", "distances", "scores")}
    return FamiliarityStatistics(**{**values, **lists})


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


def _checks(spec: ModelSpec) -> dict[str, bool]:
    """Check of each field whether a model can be built from it; files may say anything."""
    f = spec.frontend
    thresholds, members, heads = spec.thresholds, spec.members, spec.heads
    labels = (spec.scenes, spec.tags, spec.events)
    n_fft = f.n_fft if _is_number(f.n_fft, 2, 65_536, int) else 0
    return {
        "name": _is_name(spec.name),
        "stage": _is_name(spec.stage),
        "width": _is_number(spec.width, 1 / 64, 16),
        "time_pooling": _is_number(spec.time_pooling, 1, 5, int),
        "tasks": len(spec.tasks) > 0
        and all(_is_task(task) for task in spec.tasks)
        and len(set(spec.tasks)) == len(spec.tasks),
        **{
            name: all(map(_is_name, of_task)) and len(set(of_task)) == len(of_task)
            for name, of_task in zip(("scenes", "tags", "events"), labels, strict=True)
        },
        "heads": isinstance(heads, Mapping)
        and all(_is_task(task) and kind == "linear" for task, kind in heads.items()),
        "resampler": spec.resampler in ("sinc", "soxr"),
        "context": all(
            task in TASKS and _is_usable(task, own, spec) for task, own in spec.context.items()
        ),
        "thresholds": isinstance(thresholds, Mapping)
        and all(_is_name(name) and _is_number(value, 0, 1) for name, value in thresholds.items())
        and ("event" not in spec.tasks or all(label in thresholds for label in spec.events)),
        "hysteresis": _is_number(spec.hysteresis, LEAST_HYSTERESIS, 1),
        "curves": all(label in spec.events for label in spec.curves),
        # The members of a composed model share one front end.
        "members": isinstance(members, Mapping)
        and all(_is_task(task) and _is_name(stage) for task, stage in members.items())
        and not (members and f.normalization != "clip"),
        "metrics": isinstance(spec.metrics, Mapping)
        and all(_is_name(task) and _is_figures(values) for task, values in spec.metrics.items()),
        "datasets": all(_is_name(name) for name in spec.datasets),
        "selected_for": spec.selected_for is None or _is_task(spec.selected_for),
        **{
            name: _is_text(getattr(spec, name), LONGEST_TEXT)
            for name in ("license", "training_data", "protocol", "source")
        },
        "file": spec.file is None or _is_file(spec.file),
        "sample_rate": _is_number(f.sample_rate, 1_000, 384_000, int),
        "n_fft": n_fft > 0,
        "win_length": _is_number(f.win_length, 1, n_fft, int),
        "hop_length": _is_number(f.hop_length, 1, n_fft, int)
        and values_a_second(f) <= MOST_VALUES_A_SECOND,
        "n_mels": _is_number(f.n_mels, 1, 1_024, int),
        "pre_emphasis": _is_number(f.pre_emphasis, 0, 1),
        "max_frequency": _is_number(f.max_frequency, 1, 192_000),
        "normalization": f.normalization in ("clip", "fixed", "level"),
    }


def _is_usable(task: Task, context: Context, spec: ModelSpec) -> bool:
    settings = spec.frontend
    sizes = (spec.time_pooling, settings.hop_length, settings.sample_rate)
    are_sizes = all(_is_number(size, 1, 1_000_000, int) for size in sizes)
    if not are_sizes or values_a_second(settings) > MOST_VALUES_A_SECOND:
        return True  # that is another field's fault, which is named instead
    most = MOST_VALUES_A_WINDOW / values_a_second(settings)
    return (
        _is_number(context.window, spec.step, min(most, 3_600))
        and _is_number(context.hop, spec.step, context.window)
        and _is_number(context.shortest, 0, context.window)
        and context.pooling in POOLINGS[task]
    )


def values_a_second(settings: FrontEndSettings) -> float:
    """Return how many values of the log-mel a second has.

    Example:
        >>> values_a_second(FrontEndSettings())
        6400.0
    """
    sizes = (settings.sample_rate, settings.n_mels, settings.hop_length)
    if not all(_is_number(size, 1, 1_000_000, int) for size in sizes):
        return 1.0  # that is those fields' fault
    return settings.sample_rate * settings.n_mels / settings.hop_length


def _is_number(
    value: object, lowest: float, highest: float, kind: type | tuple[type, ...] = (int, float)
) -> bool:
    # True and False are integers to Python, and to nobody else.
    return (
        isinstance(value, kind) and not isinstance(value, bool) and lowest <= value <= highest  # type: ignore[operator]
    )


def _is_rising(values: Sequence[float], lowest: float, highest: float) -> bool:
    are_numbers = all(_is_number(value, lowest, highest) for value in values)
    return are_numbers and len(values) > 0 and list(values) == sorted(values)


def _is_base64(value: object, n_bytes: int) -> bool:
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) == n_bytes
    except ValueError:
        return False


def _is_text(value: object, longest: int) -> bool:
    if not isinstance(value, str) or len(value) > longest:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character, which no file can hold
        return False
    return True


def _is_name(value: object) -> bool:
    return _is_text(value, LONGEST_NAME) and value != ""


def _is_task(value: object) -> bool:
    return isinstance(value, str) and value in TASKS


def _is_figures(values: object) -> bool:
    return isinstance(values, Mapping) and all(
        # Nothing could be said of the classes of a figure that is nan.
        _is_name(name) and (_is_number(value, -1e300, 1e300) or value != value)
        for name, value in values.items()
    )


def _is_file(file: WeightsFile) -> bool:
    places = (file.package, file.hub, file.github)
    return (
        _is_text(file.digest, LONGEST_NAME)
        and (file.size is None or _is_number(file.size, 0, 1 << 50, int))
        and all(place is None or _is_text(place, 1000) for place in places)
    )
