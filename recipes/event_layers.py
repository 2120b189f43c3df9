"""Fit the events' GRU and last layer to soundscapes, on frozen convolutions.

In training events are one of seven losses, in half of the mixtures. Here the convolutions read
soundscapes once, and the layers behind them go over what they gave for many epochs.
"""

from __future__ import annotations

import copy
import logging
import math
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.models.blocks import BiGru
from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import fuse
from recipes.mixtures import MixtureSampler, MixtureSettings

log = logging.getLogger(__name__)

# Nearly all rows are soundscapes, as dense as those that are evaluated, and less degraded than in
# training: 10 to 50 events a minute.
SETTINGS = MixtureSettings(
    synthetic=1 / 16,
    soundscapes=15 / 16,
    environments=0.0,
    event_level=(-2.0, 25.0),
    low_pass_share=0.25,
    noise_share=0.3,
)
N_TRAIN, N_WATCHED, DRAWN = 12_800, 640, 16
SECONDS = 10.0
EPOCHS, BATCH, RATE, WARM_UP = 14, 32, 2e-3, 100
DECAY, DROPOUT = 0.02, 0.3


class Sequences(NamedTuple):
    """What the GRUs read of soundscapes, and what is in them.

    Attributes:
        features: (n, steps, size), float16.
        active: (n, steps, events), bool.
    """

    features: Tensor
    active: Tensor


class EventLayers(NamedTuple):
    """The layers of a network that are the events' own."""

    gru: BiGru
    head: nn.Linear

    def copy(self, *, trains: bool) -> EventLayers:
        """Return a copy that is to be trained, or not."""
        gru, head = copy.deepcopy(self.gru), copy.deepcopy(self.head)
        return EventLayers(gru.requires_grad_(trains), head.requires_grad_(trains))


@torch.no_grad()
def read_soundscapes(
    frontend: LogMel, network: nn.Module, mixer: MixtureSampler, n: int
) -> Sequences:
    """Run the convolutions on `n` soundscapes of 10 s."""
    features: list[Tensor] = []
    active: list[Tensor] = []
    fused = fuse(network, torch.float32)
    hook = fused.get_submodule("event_gru").register_forward_pre_hook(
        lambda _, inputs: features.append(inputs[0].half())
    )
    try:
        for _ in range(math.ceil(n / DRAWN)):
            mixed = mixer.draw(DRAWN, SECONDS)
            fused(frontend(mixed.degraded), tasks=("event",))
            active.append(mixed.event > 0.5)
    finally:
        hook.remove()
    steps = min(features[0].shape[1], active[0].shape[1])
    return Sequences(torch.cat(features)[:n, :steps], torch.cat(active)[:n, :steps])


def fit_events(layers: EventLayers, train: Sequences, watched: Sequences) -> EventLayers:
    """Return the layers that are best on what is watched, the given ones among them."""
    best, chosen = _loss_of(layers, watched), layers
    log.info("events as they were: a loss of %.3f", best)
    torch.manual_seed(0)
    own = layers.copy(trains=True)
    parameters = [*own.gru.parameters(), *own.head.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=DECAY)
    n_steps, n_batches = 0, math.ceil(len(train.features) / BATCH)
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(train.features)).tensor_split(n_batches):
            rate = RATE * 0.5 * (1 + math.cos(math.pi * n_steps / (EPOCHS * n_batches)))
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (n_steps + 1) / WARM_UP)
            n_steps += 1
            optimizer.zero_grad()
            features = nnf.dropout(train.features[rows].float(), DROPOUT)
            hidden = nnf.dropout(own.gru(features)[0], DROPOUT)
            _loss(own.head(hidden), train.active[rows]).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
        loss = _loss_of(own, watched)
        if loss < best:
            best, chosen = loss, own.copy(trains=False)
        log.info("events, epoch %d: %.3f", epoch, loss)
    return chosen


@torch.no_grad()
def _loss_of(layers: EventLayers, of: Sequences) -> float:
    hidden = [layers.gru(part.float())[0] for part in torch.split(of.features, BATCH)]
    return float(_loss(layers.head(torch.cat(hidden)), of.active))


def _loss(logits: Tensor, active: Tensor) -> Tensor:
    """Return the binary cross-entropy, summed over events and averaged over steps."""
    each = nnf.binary_cross_entropy_with_logits(logits, active.float(), reduction="none")
    return each.sum(dim=2).mean()
