"""Write the ONNX files of a checkpoint that ships, so that it is of use without torch.

::

    python -m recipes.onnx_files STAGE [--data DATA]

Writes ``model.onnx`` and ``model.int8.onnx`` beside the weights. With DATA, which holds the folder
``esc50``, the activation ranges of int8 are measured anew, too, on clips of the training split.
Has to be done again whenever the checkpoint is replaced: a file that was exported from other
weights is left aside.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import onnx

from dcasenet.atomic import write_bytes
from dcasenet.loading import load
from dcasenet.onnx.cache import FILES, published_digest
from dcasenet.onnx.export import serialized
from dcasenet.onnx.runtime import SOURCE
from dcasenet.weights import manifest
from dcasenet.weights.sources import PACKAGE
from recipes import activation_ranges

log = logging.getLogger("recipes.onnx_files")  # also as a command


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, export, write."""
    command = argparse.ArgumentParser(
        prog="python -m recipes.onnx_files",
        description="Write the ONNX files of a checkpoint that ships.",
    )
    command.add_argument("stage", help="such as distilled")
    command.add_argument("--data", type=Path, help="folder of the data folders, to measure int8 on")
    command.add_argument("--clips", type=int, default=activation_ranges.CLIPS)
    command.add_argument("--output", type=Path, help="by default beside the weights")
    options = command.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    folder = PACKAGE / "data" / options.stage
    if options.data is not None:
        clips = ["--clips", str(options.clips), "--stage", options.stage]
        activation_ranges.main([str(options.data), *clips])
    model = load("v3", stage=options.stage)
    digest = published_digest(manifest.find("v3", options.stage))
    for precision, name in FILES.items():
        content = with_source(serialized(model, precision=precision), digest)
        path = (options.output or folder) / name
        write_bytes(path, content)
        log.info("Wrote %s: %.1f MB.", path, len(content) / 1e6)


def with_source(content: bytes, digest: str) -> bytes:
    """Return an exported file that names the published weights it was made from.

    Args:
        content: What `serialized` returns.
        digest: Of the weights file, as `published_digest` returns it.
    """
    proto = onnx.load_from_string(content)
    proto.metadata_props.add(key=SOURCE, value=digest)
    written: bytes = proto.SerializeToString()
    return written


if __name__ == "__main__":
    main()
