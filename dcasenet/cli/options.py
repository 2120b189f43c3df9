"""Options that commands share, and the model that they name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dcasenet.cli.output import Format
from dcasenet.errors import DcasenetError

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel


class Level(StrEnum):
    """What an embedding stands for."""

    clip = "clip"
    frame = "frame"


class Precision(StrEnum):
    """What a model computes in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


class Runtime(StrEnum):
    """What a model runs in."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"


class Engine(StrEnum):
    """Where a job runs."""

    local = "local"
    ray = "ray"


Files: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Recordings: WAV, FLAC, Ogg or MP3.")
]
Paths: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Recordings; with --output, folders of them, too."),
]
Model: TypeAlias = Annotated[
    str, typer.Option("--model", help="Architecture, folder, file or Hub repository.")
]
Stage: TypeAlias = Annotated[str, typer.Option(help="Which training; see 'dcasenet models'.")]
Weights: TypeAlias = Annotated[
    Path | None, typer.Option(help="A file of weights, instead of a stage.")
]
Device: TypeAlias = Annotated[str, typer.Option(help="Where to run, such as cpu or cuda.")]
PrecisionOption: TypeAlias = Annotated[
    Precision, typer.Option("--precision", help="What the model computes in.")
]
RuntimeOption: TypeAlias = Annotated[
    Runtime,
    typer.Option(
        "--runtime", help="What the model runs in; auto: onnx where a file is there, else torch."
    ),
]
Threshold: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Events are above it; by default the checkpoint's own."),
]
Top: TypeAlias = Annotated[int, typer.Option(min=1, help="How many tags to show.")]
FormatOption: TypeAlias = Annotated[
    Format, typer.Option("--format", help="table, json (a line a file) or csv.")
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that read files (with ray: actors) for --output."),
]
Restart: TypeAlias = Annotated[
    bool, typer.Option("--restart", help="Write --output anew, whatever is there.")
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that dcasenet did not write, too.")
]
EngineOption: TypeAlias = Annotated[
    Engine, typer.Option("--engine", help="Where to run for --output: here, or on Ray.")
]


def load_model(
    name: str, stage: str, weights: Path | None, device: str, precision: Precision, runtime: Runtime
) -> SoundModel | OnnxSoundModel:
    """Load the model that the options name."""
    from dcasenet.loading import load

    try:
        return load(
            name,
            stage=stage,
            weights=weights,
            device=device,
            precision=precision.value,
            runtime=runtime.value,
        )
    except DcasenetError:
        raise
    except ValueError as error:  # no such device, or no such pair of runtime and precision
        raise typer.BadParameter(str(error)) from error
