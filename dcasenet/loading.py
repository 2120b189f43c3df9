"""`load`: a name, a file, a folder or a Hugging Face repository becomes a model."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, overload

import torch
from torch import nn

from dcasenet.errors import UnknownModelError, WeightsError
from dcasenet.models.frontend import LogMel
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import ModelSpec, Task
from dcasenet.weights import cache, checkpoint, hub, manifest, sources
from dcasenet.weights.builder import assemble
from dcasenet.weights.sources import Access

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel

# (runtime, precision) that a model can have.
BACKENDS = (("torch", "float32"), ("torch", "bfloat16"), ("onnx", "float32"), ("onnx", "int8"))
# "org/name" or "org/name@revision" (a branch, tag or commit).
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")

StrPath: TypeAlias = "str | os.PathLike[str]"
Parts: TypeAlias = "tuple[ModelSpec, LogMel, nn.Module]"


class LoadOptions(TypedDict, total=False):
    """Options of `load`, but for its runtime, which decides the result's type."""

    stage: str
    weights: StrPath | None
    device: str | torch.device
    precision: str
    cache_dir: StrPath | None
    local_files_only: bool
    progress: bool


@overload
def load(
    name: StrPath, *, runtime: Literal["torch"] = "torch", **o: Unpack[LoadOptions]
) -> SoundModel: ...
@overload
def load(
    name: StrPath, *, runtime: Literal["onnx"], **o: Unpack[LoadOptions]
) -> OnnxSoundModel: ...
@overload
def load(
    name: StrPath, *, runtime: str, **o: Unpack[LoadOptions]
) -> SoundModel | OnnxSoundModel: ...
def load(  # noqa: PLR0913 - the one function that takes every option there is
    name: StrPath,
    *,
    stage: str = "joint",
    weights: StrPath | None = None,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    runtime: str = "torch",
    cache_dir: StrPath | None = None,
    local_files_only: bool = False,
    progress: bool = True,
) -> SoundModel | OnnxSoundModel:
    """Load a pretrained model, from wherever it is.

    A released checkpoint is downloaded once, verified against the digest in the manifest, and
    kept in the cache as safetensors; from then on no network is touched.

    Args:
        name: ``"v3"`` (or ``"v1"``, ``"v2"`` with `weights`), a weights file or folder written
            by `SoundModel.save_pretrained`, or a Hugging Face repository ``"org/name@revision"``.
        stage: Which checkpoint of that name: `dcasenet.available_models` lists them.
        weights: A file to use instead: safetensors, or a PyTorch state dict in the authors'
            layout or this package's. The stage is then ignored; what the file does not say about
            itself is as released: three tasks, their labels, the front end.
        device: Where to run, such as ``"cpu"`` or ``"cuda:0"``; onnx runs on the CPU.
        precision: ``"float32"``; in torch ``"bfloat16"``: probabilities within 0.02; in onnx
            ``"int8"``: 99 % of them within 0.03. Both are several times as fast on hardware that
            knows them. The front end is always float32.
        runtime: ``"torch"``, or ``"onnx"``: the model is exported, and kept in the cache for the
            next time.
        cache_dir: Cache folder; by default ``$DCASENET_HOME``, else the platform's.
        local_files_only: Never to download; ``DCASENET_OFFLINE=1`` and ``HF_HUB_OFFLINE=1`` say
            the same.
        progress: Whether to show a download's progress; it never shows but on a terminal.

    Returns:
        The model, in evaluation mode; an `OnnxSoundModel` has the same verbs.

    Raises:
        ImportError: For onnx, onnx or onnxruntime is not installed.
        UnknownModelError: No model or stage has this name.
        OfflineError: A file would have to be downloaded, and may not be.
        ChecksumError: A file is not the one that was published.
        WeightsError: A file is missing, damaged, unreachable, or fits no network; or int8 has no
            ranges for the weights, and says how to measure them.
        ValueError: There is no such device, or no such pair of runtime and precision.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(dcasenet.create("v2", width=0.125).state_dict(), folder + "/mine.pt")
        ...     dcasenet.load("v2", weights=folder + "/mine.pt").spec.tasks
        ('scene', 'tag', 'event')
    """
    from dcasenet.inference.model import SoundModel

    _check_backend(runtime, precision, device)
    access = Access(cache_dir, sources.is_offline(local_files_only), progress)
    spec, frontend, network = _parts(name, stage, weights, access)
    if runtime == "onnx":
        from dcasenet.onnx.cache import exported

        return exported(SoundModel(spec, frontend, network), precision, access)
    try:
        return SoundModel(spec, frontend.to(device), network.to(device), precision)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise ValueError(f"device={device!r} cannot be used: {error}") from error


def _check_backend(runtime: str, precision: str, device: str | torch.device) -> None:
    if (runtime, precision) not in BACKENDS:
        pairs = ", ".join(f"runtime={r!r} with precision={p!r}" for r, p in BACKENDS)
        raise ValueError(f"runtime={runtime!r} with precision={precision!r} is not there: {pairs}.")
    if runtime == "onnx" and str(device) != "cpu":
        raise ValueError(
            f"device={str(device)!r} cannot be used with runtime='onnx', which runs on the CPU. "
            f"Give device='cpu', or runtime='torch'."
        )


def _parts(name: StrPath, stage: str, weights: StrPath | None, access: Access) -> Parts:
    """Find out what `name` is."""
    if weights is not None:
        return _from_weights(str(name), Path(weights), access)
    if isinstance(name, str) and name in manifest.ARCHITECTURES:
        return _from_manifest(manifest.find(name, stage), access)
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
    known = list(dict.fromkeys(spec.name for spec in manifest.available_models()))
    raise UnknownModelError(
        "model", text, known, "Or give a weights file, a folder, or a repository 'org/name'."
    )


def _from_manifest(spec: ModelSpec, access: Access) -> Parts:
    if spec.members:
        loaders = {
            task: partial(_network_of_stage, spec.name, stage, access)
            for task, stage in spec.members.items()
        }
        return spec, LogMel(spec.frontend).eval(), ComposedNetwork(loaders)
    path = cache.obtain(spec, access)
    tensors = checkpoint.read(path).tensors
    return spec, *assemble(tensors, spec, f"{sources.what(spec)}: {path}")


def _network_of_stage(name: str, stage: str, access: Access) -> nn.Module:
    return _from_manifest(manifest.find(name, stage), access)[2]


def _from_weights(name: str, path: Path, access: Access) -> Parts:
    path = path.expanduser()
    if name not in manifest.ARCHITECTURES:
        raise UnknownModelError("architecture", name, manifest.ARCHITECTURES)
    parts = _from_folder(path) if path.is_dir() else _from_file(path, name)
    if parts[0].name != name:
        raise WeightsError(
            f"{path} holds a {parts[0].name}, not a {name}. Load it as "
            f"dcasenet.load({parts[0].name!r}, weights=…) or dcasenet.load({str(path)!r})."
        )
    return parts


def _from_file(path: Path, name: str) -> Parts:
    """Load one file; `name` is the architecture of those that do not say."""
    tensors, spec = checkpoint.read(path)
    spec = spec or checkpoint.spec_for(tensors, name, str(path))
    return spec, *assemble(tensors, spec, f"{sources.what(spec)}: {path}")


def _from_folder(path: Path) -> Parts:
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
