"""Find models for ONNX Runtime in the package or the cache, and export missing ones.

A packaged checkpoint may contain ``model.onnx`` and ``model.int8.onnx``; models that
`dcasenet.load` exports are kept in the cache::

    <cache>/v3-onnx/<key>.<sha256 of this file>.onnx

The key is a hash of the weights, the spec, the precision and the package's version. As for
weights, a file is trusted because its hash equals its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dcasenet import __version__
from dcasenet.onnx.runtime import OnnxSoundModel, model_of
from dcasenet.spec import ModelSpec
from dcasenet.weights import manifest
from dcasenet.weights.cache import cache_folder, is_intact
from dcasenet.weights.sources import PACKAGE, Access, describe

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel

# Precision → name of the file that a packaged checkpoint may contain.
FILES = {"float32": "model.onnx", "int8": "model.int8.onnx"}

logger = logging.getLogger("dcasenet")


def ready(spec: ModelSpec, precision: str, access: Access) -> OnnxSoundModel | None:
    """Return a checkpoint of the manifest from a packaged or cached file.

    Args:
        spec: The checkpoint's entry in the manifest.
        precision: ``"float32"`` or ``"int8"``.
        access: Its cache folder.

    Returns:
        The model; None if there is no file. Nothing is exported, and torch is not imported.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    shipped = PACKAGE / "data" / spec.stage / FILES[precision]
    if shipped.is_file():
        model = model_of(shipped, str(shipped), spec=spec)
        if model.source == published_digest(spec):
            return model
        logger.warning("%s was exported from other weights; it is not used.", shipped)
    return _cached(_folder(spec, access), _key(spec, precision, published_digest(spec)))


def exported(
    model: SoundModel, precision: str, access: Access, released: ModelSpec | None = None
) -> OnnxSoundModel:
    """Return a model for ONNX Runtime from the cache; export it if it is not there.

    Args:
        model: The model.
        precision: ``"float32"`` or ``"int8"``.
        access: Its cache folder. If it cannot be written, this is logged, and nothing is cached.
        released: The manifest's checkpoint that `model` is, if any, so that `ready` finds it.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        WeightsError: There are no int8 ranges for these weights.
    """
    from dcasenet.atomic import write_bytes
    from dcasenet.onnx import export

    name = f"{describe(model.spec)}, exported"
    folder = _folder(model.spec, access)
    digest = published_digest(released) if released else model.weights_digest
    # From the manifest's spec, as in `ready`: the file of the weights also has curves.
    key = _key(released or model.spec, precision, digest)
    found = _cached(folder, key)
    if found is not None:
        return found
    content = export.serialized(model, precision=precision)
    path = folder / f"{key}.{hashlib.sha256(content).hexdigest()}.onnx"
    try:
        write_bytes(path, content)
    except OSError as error:
        logger.warning("%s cannot be cached in %s: %s.", name, folder, error.strerror or error)
    return model_of(content, name)


def published_digest(spec: ModelSpec) -> str:
    """Return the digest of a checkpoint's published file, or those of its members' files, as text.

    Example:
        >>> published_digest(manifest.find("v3", "joint"))[:12]
        'git_blob_sha'
    """
    return " ".join(_digests(spec))


def _digests(spec: ModelSpec) -> Iterator[str]:
    if spec.file is not None:
        yield spec.file.digest
    for task, stage in sorted(spec.members.items()):
        yield f"{task}={published_digest(manifest.find(spec.name, stage))}"


def _folder(spec: ModelSpec, access: Access) -> Path:
    return cache_folder(access.cache_dir) / f"{spec.name}-onnx"


def _cached(folder: Path, key: str) -> OnnxSoundModel | None:
    for path in sorted(folder.glob(f"{key}.*.onnx")):
        with contextlib.suppress(OSError):
            if is_intact(path):
                return model_of(path, str(path))
            path.unlink()
    return None


def _key(spec: ModelSpec, precision: str, weights: str) -> str:
    decides = [__version__, precision, weights, json.dumps(spec.to_dict(), sort_keys=True)]
    return hashlib.sha256("\0".join(decides).encode()).hexdigest()[:12]
