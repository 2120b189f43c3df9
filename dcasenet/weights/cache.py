"""Store verified, converted checkpoints in the cache, one folder each.

::

    <cache>/v3-joint-tag/64e1439bb3d1.<sha256 of this file>.safetensors
    <cache>/v3-joint-tag/best_lwlrap.pt     only if a user put it there
    <cache>/v3-joint-tag/incomplete/        temporary files of a download or conversion
    <cache>/v3-joint-tag/.lock              held by the process that writes there
    <cache>/hub/                            repositories, in the layout of huggingface_hub

A file is trusted because the hash of its content is in its name, which is checked at every load.
The first twelve digits are those of the published file that it was converted from. It gets its name
once it is complete, so that a crash never leaves a file that could be taken for weights.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcasenet.errors import ChecksumError, OfflineError, WeightsError
from dcasenet.spec import ModelSpec, WeightsFile
from dcasenet.weights.checksum import file_digest, verify
from dcasenet.weights.sources import (
    Access,
    describe,
    largest_size,
    offline_reason,
    packaged_path,
    published,
    published_name,
    urls,
)

if TYPE_CHECKING:
    from filelock import BaseFileLock

WORK, LOCK, HUB = "incomplete", ".lock", "hub"

logger = logging.getLogger("dcasenet")


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the cache folder: the argument, ``$DCASENET_HOME``, or the platform's default.

    Example:
        >>> cache_folder("/data/models").name
        'models'
    """
    chosen = cache_dir or os.environ.get("DCASENET_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dcasenet", appauthor=False))


