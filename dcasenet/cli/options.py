"""Options that commands share, and the model that they name."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TypeAlias, get_type_hints

import typer

from dcasenet.cli.output import Format, ResultFormat
from dcasenet.errors import DcasenetError
from dcasenet.types import MAX_DURATION

if TYPE_CHECKING:
    from dcasenet import types
    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel
    from dcasenet.spec import ModelSpec


# The name of standard input.
STDIN = "-"


class TaskName(StrEnum):
    """A task, as the command line takes it."""

    scene = "scene"
    tag = "tag"
    event = "event"


class Level(StrEnum):
    """Whether an embedding describes a clip or each step."""

    clip = "clip"
    frame = "frame"


class Precision(StrEnum):
    """Precision of the computation."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


class Runtime(StrEnum):
    """Runtime of a model."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"


class Engine(StrEnum):
    """Where a job runs."""

    local = "local"
    ray = "ray"


Files: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...", help="Recordings, and folders, which are searched to any depth."
    ),
]
Paths: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="Recordings, - for standard input, and folders, which are searched to any depth.",
    ),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Architecture, folder, file or Hub repository; by default the packaged checkpoint.",
    ),
]
Stage: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Checkpoint stage; see 'dcasenet models'. For a named architecture, default joint."
    ),
]
Weights: TypeAlias = Annotated[Path | None, typer.Option(help="Weights file, instead of a stage.")]
Device: TypeAlias = Annotated[str, typer.Option(help="Where to run, such as cpu or cuda.")]
PrecisionOption: TypeAlias = Annotated[
    Precision, typer.Option("--precision", help="Precision of the computation.")
]
RuntimeOption: TypeAlias = Annotated[
    Runtime,
    typer.Option(
        "--runtime", help="Runtime of the model; auto: onnx if a file is available, else torch."
    ),
]
ThresholdOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="LIMIT|LABEL=LIMIT",
        help="Threshold of events: a number from 0 to 1, f1, precision@0.9 or recall@0.9; for "
        "one label as LABEL=LIMIT, repeated for each. By default the checkpoint's own.",
    ),
]
Reject: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--reject/--no-reject",
        help="Mark recordings that are unlike the training data as 'not sure'.",
    ),
]
Top: TypeAlias = Annotated[int, typer.Option(min=1, help="How many tags to show.")]
FormatOption: TypeAlias = Annotated[
    Format, typer.Option("--format", help="Output format: table, json (one line per file) or csv.")
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that read files (with ray: actors) for --output."),
]
Restart: TypeAlias = Annotated[
    bool, typer.Option("--restart", help="Overwrite --output and start over.")
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Also replace files that dcasenet did not write.")
]
EngineOption: TypeAlias = Annotated[
    Engine, typer.Option("--engine", help="Where to run for --output: here, or on Ray.")
]


@dataclass(frozen=True)
class CheckpointOptions:
    """The model to use."""

    model: Model = None
    stage: Stage = None
    weights: Weights = None

    def load_network(self) -> SoundModel:
        """Load the model in torch, on the CPU."""
        from dcasenet.loading import load

        return load(self.model, stage=self.stage, weights=self.weights)


@dataclass(frozen=True)
class ModelOptions(CheckpointOptions):
    """Which model answers, and where it runs."""

    device: Device = "cpu"
    precision: PrecisionOption = Precision.float32
    runtime: RuntimeOption = Runtime.auto

    def load(self) -> SoundModel | OnnxSoundModel:
        """Load the model with its device, precision and runtime."""
        return load_model(
            self.model, self.stage, self.weights, self.device, self.precision, self.runtime
        )


@dataclass(frozen=True)
class DetectionOptions:
    """How events are found."""

    threshold: ThresholdOption = None
    median: Annotated[
        float, typer.Option(min=0, help="Length of the median filter, in seconds.")
    ] = 0.0
    min_gap: Annotated[
        float, typer.Option(min=0, help="Close shorter gaps within a label, in seconds.")
    ] = 0.0
    min_duration: Annotated[float, typer.Option(min=0, help="Drop shorter events, in seconds.")] = (
        0.0
    )
    window: Annotated[
        float | None, typer.Option(help="Length of a window, in seconds; longer files are split.")
    ] = None
    hop: Annotated[float | None, typer.Option(help="Step between windows, in seconds.")] = None
    hysteresis: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=1,
            help="An event continues while it is above this share of its threshold; 1: while it is "
            "above the threshold. By default the checkpoint's own.",
        ),
    ] = None
    resolution: Annotated[
        Literal["step", "fine"],
        typer.Option(help="fine: rows of 0.16 s from a network whose steps are longer."),
    ] = "step"
    reject: Reject = True

    def arguments(self, spec: ModelSpec) -> types.EventOptions:
        """Return them as `SoundVerbs.detect_events` takes them."""
        given: types.EventOptions = {
            "threshold": parse_threshold(self.threshold, spec),
            "median": self.median,
            "min_gap": self.min_gap,
            "min_duration": self.min_duration,
            "resolution": self.resolution,
            "reject": self.reject,
        }
        # What is not given is as the checkpoint has it.
        if self.window is not None:
            given["window"] = self.window
        if self.hop is not None:
            given["hop"] = self.hop
        if self.hysteresis is not None:
            given["hysteresis"] = self.hysteresis
        return given


@dataclass(frozen=True)
class ReadingOptions:
    """How recordings are read."""

    channels: Annotated[
        str,
        typer.Option(
            metavar="mix|each|NUMBER",
            help="Average the channels, average the answers about each, or take one (from 0).",
        ),
    ] = "mix"
    max_duration: Annotated[
        float, typer.Option(min=0, help="Longest recording accepted, in seconds.")
    ] = MAX_DURATION
    strict: Annotated[bool, typer.Option("--strict", help="Treat audio warnings as errors.")] = (
        False
    )

    def arguments(self) -> dict[str, Any]:
        """Return them as the verbs take them.

        Raises:
            typer.BadParameter: The value is not mix, each or a channel.
        """
        chosen: Any = self.channels
        if chosen not in ("mix", "each"):
            try:
                chosen = int(chosen)
            except ValueError as error:
                raise typer.BadParameter(
                    f"--channels {chosen} is not known; accepted are mix, each, and a number."
                ) from error
        return {
            "channels": chosen,
            "max_duration": self.max_duration,
            "strict": self.strict,
        }


def audio_of(path: str | Path) -> str | BinaryIO:
    """Return the audio for a path on the command line: ``-`` is standard input.

    Raises:
        typer.BadParameter: Standard input is closed.
    """
    if str(path) != STDIN:
        return str(path)
    if sys.stdin is None:
        raise typer.BadParameter("Standard input, -, is closed. Give a file, or pipe one in.")
    return sys.stdin.buffer


@dataclass(frozen=True)
class OutputOptions:
    """Where results go, and how a job on many files runs."""

    form: Annotated[
        ResultFormat,
        typer.Option(
            "--format",
            help="Output format: table, json (one line per file) or csv; "
            "events also for other programs.",
        ),
    ] = "table"
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write instead of printing: a table of all files (.parquet, .jsonl, .csv), a "
            "file of one recording by its suffix, or a folder with a file for each recording.",
        ),
    ] = None
    workers: Workers = None
    restart: Restart = False
    engine: EngineOption = Engine.local


def check_picture(path: Path, overwrite: bool) -> None:
    """Refuse a ``--plot`` that cannot be drawn or written, or that dcasenet did not write.

    Raises:
        ImportError: matplotlib is not installed (extra ``plot``).
        typer.BadParameter: It cannot be written, or dcasenet did not write it.
    """
    from dcasenet.plot import PICTURES, is_plot, new_figure

    new_figure()
    if not path.parent.is_dir() or path.suffix not in PICTURES:
        raise typer.BadParameter(
            f"--plot cannot write {path}; give a file in a folder that exists, ending in "
            f"{', '.join(PICTURES)}."
        )
    if not overwrite and os.path.lexists(path) and not is_plot(path):
        raise typer.BadParameter(
            f"--plot does not replace {path}, which it did not draw. Give another name, or "
            f"--overwrite."
        )


def parse_threshold(given: Sequence[str] | None, spec: ModelSpec) -> types.Threshold:
    """Read the values of ``--threshold``, given once or repeated for labels.

    Args:
        given: Numbers, operating points, or either with ``LABEL=`` before it.
        spec: Of the model whose events they are for.

    Raises:
        typer.BadParameter: There are two for all labels.

    Example:
        >>> from dcasenet.spec import ModelSpec
        >>> spec = ModelSpec("v3", "mine", events=("dog", "cat"))
        >>> parse_threshold(["0.4"], spec), parse_threshold(["f1", "dog=0.2"], spec)
        (0.4, {'dog': 0.2, 'cat': 'f1'})
    """
    by_label: dict[str, float | str] = {}
    for_all: list[float | str] = []
    for text in given or ():
        label, equals, value = text.rpartition("=")
        limit = _limit(value)
        if equals:
            by_label[label.strip()] = limit
        else:
            for_all.append(limit)
    if len(for_all) > 1:
        raise typer.BadParameter(
            f"--threshold was given {len(for_all)} times without a label; give LABEL=LIMIT for "
            f"single labels."
        )
    if not by_label:
        return for_all[0] if for_all else None
    return {**dict.fromkeys(spec.events, for_all[0]), **by_label} if for_all else by_label


def _limit(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


@contextmanager
def refusing_options() -> Iterator[None]:
    """Turn an error about an option's value into a usage error of the command.

    Raises:
        typer.BadParameter: A `ValueError` not caused by a recording or a checkpoint.
    """
    try:
        yield
    except DcasenetError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command's parameters that are dataclasses into one option for each field.

    Args:
        command: A function whose parameters are options of Typer, or dataclasses of them.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            group = groups[parameter.name]
            own = get_type_hints(group, include_extras=True)
            parameters += [
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=own[field.name],
                )
                for field in fields(group)
            ]
        else:
            parameters.append(
                parameter.replace(
                    annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY
                )
            )

    @functools.wraps(command)
    def run(**values: Any) -> None:
        built = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **built)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__dict__["__wrapped__"]  # whose parameters Typer would see instead
    return run


def load_model(
    name: str | None,
    stage: str | None,
    weights: Path | None,
    device: str,
    precision: Precision,
    runtime: Runtime,
) -> SoundModel | OnnxSoundModel:
    """Load the model that the options name."""
    from dcasenet.loading import load

    with refusing_options():  # no such device, or no such pair of runtime and precision
        return load(
            name,
            stage=stage,
            weights=weights,
            device=device,
            precision=precision.value,
            runtime=runtime.value,
        )
