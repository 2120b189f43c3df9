"""The paper's training, over any of the three tasks: the Lightning module and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from dcasenet.errors import DcasenetError
from dcasenet.inference.model import SoundModel
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import TASKS, FrontEndSettings, ModelSpec, Task
from dcasenet.train.engine import augmentation
from dcasenet.train.engine.module import Training
from dcasenet.train.engine.validation import Answers, ValidationBatch
from dcasenet.train.paper.batches import PaperBatch
from dcasenet.train.paper.protocol import THRESHOLD
from dcasenet.train.paper.recipe import PaperRecipe
from dcasenet.train.paper.validation import PaperValidationSet
from dcasenet.weights.checkpoint import NOT_A_STATE_DICT, why_refused

CHECKPOINT = "Give the last.ckpt, or another .ckpt, that a training left in its folder."


class PaperTraining(Training):
    """A network on one batch of each task, one after the other; the loss is their plain sum.

    Scene: cross-entropy. Tags and events: binary cross-entropy, averaged over the labels. (The
    authors' joint training runs the tags through the network twice while there is mix-up, an
    oversight that moves nothing but the statistics of batch norm; here they go once.)

    Args:
        recipe: Hyperparameters.
        labels: Task → its labels; a task without any has a head of one output that nothing trains.
        validation_set: The validation set, if there is validation.
        initial: Lightning's checkpoint of a joint training to begin with, for fine-tuning; labels
            of tasks that are not trained now are its own.

    Raises:
        DcasenetError: `initial` is of another architecture, width or other labels.
    """

    def __init__(
        self,
        recipe: PaperRecipe,
        labels: Mapping[Task, Sequence[str]],
        validation_set: PaperValidationSet | None = None,
        initial: Path | None = None,
    ) -> None:
        super().__init__(recipe)
        self.labels = {task: tuple(labels.get(task, ())) for task in TASKS}
        begun = None if initial is None else _read_initial(initial)
        if begun is not None:
            _check_initial(initial, begun, recipe, self.labels)
            self.labels = begun["labels"]
        self.validation_set = validation_set
        n_scenes, n_tags, n_events = (len(self.labels[task]) or 1 for task in TASKS)
        self.network = create(
            recipe.architecture,
            n_scenes=n_scenes,
            n_tags=n_tags,
            n_events=n_events,
            width=recipe.width,
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frontend = LogMel(FrontEndSettings())
        self.answers = Answers()
        if begun is not None:
            self.load_state_dict(begun["state_dict"])

    def losses(self, batch: PaperBatch, random: np.random.Generator) -> dict[str, Tensor]:
        """Return the loss of each task that the batch has."""
        alpha = self.recipe.mixup if self.current_epoch >= self.recipe.mixup_from else 0.0
        found: dict[str, Tensor] = {}
        for task, (sound, truth) in batch.items():
            with torch.no_grad():
                log_mel = self.frontend(sound) if sound.dim() == 2 else sound
                if alpha:
                    # One share for the whole batch, as in the code of mix-up's authors.
                    n, own = len(log_mel), float(random.beta(alpha, alpha))
                    other = torch.from_numpy(random.permutation(n)).to(sound.device)
                    share = torch.full((n,), own, device=sound.device)
                    log_mel = augmentation.mixed(log_mel, share, other)
                    truth = augmentation.mixed(truth, share, other)
            logits = getattr(self.network(log_mel, (task,)), task).float()
            found[task] = (
                nnf.cross_entropy(logits, truth)
                if task == "scene"
                else nnf.binary_cross_entropy_with_logits(logits, truth)
            )
        return found

    def validation_step(self, batch: ValidationBatch, batch_index: int) -> None:
        """Infer one batch."""
        self.answers.add(batch, self.frontend, self.network)

    def on_validation_epoch_end(self) -> None:
        """Grade the answers, of every process."""
        answers, self.answers = self.answers.gathered(), Answers()
        if self.validation_set is not None:
            self.log_dict(self.validation_set.figures(answers), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return Adam, and a cosine that restarts."""
        recipe = self.recipe
        optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, T_0=recipe.restart * recipe.steps, eta_min=recipe.lowest_rate
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the recipe and the labels with what they made."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["labels"] = self.labels


def _read_initial(path: Path) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except NOT_A_STATE_DICT as error:
        raise DcasenetError(
            f"{path} is not the checkpoint of a run: {why_refused(error)}. {CHECKPOINT}"
        ) from error
    if not isinstance(checkpoint, dict) or not {"recipe", "labels"} <= checkpoint.keys():
        raise DcasenetError(f"{path} is not the checkpoint of a run. {CHECKPOINT}")
    return checkpoint


def _check_initial(
    path: Path | None,
    begun: Mapping[str, Any],
    recipe: PaperRecipe,
    labels: Mapping[Task, Sequence[str]],
) -> None:
    """Refuse to fine-tune what does not fit."""
    own = (begun["recipe"]["architecture"], begun["recipe"]["width"])
    if own != (recipe.architecture, recipe.width):
        raise DcasenetError(
            f"{path} is a {own[0]} of width {own[1]:g}, not a {recipe.architecture} of width "
            f"{recipe.width:g}. Give the same architecture and width."
        )
    for task in recipe.tasks:
        if begun["labels"][task] != labels[task]:
            raise DcasenetError(
                f"{path} was not trained for the {task} labels of this data set. Fine-tune it with "
                "'dcasenet finetune', which gives it new ones."
            )


def trained_model(checkpoint: Path, stage: str, **about: Any) -> SoundModel:
    """Make the model of one of Lightning's checkpoints.

    Args:
        checkpoint: A file that a run of `PaperTraining` left.
        stage: What the model is called.
        about: More fields of its `ModelSpec`.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    recipe = PaperRecipe(**state["recipe"])
    module = PaperTraining(recipe, state["labels"])
    module.load_state_dict(state["state_dict"])
    spec = ModelSpec(
        name=recipe.architecture,
        stage=stage,
        width=recipe.width,
        tasks=recipe.tasks,
        scenes=module.labels["scene"],
        tags=module.labels["tag"],
        events=module.labels["event"],
        frontend=module.frontend.settings,
        resampler="sinc",
        thresholds=dict.fromkeys(module.labels["event"], THRESHOLD),
        **about,
    )
    network = module.network.to(memory_format=torch.contiguous_format)
    return SoundModel(spec, module.frontend, network)
