"""What every training has in common: seeds, a loss that must be finite, a recipe that is kept."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from dcasenet.errors import DcasenetError


class AnyRecipe(Protocol):
    """Hyperparameters: a frozen dataclass of plain values, with at least these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def learning_rate(self) -> float:
        """Highest learning rate."""


class Training(lightning.LightningModule, ABC):
    """One network on the sum of some losses; a training says which.

    A step's random numbers depend on the recipe's seed, the step and the process (rank) alone, so
    that a resumed run draws what an uninterrupted one would, and no two processes draw the same.

    Args:
        recipe: Hyperparameters, kept in every checkpoint.
    """

    def __init__(self, recipe: AnyRecipe) -> None:
        super().__init__()
        self.recipe: Any = recipe

    @abstractmethod
    def losses(self, batch: Any, random: np.random.Generator) -> Mapping[str, Tensor]:
        """Return the losses of a batch by name; their sum is what the optimizer sees."""

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Return the summed loss.

        Raises:
            DcasenetError: It is not finite; the message says at which batch.
        """
        random = np.random.default_rng([self.recipe.seed, self.global_step, self.global_rank])
        # Dropout draws from torch's own generator, which a resumed run must find the same.
        torch.manual_seed(int(random.integers(2**31)))
        losses = self.losses(batch, random)
        total = torch.stack([*losses.values()]).sum()
        if not torch.isfinite(total):
            parts = ", ".join(f"{name} {loss.item():g}" for name, loss in losses.items())
            raise DcasenetError(
                f"The loss is not finite at batch {batch_index} of epoch {self.current_epoch}: "
                f"{parts}. Lower the learning rate ({self.recipe.learning_rate}) or train in "
                "float32."
            )
        self.log_dict(
            {f"train_{name}_loss": loss.detach() for name, loss in losses.items()},
            on_step=False,
            on_epoch=True,
            # An epoch's loss is the plain mean of its steps', whatever a batch is made of.
            batch_size=1,
            sync_dist=True,
        )
        return total

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the recipe with what it made."""
        checkpoint["recipe"] = dataclasses.asdict(self.recipe)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with another recipe."""
        if checkpoint["recipe"] != dataclasses.asdict(self.recipe):
            raise DcasenetError(
                f"This run was begun with {checkpoint['recipe']}, not with {self.recipe}. Give the "
                "same options, or another folder."
            )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch for what is inside; outside, its random numbers go on as if nothing had been."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def one_cycle(network: nn.Module, recipe: Any) -> dict[str, Any]:
    """Return AdamW, and a learning rate that rises and falls once, as Lightning takes them.

    Args:
        network: What is trained.
        recipe: Has ``learning_rate`` (the peak), ``rise`` (share of the steps before it),
            ``weight_decay``, ``epochs`` and ``steps``.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.learning_rate,
        total_steps=recipe.epochs * recipe.steps,
        pct_start=recipe.rise,
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
