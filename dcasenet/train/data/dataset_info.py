"""Where published data sets come from, and what to say when part of one is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcasenet.errors import DcasenetError
from dcasenet.text import shorten_list


@dataclass(frozen=True)
class DatasetInfo:
    """A published data set.

    Attributes:
        name: What it is called.
        folders: Names of its own folder: a root that holds one of these is taken for the parent.
        layout: What its folder holds.
        source: Where it can be had.
        license: On which terms.
    """

    name: str
    folders: tuple[str, ...]
    layout: str
    source: str
    license: str

    def locate(self, root: str | os.PathLike[str]) -> Path:
        """Return the data set's folder: the root, or the folder of its name in there.

        Raises:
            DcasenetError: The root is not a folder.
        """
        folder = Path(root)
        if not folder.is_dir():
            raise DcasenetError(f"There is no folder {folder}. {self.help}")
        return next((folder / name for name in self.folders if (folder / name).is_dir()), folder)

    def demand(self, folder: Path, paths: Iterable[Path]) -> None:
        """Make sure that files are there.

        Raises:
            DcasenetError: Some are not; the first few by name.
        """
        missing = [os.path.relpath(path, folder) for path in absent(paths)]
        if missing:
            raise self.incomplete(folder, missing)

    def incomplete(self, folder: Path, missing: Sequence[str]) -> DcasenetError:
        """Return the error that something is missing."""
        noun = "file is" if len(missing) == 1 else "files are"
        return DcasenetError(
            f"{self.name}: {len(missing):,} {noun} missing from {folder}: {shorten_list(missing)}. "
            f"{self.help}"
        )

    @property
    def help(self) -> str:
        """What is expected and where it can be had."""
        return (
            f"Give the folder of {self.name} that holds {self.layout}. It can be had from "
            f"{self.source} ({self.license})."
        )


def absent(paths: Iterable[Path]) -> list[Path]:
    """Return the paths at which there is no file; each folder is listed once.

    Example:
        >>> [path.name for path in absent([Path(__file__), Path("nowhere/a.wav")])]
        ['a.wav']
    """
    held: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in held:
            try:
                with os.scandir(path.parent) as listing:
                    held[path.parent] = {entry.name for entry in listing if entry.is_file()}
            except OSError:
                held[path.parent] = set()
        if path.name not in held[path.parent]:
            missing.append(path)
    return missing
