"""Read, check and write weights files.

A weights file of this package is a safetensors file whose metadata has the complete `ModelSpec` as
JSON under ``spec``. Its tensors are ``network.<name in the state dict>`` and, if the front end
normalizes with stored statistics, ``frontend.mean`` and ``frontend.deviation``. PyTorch files are
read as plain state dicts only, never as pickles that could run code.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dcasenet.atomic import write_bytes
from dcasenet.errors import WeightsError
from dcasenet.models.blocks import BACKBONE_CHANNELS
from dcasenet.spec import ModelSpec, WeightsFile
from dcasenet.text import shorten_list
from dcasenet.weights.builder import FRONTEND, NETWORK, assemble
from dcasenet.weights.checksum import file_digest
from dcasenet.weights.key_map import is_released_layout, rename
from dcasenet.weights.manifest import released_spec, with_digest
from dcasenet.weights.metadata import spec_of_metadata
from dcasenet.weights.sources import refuse_exported

FIRST_WEIGHT = "network.trunk.0.conv1.weight"
# Errors of torch.load for files that are not state dicts.
NOT_A_STATE_DICT = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)


class Checkpoint(NamedTuple):
    """A weights file as it was read, not yet checked against a network.

    Attributes:
        tensors: Name in this package's files → tensor; floating-point tensors are float32.
        spec: The spec in the file; None for a plain state dict.
    """

    tensors: dict[str, Tensor]
    spec: ModelSpec | None


def read(path: Path) -> Checkpoint:
    """Read a weights file: safetensors (memory-mapped), or a PyTorch state dict.

    Args:
        path: The file. A state dict may have the authors' names or those of this package's
            networks.

    Returns:
        Its tensors and spec.

    Raises:
        WeightsError: The file is missing, damaged, an exported ONNX file, or not a flat mapping
            of names to tensors.
    """
    refuse_exported(path)
    try:
        if is_safetensors(path):
            return _read_safetensors(path)
        return Checkpoint(_read_state_dict(path), spec=None)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error


def is_safetensors(path: Path) -> bool:
    """Return whether a file is safetensors, by its length field and JSON object, or its suffix."""
    with path.open("rb") as stream:
        return stream.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def spec_for(tensors: Mapping[str, Tensor], name: str, where: str) -> ModelSpec:
    """Describe a plain state dict: released labels and front end, width from its first layer.

    Raises:
        WeightsError: The first layer is missing, so that this is not a DcaseNet.
    """
    first = tensors.get(FIRST_WEIGHT)
    if first is None or first.dim() != 4:
        raise WeightsError(
            f"{where} is not a DcaseNet: it has no {FIRST_WEIGHT.removeprefix(NETWORK)!r}, but "
            f"{shorten_list(sorted(tensors))}. Give a state dict of "
            f"dcasenet.create({name!r}) or one in the authors' layout."
        )
    return released_spec(name, first.shape[0] / BACKBONE_CHANNELS[0])


def write(
    path: Path, tensors: Mapping[str, Tensor], spec: ModelSpec, published: WeightsFile | None = None
) -> None:
    """Write a self-describing safetensors file, atomically.

    Args:
        path: The file to create or replace.
        tensors: Name → tensor.
        spec: Specification of the tensors.
        published: The file that they were converted from, with its digest and sources.

    Raises:
        OSError: The folder does not exist, is not writable, or its disk is full.
    """
    values = spec.to_dict()
    if published is not None:
        values["file"] = dataclasses.asdict(published)
    # A single key: safetensors does not keep the order of keys, and equal files must be identical.
    metadata = {"spec": json.dumps(values, ensure_ascii=False)}
    write_bytes(path, safetensors.torch.save(dict(tensors), metadata))


def convert(source: Path, target: Path, spec: ModelSpec | None = None) -> ModelSpec:
    """Convert a weights file to a self-describing safetensors file.

    Args:
        source: A state dict in the authors' layout or this package's, or a safetensors file.
        target: The file to create or replace.
        spec: Specification of the weights; by default the one in the file, or for a plain state
            dict in the authors' layout the released labels and front end.

    Returns:
        The spec that was written.

    Raises:
        WeightsError: `source` cannot be used, or does not fit the spec.
        OSError: `target` cannot be written.
    """
    checkpoint = read(source)
    spec = spec or checkpoint.spec or spec_for(checkpoint.tensors, "v3", str(source))
    assemble(checkpoint.tensors, spec, f"{spec.name}, stage {spec.stage}: {source}")
    write(target, checkpoint.tensors, spec, spec.file)
    return spec


def recognize(path: Path, name: str) -> ModelSpec | None:
    """Return the spec of a plain state dict: of the released file if it is one, else a custom one.

    Args:
        path: A weights file.
        name: Its architecture, if it is not a released file.

    Returns:
        The spec; None for a safetensors file, which has its own.

    Raises:
        WeightsError: The file cannot be read.
    """
    tensors, spec = read(path)
    if spec is not None:
        return None
    known = with_digest(file_digest(path, "git_blob_sha1")) or with_digest(file_digest(path))
    return known or spec_for(tensors, name, str(path))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            spec = spec_of_metadata(file.metadata(), path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is a damaged or incomplete safetensors file: {error}."
        ) from error
    return Checkpoint(_own_names(tensors), spec)


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except NOT_A_STATE_DICT as error:
        raise WeightsError(
            f"{path} is neither a safetensors file nor a PyTorch state dict without code: "
            f"{why_refused(error)}."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise WeightsError(
            f"{path} contains a {type(state).__name__} that is not a flat mapping of names to "
            f"tensors. Save it as torch.save(network.state_dict(), path)."
        )
    return _own_names(rename(state) if is_released_layout(state) else dict(state))


def why_refused(error: Exception) -> str:
    """Return why `torch.load` refused a file, without its advice to let the file run code.

    Args:
        error: One of `NOT_A_STATE_DICT`.

    Example:
        >>> why_refused(pickle.UnpicklingError("Unsupported global: GLOBAL os.system was not"))
        'it refers to os.system, which is not a tensor or plain value'
    """
    text = str(error)
    if named := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it refers to {named.group(1)}, which is not a tensor or plain value"
    if isinstance(error, pickle.UnpicklingError):
        return "torch.save did not write it, or it is damaged"
    if "weights_only" in text:
        return "it is a TorchScript archive or a file of an old PyTorch, which may hold code"
    return f"{type(error).__name__}: {text.partition(chr(10))[0]}"


def _own_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if not any(name.startswith((NETWORK, FRONTEND)) for name in tensors):
        tensors = {NETWORK + name: tensor for name, tensor in tensors.items()}
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
