"""Files that are there as a whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its name when the block ends well.

    What stood at `path` before stays as it was until then, and for good if the block raises or
    the process is killed. A device or a pipe is written to as it is.

    Args:
        path: The file to make or replace; its folder must exist.

    Raises:
        OSError: The folder does not exist, cannot be written to, or its disk is full.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     with replacing(file) as draft:
        ...         _ = draft.write_text("all of it")
        ...     file.read_text(), [entry.name for entry in Path(folder).iterdir()]
        ('all of it', ['a.txt'])
    """
    if path.exists() and not path.is_file():
        yield path
        return
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name[:100]}.{writer}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # a killed process's, or a link that somebody planted
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file through `replacing`; folders that are missing are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, draft.open("xb") as stream:
        stream.write(content)
