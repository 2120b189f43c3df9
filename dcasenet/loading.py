"""`load`: a name, a file, a folder or a Hugging Face repository becomes a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, overload

from dcasenet.errors import WeightsError
from dcasenet.onnx import cache as exports
from dcasenet.onnx.runtime import load as load_onnx
from dcasenet.weights import manifest, sources
from dcasenet.weights.sources import Access

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel

# (runtime, precision) that a model can have.
BACKENDS = (("torch", "float32"), ("torch", "bfloat16"), ("onnx", "float32"), ("onnx", "int8"))
AUTO = "auto"

StrPath: TypeAlias = "str | os.PathLike[str]"


class LoadOptions(TypedDict, total=False):
    """Options of `load`, but for its runtime, which decides the result's type."""

    stage: str | None
    weights: StrPath | None
    device: str | torch.device
    precision: str
    cache_dir: StrPath | None
    local_files_only: bool
    progress: bool


@overload
def load(
    name: StrPath | None = None, *, runtime: Literal["torch"] = "torch", **o: Unpack[LoadOptions]
) -> SoundModel: ...
@overload
def load(
    name: StrPath | None = None, *, runtime: Literal["onnx"], **o: Unpack[LoadOptions]
) -> OnnxSoundModel: ...
@overload
def load(
    name: StrPath | None = None, *, runtime: str, **o: Unpack[LoadOptions]
) -> SoundModel | OnnxSoundModel: ...
def load(  # noqa: PLR0913 - the one function that takes every option there is
    name: StrPath | None = None,
    *,
    stage: str | None = None,
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
        name: ``"v3"`` (or ``"v1"``, ``"v2"`` with `weights`), a weights file or folder written by
            `SoundModel.save_pretrained`, a Hugging Face repository ``"org/name@revision"``, or an
            exported ONNX file with `runtime` ``"onnx"`` or ``"auto"``; by default the checkpoint
            that ships with the package.
        stage: Which checkpoint of that name: `dcasenet.available_models` lists them; by default
            ``"joint"``.
        weights: A file to use instead: safetensors, or a PyTorch state dict in the authors'
            layout or this package's, or an exported ONNX file. The stage is then ignored; what the
            file does not say about itself is as released: three tasks, their labels, the front end.
        device: Where to run, such as ``"cpu"`` or ``"cuda:0"``; onnx runs on the CPU.
        precision: ``"float32"``; in torch ``"bfloat16"``: probabilities within 0.02; in onnx
            ``"int8"``: 99 % of them within 0.03. Both are several times as fast on hardware that
            knows them. The front end is always float32. An exported file has a precision of its
            own, and needs none here.
        runtime: ``"torch"``; ``"onnx"``: the file that ships with the package or is cached, else
            the model is exported, and kept in the cache for the next time; or ``"auto"``: onnx
            where a file ships or is cached, else torch.
        cache_dir: Cache folder; by default ``$DCASENET_HOME``, else the platform's.
        local_files_only: Never to download; ``DCASENET_OFFLINE=1`` and ``HF_HUB_OFFLINE=1`` say
            the same.
        progress: Whether to show a download's progress; it never shows but on a terminal.

    Returns:
        The model, in evaluation mode; an `OnnxSoundModel` has the same verbs.

    Raises:
        ImportError: For onnx, onnx or onnxruntime is not installed; or torch is not, and no ONNX
            file ships or is cached.
        UnknownModelError: No model or stage has this name.
        OfflineError: A file would have to be downloaded, and may not be.
        ChecksumError: A file is not the one that was published.
        WeightsError: A file is missing, damaged, unreachable, fits no network, or is an exported
            one for torch; or int8 has no ranges for the weights, and says how to measure them.
        ValueError: There is no such device, or no such pair of runtime and precision.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet, torch
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(dcasenet.create("v2", width=0.125).state_dict(), folder + "/mine.pt")
        ...     dcasenet.load("v2", weights=folder + "/mine.pt").spec.tasks
        ('scene', 'tag', 'event')
    """
    known, stage = manifest.resolve(None if name is None else str(name), stage)
    name = known if name is None else name
    if stage is not None and not isinstance(stage, str):
        raise ValueError(f"stage={stage!r} is no name; give one, such as stage='open'.")
    _check_backend(runtime, precision, device)
    if sources.is_exported(given := name if weights is None else weights):
        return _load_exported(given, runtime, precision, None if given is name else str(name))
    access = Access(cache_dir, sources.is_offline(local_files_only), progress)
    is_released = weights is None and isinstance(name, str) and name in manifest.ARCHITECTURES
    released = manifest.find(str(name), stage) if is_released else None
    if released is not None and _may_be_onnx(runtime, precision, device):
        ready = exports.ready(released, precision, access)
        if ready is not None:
            return ready
    requested = runtime
    if runtime == AUTO:
        runtime = "onnx" if precision == "int8" else "torch"
    try:
        from dcasenet.inference.model import SoundModel
        from dcasenet.weights.loader import read_model
    except ImportError as error:
        if error.name != "torch":
            raise
        reason = (
            "runtime='torch' was requested, or is the default; runtime='auto' does without where "
            "an ONNX file ships or is cached"
            if requested == "torch"
            else f"no ONNX file of it in {precision} ships with the package or is cached"
        )
        raise ImportError(
            f"Loading {str(weights or name)!r} needs torch: {reason}. Type: pip install dcasenet",
            name="torch",
        ) from error

    spec, frontend, network = read_model(name, stage, weights, access)
    if runtime == "onnx":
        return exports.exported(SoundModel(spec, frontend, network), precision, access, released)
    try:
        return SoundModel(spec, frontend.to(device), network.to(device), precision)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise ValueError(f"device={device!r} cannot be used: {error}") from error


def _load_exported(path: StrPath, runtime: str, precision: str, name: str | None) -> OnnxSoundModel:
    """Load a file that `dcasenet.onnx.export` wrote; its precision is that of the file."""
    if runtime == "torch":
        sources.refuse_exported(path)
    model = load_onnx(Path(path).expanduser())
    if precision not in ("float32", model.precision):
        raise WeightsError(
            f"{os.fspath(path)} computes in {model.precision}, not {precision}. Leave the "
            f"precision out, or export the model with it."
        )
    if name not in (None, model.spec.name):
        raise WeightsError(
            f"{os.fspath(path)} holds a {model.spec.name}, not a {name}. Load it as "
            f"dcasenet.load({os.fspath(path)!r}, runtime='onnx')."
        )
    return model


def _check_backend(runtime: str, precision: str, device: str | torch.device) -> None:
    known = BACKENDS if runtime != AUTO else [(AUTO, p) for _, p in BACKENDS]
    if (runtime, precision) not in known:
        pairs = ", ".join(f"runtime={r!r} with precision={p!r}" for r, p in BACKENDS)
        raise ValueError(
            f"Unsupported combination runtime={runtime!r}, precision={precision!r}; supported are "
            f"{pairs}, and runtime='auto' with any of these precisions."
        )
    if "onnx" in (runtime, _only_runtime(precision)) and str(device) != "cpu":
        raise ValueError(
            f"device={str(device)!r} cannot be used with runtime='onnx', which runs on the CPU. "
            f"Give device='cpu', or runtime='torch'."
        )


def _only_runtime(precision: str) -> str | None:
    """Return the runtime that alone has a precision, None where both have it."""
    runtimes = {r for r, p in BACKENDS if p == precision}
    return runtimes.pop() if len(runtimes) == 1 else None


def _may_be_onnx(runtime: str, precision: str, device: str | torch.device) -> bool:
    """Return whether an exported file may answer: requested, or no worse and possible here."""
    if runtime != AUTO:
        return runtime == "onnx"
    return str(device) == "cpu" and ("onnx", precision) in BACKENDS
