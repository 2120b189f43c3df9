"""Measure activation ranges on recordings; they are valid only for the weights used.

The ranges of a packaged checkpoint are in a file beside it, so that it can be quantized without
recordings; ``python -m recipes.activation_ranges`` measures them.
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
    """Return the activation ranges of a model: measured on recordings, or the packaged ones.

    Args:
        model: The model.
        proto: Its float32 graph.
        calibrate: Recordings to measure on, or None for the packaged ranges.

    Raises:
        AudioError: A recording cannot be used.
        ValueError: `calibrate` is empty.
        WeightsError: No recordings are given, and the package has no ranges for these weights.
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
            f"are those of the packaged checkpoint, type: {COMMAND}"
        )
    raise WeightsError(
        f"{describe(model.spec)} has no activation ranges, which int8 needs.{stale} Measure them "
        f"on about a hundred recordings of its kind: dcasenet export FILE --precision int8 "
        f"--calibrate DIR, or dcasenet.onnx.export.to_onnx(model, path, precision='int8', "
        f"calibrate=[...]); then dcasenet.onnx.load reads the file."
    )


def shipped_ranges(digest: str) -> Ranges | None:
    """Return the packaged ranges for the weights of a digest; None if there are none."""
    for path in sorted(PACKAGE.glob(f"data/*/{NAME}")):
        content = json.loads(path.read_text("utf-8"))
        if content["weights"] == digest:
            return {key: (tuple(a), tuple(b)) for key, (a, b) in content["ranges"].items()}
    return None


def measure_on(model: SoundModel, proto: Any, recordings: Sequence[Audio]) -> Ranges:
    """Measure the activation ranges of a model on the first 30 s of each recording.

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
            "There is no recording to calibrate with. Give at least one; about a hundred are best."
        )
    return measure(proto, _waveforms(model, recordings), len(recordings))


def write_ranges(path: Path, model: SoundModel, ranges: Ranges, protocol: str) -> None:
    """Write measured ranges in the format of the packaged checkpoints.

    Args:
        path: The file to write.
        model: The model that they were measured on.
        ranges: The result of `measure`.
        protocol: Description of the recordings.
    """
    rounded = {
        key: [[float(f"{value:.6g}") for value in pair] for pair in pairs]
        for key, pairs in sorted(ranges.items())
    }
    content = {"weights": model.weights_digest, "protocol": protocol, "ranges": rounded}
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def _waveforms(model: SoundModel, recordings: Sequence[Audio]) -> Iterator[Floats]:
    """Yield the waveforms of each recording as the model reads them."""
    longest = grid_of(model.spec, "tag").size
    for recording in read_each(recordings, None):
        audio = prepare(recording, model.spec)
        yield long_enough(audio.waveforms[:, :longest], model.spec)
