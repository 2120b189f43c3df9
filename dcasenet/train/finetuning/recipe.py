"""The recipe of fine-tuning a whole network: every number that can be turned."""

from __future__ import annotations

from dataclasses import dataclass

from dcasenet.spec import Task


@dataclass(frozen=True)
class FinetuneRecipe:
    """Hyperparameters of fine-tuning a whole network.

    Attributes:
        task: What is learned.
        labels: Its labels.
        architecture: ``"v1"``, ``"v2"`` or ``"v3"``.
        width: Factor on every layer.
        epochs: Most epochs; the one cycle of the learning rate spans all of them.
        batch_size: Recordings in a step.
        learning_rate: Highest rate of the new last layer.
        backbone_lr_scale: Share of it that the other layers get.
        mixup: Alpha of the Beta distribution that mix-up draws from; 0 is no mix-up.
        seed: Of everything random.
        clip_seconds: Length of a scene's or tag's crop, in seconds (paper, Section 4.2).
        weight_decay: Of AdamW.
        gradient_norm: Gradients are scaled down to this norm.
        rise: Share of the steps that the learning rate rises.
        masks: Widest stretch of mel bins and of frames that is masked (SpecAugment).
        gain: Lowest and highest random gain of a recording, in dB.
    """

    task: Task
    labels: tuple[str, ...]
    architecture: str
    width: float
    epochs: int
    batch_size: int
    learning_rate: float
    backbone_lr_scale: float
    mixup: float
    seed: int
    clip_seconds: float = 5.0
    weight_decay: float = 0.01
    gradient_norm: float = 5.0
    rise: float = 0.25
    masks: tuple[int, int] = (12, 25)
    gain: tuple[float, float] = (-15.0, 5.0)

    def __post_init__(self) -> None:
        lowest = {"epochs": 1, "batch_size": 2, "mixup": 0, "backbone_lr_scale": 0}
        for name, least in lowest.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}={getattr(self, name)!r} is out of range; give {least}+.")
        if not 0 < self.learning_rate < 1:
            raise ValueError(
                f"learning_rate={self.learning_rate!r} is out of range; give 0.001 or so."
            )
