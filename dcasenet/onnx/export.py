"""Export a model to one ONNX file, with its front end and its specification.

`dcasenet.onnx.load` reads the file without torch; any other ONNX runtime can run its graph.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dcasenet.atomic import write_bytes
from dcasenet.errors import WeightsError
from dcasenet.inference.postprocess import require
from dcasenet.onnx.calibration import ranges_for
from dcasenet.onnx.graph import Graph
from dcasenet.onnx.graph_passes import without_idle_casts
from dcasenet.onnx.quantize import quantized
from dcasenet.onnx.runtime import PRECISION, SPEC, WAVEFORM, WEIGHTS
from dcasenet.spec import TASKS, Task
from dcasenet.types import Audio, check_flags
from dcasenet.weights.hub import refusal

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel

# The first opset with reflection padding for any length; runtimes have supported it since 2022.
OPSET = 17
# Shape (batch, samples) that the graph is traced with; it accepts any other.
TRACED = (2, 48_000)
# Precisions of the convolutions.
PRECISIONS = ("float32", "int8")


def to_onnx(
    model: SoundModel,
    path: str | os.PathLike[str],
    tasks: Sequence[Task] | None = None,
    *,
    precision: str = "float32",
    calibrate: Sequence[Audio] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model to an ONNX file with the front end, the network and the specification.

    The graph (opset 17) has the input ``waveform``, (batch, samples) at the spec's rate, for any
    batch and any length of at least 1,026 samples, and the outputs ``scene``, ``tag``, ``event``
    (logits) and ``embedding`` as in `Outputs`. A model with one network per task has an embedding
    of each, such as ``tag_embedding``. The metadata has the spec as JSON, under ``dcasenet``, the
    digest of the weights and the precision.

    Args:
        model: The model to export.
        path: The file to write; one that this function wrote before is replaced.
        tasks: Tasks whose logits are outputs; by default all of the model. With ``("scene",)``
            alone, the GRUs of v2 and v3 are omitted, and so is the embedding, unless the model
            has statistics of what is familiar, which need it.
        precision: ``"float32"``, or ``"int8"`` for convolutions in 8 bits: a third of the size
            and faster, several times as fast on processors with VNNI.
        calibrate: Recordings on which the ranges of int8 are measured, similar to those that the
            model will be used on; about a hundred are enough, of which at most 30 s each are used.
            The stages ``distilled`` and ``open`` need none: their ranges are in the package.
        overwrite: Whether to replace any other file of this name as well.

    Returns:
        The path.

    Raises:
        AudioError: A recording to calibrate with cannot be used.
        ImportError: The package onnx, or for int8 onnxruntime, is not installed.
        TaskNotAvailableError: The model does not answer a task.
        ValueError: `tasks` is empty or has an unknown task, the precision is not known, or
            `calibrate` is given for float32.
        WeightsError: An existing file was not written by this function, the file cannot be
            written, or there are no int8 ranges for these weights.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet
        >>> model = dcasenet.load()
        >>> with TemporaryDirectory() as folder:
        ...     to_onnx(model, folder + "/scenes.onnx", tasks=("scene",)).name
        'scenes.onnx'
    """
    path = Path(path)
    check_flags(overwrite=overwrite)
    if not overwrite and os.path.lexists(path) and not _is_exported(path):
        raise refusal(path)
    content = serialized(model, _checked(model, tasks), precision=precision, calibrate=calibrate)
    try:
        write_bytes(path, content)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def _is_exported(path: Path) -> bool:
    """Return whether a file was written by `to_onnx`."""
    onnx = _onnx()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    # Larger files cannot be parsed as a whole, and `to_onnx` does not write them.
    if not path.is_file() or path.stat().st_size >= 1 << 31:
        return False
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        return False
    return any(entry.key == SPEC for entry in proto.metadata_props)


def serialized(
    model: SoundModel,
    tasks: Sequence[Task] | None = None,
    *,
    precision: str = "float32",
    calibrate: Sequence[Audio] | None = None,
) -> bytes:
    """Return the content of the file that `to_onnx` writes; the model has to have the tasks."""
    wanted = model.spec.tasks if tasks is None else tuple(task for task in TASKS if task in tasks)
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision={precision!r} cannot be exported; give one of {', '.join(PRECISIONS)}."
        )
    if precision == "float32" and calibrate is not None:
        raise ValueError("Only int8 is calibrated. Give precision='int8', or leave calibrate out.")
    onnx = _onnx()
    proto = traced(model, wanted)
    if precision == "int8":
        ranges = ranges_for(model, proto, calibrate)
        proto = quantized(proto, ranges)
    spec = dataclasses.replace(model.spec, tasks=wanted)
    described = {
        SPEC: json.dumps(spec.to_dict(), ensure_ascii=False),
        WEIGHTS: model.weights_digest,
        PRECISION: precision,
    }
    onnx.helper.set_model_props(proto, described)
    content: bytes = proto.SerializeToString()
    return content


def traced(model: SoundModel, tasks: tuple[Task, ...]) -> Any:
    """Trace a model into an ONNX graph of float32.

    Raises:
        ImportError: The package onnx is not installed.
    """
    onnx = _onnx()
    graph = Graph(model, tasks).eval()
    waveform = torch.zeros(TRACED, device=model.device)
    with torch.no_grad():
        graph(waveform)  # sets the names of the outputs
    written = io.BytesIO()
    axes: dict[str, dict[int, str]] = {
        name: {0: "batch", 1: "steps"} if name not in ("scene", "tag") else {0: "batch"}
        for name in graph.names
    }
    with warnings.catch_warnings():
        # Only this exporter keeps a GRU as one operation for any length. torch warns that it is
        # deprecated, and that Python numbers become constants, as is intended for the settings.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (waveform,),
            written,  # type: ignore[arg-type]  # file objects are accepted
            dynamo=False,
            do_constant_folding=False,  # would store the kernels; runtimes fold them on loading
            opset_version=OPSET,
            input_names=[WAVEFORM],
            output_names=graph.names,
            dynamic_axes={WAVEFORM: {0: "batch", 1: "samples"}, **axes},
        )
    return without_idle_casts(onnx.load_from_string(written.getvalue()))


def _checked(model: SoundModel, tasks: Sequence[Task] | None) -> Sequence[Task] | None:
    """Refuse tasks that cannot be exported."""
    if tasks is None:
        return None
    if isinstance(tasks, str) or not tasks or not set(tasks) <= set(TASKS):
        raise ValueError(f"tasks={tasks!r} cannot be exported; give some of {TASKS}, or None.")
    for task in tasks:
        require(model.spec, task)
    return tasks


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "Exporting needs the package onnx. Type: pip install 'dcasenet[onnx]'"
        ) from error
    return onnx
