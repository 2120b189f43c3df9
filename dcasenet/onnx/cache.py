"""Models for ONNX Runtime that `dcasenet.load` exports by itself, and keeps in the cache.

::

    <cache>/v3-onnx/<key>.<sha256 of this very file>.onnx

The key is a hash of all that decides what is in the file: the weights, the spec, the precision and
the code that exports. As for weights, a file is trusted because it hashes to its own name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dcasenet.models import fused
from dcasenet.onnx import export, graph, quantize
from dcasenet.onnx.calibration import shipped_ranges, weights_digest
from dcasenet.onnx.runtime import OnnxSoundModel, model_of
from dcasenet.weights.cache import cache_folder, is_intact, refuse_links
from dcasenet.weights.checkpoint import write_bytes
from dcasenet.weights.sources import Access, what

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel

# What is in a file follows from these.
CODE = (export, fused, graph, quantize)

logger = logging.getLogger("dcasenet")


def exported(model: SoundModel, precision: str, access: Access) -> OnnxSoundModel:
    """Give a model as it runs in ONNX Runtime: from the cache, else exported and kept there.

    Args:
        model: The model.
        precision: ``"float32"`` or ``"int8"``.
        access: Its cache folder. One that cannot be written is named in a log and done without.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        WeightsError: int8 has no ranges for these weights, or the folder in the cache is a link.
    """
    name = f"{what(model.spec)}, exported"
    key = _key(model, precision)
    folder = cache_folder(access.cache_dir) / f"{model.spec.name}-onnx"
    refuse_links(folder)
    for path in sorted(folder.glob(f"{key}.*.onnx")):
        with contextlib.suppress(OSError):
            if is_intact(path) and not path.is_symlink():
                return model_of(path, str(path))
            path.unlink()
    content = export.serialized(model, precision=precision)
    path = folder / f"{key}.{hashlib.sha256(content).hexdigest()}.onnx"
    try:
        write_bytes(path, content)
    except OSError as error:
        logger.warning("%s cannot be kept in %s: %s.", name, folder, error.strerror or error)
    return model_of(content, name)


def _key(model: SoundModel, precision: str) -> str:
    weights = weights_digest(model)
    decides = [precision, weights, json.dumps(model.spec.to_dict(), sort_keys=True)]
    decides += [Path(str(module.__file__)).read_text("utf-8") for module in CODE]
    if precision == "int8":
        decides.append(json.dumps(shipped_ranges(weights), sort_keys=True))
    return hashlib.sha256("\0".join(decides).encode()).hexdigest()[:12]
