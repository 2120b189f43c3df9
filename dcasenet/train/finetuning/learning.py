"""One model learns from data that is ready: a linear head, or a whole network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict

from dcasenet.inference.model import SoundModel
from dcasenet.train.data.dataset import SoundDataset
from dcasenet.train.finetuning.data import FinetuningData
from dcasenet.train.finetuning.evaluation import Evaluation, evaluate, predict, verb
from dcasenet.train.finetuning.probe import fit_head
from dcasenet.train.finetuning.recipe import FinetuneRecipe
from dcasenet.train.finetuning.surgery import (
    described,
    own_network,
    with_linear_head,
    with_new_layer,
)

Freeze = Literal["trunk", "none"]
FREEZES = ("trunk", "none")


class RecipeOptions(TypedDict, total=False):
    """Options of fine-tuning without freeze; see `finetune`."""

    epochs: int
    batch_size: int
    learning_rate: float
    backbone_lr_scale: float
    mixup: float


def check_freeze(freeze: str) -> None:
    """Refuse a word for what stays as it is that is none.

    Raises:
        ValueError: It is neither ``"trunk"`` nor ``"none"``.
    """
    if freeze not in FREEZES:
        raise ValueError(f"freeze={freeze!r} is not known; give one of {', '.join(FREEZES)}.")


def recipe_for(
    model: SoundModel, data: SoundDataset, seed: int, options: RecipeOptions
) -> FinetuneRecipe:
    """Return the recipe of a model on a data set, with defaults for what the options leave out.

    Raises:
        ValueError: An option is out of range.
        TaskNotAvailableError: The model has networks per task, and none for this one.
    """
    spec, _ = own_network(model, data.task)
    chosen: RecipeOptions = {
        "epochs": 30,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "backbone_lr_scale": 0.3,
        "mixup": 0.4,
        **options,
    }
    return FinetuneRecipe(
        task=data.task,
        labels=data.labels,
        architecture=spec.name,
        width=spec.width,
        seed=seed,
        **chosen,
    )


def learn(
    model: SoundModel, data: FinetuningData, recipe: FinetuneRecipe, folder: Path, freeze: Freeze
) -> SoundModel:
    """Teach a model what is ready to be learned; see `finetune`.

    Args:
        model: Any model.
        data: The data, decoded at the model's rate.
        recipe: Hyperparameters, of use without freeze only.
        folder: Where checkpoints and logs go.
        freeze: What stays as it is.
    """
    if freeze == "trunk":
        head, evaluation = fit_head(model, data)
        return with_linear_head(model, head, data, evaluation)
    tune, start = _tune(), with_new_layer(model, data, recipe)
    tuned = tune(start, data, recipe, folder)
    evaluation = Evaluation({})
    if data.validation:
        query = verb(tuned.spec, data.task)
        answers = predict(tuned, query, data.validation, data.store)
        evaluation = evaluate(data, data.validation, list(answers))
    tuned.spec = described(tuned.spec, data, evaluation, "all layers trained", "epoch")
    return tuned.to(model.device)


def _tune() -> Callable[[SoundModel, FinetuningData, FinetuneRecipe, Path], SoundModel]:
    """Import what trains a whole network, which takes seconds that a probe need not wait."""
    try:
        from dcasenet.train.finetuning.tuning import tune
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ImportError(
            f"Training a whole network needs {missing}. Type: pip install 'dcasenet[train]'"
        ) from error
    return tune
