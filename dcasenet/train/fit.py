"""The trainer of joint training: its data, its front end's statistics, checkpoints and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from dcasenet.frontend import LogMel
from dcasenet.train.evaluate import Examination, Question
from dcasenet.train.joint import JointTraining, label_counts
from dcasenet.train.open_data import OpenData
from dcasenet.train.recipe import Recipe
from dcasenet.train.streams import Batch, JointBatches

# Batches whose features give the fixed front end its mean and deviation (about half an hour).
STATISTICS_BATCHES = 10


class OpenBatches(lightning.LightningDataModule):
    """The data of joint training: a new epoch of batches each time, and one examination.

    Args:
        data: The data set.
        recipe: Hyperparameters.
        examination: What validation asks.
        workers: Processes that mix batches ahead of the training.
    """

    def __init__(
        self, data: OpenData, recipe: Recipe, examination: Examination, workers: int = 1
    ) -> None:
        super().__init__()
        self._data, self._recipe = data, recipe
        self._examination, self._workers = examination, workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """Give the batches of the trainer's current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        batches = JointBatches(self._data, self._recipe, epoch)
        return DataLoader(batches, batch_size=None, num_workers=self._workers)

    def val_dataloader(self) -> DataLoader[Question]:
        """Give the questions of the examination."""
        return DataLoader(self._examination, batch_size=None, num_workers=0)


def fit_statistics(frontend: LogMel, data: OpenData, recipe: Recipe) -> None:
    """Set a fixed front end's mean and deviation per bin, over frames of clips and soundscapes."""
    # An epoch that training never reaches.
    batches = JointBatches(data, recipe, epoch=recipe.epochs)
    total = torch.zeros(3, frontend.settings.n_mels, dtype=torch.float64)
    for index in range(min(STATISTICS_BATCHES, len(batches))):
        batch = batches[index]
        for waveforms in (batch.clips, batch.soundscapes):
            log_mel = frontend.log_mel(waveforms).double()
            total[0] += log_mel.shape[0] * log_mel.shape[2]
            total[1] += log_mel.sum(dim=(0, 2))
            total[2] += log_mel.square().sum(dim=(0, 2))
    mean = total[1] / total[0]
    frontend.mean.copy_(mean)
    frontend.deviation.copy_((total[2] / total[0] - mean.square()).sqrt())


def precision(device: str) -> Any:
    """Choose the arithmetic of the network: bfloat16 where it is fast, else float32."""
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    # Older versions of torch cannot tell.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = device == "cpu" and capabilities.get("avx512_bf16", False)
    return "bf16-mixed" if fast else "32-true"


def train(
    data: OpenData,
    recipe: Recipe,
    examination: Examination,
    folder: Path,
    *,
    workers: int = 1,
    stop_after: int | None = None,
) -> Path:
    """Train jointly, from scratch or from where a run in the same folder stopped.

    Args:
        data: The data set.
        recipe: Hyperparameters.
        examination: Validation that the checkpoint is chosen by.
        folder: Where checkpoints and logs go.
        workers: Processes that mix batches ahead of the training.
        stop_after: Epoch to stop after, to go on another time; the schedule stays the whole one.

    Returns:
        The checkpoint with the best validation score.
    """
    lightning.seed_everything(recipe.seed, verbose=False)
    module = JointTraining(recipe, label_counts(data), examination)
    last = folder / "last.ckpt"
    if recipe.normalization == "fixed" and not last.is_file():
        fit_statistics(module.frontend, data, recipe)
    best = ModelCheckpoint(
        folder, filename="best", monitor="score", mode="max", enable_version_counter=False
    )
    # Lightning's `save_last` skips epochs that are not the best: resuming would repeat them.
    latest = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs if stop_after is None else stop_after,
        precision=precision("cuda" if torch.cuda.is_available() else "cpu"),
        gradient_clip_val=recipe.gradient_norm,
        callbacks=[best, latest, LearningRateMonitor()],
        logger=CSVLogger(folder, name="log"),
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=recipe.steps,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    resume = str(last) if last.is_file() else None
    trainer.fit(module, OpenBatches(data, recipe, examination, workers), ckpt_path=resume)
    return Path(best.best_model_path)
