"""Fine-tuning of a whole network: the Lightning module, and the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as nnf
from lightning.pytorch.callbacks import EarlyStopping
from numpy.random import Generator
from torch import Tensor, nn

from dcasenet.inference.model import SoundModel
from dcasenet.train.engine import augmentation
from dcasenet.train.engine.module import Training, seeded
from dcasenet.train.engine.statistics import needs_statistics, set_statistics
from dcasenet.train.engine.trainer import LAST, fit
from dcasenet.train.finetuning.batches import (
    TuningBatch,
    TuningBatches,
    TuningDataModule,
    steps_per_epoch,
)
from dcasenet.train.finetuning.data import FinetuningData
from dcasenet.train.finetuning.evaluation import evaluate, predict, verb
from dcasenet.train.finetuning.recipe import FinetuneRecipe
from dcasenet.train.finetuning.surgery import last_layer

BEST, SCORE = "best", "score"
# Training stops early when this share of all epochs, and at least so many, brought nothing better.
PATIENCE, LEAST_PATIENCE = 1 / 3, 3
# Batches whose features give a fixed front end its mean and deviation, if it has none yet.
STATISTICS_BATCHES = 20


class Tuning(Training):
    """One task's network on its own data.

    Scene: cross-entropy. Tags and events: binary cross-entropy, summed over the labels and
    averaged over the recordings or steps.

    Args:
        model: The model to train, with a last layer for the labels.
        data: The data, whose validation split is evaluated.
        recipe: Hyperparameters.
    """

    def __init__(self, model: SoundModel, data: FinetuningData, recipe: FinetuneRecipe) -> None:
        super().__init__(recipe)
        self.data = data
        self.spec = model.spec
        network = model.network.train()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frontend = model.frontend.train()  # Lightning warns of any part that is not
        self._results: list[Any] = []

    def losses(self, batch: TuningBatch, random: Generator) -> dict[str, Tensor]:
        """Return the loss of a batch, mixed up in pairs unless it is of events."""
        recipe, targets = self.recipe, batch.targets
        with torch.no_grad():
            log_mel = augmentation.mask(self.frontend(batch.waveforms), recipe.masks, random)
            if recipe.task != "event" and recipe.mixup:
                n = len(log_mel)
                other = torch.from_numpy(random.permutation(n)).to(log_mel.device)
                own = augmentation.mixup_weights(n, recipe.mixup, random).to(log_mel.device)
                log_mel = augmentation.mixed(log_mel, own, other)
                targets = augmentation.mixed(targets, own, other)
        logits = getattr(self.network(log_mel, (recipe.task,)), recipe.task).float()
        if recipe.task == "scene":
            return {"scene": nnf.cross_entropy(logits, targets)}
        binary = nnf.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return {recipe.task: binary.sum(dim=-1).mean()}

    def validation_step(self, numbers: list[int], batch_index: int) -> None:
        """Evaluate some examples, as the verb will."""
        examples = [self.data.validation[number] for number in numbers]
        halved = self.trainer.precision == "bf16-mixed"
        view = SoundModel(
            self.spec, self.frontend, self.network, "bfloat16" if halved else "float32"
        )
        with torch.autocast(self.device.type, enabled=False):
            query = verb(self.spec, self.recipe.task)
            self._results += predict(view, query, examples, self.data.store)

    def on_validation_epoch_end(self) -> None:
        """Evaluate the answers; ``score`` is what the best epoch is chosen by."""
        results, self._results = self._results, []
        if not results:
            return
        evaluation = evaluate(self.data, self.data.validation, results)
        self.log_dict({**evaluation.figures, SCORE: evaluation.score})

    def _last_layer(self) -> nn.Module:
        layer: nn.Module = self.network.get_submodule(last_layer(self.spec, self.recipe.task))
        return layer

    def configure_optimizers(self) -> Any:
        """Return AdamW on one cycle, the last layer at its own rate."""
        recipe = self.recipe
        last = {id(parameter) for parameter in self._last_layer().parameters()}
        groups = [
            {"params": [p for p in self.network.parameters() if (id(p) in last) == is_last]}
            for is_last in (True, False)
        ]
        rates = [recipe.learning_rate, recipe.learning_rate * recipe.backbone_lr_scale]
        optimizer = torch.optim.AdamW(
            groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        n_steps = recipe.epochs * steps_per_epoch(self.data, recipe)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=rates,
            total_steps=n_steps,
            # Torch divides by the steps of the rise, less one.
            pct_start=max(recipe.rise, 2 / n_steps) if n_steps > 2 else 0.9,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def tune(
    model: SoundModel, data: FinetuningData, recipe: FinetuneRecipe, folder: Path
) -> SoundModel:
    """Train a whole network, or go on where a run in the same folder stopped.

    Args:
        model: The model to train, with a last layer for the labels; it is changed.
        data: The data.
        recipe: Hyperparameters.
        folder: Where checkpoints and logs go.

    Returns:
        The model as it was after its best epoch; without validation, after the last.

    Raises:
        DcasenetError: The loss is not finite, a checkpoint cannot be written, or the run in the
            folder was begun with another recipe.
    """
    with seeded(recipe.seed):
        if needs_statistics(model.frontend) and not (folder / LAST).is_file():
            batches = TuningBatches(data, recipe, epoch=recipe.epochs)  # one never reached
            n_batches = min(STATISTICS_BATCHES, len(batches))
            set_statistics(model.frontend, (batches[i].waveforms for i in range(n_batches)))
        module = Tuning(model, data, recipe)
        patience = max(LEAST_PATIENCE, round(PATIENCE * recipe.epochs))
        stopping = EarlyStopping(SCORE, mode="max", patience=patience)
        best = fit(
            module,
            TuningDataModule(data, recipe),
            folder,
            epochs=recipe.epochs,
            steps=steps_per_epoch(data, recipe),
            watch={BEST: SCORE} if data.validation else {},
            gradient_norm=recipe.gradient_norm,
            idle_parts=True,
            callbacks=(stopping,) if data.validation else (),
        )
    state = torch.load(best.get(BEST, folder / LAST), map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    network = module.network.to(memory_format=torch.contiguous_format)
    return SoundModel(model.spec, module.frontend.cpu(), network.cpu(), model.precision)