def checkpoint_folder(spec: ModelSpec, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of one checkpoint inside the cache."""
    return cache_folder(cache_dir) / f"{spec.name}-{spec.stage}"


def is_intact(path: Path) -> bool:
    """Return whether the content of a converted file matches the digest in its name."""
    return file_digest(path) == f"sha256:{path.name.split('.')[1]}"


def obtain(spec: ModelSpec, access: Access) -> Path:
    """Return a verified safetensors file of a checkpoint, from the first source that has it.

    The sources are, in order: the package, the cache (converted, or the published file that a user
    put there), the Hugging Face Hub, GitHub. The whole file is hashed each time.

    Args:
        spec: A checkpoint of the manifest, with its `file`.
        access: Cache folder, whether downloading is allowed, and whether to show a bar.

    Returns:
        Path of the file.

    Raises:
        OfflineError: The file is not available offline, and downloading is off.
        ChecksumError: A local or downloaded file is not the published one.
        WeightsError: There is no source, the download fails, or the cache cannot be written.
    """
    file = published(spec)
    packaged = packaged_path(file)
    if packaged is not None:
        verify(packaged, file, describe(spec))
        return packaged
    folder = checkpoint_folder(spec, access.cache_dir)
    refuse_links(folder, *(folder / name for name in (LOCK, WORK, published_name(file))))
    stuck = access.offline and not (folder / published_name(file)).is_file()
    try:
        found = _intact(folder, file)
        if found is None and stuck:
            raise _stuck(spec, file, folder)
        return found or _add(spec, file, folder, access.progress)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(
            f"{describe(spec)}: the cache folder {folder} cannot be used: "
            f"{error.strerror or error}. A checkpoint needs about 120 MB while it is "
            f"converted. Give another folder in cache_dir= or $DCASENET_HOME."
        ) from error


def lock(folder: Path, timeout: float = -1.0) -> BaseFileLock:
    """Return the lock of a checkpoint's folder, usable by every user who can write there.

    Args:
        folder: The folder, which exists; its permissions determine who may write.
        timeout: Seconds to wait for it; negative for no limit.
    """
    from filelock import FileLock

    return FileLock(folder / LOCK, timeout, mode=folder.stat().st_mode & 0o666)


def refuse_links(*paths: Path) -> None:
    """Refuse links inside the cache, since another user with write permission may have made them.

    Raises:
        WeightsError: One of the paths is a link.
    """
    for path in paths:
        if path.is_symlink():
            raise WeightsError(
                f"{path} is a link, and links inside the cache folder are not followed, since "
                f"another user may have made it. Replace it by its target; "
                f"the cache folder itself may be a link."
            )


def _add(spec: ModelSpec, file: WeightsFile, folder: Path, progress: bool) -> Path:
    """Add a checkpoint to the cache, one process and thread at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        found = _intact(folder, file)
        if found is not None:  # another process has added it
            return found
        (folder / WORK).mkdir(exist_ok=True)
        try:
            converted = _convert(spec, file, folder, progress)
        except WeightsError:
            raise  # the next attempt continues with the part that was downloaded
        except OSError:
            shutil.rmtree(folder / WORK, ignore_errors=True)  # the disk may be full
            raise
        digest = file_digest(converted).partition(":")[2]
        for damaged in candidates(folder, file):
            logger.warning("%s was damaged and has been replaced.", damaged)
            damaged.unlink()
        target = folder / f"{_short(file)}.{digest}.safetensors"
        converted.replace(target)
        shutil.rmtree(folder / WORK)
        return target


def _convert(spec: ModelSpec, file: WeightsFile, folder: Path, progress: bool) -> Path:
    """Convert the published file that a user put there, or else a downloaded one."""
    from dcasenet.weights.checkpoint import convert

    source = folder / published_name(file)
    if source.is_file():
        verify(source, file, describe(spec))
    else:
        source = _download(spec, file, folder / WORK, progress)
    converted = folder / WORK / "converted"
    convert(source, converted, spec)
    return converted


def _download(spec: ModelSpec, file: WeightsFile, work: Path, progress: bool) -> Path:
    """Try every URL in turn."""
    from dcasenet.weights.download import Job, download

    path = work / published_name(file)
    failures: list[WeightsError] = []
    for url in urls(file):
        try:
            download(Job(url, path, file, describe(spec), largest_size(spec), progress))
        except WeightsError as error:
            failures.append(error)
        else:
            return path
    reasons = " ".join(map(str, failures)) or f"{describe(spec)}: the manifest has no URL."
    kind = type(failures[-1]) if failures else WeightsError
    raise kind(f"{reasons} By hand: put {path.name} at {work.parent / path.name}.") from (
        failures[-1] if failures else None
    )


def candidates(folder: Path, file: WeightsFile) -> list[Path]:
    """List the files that were converted from a published one, including damaged ones."""
    return sorted(folder.glob(f"{_short(file)}.*.safetensors"))


def _intact(folder: Path, file: WeightsFile) -> Path | None:
    """Return a converted file whose content matches the digest in its name."""
    for path in candidates(folder, file):
        # Another process may be replacing the file.
        with contextlib.suppress(FileNotFoundError):
            if is_intact(path) and not path.is_symlink():
                return path
    return None


def _short(file: WeightsFile) -> str:
    return file.digest.partition(":")[2][:12]


def _stuck(spec: ModelSpec, file: WeightsFile, folder: Path) -> WeightsError:
    """Return the error that a checkpoint is not available offline, with the way to install it."""
    name, addresses = published_name(file), urls(file)
    how = (
        f"Fetch {name} from {' or '.join(addresses) or 'a complete installation'} on another "
        f"machine and put it at {folder / name}, or run 'dcasenet download {spec.name} --stage "
        f"{spec.stage}' where there is a network."
    )
    damaged = candidates(folder, file)
    if damaged:
        return ChecksumError(
            f"{describe(spec)}: the cached file {damaged[0]} is damaged: the hash of its content "
            f"is not in its name. {how}"
        )
    return OfflineError(
        f"{describe(spec)}: {name} is not on this machine, and downloading is switched off "
        f"({offline_reason() or 'local_files_only=True'}). Looked in {folder}. {how}"
    )


OUR_FOLDER = re.compile(r"v\d+-[\w-]+")
CONVERTED = re.compile(r"[0-9a-f]{12}\.[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True)
class CachedFile:
    """A converted checkpoint in the cache.

    Attributes:
        path: Path of the file.
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
        if CONVERTED.fullmatch(path.name) and not path.is_symlink()
    ]


def is_cached(spec: ModelSpec, cache_dir: str | os.PathLike[str] | None = None) -> bool:
    """Return, without reading the weights, whether a checkpoint needs no download."""
    if spec.file is None:
        return False
    folder = checkpoint_folder(spec, cache_dir)
    by_hand = folder / published_name(spec.file)
    places = [packaged_path(spec.file), by_hand, *candidates(folder, spec.file)]
    return any(path is not None and path.is_file() for path in places)


def hub_snapshots(cache_dir: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Return the Hugging Face repositories in the cache: ``"org/name@commit"`` → folder."""
    found = {}
    for path in sorted((cache_folder(cache_dir) / HUB).glob("models--*/snapshots/*")):
        repo = path.parts[-3].removeprefix("models--").replace("--", "/")
        found[f"{repo}@{path.name}"] = path
    return found


def clear(cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Delete everything that this package put into the cache, and the files that users put there.

    Returns:
        Number of bytes freed.

    Raises:
        WeightsError: Something cannot be deleted, or is being downloaded.
    """
    from filelock import Timeout

    root, freed = cache_folder(cache_dir), 0
    try:
        # Only folders with names of this package are deleted: the path may be wrong.
        for folder in sorted(path for path in root.glob("*") if OUR_FOLDER.fullmatch(path.name)):
            if folder.is_symlink():  # its target does not belong to this package
                folder.unlink()
                continue
            if (folder / LOCK).is_symlink():
                (folder / LOCK).unlink()
            with lock(folder, timeout=0):
                # The lock is kept: another process may be waiting for it.
                freed += sum(_delete(path) for path in folder.iterdir() if path.name != LOCK)
        return freed + (_delete(root / HUB) if os.path.lexists(root / HUB) else 0)
    except Timeout as error:
        raise WeightsError(
            f"{error.lock_file} is held by another process that is loading this checkpoint. Wait "
            f"until it ends, or end it, and clear the cache again."
        ) from error
    except OSError as error:
        raise WeightsError(f"{error.filename} cannot be deleted: {error.strerror}.") from error


def _delete(path: Path) -> int:
    """Delete a file, a folder or a link; return the number of bytes freed."""
    if path.is_symlink():
        path.unlink()
        return 0
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files if not file.is_symlink())
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return size
