"""Read the spec in a safetensors file, without torch and the safetensors library.

A safetensors file begins with the length of its header, 8 bytes, little-endian; the header is a
JSON object, whose ``__metadata__`` maps strings to strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dcasenet.errors import WeightsError
from dcasenet.spec import ModelSpec, with_measured
from dcasenet.weights.sources import packaged_path

# The longest header that the safetensors library accepts.
LONGEST_HEADER = 100_000_000


def read_spec(path: Path) -> ModelSpec | None:
    """Read the spec in a safetensors file.

    Args:
        path: The file.

    Returns:
        The spec; None for a file without one.

    Raises:
        WeightsError: The file is not a safetensors file, or its spec is damaged.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(LONGEST_HEADER, path.stat().st_size - 8):
                raise ValueError("it ends within its header")
            header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a usable safetensors file: {error}.") from error
    return spec_of_metadata(header.get("__metadata__"), path)


def spec_of_metadata(metadata: Mapping[str, str] | None, path: Path) -> ModelSpec | None:
    """Return the spec in a file's metadata; None if there is none."""
    try:
        text = (metadata or {}).get("spec")
        if text is None:
            return None
        return ModelSpec.from_dict(json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError, WeightsError) as error:
        raise WeightsError(f"{path} has a damaged spec in its metadata: {error}") from error


def measured(spec: ModelSpec) -> ModelSpec:
    """Return a manifest's spec with the curves and statistics of the packaged file.

    Args:
        spec: The spec in the manifest. If its file is not in the package, it is returned unchanged.

    Raises:
        WeightsError: The packaged file is damaged.
    """
    path = packaged_path(spec.file) if spec.file else None
    return spec if path is None else with_measured(spec, read_spec(path))
