"""The provenance of a result: everything needed to reproduce it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dcasenet.errors import DcasenetError

FORMAT = 1


@dataclass(frozen=True)
class Provenance:
    """How a result was computed: package, weights, options, and recording.

    Attributes:
        version: Version of this package.
        model: Name and stage of the checkpoint, such as ``"v3 open"``.
        weights: ``"sha256:…"`` of the weights, whatever file they were loaded from.
        runtime: ``"torch"`` or ``"onnx"``.
        precision: Precision of the computation.
        verb: Name of the method, such as ``"detect_events"``.
        options: Its options, with the threshold of each event.
        context: Task → window and hop in seconds, and how windows were pooled.
        source: The recording as it was given: its path, or for example ``"<array>"``.
        input: ``"sha256:…"`` of the recording's file; None if it was not a file, or until the
            result is written.
        read: Size in bytes and modification time in nanoseconds of the recording's file when it
            was read; None if it was not a file. This field is not written.
    """

    version: str
    model: str
    weights: str
    runtime: str
    precision: str
    verb: str
    options: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    input: str | None = None
    read: tuple[int, int] | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the provenance as plain JSON values, as in files."""
        values = dataclasses.asdict(self)
        del values["read"]
        return {"dcasenet": FORMAT, **plain_numbers(values)}

    @classmethod
    def from_dict(cls, values: object) -> Provenance:
        """Return a provenance from the values that `to_dict` returned.

        Raises:
            DcasenetError: The values are not a provenance, or a later version wrote them.

        Example:
            >>> made = Provenance("0.2.0", "v3 open", "sha256:0", "torch", "float32", "tag")
            >>> Provenance.from_dict(made.to_dict()) == made
            True
        """
        if not isinstance(values, Mapping) or "dcasenet" not in values:
            raise DcasenetError("This is not a provenance that dcasenet wrote.")
        if values["dcasenet"] != FORMAT:
            raise DcasenetError(
                f"The provenance has format {values['dcasenet']!r}, and this version of dcasenet "
                f"reads format {FORMAT}. Type: pip install --upgrade dcasenet"
            )
        known = {f.name for f in dataclasses.fields(cls)} - {"read"}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except TypeError as error:
            raise DcasenetError(f"The provenance is incomplete: {error}.") from error


def plain_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with Python numbers instead of NumPy's, which JSON cannot represent.

    Example:
        >>> plain_numbers({"top": np.int64(5), "threshold": {"dog": np.float64(0.5)}})
        {'top': 5, 'threshold': {'dog': 0.5}}
    """
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            plain[name] = plain_numbers(value)
        else:
            plain[name] = value.item() if isinstance(value, np.generic) else value
    return plain
