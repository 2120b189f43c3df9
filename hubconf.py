"""torch.hub entry points; see the README.

Names here are only ever added: ``torch.hub.load("<org>/dcasenet:<tag>", "dcasenet_v3")`` of one
release works the same in the next. The same names work with ``source="local"`` on a checkout.
"""

from __future__ import annotations

from typing import Any

# Import names, which is what torch.hub looks up: all that loading and running a model needs.
dependencies = [
    "torch",
    "numpy",
    "lazy_loader",
    "soundfile",
    "onnxruntime",
    "soxr",
    "safetensors",
    "huggingface_hub",
    "platformdirs",
    "filelock",
    "rich",
]


def dcasenet_v3(stage: str | None = None, weights: str | None = None, **load_options: Any) -> Any:
    """Load DcaseNet-v3, by default the released joint checkpoint.

    Args:
        stage: Which training, such as ``"joint"``, ``"finetuned-asc"`` or ``"open"``.
        weights: A file instead of a stage.
        load_options: Further options of `dcasenet.load`.

    Returns:
        A `dcasenet.SoundModel`.
    """
    return _load_or_create("v3", stage or (None if weights else "joint"), weights, load_options)


def dcasenet_v2(stage: str | None = None, weights: str | None = None, **load_options: Any) -> Any:
    """Build DcaseNet-v2. It was never released: without `weights` it is **untrained**.

    Args:
        stage: There is none; naming one says what exists.
        weights: A file of your own, which gives a `dcasenet.SoundModel`.
        load_options: Options of `dcasenet.load` with `weights`, else of `dcasenet.create`.

    Returns:
        The network with random weights, or a `dcasenet.SoundModel`.
    """
    return _load_or_create("v2", stage, weights, load_options)


def dcasenet_v1(stage: str | None = None, weights: str | None = None, **load_options: Any) -> Any:
    """Build DcaseNet-v1. It was never released: without `weights` it is **untrained**.

    Args:
        stage: There is none; naming one says what exists.
        weights: A file of your own, which gives a `dcasenet.SoundModel`.
        load_options: Options of `dcasenet.load` with `weights`, else of `dcasenet.create`.

    Returns:
        The network with random weights, or a `dcasenet.SoundModel`.
    """
    return _load_or_create("v1", stage, weights, load_options)


def _load_or_create(
    name: str, stage: str | None, weights: str | None, options: dict[str, Any]
) -> Any:
    import dcasenet

    if weights is not None:
        return dcasenet.load(name, weights=weights, **options)
    if stage is not None:
        return dcasenet.load(name, stage=stage, **options)
    return dcasenet.create(name, **options)
