"""The recipe of distillation: every number that can be turned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DistillRecipe:
    """Hyperparameters of distillation.

    Attributes:
        epochs: Number of epochs.
        steps: Optimizer steps per epoch.
        batch: Windows in a step.
        seconds: Length of a window, the scene's by default; at least 1.6.
        learning_rate: Peak of AdamW's one cycle.
        rise: Share of the steps that the learning rate rises.
        weight_decay: Of AdamW.
        gradient_norm: Gradients are scaled down to this norm.
        mixed: Share of the windows that another window is mixed into, which makes more of little
            audio: the teacher reads the mixture too.
        seed: Of everything random.
    """

    epochs: int = 20
    steps: int = 100
    batch: int = 16
    seconds: float = 5.0
    learning_rate: float = 2e-3
    rise: float = 0.25
    weight_decay: float = 0.01
    gradient_norm: float = 5.0
    mixed: float = 0.5
    seed: int = 0
