"""What is in the cache: listed, and cleared away."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from dcasenet.errors import WeightsError
from dcasenet.spec import ModelSpec
from dcasenet.weights.cache import HUB, LOCK, cache_folder, candidates, checkpoint_folder
from dcasenet.weights.sources import packaged_path, published_name

OUR_FOLDER = re.compile(r"v\d+-[\w-]+")
CONVERTED = re.compile(r"[0-9a-f]{12}\.[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True)
class CachedFile:
    """A converted checkpoint in the cache.

    Attributes:
        path: Where it is.
        size: Its size in bytes.
        checkpoint: Name and stage, such as ``"v3-joint-tag"``.
    """

    path: Path
    size: int
    checkpoint: str


def cached_files(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedFile]:
    """List the converted checkpoints of the cache, without reading them.

    Example:
        >>> cached_files("/no/such/folder")
        []
    """
    return [
        CachedFile(path, path.stat().st_size, path.parent.name)
        for path in sorted(cache_folder(cache_dir).glob("*/*.safetensors"))
        if CONVERTED.fullmatch(path.name)
    ]


def is_cached(spec: ModelSpec, cache_dir: str | os.PathLike[str] | None = None) -> bool:
    """Tell, without reading the weights, whether a checkpoint needs no download."""
    if spec.file is None:
        return False
    folder = checkpoint_folder(spec, cache_dir)
    by_hand = folder / published_name(spec.file)
    places = [packaged_path(spec.file), by_hand, *candidates(folder, spec.file)]
    return any(path is not None and path.is_file() for path in places)


def hub_snapshots(cache_dir: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """List the Hugging Face repositories of the cache: ``"org/name@commit"`` → folder."""
    found = {}
    for path in sorted((cache_folder(cache_dir) / HUB).glob("models--*/snapshots/*")):
        repo = path.parts[-3].removeprefix("models--").replace("--", "/")
        found[f"{repo}@{path.name}"] = path
    return found


def clear(cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Delete everything that this package put into the cache, and the files put there by hand.

    Returns:
        How many bytes that frees.

    Raises:
        WeightsError: Something cannot be deleted, or is being downloaded at this moment.
    """
    from filelock import FileLock, Timeout

    root, freed = cache_folder(cache_dir), 0
    try:
        # Only what is recognisably ours goes: the folder may be somebody's home by mistake.
        for folder in sorted(path for path in root.glob("*") if OUR_FOLDER.fullmatch(path.name)):
            with FileLock(folder / LOCK, timeout=0):
                # The lock stays: a process that waits for it must not wait for a deleted file.
                freed += sum(_delete(path) for path in folder.iterdir() if path.name != LOCK)
        return freed + (_delete(root / HUB) if (root / HUB).is_dir() else 0)
    except Timeout as error:
        raise WeightsError(
            f"{error.lock_file} is held by another process that is loading this checkpoint. Wait "
            f"for it, or end it, and clear the cache again."
        ) from error
    except OSError as error:
        raise WeightsError(f"{error.filename} cannot be deleted: {error.strerror}.") from error


def _delete(path: Path) -> int:
    """Delete a file or folder and say how many bytes that frees."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files if not file.is_symlink())
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return size
