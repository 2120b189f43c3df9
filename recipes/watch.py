"""Figures on mixtures of the validation split, the same ones each time: to watch, not to report."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recipes.bank import Bank
from recipes.mixtures import MixtureSampler
from recipes.students import Lecturer, Student

BATCH = 64


@torch.no_grad()
def watch(
    students: Sequence[Student], lecturer: Lecturer, bank: Bank, n: int, seed: int = 1
) -> dict[str, dict[str, float]]:
    """Return each student's figures on `n` mixtures of 10 s.

    `teacher_top1`: share of the mixtures whose likeliest tag is the teacher's. `frame_f1`: of the
    events at 0.5, per step. `scene`: share of the known environments that are found.
    """
    mixer = MixtureSampler(bank, seed=seed)
    sums: dict[str, Tensor] = {s.settings.name: torch.zeros(7) for s in students}
    for first in range(0, n, BATCH):
        mixtures = mixer.draw(min(BATCH, n - first), 10.0)
        lesson = lecturer(mixtures.clean)
        for student in students:
            student.eval()
            outputs = student.network(student.frontend(mixtures.degraded))
            top = outputs.tag.argmax(dim=1) == lesson.tag.argmax(dim=1)
            known = mixtures.scene >= 0
            found = (outputs.scene.argmax(dim=1) == mixtures.scene) & known
            steps = min(outputs.event.shape[1], mixtures.event.shape[1])
            guess = outputs.event[mixtures.event_known, :steps] > 0
            truth = mixtures.event[mixtures.event_known, :steps] > 0.5
            counts = (guess & truth).sum(), guess.sum(), truth.sum()
            row = [top.sum(), top.numel(), found.sum(), known.sum(), *counts]
            sums[student.settings.name] += torch.tensor([float(x) for x in row])
    return {
        name: {
            "teacher_top1": float(s[0] / s[1]),
            "scene": float(s[2] / s[3].clamp(min=1)),
            "frame_f1": float(2 * s[4] / (s[5] + s[6]).clamp(min=1)),
        }
        for name, s in sums.items()
    }
