"""`finetune`: a model learns new labels from somebody's own recordings."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from dcasenet.inference.model import SoundModel
from dcasenet.spec import Task
from dcasenet.train.data.dataset import SoundDataset
from dcasenet.train.data.resolve import as_dataset
from dcasenet.train.finetuning.data import Material, gather
from dcasenet.train.finetuning.evaluation import Verdict, ask, judge, verb
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


def finetune(  # noqa: PLR0913 - the one function that takes every option there is
    model: SoundModel,
    data: str | os.PathLike[str] | SoundDataset,
    task: Task,
    *,
    freeze: Freeze = "trunk",
    epochs: int = 30,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    trunk_rate: float = 0.3,
    mixup: float = 0.4,
    validation: float = 0.2,
    seed: int = 0,
    work: str | os.PathLike[str] | None = None,
) -> SoundModel:
    """Teach a model the labels of somebody's own recordings.

    With ``freeze="trunk"`` one linear layer is trained on embeddings that are computed once: the
    mean over each of the scene's or the tags' windows, or each step of the events'. It takes
    seconds, and the other tasks answer as before. With ``freeze="none"`` everything on the task's
    way is trained, with a new last layer; the other tasks are then no longer answered.

    Args:
        model: Any model: a released one, the open one, one's own, or `untrained`. Of a model with
            networks per task, the task's own is taken.
        data: A folder with a folder of recordings for each class, a CSV (see `AudioTable`), or a
            `SoundDataset`. Its test side is left alone.
        task: ``"scene"``: one label is true. ``"tag"``: any number. ``"event"``: from when to when.
        freeze: What stays as it is: the ``"trunk"``, or ``"none"`` of it.
        epochs: Only without freeze: most epochs; training stops earlier when a third of them
            brought nothing better. One cycle of the learning rate.
        batch_size: Only without freeze: recordings in a step (32 scene clips in the paper).
        learning_rate: Only without freeze: highest rate of the new last layer (the paper's 0.001).
        trunk_rate: Only without freeze: share of that rate that the layers before it get.
        mixup: Only without freeze: alpha of mix-up, for scenes and tags; 0 is none (the open
            checkpoint's recipe has 0.4, the paper 0.1).
        validation: Share of the recordings to hold out, unless the data says which; it decides when
            to stop, and the events' thresholds. 0 trains on everything to the end.
        seed: Of everything random; the same machine, seed and data give the same model.
        work: Folder for decoded audio, checkpoints and logs; with it, a run that was interrupted
            goes on from its last epoch. By default a temporary one.

    Returns:
        A new model with the new labels. Its spec has the validation figures, and passes licence
        and training data on. `SoundModel.save_pretrained` saves it.

    Raises:
        ValueError: The task, `freeze` or a number is none.
        DcasenetError: The data cannot be trained on or is labelled for another task, or the loss is
            not finite.
        AudioError, WeightsError: See `dcasenet.load`.

    Example:
        >>> import dcasenet, numpy, soundfile
        >>> random = numpy.random.default_rng(0)
        >>> with TemporaryDirectory() as folder:
        ...     for name, loud in (("hiss", 0.5), ("hum", 0.01)):
        ...         Path(folder, name).mkdir()
        ...         for take in range(4):
        ...             noise = loud * random.standard_normal(24_000)
        ...             hum = numpy.sin(numpy.arange(24_000) * 0.02) / 2
        ...             soundfile.write(f"{folder}/{name}/{take}.wav", (noise + hum) / 4, 24_000)
        ...     tuned = finetune(dcasenet.load("v3", stage="open"), folder, "scene")
        >>> tuned.classify_scene(hum / 4, 24_000).label
        'hum'
    """
    if freeze not in FREEZES:
        raise ValueError(f"freeze={freeze!r} is not known; give one of {', '.join(FREEZES)}.")
    dataset = as_dataset(data, task, validation=validation, seed=seed)
    spec, _ = own_network(model, task)
    recipe = FinetuneRecipe(
        task=task,
        labels=dataset.labels,
        architecture=spec.name,
        width=spec.width,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        trunk_rate=trunk_rate,
        mixup=mixup,
        seed=seed,
    )
    with nullcontext(work) if work is not None else TemporaryDirectory() as folder:
        material = gather(dataset, spec, validation, seed, Path(folder, "cache"))
        return learn(model, material, recipe, Path(folder, "run"), freeze)


def learn(
    model: SoundModel, material: Material, recipe: FinetuneRecipe, folder: Path, freeze: Freeze
) -> SoundModel:
    """Teach a model what is ready to be learned; see `finetune`.

    Args:
        model: Any model.
        material: The data, decoded at the model's rate.
        recipe: Hyperparameters, of use without freeze only.
        folder: Where checkpoints and logs go.
        freeze: What stays as it is.
    """
    if freeze == "trunk":
        head, verdict = fit_head(model, material)
        return with_linear_head(model, head, material, verdict)
    tune, start = _tune(), with_new_layer(model, material, recipe)
    tuned = tune(start, material, recipe, folder)
    verdict = Verdict({})
    if material.validation:
        question = verb(tuned.spec, material.task)
        answers = ask(tuned, question, material.validation, material.store)
        verdict = judge(material, material.validation, list(answers))
    tuned.spec = described(tuned.spec, material, verdict, "all layers trained")
    return tuned.to(model.device)


def _tune() -> Callable[[SoundModel, Material, FinetuneRecipe, Path], SoundModel]:
    """Import what trains a whole network, which takes seconds that a probe need not wait."""
    try:
        from dcasenet.train.finetuning.tuning import tune
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ImportError(
            f"Training a whole network needs {missing}. Type: pip install 'dcasenet[train]'"
        ) from error
    return tune
