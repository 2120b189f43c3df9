"""Activation ranges, measured on recordings and valid for the weights they were measured with.

Those of a checkpoint that ships inside the package lie beside it, so that it becomes int8 without
any recording at hand; ``python -m recipes.activation_ranges`` measures them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcasenet.atomic import write_bytes
from dcasenet.audio.preprocess import prepare, read_each
from dcasenet.errors import WeightsError
from dcasenet.inference.windowing import grid_of
from dcasenet.onnx.quantize import Ranges, measure
from dcasenet.onnx.runtime import long_enough
from dcasenet.results import Floats
from dcasenet.types import Audio
from dcasenet.weights.sources import PACKAGE, describe

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel

NAME = "activation_ranges.json"
COMMAND = "python -m recipes.activation_ranges DATA --stage STAGE"


def ranges_for(model: SoundModel, proto: Any, calibrate: Sequence[Audio] | None) -> Ranges:
    """Return the activation ranges of a model: measured now, or those that ship with it.

    Args:
        model: The model.
        proto: Its float32 graph.
        calibrate: Recordings to measure with, or None.

    Raises:
        AudioError: A recording cannot be used.
        ValueError: `calibrate` is empty.
        WeightsError: There are no recordings, and no ranges ship for these weights.
    """
    if calibrate is not None:
        return measure_on(model, proto, calibrate)
    digest = model.weights_digest
    found = shipped_ranges(digest)
    if found is not None:
        return found
    shipped = PACKAGE / "data" / model.spec.stage / NAME
    stale = ""
    if shipped.is_file():
        stale = (
            f" {shipped} was measured with other weights, not with these ({digest[:19]}…). If they "
            f"are the checkpoint that ships now, type: {COMMAND}"
        )
    raise WeightsError(
        f"{describe(model.spec)} has no activation ranges, which int8 needs.{stale} Measure them "
        f"on about a hundred recordings of its kind: dcasenet export FILE --precision int8 "
        f"--calibrate DIR, or dcasenet.onnx.export.to_onnx(model, path, precision='int8', "
        f"calibrate=[...]); then dcasenet.onnx.load reads the file."
    )


def shipped_ranges(digest: str) -> Ranges | None:
    """Return the ranges that ship with the weights of a digest, None if none do."""
    for path in sorted(PACKAGE.glob(f"data/*/{NAME}")):
        content = json.loads(path.read_text("utf-8"))
        if content["weights"] == digest:
            return {key: (tuple(a), tuple(b)) for key, (a, b) in content["ranges"].items()}
    return None


def measure_on(model: SoundModel, proto: Any, recordings: Sequence[Audio]) -> Ranges:
    """Measure the activation ranges of a model on recordings, of each the first 30 s at most.

    Args:
        model: The model.
        proto: Its float32 graph.
        recordings: Recordings to run the model on.

    Raises:
        AudioError: A recording cannot be used.
        ValueError: No recording was given.
    """
    if not recordings:
        raise ValueError(
            "There is no recording to calibrate with; give one or more, best a hundred."
        )
    return measure(proto, _waveforms(model, recordings), len(recordings))


def write_ranges(path: Path, model: SoundModel, ranges: Ranges, protocol: str) -> None:
    """Write measured ranges in the form of the packaged checkpoints.

    Args:
        path: The file to make or replace.
        model: The model that they were measured on.
        ranges: As `measure` gives them.
        protocol: Description of the recordings.
    """
    rounded = {
        key: [[float(f"{value:.6g}") for value in pair] for pair in pairs]
        for key, pairs in sorted(ranges.items())
    }
    content = {"weights": model.weights_digest, "protocol": protocol, "ranges": rounded}
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def _waveforms(model: SoundModel, recordings: Sequence[Audio]) -> Iterator[Floats]:
    """Yield each recording as the model takes it."""
    for recording in read_each(recordings, None):
        audio = prepare(recording, model.spec)
        waveform = audio.waveforms[:, : grid_of(model.spec, "tag").size]
        yield long_enough(waveform, model.spec)
