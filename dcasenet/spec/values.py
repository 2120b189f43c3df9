"""What a value of a stranger's description may be: numbers, texts, arrays in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence

# Most characters of a name, a label or a figure's name; and of a text for people.
LONGEST_NAME, LONGEST_TEXT = 200, 100_000


def is_number(
    value: object, lowest: float, highest: float, kind: type | tuple[type, ...] = (int, float)
) -> bool:
    """Return whether a value is a number of a kind, in a range."""
    # True and False are integers to Python, and to nobody else.
    return (
        isinstance(value, kind) and not isinstance(value, bool) and lowest <= value <= highest  # type: ignore[operator]
    )


def is_rising(values: Sequence[float], lowest: float, highest: float) -> bool:
    """Return whether values are numbers in a range, at least one, and none less than the last."""
    are_numbers = all(is_number(value, lowest, highest) for value in values)
    return are_numbers and len(values) > 0 and list(values) == sorted(values)


def is_base64(value: object, n_bytes: int) -> bool:
    """Return whether a value is so many bytes in base64."""
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) == n_bytes
    except ValueError:
        return False


def is_text(value: object, longest: int) -> bool:
    """Return whether a value is a text of at most so many characters that a file can hold."""
    if not isinstance(value, str) or len(value) > longest:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character, which no file can hold
        return False
    return True


def is_name(value: object) -> bool:
    """Return whether a value can be a name or a label."""
    return is_text(value, LONGEST_NAME) and value != ""
