"""Joint training of one network on the open three-task data: the Lightning module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.models.base import LAST_LAYERS
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from dcasenet.train.engine import augmentation
from dcasenet.train.engine.module import Training, one_cycle
from dcasenet.train.engine.validation import Answers, ValidationBatch
from recipes.open.batches import UNKNOWN, Batch
from recipes.open.data import OpenData
from recipes.open.recipe import Recipe
from recipes.open.scores import grade
from recipes.open.validation import ValidationSet

# Chance that an event is active in a step: about 15 of 3 s in a minute, over some 25 labels.
EVENT_PRIOR = 0.03


class JointTraining(Training):
    """v3 on scene clips, tag clips and soundscapes at once; the loss is the tasks' plain sum.

    Scene: cross-entropy. Tags and events: binary cross-entropy, summed over the labels and
    averaged over the clips or steps (the authors average over labels as well, which leaves the
    GRU heads a gradient some fifty times smaller than the scene's).

    Args:
        recipe: Hyperparameters.
        n_labels: Number of scene, tag and event labels.
        validation_set: The validation set, if there is validation.
    """

    def __init__(
        self,
        recipe: Recipe,
        n_labels: tuple[int, int, int],
        validation_set: ValidationSet | None = None,
    ) -> None:
        super().__init__(recipe)
        self.validation_set = validation_set
        n_scenes, n_tags, n_events = n_labels
        self.network = create(
            "v3", n_scenes=n_scenes, n_tags=n_tags, n_events=n_events, width=recipe.width
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frontend = LogMel(frontend_settings(recipe))
        self.answers = Answers()
        self._set_prior(LAST_LAYERS["tag"], 1 / n_tags)
        self._set_prior(LAST_LAYERS["event"], EVENT_PRIOR)

    def _set_prior(self, name: str, prior: float) -> None:
        """Start a head at how rare its labels are, so that the first steps need not learn it."""
        head = self.network.get_submodule(name)
        if isinstance(head, nn.Linear):
            nn.init.constant_(head.bias, float(np.log(prior / (1 - prior))))

    def losses(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Return the losses of the streams that are trained."""
        losses: dict[str, Tensor] = {}
        if len(batch.clips):
            losses |= self.clip_losses(batch, random)
        if len(batch.soundscapes):
            losses |= self.event_loss(batch, random)
        return losses

    def features(self, waveforms: Tensor, random: np.random.Generator) -> Tensor:
        """Augment waveforms, then give the log-mel, masked."""
        recipe = self.recipe
        cutoffs = augmentation.random_cutoffs(
            len(waveforms), recipe.low_pass, recipe.low_pass_range, random
        )
        rate = self.frontend.settings.sample_rate
        waveforms = augmentation.low_pass(waveforms, cutoffs.to(waveforms.device), rate)
        waveforms = augmentation.noise_floor(waveforms, recipe.noise, recipe.noise_range, random)
        return augmentation.mask(self.frontend(waveforms), recipe.masks, random)

    def clip_losses(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Return the scene's and the tags' loss on the clips, mixed up in pairs."""
        with torch.no_grad():
            log_mel = self.features(batch.clips, random)
            other = torch.from_numpy(random.permutation(len(log_mel))).to(log_mel.device)
            own = augmentation.mixup_weights(len(log_mel), self.recipe.mixup, random).to(
                log_mel.device
            )
            mixed = augmentation.mixed(log_mel, own, other)
        outputs = self.network(mixed, [t for t in ("scene", "tag") if t in self.recipe.tasks])
        losses: dict[str, Tensor] = {}
        if outputs.scene is not None:
            losses["scene"] = self._scene_loss(outputs.scene.float(), batch, other, own)
        if outputs.tag is not None:
            losses["tag"] = self._tag_loss(outputs.tag.float(), batch, other, own)
        return losses

    def _scene_loss(self, scene: Tensor, batch: Batch, other: Tensor, own: Tensor) -> Tensor:
        known = (batch.scene != UNKNOWN).float()
        cross = nnf.cross_entropy(
            scene, batch.scene, ignore_index=UNKNOWN, reduction="none"
        ) * own + nnf.cross_entropy(
            scene, batch.scene[other], ignore_index=UNKNOWN, reduction="none"
        ) * (1 - own)
        weight = own * known + (1 - own) * known[other]
        return cross.sum() / weight.sum().clamp(min=1.0)

    def _tag_loss(self, tag: Tensor, batch: Batch, other: Tensor, own: Tensor) -> Tensor:
        truth = augmentation.mixed(batch.tag, own, other)
        labeled = batch.tag.any(dim=1)
        both = (labeled & labeled[other]).float()
        binary = nnf.binary_cross_entropy_with_logits(tag, truth, reduction="none").sum(dim=1)
        return (binary * both).sum() / both.sum().clamp(min=1.0)

    def event_loss(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Return the events' loss on the soundscapes."""
        with torch.no_grad():
            log_mel = self.features(batch.soundscapes, random)
        event = self.network(log_mel, ("event",)).event.float()
        binary = nnf.binary_cross_entropy_with_logits(event, batch.event, reduction="none")
        return {"event": binary.sum(dim=2).mean()}

    def validation_step(self, batch: ValidationBatch, batch_index: int) -> None:
        """Infer one batch."""
        self.answers.add(batch, self.frontend, self.network)

    def on_validation_epoch_end(self) -> None:
        """Grade the answers; ``score`` is the mean of the three tasks' first figures."""
        if self.validation_set is None or self.trainer.sanity_checking:
            self.answers = Answers()
            return
        graded = grade(self.answers.gathered(), self.validation_set)
        self.answers = Answers()
        figures = {
            f"{task}_{name}": value
            for task, given in graded.items()
            for name, value in given.figures.items()
        }
        first = [next(iter(given.figures.values())) for given in graded.values()]
        self.log_dict(figures | {"score": float(np.mean(first))}, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW on one cycle."""
        return one_cycle(self.network, self.recipe)


def trained(checkpoint: Path, data: OpenData) -> tuple[JointTraining, int]:
    """Load what was trained, in evaluation mode.

    Args:
        checkpoint: Lightning's, with the recipe that it was trained by.
        data: The data set that it was trained on.

    Returns:
        The module, and after how many epochs it was saved.
    """
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    module = JointTraining(Recipe(**state["recipe"]), label_counts(data))
    module.load_state_dict(state["state_dict"])
    return module.eval(), int(state["epoch"]) + 1


def frontend_settings(recipe: Recipe) -> FrontEndSettings:
    """Return the front end that a recipe trains with."""
    return FrontEndSettings(normalization=recipe.normalization, max_frequency=recipe.max_frequency)


def label_counts(data: OpenData) -> tuple[int, int, int]:
    """Count the scene, tag and event labels of a data set."""
    return len(data.labels["scene"]), len(data.labels["tag"]), len(data.labels["event"])
