"""Joint training of one network on three tasks: the Lightning module."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.errors import DcasenetError
from dcasenet.frontend import LogMel
from dcasenet.network import create
from dcasenet.spec import FrontEndSettings
from dcasenet.train import augment
from dcasenet.train.evaluate import Answers, Examination, Question
from dcasenet.train.grade import grade
from dcasenet.train.open_data import OpenData
from dcasenet.train.recipe import Recipe
from dcasenet.train.streams import UNKNOWN, Batch

# Chance that an event is active in a step: about 15 of 3 s in a minute, over some 25 labels.
EVENT_PRIOR = 0.03


class JointTraining(lightning.LightningModule):
    """v3 on scene clips, tag clips and soundscapes at once; the loss is the tasks' plain sum.

    Scene: cross-entropy. Tags and events: binary cross-entropy, summed over the labels and
    averaged over the clips or steps (the authors average over labels as well, which leaves the
    GRU heads a gradient some fifty times smaller than the scene's).

    Args:
        recipe: Hyperparameters.
        n_labels: Number of scene, tag and event labels.
        examination: What validation asks, if there is validation.
    """

    def __init__(
        self,
        recipe: Recipe,
        n_labels: tuple[int, int, int],
        examination: Examination | None = None,
    ) -> None:
        super().__init__()
        self.recipe, self.examination = recipe, examination
        n_scenes, n_tags, n_events = n_labels
        self.network = create(
            "v3", n_scenes=n_scenes, n_tags=n_tags, n_events=n_events, width=recipe.width
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frontend = LogMel(frontend_settings(recipe))
        self.answers = Answers()
        self._set_prior("tag_head.6", 1 / n_tags)
        self._set_prior("event_head", EVENT_PRIOR)

    def _set_prior(self, name: str, prior: float) -> None:
        """Start a head at how rare its labels are, so that the first steps need not learn it."""
        head = self.network.get_submodule(name)
        if isinstance(head, nn.Linear):
            nn.init.constant_(head.bias, float(np.log(prior / (1 - prior))))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Give the summed loss of the three streams."""
        random = np.random.default_rng([self.recipe.seed, self.global_step])
        # Dropout draws from torch's own generator, which a resumed run must find the same.
        torch.manual_seed(int(random.integers(2**31)))
        losses = self.clip_losses(batch, random) | self.event_loss(batch, random)
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
            batch_size=len(batch.clips),
        )
        return total

    def features(self, waveforms: Tensor, random: np.random.Generator) -> Tensor:
        """Augment waveforms, then give the log-mel, masked."""
        recipe = self.recipe
        cutoffs = augment.random_cutoffs(
            len(waveforms), recipe.low_pass, recipe.low_pass_range, random
        )
        rate = self.frontend.settings.sample_rate
        waveforms = augment.low_pass(waveforms, cutoffs.to(waveforms.device), rate)
        waveforms = augment.noise_floor(waveforms, recipe.noise, recipe.noise_range, random)
        return augment.mask(self.frontend(waveforms), recipe.masks, random)

    def clip_losses(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Give the scene's and the tags' loss on the clips, mixed up in pairs."""
        with torch.no_grad():
            log_mel = self.features(batch.clips, random)
            other = torch.from_numpy(random.permutation(len(log_mel))).to(log_mel.device)
            own = augment.mixup_weights(len(log_mel), self.recipe.mixup, random).to(log_mel.device)
            mixed = own[:, None, None] * log_mel + (1 - own)[:, None, None] * log_mel[other]
        outputs = self.network(mixed, ("scene", "tag"))
        scene, tag = outputs.scene.float(), outputs.tag.float()
        known = (batch.scene != UNKNOWN).float()
        cross = nnf.cross_entropy(
            scene, batch.scene, ignore_index=UNKNOWN, reduction="none"
        ) * own + nnf.cross_entropy(
            scene, batch.scene[other], ignore_index=UNKNOWN, reduction="none"
        ) * (1 - own)
        weight = own * known + (1 - own) * known[other]
        truth = own[:, None] * batch.tag + (1 - own)[:, None] * batch.tag[other]
        labelled = batch.tag.any(dim=1)
        both = (labelled & labelled[other]).float()
        binary = nnf.binary_cross_entropy_with_logits(tag, truth, reduction="none").sum(dim=1)
        return {
            "scene": cross.sum() / weight.sum().clamp(min=1.0),
            "tag": (binary * both).sum() / both.sum().clamp(min=1.0),
        }

    def event_loss(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Give the events' loss on the soundscapes."""
        with torch.no_grad():
            log_mel = self.features(batch.soundscapes, random)
        event = self.network(log_mel, ("event",)).event.float()
        binary = nnf.binary_cross_entropy_with_logits(event, batch.event, reduction="none")
        return {"event": binary.sum(dim=2).mean()}

    def validation_step(self, question: Question, batch_index: int) -> None:
        """Ask one question."""
        self.answers.add(question, self.frontend, self.network)

    def on_validation_epoch_end(self) -> None:
        """Grade the answers; ``score`` is the mean of the three tasks' first figures."""
        if self.examination is None or self.trainer.sanity_checking:
            self.answers = Answers()
            return
        graded = grade(self.answers, self.examination)
        self.answers = Answers()
        figures = {
            f"{task}_{name}": value
            for task, given in graded.items()
            for name, value in given.figures.items()
        }
        first = [next(iter(given.figures.values())) for given in graded.values()]
        self.log_dict(figures | {"score": float(np.mean(first))})

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

    def configure_optimizers(self) -> Any:
        """Give AdamW on one cycle."""
        recipe = self.recipe
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=recipe.learning_rate,
            total_steps=recipe.epochs * recipe.steps,
            pct_start=recipe.rise,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def frontend_settings(recipe: Recipe) -> FrontEndSettings:
    """Give the front end that a recipe trains with."""
    return FrontEndSettings(normalization=recipe.normalization, max_frequency=recipe.max_frequency)


def label_counts(data: OpenData) -> tuple[int, int, int]:
    """Count the scene, tag and event labels of a data set."""
    return len(data.labels["scene"]), len(data.labels["tag"]), len(data.labels["event"])
