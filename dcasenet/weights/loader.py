"""Load a front end and a network by name, or from a file, a folder or a Hugging Face repository."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from dcasenet.errors import UnknownModelError, WeightsError
from dcasenet.models.frontend import LogMel
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import ModelSpec, Task, with_measured
from dcasenet.weights import cache, checkpoint, hub, manifest, sources
from dcasenet.weights.builder import assemble
from dcasenet.weights.sources import Access

# "org/name" or "org/name@revision" (a branch, tag or commit).
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
# Prefixes of such an address in other libraries and in browsers.
PREFIXES = re.compile(r"(hf-hub:|hf://(models/)?|https://(www\.)?(huggingface\.co|hf\.co)/)")
TREE = re.compile(r"/tree/(?P<revision>[^/]+)/?$")
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")

StrPath: TypeAlias = "str | os.PathLike[str]"
ModelParts: TypeAlias = "tuple[ModelSpec, LogMel, nn.Module]"


def read_model(name: StrPath, stage: str, weights: StrPath | None, access: Access) -> ModelParts:
    """Resolve a name and read its model.

    Args:
        name: As for `dcasenet.load`.
        stage: Stage of a name in the manifest.
        weights: A file or folder to read instead.
        access: Cache folder, and whether downloading is allowed.

    Returns:
        The spec, the front end and the network, on the CPU.

    Raises:
        UnknownModelError: No model or stage has this name.
        OfflineError: A file is not available offline, and downloading is off.
        ChecksumError: A file is not the published one.
        WeightsError: A file is missing, damaged, unreachable, or does not fit its network.
    """
    # In the caller's inference mode, the weights could never be trained; on the caller's default
    # device (such as meta), the front end may have no values.
    with torch.inference_mode(mode=False), torch.device("cpu"):
        return _read(name, stage, weights, access)


def _read(name: StrPath, stage: str, weights: StrPath | None, access: Access) -> ModelParts:
    """Read from a file, the manifest, a folder or the Hub."""
    if weights is not None:
        return _from_weights(str(name), Path(weights), access)
    if isinstance(name, str) and name in manifest.ARCHITECTURES:
        return _from_manifest(name, stage, access)
    if isinstance(name, str):
        name = repository_of(name)
    text, path = os.fspath(name), Path(name).expanduser()
    if text and path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path, "v3")
    if isinstance(name, Path) or path.suffix in WEIGHTS_SUFFIXES or text.endswith(("/", os.sep)):
        raise WeightsError(
            f"There is no file or folder {path} (in {Path.cwd()}). Give a weights file, a folder "
            f"written by save_pretrained, a released name such as 'v3', or a Hugging Face "
            f"repository such as 'org/name'."
        )
    if REPOSITORY.fullmatch(text):
        return _from_folder(hub.download_repository(text, access))
    raise manifest.unknown_model(
        text, "Or give a weights file, a folder, or a repository 'org/name'."
    )


def repository_of(text: str) -> str:
    """Return a repository's address as ``"org/name"`` or ``"org/name@revision"``.

    Example:
        >>> repository_of("https://huggingface.co/org/name/tree/v2"), repository_of("hf://org/name")
        ('org/name@v2', 'org/name')
    """
    found = PREFIXES.match(text)
    if found is None:
        return text
    return TREE.sub(r"@\g<revision>", text[found.end() :]).rstrip("/")


def _from_manifest(name: str, stage: str, access: Access) -> ModelParts:
    spec = manifest.find(name, stage)
    if not spec.members:
        path = cache.obtain(spec, access)
        tensors, stored = checkpoint.read(path)
        parts = assemble(tensors, spec, f"{sources.describe(spec)}: {path}")
        return with_measured(spec, stored), *parts
    loaders = {
        task: partial(_network_of_stage, name, stage, access)
        for task, stage in spec.members.items()
    }
    return spec, LogMel(spec.frontend).eval(), ComposedNetwork(loaders)


def _network_of_stage(name: str, stage: str, access: Access) -> nn.Module:
    return _from_manifest(name, stage, access)[2]


def _from_weights(name: str, path: Path, access: Access) -> ModelParts:
    path = path.expanduser()
    if name not in manifest.ARCHITECTURES:
        raise UnknownModelError("architecture", name, manifest.ARCHITECTURES)
    parts = _from_folder(path) if path.is_dir() else _from_file(path, name)
    if parts[0].name != name:
        raise WeightsError(
            f"{path} contains a {parts[0].name}, not a {name}. Load it as "
            f"dcasenet.load({parts[0].name!r}, weights=…) or dcasenet.load({str(path)!r})."
        )
    return parts


def _from_file(path: Path, name: str) -> ModelParts:
    """Load one file; `name` is the architecture for files that do not state it."""
    tensors, spec = checkpoint.read(path)
    spec = spec or checkpoint.spec_for(tensors, name, str(path))
    return spec, *assemble(tensors, spec, f"{sources.describe(spec)}: {path}")


def _from_folder(path: Path) -> ModelParts:
    config = hub.read_config(path)
    if config is None:
        return _from_file(path / hub.WEIGHTS, "v3")
    spec = config.spec
    if spec.members:
        loaders = {task: partial(_network_of_folder, path, config, task) for task in spec.members}
        return spec, LogMel(spec.frontend).eval(), ComposedNetwork(loaders)
    weights = hub.verified(path, config, hub.WEIGHTS)
    return spec, *assemble(checkpoint.read(weights).tensors, spec, str(weights))


def _network_of_folder(path: Path, config: hub.Config, task: Task) -> nn.Module:
    weights = hub.verified(path, config, config.weights[task])
    spec = hub.member_spec(config.spec, task)
    return assemble(checkpoint.read(weights).tensors, spec, str(weights))[1]
