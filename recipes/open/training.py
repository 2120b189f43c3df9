"""Joint training on the open data: its batches, its front end's statistics, its run."""

from __future__ import annotations

from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader

from dcasenet.models.frontend import LogMel
from dcasenet.train.engine.statistics import set_statistics
from dcasenet.train.engine.trainer import LAST, fit
from dcasenet.train.engine.validation import ValidationBatch, share_of
from recipes.open.batches import Batch, JointBatches
from recipes.open.data import OpenData
from recipes.open.module import JointTraining, label_counts
from recipes.open.recipe import Recipe
from recipes.open.validation import ValidationSet

# Batches whose features give the fixed front end its mean and deviation (about half an hour).
STATISTICS_BATCHES = 10


class OpenBatches(lightning.LightningDataModule):
    """The data of joint training: a new epoch of batches each time, and one validation set.

    Args:
        data: The data set.
        recipe: Hyperparameters.
        validation_set: The validation set.
        workers: Processes that mix batches ahead of the training.
    """

    def __init__(
        self, data: OpenData, recipe: Recipe, validation_set: ValidationSet | None, workers: int = 1
    ) -> None:
        super().__init__()
        self._data, self._recipe = data, recipe
        self._validation_set, self._workers = validation_set, workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the trainer's current epoch."""
        epoch, rank = 0, 0
        if self.trainer:
            epoch, rank = self.trainer.current_epoch, self.trainer.global_rank
        batches = JointBatches(self._data, self._recipe, epoch, rank=rank)
        return DataLoader(batches, batch_size=None, num_workers=self._workers)

    def val_dataloader(self) -> DataLoader[ValidationBatch] | tuple[()]:
        """Return the batches of the validation set."""
        if self._validation_set is None:
            return ()
        return DataLoader(share_of(self._validation_set, self.trainer), batch_size=None)


def fit_statistics(frontend: LogMel, data: OpenData, recipe: Recipe) -> None:
    """Set a fixed front end's mean and deviation per bin, over frames of clips and soundscapes."""
    # An epoch that training never reaches.
    batches = JointBatches(data, recipe, epoch=recipe.epochs)
    few = (batches[index] for index in range(min(STATISTICS_BATCHES, len(batches))))
    set_statistics(frontend, (w for b in few for w in (b.clips, b.soundscapes) if len(w)))


def train(
    data: OpenData,
    recipe: Recipe,
    validation_set: ValidationSet | None,
    folder: Path,
    *,
    initial: Path | None = None,
    workers: int = 1,
    stop_after: int | None = None,
) -> Path:
    """Train jointly, from scratch or from where a run in the same folder stopped.

    Args:
        data: The data set.
        recipe: Hyperparameters.
        validation_set: Validation that the checkpoint is chosen by; without, it is the last.
        folder: Where checkpoints and logs go.
        initial: Checkpoint of another run to start from, its front end included: fine-tuning.
        workers: Processes that mix batches ahead of the training.
        stop_after: Epoch to stop after, to go on another time; the schedule stays the whole one.

    Returns:
        The checkpoint with the best validation score, or the last.
    """
    lightning.seed_everything(recipe.seed, verbose=False)
    module = JointTraining(recipe, label_counts(data), validation_set)
    if initial is not None:
        state = torch.load(initial, weights_only=True, map_location="cpu")
        module.load_state_dict(state["state_dict"])
    elif recipe.normalization == "fixed" and not (folder / LAST).is_file():
        fit_statistics(module.frontend, data, recipe)
    best = fit(
        module,
        OpenBatches(data, recipe, validation_set, workers),
        folder,
        epochs=recipe.epochs if stop_after is None else stop_after,
        steps=recipe.steps,
        watch={} if validation_set is None else {"best": "score"},
        gradient_norm=recipe.gradient_norm,
    )
    return best.get("best", folder / LAST)
