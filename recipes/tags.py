"""AudioSet's 527 tags, as the teacher has them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class AudioSetTag(NamedTuple):
    """One class of AudioSet.

    Attributes:
        mid: Its identifier.
        name: Its display name.
    """

    mid: str
    name: str


def read_tags(path: Path) -> list[AudioSetTag]:
    """Read the table of AudioSet's classes (index, mid, display_name)."""
    with path.open(encoding="utf-8", newline="") as file:
        return [AudioSetTag(row["mid"], row["display_name"]) for row in csv.DictReader(file)]
