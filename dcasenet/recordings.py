"""The recording that is installed with the package."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).parent / "data" / "rooster.ogg"


def example() -> Path:
    """Return the path of a recording that is installed with the package.

    It is 5 s long: a rooster crows outside, from 1.3 to 3.2 s. Its author and license are in
    ``NOTICE``.

    Example:
        >>> import dcasenet
        >>> dcasenet.example().name
        'rooster.ogg'
    """
    return EXAMPLE
