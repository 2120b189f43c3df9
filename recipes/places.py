"""Where a recording was made, by the teacher's embedding.

The teacher has no environments. A layer on its embedding, fitted to the training recordings whose
place is known, says better where others were made than a student does that learned from the same
recordings; and it says so of every mixture, whose place is mostly not known.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from recipes.bank import Bank, Decoded
from recipes.labels import LabelSets
from recipes.mixtures import MixtureSampler, MixtureSettings
from recipes.package import window_of
from recipes.students import Lecturer, Places

log = logging.getLogger(__name__)

# Recordings of places, with others over some of them, as in training.
SETTINGS = MixtureSettings(synthetic=0.0, soundscapes=0.0, environments=1.0)
N_MIXTURES, N_SMOKE, DRAWN, SECONDS = 640, 16, 16, 10.0
PENALTY = 5e-3  # of squared weights, beside the mean loss


@torch.no_grad()
def fit_places(
    lecturer: Lecturer,
    clips: Sequence[Decoded],
    labels: LabelSets,
    bank: Bank,
    n_mixtures: int = N_MIXTURES,
) -> Places:
    """Fit the layer to recordings, as they are and mixed with others.

    Args:
        lecturer: On the bank's device.
        clips: Of the training split; those are read whose place is known.
        labels: Environments.
        bank: Of the same recordings.
        n_mixtures: Number of mixtures beside them.
    """
    device = bank.samples.device
    rng = np.random.default_rng(7)
    embeddings, places = [], []
    for clip in clips:
        place = labels.learned_environment_of(clip.recording)
        if place is not None:
            window = torch.from_numpy(window_of(clip, rng)).to(device)
            embeddings.append(lecturer(window).embedding.mean(dim=1))
            places.append(torch.tensor([place], device=device))
    mixer = MixtureSampler(bank, SETTINGS, seed=7)
    for _ in range(-(-n_mixtures // DRAWN)):
        mixed = mixer.draw(DRAWN, SECONDS)
        known = mixed.scene >= 0
        embeddings.append(lecturer(mixed.clean[known]).embedding.mean(dim=1))
        places.append(mixed.scene[known])
    return fit_layer(torch.cat(embeddings), torch.cat(places), len(labels.environments))


def fit_layer(embedding: Tensor, place: Tensor, n_scenes: int) -> Places:
    """Fit the layer to mean embeddings, (n, 384), and their places, (n,)."""
    own = Places(embedding.mean(dim=0), embedding.std(dim=0).clamp(min=1e-3), n_scenes)
    own.to(embedding.device)
    optimizer = torch.optim.LBFGS(own.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    @torch.enable_grad()
    def loss() -> Tensor:
        optimizer.zero_grad()
        squares = own.layer.weight.square().sum()
        found = nnf.cross_entropy(own(embedding), place) + PENALTY * squares
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    right = (own(embedding).argmax(dim=1) == place).float().mean()
    log.info("places of %d recordings and mixtures are fitted, %.3f are right", len(place), right)
    return own.requires_grad_(requires_grad=False)
