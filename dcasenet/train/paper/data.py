"""The paper's data sets as training reads them: decoded once, as samplers and a validation set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader

from dcasenet.errors import DcasenetError
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings, Task
from dcasenet.train.data.dataset import Example, SoundDataset, Split
from dcasenet.train.data.features import extract
from dcasenet.train.data.store import decode_examples
from dcasenet.train.engine.validation import ValidationBatch, share_of
from dcasenet.train.paper.batches import (
    ClipSampler,
    EventSampler,
    PaperBatch,
    PaperBatches,
    TaskSampler,
)
from dcasenet.train.paper.recipe import PaperRecipe
from dcasenet.train.paper.validation import PaperValidationSet


@dataclass(frozen=True)
class PaperData:
    """The data sets of some tasks, ready to be trained and evaluated on.

    Attributes:
        sets: Task → data set.
        samplers: Task → training examples.
        validation_set: The validation set.
    """

    sets: Mapping[Task, SoundDataset]
    samplers: Mapping[Task, TaskSampler]
    validation_set: PaperValidationSet

    @property
    def labels(self) -> dict[Task, tuple[str, ...]]:
        """Labels of each task."""
        return {task: data.labels for task, data in self.sets.items()}


def paper_data(sets: Mapping[Task, SoundDataset], recipe: PaperRecipe, cache: Path) -> PaperData:
    """Decode the data sets of a recipe's tasks, and make the log-mels of events, or find both.

    Args:
        sets: Task → data set, of the recipe's tasks at least.
        recipe: Tasks, lengths of crops, and the split to choose epochs on.
        cache: Where decoded audio and log-mels are kept: 4 bytes a sample, and for events 2 bytes
            a mel bin and frame more.

    Raises:
        DcasenetError: A task has no data set, or a split of one is empty or cannot be read.
    """
    missing = [task for task in recipe.tasks if task not in sets]
    if missing:
        raise DcasenetError(
            f"There is no data set for {', '.join(missing)}; give one for each of "
            f"{', '.join(recipe.tasks)}, or train fewer tasks."
        )
    selection: Split = "test" if recipe.select_on_test else "validation"
    rate = FrontEndSettings().sample_rate
    samplers: dict[Task, TaskSampler] = {}
    stores = {}
    for task in recipe.tasks:
        data = sets[task]
        trained = _examples_of(data, "train")
        evaluated = _examples_of(data, selection)
        # The published test set of tags counts a silent clip.
        stores[task] = decode_examples(
            [*trained, *evaluated], cache, rate, "sinc", keep_silent=True
        )
        usable = [example for example in trained if example in stores[task]]
        if task == "event":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            frontend = LogMel(FrontEndSettings()).eval().to(device)
            features = extract(usable, stores[task], frontend, cache)
            samplers[task] = EventSampler(data.labels, usable, features, recipe.event_seconds)
        else:
            samplers[task] = ClipSampler(
                task, data.labels, usable, stores[task], recipe.clip_seconds
            )
    chosen = {task: sets[task] for task in recipe.tasks}
    return PaperData(chosen, samplers, PaperValidationSet(chosen, stores, selection))


def _examples_of(data: SoundDataset, split: Split) -> list[Example]:
    examples = data.split(split)
    if not examples:
        raise DcasenetError(
            f"{data.name} has nothing in the split {split!r}. Give it that split"
            + (
                ", or select on the test split, as the authors did."
                if split == "validation"
                else "."
            )
        )
    return examples


class PaperModule(lightning.LightningDataModule):
    """Batches of each epoch and those of its validation, for Lightning.

    Args:
        data: The data sets.
        recipe: Hyperparameters.
        workers: Processes that cut batches ahead of the training.
    """

    def __init__(self, data: PaperData, recipe: PaperRecipe, workers: int = 2) -> None:
        super().__init__()
        self._data, self._recipe, self._workers = data, recipe, workers

    def train_dataloader(self) -> DataLoader[PaperBatch]:
        """Return the batches of the trainer's current epoch, those of this process."""
        trainer = self.trainer
        epoch, rank, n_ranks = 0, 0, 1
        if trainer is not None:
            epoch, rank, n_ranks = trainer.current_epoch, trainer.global_rank, trainer.world_size
        batches = PaperBatches(self._data.samplers, self._recipe, epoch, rank, n_ranks)
        on_gpu = torch.cuda.is_available()
        return DataLoader(batches, batch_size=None, num_workers=self._workers, pin_memory=on_gpu)

    def val_dataloader(self) -> DataLoader[ValidationBatch]:
        """Return the batches of this process."""
        return DataLoader(share_of(self._data.validation_set, self.trainer), batch_size=None)
