"""The recording that is installed with the package."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).parent / "data" / "rooster.ogg"


def example() -> Path:
    """Return the path of a recording that is installed with the package.

    Five seconds of a rooster that crows outside, in the public domain (see ``NOTICE``). No shipped
    checkpoint was trained on it.

    Example:
        >>> import dcasenet
        >>> dcasenet.example().name
        'rooster.ogg'
    """
    return EXAMPLE
