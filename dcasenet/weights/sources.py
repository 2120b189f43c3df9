"""List the sources of a checkpoint's file: the package, the Hugging Face Hub, GitHub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from dcasenet.errors import WeightsError
from dcasenet.spec import ModelSpec, WeightsFile
from dcasenet.types import check_flags

PACKAGE = Path(__file__).parents[1]
GITHUB = "https://raw.githubusercontent.com"
HUGGING_FACE = "https://huggingface.co"
# Size in bytes of an architecture's float32 parameters at width 1; see `expected_size`.
PARAMETERS = {"v1": 36_606_704, "v2": 37_406_968, "v3": 55_568_680}
OFFLINE_VARIABLES = ("DCASENET_OFFLINE", "HF_HUB_OFFLINE")


@dataclass(frozen=True)
class Access:
    """How files are found and downloaded.

    Attributes:
        cache_dir: Cache folder, instead of ``$DCASENET_HOME`` and the platform's default.
        offline: Whether to raise an error instead of downloading.
        progress: Whether to show a bar while downloading, on a terminal.
        token: Access token of the Hugging Face Hub; by default the one that ``hf auth login``
            stored.
        again: Whether to download repositories again even if they are in the cache.
    """

    cache_dir: str | os.PathLike[str] | None = None
    offline: bool = False
    progress: bool = True
    token: str | bool | None = None
    again: bool = False

    def __post_init__(self) -> None:
        check_flags(progress=self.progress, force_download=self.again)


def is_offline(local_files_only: bool = False) -> bool:
    """Return whether downloading is off: the argument, ``DCASENET_OFFLINE`` or ``HF_HUB_OFFLINE``.

    Example:
        >>> is_offline(local_files_only=True)
        True
    """
    return offline_reason(local_files_only) is not None


def offline_reason(local_files_only: bool = False) -> str | None:
    """Return what disabled downloading; None if nothing did.

    Raises:
        ValueError: The argument is neither True nor False.
    """
    check_flags(local_files_only=local_files_only)
    if local_files_only:
        return "local_files_only=True"
    on = ("1", "true", "yes", "on")
    for name in OFFLINE_VARIABLES:
        if os.environ.get(name, "").strip().lower() in on:
            return f"{name}={os.environ[name]}"
    return None


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an exported ONNX model, by its suffix.

    Example:
        >>> is_exported("mine.onnx"), is_exported("mine.safetensors")
        (True, False)
    """
    return PurePath(path).suffix.lower() == ".onnx"


def refuse_exported(path: str | os.PathLike[str]) -> None:
    """Refuse an exported model where a network in torch is needed.

    Raises:
        WeightsError: The path is an exported model.
    """
    if is_exported(path):
        raise WeightsError(
            f"{os.fspath(path)} is an exported ONNX file, which does not run in torch. Load it "
            f"with runtime='onnx' (--runtime onnx); for what needs torch, use the model that it "
            f"was exported from."
        )


def describe(spec: ModelSpec) -> str:
    """Return the name of a checkpoint in messages."""
    return f"{spec.name}, stage {spec.stage}"


def published(spec: ModelSpec) -> WeightsFile:
    """Return the published file of a checkpoint.

    Raises:
        WeightsError: It is composed of other checkpoints, or the manifest has no file.
    """
    if spec.file is None:
        raise WeightsError(f"{describe(spec)} has no weights file of its own.")
    return spec.file


def packaged_path(file: WeightsFile) -> Path | None:
    """Return the path of a file in the package; None if it is not packaged."""
    path = PACKAGE / file.package if file.package else None
    return path if path is not None and path.is_file() else None


def published_name(file: WeightsFile) -> str:
    """Return the name under which a file was published, such as ``best_lwlrap.pt``."""
    return PurePosixPath(file.github or file.hub or file.package or "model.safetensors").name


def urls(file: WeightsFile) -> list[str]:
    """Return the URLs of a file in the order to try: the Hub, then GitHub.

    Example:
        >>> urls(WeightsFile("sha256:0", github="owner/repository/commit/file.pt"))
        ['https://raw.githubusercontent.com/owner/repository/commit/file.pt']
    """
    found = []
    if file.hub:
        repository, _, place = file.hub.partition("@")
        revision, _, path = place.partition("/")
        endpoint = os.environ.get("HF_ENDPOINT", HUGGING_FACE).rstrip("/")
        found.append(f"{endpoint}/{repository}/resolve/{revision}/{path}")
    if file.github:
        base = os.environ.get("DCASENET_GITHUB_BASE", GITHUB).rstrip("/")
        found.append(f"{base}/{file.github}")
    return found


def expected_size(spec: ModelSpec) -> int:
    """Return the approximate size of a checkpoint's file: that of its float32 parameters, in bytes.

    It grows with the square of the width, more slowly for narrow networks.

    Example:
        >>> expected_size(ModelSpec("v3", "joint-tag")) // 1_000_000
        55
    """
    known = PARAMETERS.get(spec.name, max(PARAMETERS.values()))
    return int(known * max(spec.width, spec.width**2))


def largest_size(spec: ModelSpec) -> int:
    """Return the most bytes that a checkpoint's file may have if its size is not known.

    This is twice its parameters and one mebibyte: enough for any labels and names, but a limit for
    a server that never stops.

    Example:
        >>> largest_size(ModelSpec("v3", "joint-tag")) // 1_000_000
        112
    """
    return 2 * expected_size(spec) + (1 << 20)
