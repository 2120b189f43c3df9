"""`finetune`: a model learns new labels from somebody's own recordings."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from dcasenet.inference.model import SoundModel
from dcasenet.spec import Task
from dcasenet.train.data.dataset import SoundDataset
from dcasenet.train.data.resolve import Group, as_dataset
from dcasenet.train.finetuning.cross_validation import (
    CrossValidation,
    all_to_train,
    cross_validate,
    learn_after,
)
from dcasenet.train.finetuning.data import gather
from dcasenet.train.finetuning.learning import (
    Freeze,
    RecipeOptions,
    check_freeze,
    learn,
    recipe_for,
)
from dcasenet.train.finetuning.surgery import own_network


def finetune(  # noqa: PLR0913 - the one function that takes every option there is
    model: SoundModel,
    data: str | os.PathLike[str] | SoundDataset,
    task: Task,
    *,
    freeze: Freeze = "trunk",
    epochs: int = 30,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    backbone_lr_scale: float = 0.3,
    mixup: float = 0.4,
    validation: float = 0.2,
    folds: int | CrossValidation | None = None,
    seed: int = 0,
    group: Group | None = None,
    work_dir: str | os.PathLike[str] | None = None,
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
            `SoundDataset`. Its test split is left alone.
        task: ``"scene"``: one label is true. ``"tag"``: any number. ``"event"``: from when to when.
        freeze: What stays as it is: the ``"trunk"``, or ``"none"`` of it.
        epochs: Only without freeze: most epochs; training stops earlier when a third of them
            brought nothing better. One cycle of the learning rate.
        batch_size: Only without freeze: recordings in a step (32 scene clips in the paper).
        learning_rate: Only without freeze: highest rate of the new last layer (the paper's 0.001).
        backbone_lr_scale: Only without freeze: share of that rate that the layers before it get.
        mixup: Only without freeze: alpha of mix-up, for scenes and tags; 0 is none (the open
            checkpoint's recipe has 0.4, the paper 0.1).
        validation: Share of the recordings to hold out, unless the data says which; it decides when
            to stop, and the events' thresholds. 0 trains on everything to the end.
        folds: For few recordings: how many folds to cross-validate by first (see `cross_validate`,
            which gives the report), or such a report. Its figures go into the spec, and a linear
            head is then trained on everything.
        seed: Of everything random; the same machine, seed and data give the same model.
        group: Gives the recording that a file of a folder or table was cut from, so that no
            recording is both trained on and held out, such as ``"^[^_]+"``; see `as_dataset`.
        work_dir: Folder for decoded audio, checkpoints and logs; with it, a run that was
            interrupted goes on from its last epoch. By default a temporary one.

    Returns:
        A new model with the new labels. Its spec has the validation figures, and passes license
        and training data on. `SoundModel.save_pretrained` saves it.

    Raises:
        ValueError: The task, `freeze`, `group` or a number is none.
        DcasenetError: The data cannot be trained on or is labeled for another task, or the loss is
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
        ...     tuned = finetune(dcasenet.load(), folder, "scene")
        >>> tuned.classify_scene(hum / 4, 24_000).label
        'hum'
    """
    check_freeze(freeze)
    options: RecipeOptions = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "backbone_lr_scale": backbone_lr_scale,
        "mixup": mixup,
    }
    with nullcontext(work_dir) if work_dir is not None else TemporaryDirectory() as folder:
        report = folds
        if isinstance(folds, int):
            report = cross_validate(
                model,
                data,
                task,
                folds=folds,
                freeze=freeze,
                validation=validation,
                seed=seed,
                group=group,
                work_dir=folder,
                **options,
            )
        # A head that folds have chosen the decay of needs no validation split.
        is_chosen = isinstance(report, CrossValidation) and freeze == "trunk"
        share = 0.0 if is_chosen else validation
        dataset = as_dataset(data, task, validation=share, seed=seed, group=group)
        if is_chosen:
            dataset = all_to_train(dataset)
        recipe = recipe_for(model, dataset, seed, options)
        spec, _ = own_network(model, task)
        tuning_data = gather(dataset, spec, share, seed, Path(folder, "cache"))
        if isinstance(report, CrossValidation):
            return learn_after(report, model, tuning_data, recipe, Path(folder, "run"), freeze)
        return learn(model, tuning_data, recipe, Path(folder, "run"), freeze)
