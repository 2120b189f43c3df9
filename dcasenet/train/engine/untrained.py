"""A model that has learned nothing yet: where training from random weights begins."""

from __future__ import annotations

import dataclasses

import torch

from dcasenet.inference.model import SoundModel
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from dcasenet.weights.manifest import released_spec

STAGE = "untrained"


def untrained(
    name: str = "v3",
    *,
    width: float = 1.0,
    frontend: FrontEndSettings | None = None,
    seed: int = 0,
) -> SoundModel:
    """Return a model with random weights, to be trained by ``finetune(..., freeze="none")``.

    Its labels are those of the released checkpoints, until `finetune` puts others in their place,
    and its answers are noise.

    Args:
        name: ``"v1"``, ``"v2"`` or ``"v3"``.
        width: Factor on every channel, GRU and dense width, 1/16 or more.
        frontend: Its front end, by default the released one. With ``normalization="fixed"`` the
            mean and deviation of each bin are those of the first data that it is trained on.
        seed: Of the weights.

    Raises:
        UnknownModelError: No architecture has this name.
        ValueError: The width is out of range.

    Example:
        >>> model = untrained("v3", width=0.125)
        >>> model.spec.stage, model.embed(torch.zeros(24_000), 24_000).shape
        ('untrained', torch.Size([64]))
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create(name, width=width)
    released = released_spec(name, width)
    settings = frontend or released.frontend
    spec = dataclasses.replace(
        released,
        stage=STAGE,
        frontend=settings,
        resampler="soxr",
        license="none: it has learned nothing",
        training_data="nothing",
    )
    return SoundModel(spec, LogMel(settings), network)
