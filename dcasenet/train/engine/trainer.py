"""The trainer that every training runs in: checkpoints, logs, precision, one or many devices.

Under ``torchrun`` the same command trains on every process that it starts: Lightning's DDP, by NCCL
on GPUs (batch norm then sees the batches of all devices: SyncBatchNorm) and by gloo on CPUs.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from dcasenet.train.engine.checkpoints import WholeFiles
from dcasenet.train.engine.module import Training
from dcasenet.train.engine.precision import precision

LAST = "last.ckpt"  # of a run's folder: the latest epoch, that a run goes on from

# Lightning's loggers, whose children log by their levels.
TALKERS = ("lightning.pytorch", "lightning.fabric")
# Lightning's warnings of what is meant to be so here, or of its own age.
KNOWN = (
    "Checkpoint directory .* exists and is not empty",
    "The '.*_dataloader' does not have many workers",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "Total length of `tuple` across ranks is zero",  # training without validation
)


def world_size() -> int:
    """Count the processes that ``torchrun`` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this is the process that writes results."""
    return os.environ.get("RANK", "0") == "0"


def fit(  # noqa: PLR0913 - what a run consists of
    module: Training,
    data: lightning.LightningDataModule,
    folder: Path,
    *,
    epochs: int,
    steps: int,
    watch: Mapping[str, str],
    gradient_norm: float | None = None,
    arithmetic: str | None = None,
    idle_parts: bool = False,
    callbacks: tuple[Callback, ...] = (),
) -> dict[str, Path]:
    """Train from scratch, or from where a run in the same folder was interrupted.

    A run that has ended, by its epochs or because a callback stopped it early, is left as it is.

    Args:
        module: What is trained.
        data: Its batches, made anew each epoch.
        folder: Where checkpoints and logs go.
        epochs: Epoch to stop after.
        steps: Optimizer steps per epoch.
        watch: Name of a checkpoint → figure that it is the best by.
        gradient_norm: Gradients are scaled down to this norm.
        arithmetic: Lightning's precision; by default what `precision` chooses.
        idle_parts: Whether some of the network's parameters serve no loss.
        callbacks: More of Lightning's callbacks.

    Returns:
        Name of a checkpoint → its file.
    """
    found = {name: folder / f"{name}.ckpt" for name in watch}
    last = folder / LAST
    if last.is_file() and stopped_early(last, module):
        return found
    best = [
        ModelCheckpoint(
            folder, filename=name, monitor=figure, mode="max", enable_version_counter=False
        )
        for name, figure in watch.items()
    ]
    # Lightning's `save_last` skips epochs that are not the best: resuming would repeat them.
    latest = ModelCheckpoint(folder, filename=last.stem, enable_version_counter=False)
    on_gpu = torch.cuda.is_available()
    with quiet():
        trainer = lightning.Trainer(
            max_epochs=epochs,
            precision=arithmetic or precision("cuda" if on_gpu else "cpu"),  # type: ignore[arg-type]
            gradient_clip_val=gradient_norm,
            callbacks=[*best, latest, LearningRateMonitor(), *callbacks],
            logger=loggers(folder),
            plugins=[WholeFiles()],
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=steps,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **devices(on_gpu, idle_parts),
        )
        resumed = str(last) if last.is_file() else None
        trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
    return found


def stopped_early(last: Path, module: Training) -> bool:
    """Return whether a run ended before its last epoch, as one more would bring nothing better.

    Args:
        last: The run's latest checkpoint.
        module: What is trained.

    Raises:
        DcasenetError: The checkpoint is damaged, or was made with another recipe.
    """
    checkpoint = WholeFiles().load_checkpoint(last)
    if not any(state.get("stopped_epoch") for state in checkpoint["callbacks"].values()):
        return False
    module.on_load_checkpoint(checkpoint)
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Keep out what Lightning says of hardware, of products and of what is meant to be so.

    Its other warnings pass, and afterwards it speaks as before.
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, TALKERS)}
    with warnings.catch_warnings():
        for text in KNOWN:
            warnings.filterwarnings("ignore", text)
        try:
            for logger, level in levels.items():
                logger.setLevel(max(level, logging.WARNING))
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)


def devices(on_gpu: bool, idle_parts: bool = False) -> dict[str, Any]:
    """Return the trainer's devices: one, or those of the processes that ``torchrun`` started.

    Args:
        on_gpu: Whether there are GPUs.
        idle_parts: Whether some parameters get no gradient, which DDP must look for.
    """
    if world_size() == 1:
        return {"devices": 1}
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return {
        "devices": local,
        "num_nodes": world_size() // local,
        "strategy": "ddp_find_unused_parameters_true" if idle_parts else "ddp",
        "sync_batchnorm": on_gpu,  # torch has no CPU version
    }


def loggers(folder: Path) -> list[Logger]:
    """Return the CSV log and, where TensorBoard's writer is installed, TensorBoard's."""
    found: list[Logger] = [CSVLogger(folder, name="log")]
    if any(importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")):
        found.append(TensorBoardLogger(folder, name="tensorboard"))
    return found
