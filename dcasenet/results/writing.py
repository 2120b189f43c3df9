"""Write results to files, atomically and always with their provenance.

Formats that allow it include the provenance (JSON, JAMS, Label Studio, WebVTT, HTML, Parquet, npz);
the others have a file beside them, ``events.csv.provenance.json`` for ``events.csv``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dcasenet.atomic import replacing
from dcasenet.errors import JobError
from dcasenet.results.provenance import Provenance

if TYPE_CHECKING:
    from dcasenet.results.values import Result

AnyResult = TypeVar("AnyResult", bound="Result")

SIDECAR = ".provenance.json"


def sidecar_path(path: Path) -> Path:
    """Return the path of the file with another file's provenance.

    Example:
        >>> sidecar_path(Path("events.csv")).name
        'events.csv.provenance.json'
    """
    return path.with_name(path.name + SIDECAR)


def write_text(
    path: str | os.PathLike[str], text: str, provenance: Provenance | None = None
) -> None:
    """Write a text file, and the provenance to a file beside it.

    Args:
        path: The file to create or replace.
        text: Its content.
        provenance: The provenance; None if the text includes it, or if it is unknown.

    Raises:
        JobError: A file that dcasenet did not write has the provenance's name.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if provenance is not None:
        check_sidecar(path)
    # File names may contain undecodable bytes, which are written as escapes.
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    if provenance is not None:
        write_provenance(path, provenance)


def check_sidecar(path: Path) -> None:
    """Refuse to replace a file that is not a provenance, since the user did not name it.

    Args:
        path: The file that the provenance belongs to.

    Raises:
        JobError: There is such a file.
    """
    place = sidecar_path(path)
    if os.path.lexists(place) and not _is_provenance(place):
        raise JobError(
            f"{place} exists, and dcasenet did not write it. The provenance of {path.name} would "
            f"be written there. Move it, or give another output."
        )


def _is_provenance(path: Path) -> bool:
    try:
        return path.is_file() and "dcasenet" in json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def write_provenance(path: Path, provenance: Provenance) -> None:
    """Write the provenance of a file beside it, with the digest of the recording.

    Raises:
        OSError: It cannot be written.
    """
    values = input_stamped(provenance).to_dict()
    with replacing(sidecar_path(path)) as draft:
        draft.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def with_provenance(values: dict[str, Any], provenance: Provenance | None) -> dict[str, Any]:
    """Return a JSON document with its provenance, including the recording's digest."""
    if provenance is None:
        return values
    return {**values, "provenance": input_stamped(provenance).to_dict()}


def stamped(result: AnyResult) -> AnyResult:
    """Return a result whose provenance has the digest of the recording's file."""
    if result.provenance is None:
        return result
    return dataclasses.replace(result, provenance=input_stamped(result.provenance))


def input_stamped(provenance: Provenance) -> Provenance:
    """Return the provenance with the digest of the recording's file, if it is a file.

    The digest is computed when a result is written, since reading the file again can take longer
    than inference. A file that has changed since inference has no digest.
    """
    if provenance.input is not None or provenance.read is None:
        return provenance
    try:
        status = Path(provenance.source).stat()
        if provenance.read != (status.st_size, status.st_mtime_ns):
            return provenance
        return dataclasses.replace(provenance, input=input_digest(Path(provenance.source)))
    except (OSError, ValueError):
        return provenance


def input_digest(path: Path) -> str:
    """Return ``"sha256:<hexadecimal digest>"`` of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
