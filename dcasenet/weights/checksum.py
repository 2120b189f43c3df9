"""Verify files by their size and a hash of their content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dcasenet.errors import ChecksumError

if TYPE_CHECKING:
    from pathlib import Path

    from dcasenet.spec import WeightsFile

BLOCK = 1 << 20


def file_digest(path: Path, kind: str = "sha256") -> str:
    r"""Hash a whole file.

    Args:
        path: The file.
        kind: ``"sha256"``, or ``"git_blob_sha1"``: git's name of the file's content,
            which is the SHA-1 of ``b"blob <size>\0"`` and the content.

    Returns:
        ``"<kind>:<hexadecimal digest>"``.

    Raises:
        ValueError: `kind` is not one of these.
        OSError: The file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "hello")
        ...     _ = file.write_bytes(b"hello\n")
        ...     file_digest(file, "git_blob_sha1")
        'git_blob_sha1:ce013625030ba8dba906f756967f9e9ca394464a'
    """
    if kind == "sha256":
        state = hashlib.sha256()
    elif kind == "git_blob_sha1":
        # No protection against forged files, but the only hash that git has of the authors' files.
        state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        raise ValueError(f"No digest is named {kind!r}. Use 'sha256' or 'git_blob_sha1'.")
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(block):
            state.update(block[:count])
    return f"{kind}:{state.hexdigest()}"


def verify(path: Path, file: WeightsFile, what: str) -> None:
    """Check that a file is the published one.

    Args:
        path: The file.
        file: The published file: its digest, and its size if known.
        what: Name of the checkpoint and its source in the message.

    Raises:
        ChecksumError: Size or digest differ.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise ChecksumError(f"{what}: {path} has {size} bytes; the published file has {file.size}.")
    digest = file_digest(path, file.digest.partition(":")[0])
    if digest != file.digest:
        raise ChecksumError(
            f"{what}: {path} is not the published file. Its digest is {digest}; "
            f"expected is {file.digest}."
        )
