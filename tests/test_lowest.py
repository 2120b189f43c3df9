"""The lowest versions that are tried are those that are allowed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# torch has a file of its own; the others are tools, or need what no test environment has.
ELSEWHERE = {
    "torch", "torchaudio", "ruff", "mypy", "pre-commit", "selenium", "duckdb", "nbclient",
    "ipykernel", "dcasenet",
}  # fmt: skip
DOCUMENTS = "docs"


def test_every_package_has_its_lowest_version_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    allowed: dict[str, list[str]] = {}
    for requirement in (
        *project["dependencies"],
        *(line for name, lines in extras.items() if name != DOCUMENTS for line in lines),
    ):
        name = re.split(r"[\[>=<]", requirement)[0]
        if name in ELSEWHERE:
            continue
        lowest = re.search(r">=([\d.]+)", requirement)
        assert lowest, f"{requirement} has no lowest version"
        allowed.setdefault(name, []).append(lowest.group(1))
    tried = dict(
        line.split("==")
        for line in (ROOT / ".ci" / "lowest.txt").read_text("utf-8").splitlines()
        if not line.startswith("#")
    )
    assert tried.keys() == allowed.keys(), "pyproject.toml and .ci/lowest.txt differ"
    for name, versions in allowed.items():
        # An environment with all the extras has the highest of what they require.
        lowest = max(versions, key=numbers)
        assert numbers(tried[name]) == numbers(lowest), name


def numbers(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    while parts[-1] == 0:
        parts.pop()
    return tuple(parts)
