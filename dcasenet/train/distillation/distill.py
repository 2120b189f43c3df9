"""Distillation: a narrow network learns to answer like a wide one, from audio without labels.

The paper's own future work (Section 5).
"""

from __future__ import annotations

import copy
import dataclasses
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.inference.model import SoundModel
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import TASKS, ModelSpec, Task
from dcasenet.train.distillation.data import StrPath, WindowData, waveforms_of
from dcasenet.train.distillation.recipe import DistillRecipe
from dcasenet.train.engine import augmentation
from dcasenet.train.engine.module import Training, one_cycle, seeded
from dcasenet.train.engine.trainer import LAST, fit
from dcasenet.types import Audio, Audios


class Distillation(Training):
    """A student on what its teacher answers about the same windows.

    The loss of a task is the divergence (Kullback–Leibler) of the student's probabilities from the
    teacher's: of the scene's distribution, of each tag, of each event at each step; summed over the
    labels, averaged over windows and steps. It is 0 where both say the same.

    Args:
        recipe: Hyperparameters.
        teacher: Any model.
        student: A model that answers the teacher's tasks with the teacher's labels.
    """

    def __init__(
        self, recipe: DistillRecipe, teacher: SoundVerbs[Any], student: SoundModel
    ) -> None:
        super().__init__(recipe)
        self._infer, self._tasks = teacher.infer, teacher.spec.tasks
        self.frontend = student.frontend.train()  # the same in every mode; Lightning would warn
        self.network: nn.Module = student.network.train().to(
            memory_format=torch.channels_last  # type: ignore[call-overload]
        )

    def losses(self, batch: Tensor, random: np.random.Generator) -> dict[str, Tensor]:
        """Return each task's divergence."""
        n = len(batch)
        share = np.where(random.random(n) < self.recipe.mixed, random.uniform(0.5, 1.0, n), 1.0)
        own = torch.from_numpy(share).float().to(batch.device)
        other = torch.from_numpy(random.permutation(n)).to(batch.device)
        log_mel = augmentation.mixed(batch, own, other)
        truths = self._infer(log_mel.cpu().numpy(), self._tasks)
        with torch.no_grad():
            log_mel = self.frontend(log_mel)
        outputs = self.network(log_mel, self._tasks)
        return {
            task: divergence(
                task,
                getattr(outputs, task).float(),
                torch.from_numpy(np.asarray(truths[task])).to(batch.device),
            )
            for task in self._tasks
        }

    def configure_optimizers(self) -> Any:
        """Return AdamW on one cycle."""
        return one_cycle(self.network, self.recipe)


def divergence(task: Task, logits: Tensor, truth: Tensor) -> Tensor:
    """Return how far a student's answers are from the teacher's, 0 and up.

    Args:
        task: The scene's labels exclude each other, those of tags and events do not.
        logits: The student's, (…, labels).
        truth: The teacher's, (…, labels).

    Example:
        >>> same = torch.tensor([[2.0, -1.0]])
        >>> float(divergence("scene", same, same)), float(divergence("tag", same, same))
        (0.0, 0.0)
    """
    if task == "scene":
        target, student = truth.log_softmax(dim=-1), logits.log_softmax(dim=-1)
        return (target.exp() * (target - student)).sum(dim=-1).mean()
    soft = truth.sigmoid()
    binary = nnf.binary_cross_entropy_with_logits
    apart = binary(logits, soft, reduction="none") - binary(truth, soft, reduction="none")
    return apart.sum(dim=-1).mean()


def distill(
    teacher: SoundVerbs[Any],
    student: SoundModel | float,
    audio: StrPath | Audio | Audios,
    *,
    sample_rate: int | None = None,
    recipe: DistillRecipe | None = None,
    work_dir: StrPath | None = None,
) -> SoundModel:
    """Teach a small network to answer like a large one, on audio that needs no labels.

    Args:
        teacher: Any model; of one whose tasks are separate networks, each teaches its task.
        student: Width of a new network of the teacher's architecture, such as 0.25 or 0.5; or a
            model with the teacher's labels, which is copied.
        audio: A folder of recordings, or what the verbs take: a file, an array, or a list of them.
        sample_rate: Rate of arrays, in Hz.
        recipe: Hyperparameters; by default those of `DistillRecipe`.
        work_dir: Folder for decoded audio, checkpoints and logs, in which an interrupted run goes
            on; by default a temporary one.

    Returns:
        The student, with the teacher's labels and how its events are decoded: thresholds and
        hysteresis, which belong together.

    Raises:
        AudioError: There is no recording, or an array cannot be used.
        DcasenetError: No file can be read, or the loss is not finite.
        ValueError: The width is out of range, or the student has other labels.
    """
    recipe = recipe or DistillRecipe()
    with (
        seeded(recipe.seed),
        nullcontext(work_dir) if work_dir is not None else TemporaryDirectory() as place,
    ):
        folder = Path(place)
        pupil = _student(teacher, student)
        waveforms = waveforms_of(audio, sample_rate, teacher.spec, folder / "cache")
        n_samples = round(recipe.seconds * teacher.spec.frontend.sample_rate) + 1
        module = Distillation(recipe, teacher, pupil)
        fit(
            module,
            WindowData(waveforms, n_samples, recipe),
            folder,
            epochs=recipe.epochs,
            steps=recipe.steps,
            watch={},
            gradient_norm=recipe.gradient_norm,
            idle_parts=set(pupil.spec.tasks) != set(TASKS),
        )
        # A run that had ended before leaves the module as it was drawn.
        state = torch.load(folder / LAST, map_location="cpu", weights_only=True)["state_dict"]
        module.cpu().load_state_dict(state)
    network = module.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return SoundModel(pupil.spec, module.frontend, network)


def _student(teacher: SoundVerbs[Any], student: SoundModel | float) -> SoundModel:
    """Return the student before its lessons: a new one, or a copy."""
    spec: ModelSpec = teacher.spec
    if isinstance(student, SoundModel):
        own = student.spec
        for task in spec.tasks:
            if task not in own.tasks or own.labels(task) != spec.labels(task):
                raise ValueError(
                    f"The student does not have the teacher's {task} labels "
                    f"({', '.join(spec.labels(task)[:3])}, …). Give a width, such as 0.5, for a "
                    "new student."
                )
        if own.step != spec.step:
            raise ValueError(
                f"The student's steps are {own.step:g} s and the teacher's {spec.step:g} s. Give a "
                f"student with time_pooling={spec.time_pooling}."
            )
        begun = dataclasses.replace(spec, name=own.name, width=own.width, heads=own.heads)
        begun = dataclasses.replace(begun, frontend=own.frontend, resampler=own.resampler)
        network, frontend = copy.deepcopy(student.network), copy.deepcopy(student.frontend)
        network.requires_grad_(True)
    else:
        begun = dataclasses.replace(spec, width=float(student), heads={})
        n_scenes, n_tags, n_events = (len(spec.labels(task)) or 1 for task in TASKS)
        network = create(
            spec.name,
            n_scenes=n_scenes,
            n_tags=n_tags,
            n_events=n_events,
            width=begun.width,
            time_pooling=begun.time_pooling,
        )
        frontend = LogMel(spec.frontend)
        if isinstance(teacher, SoundModel):
            frontend.load_state_dict(teacher.frontend.state_dict())
    begun = dataclasses.replace(
        begun,
        stage="distilled",
        selected_for=None,
        curves={},
        familiarity=None,
        metrics={},
        protocol="",
        members={},
        file=None,
        source=f"Distilled from {spec.name}, stage {spec.stage}, width {spec.width:g}.",
    )
    return SoundModel(begun, frontend, network)
