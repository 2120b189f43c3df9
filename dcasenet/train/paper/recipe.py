"""The recipe of the paper's experiments: every number that can be turned, with its source."""

from __future__ import annotations

from dataclasses import dataclass

from dcasenet.spec import TASKS, Task


@dataclass(frozen=True)
class PaperRecipe:
    """Hyperparameters of the paper's experiments: the defaults are the authors'.

    Sources: paper, Section 4.2; the released ``train.sh``, which has batches of 32 scenes, 32 tags
    and 24 events where the paper prints 32, 24 and 32. With several processes (`torchrun`) the
    batches are each process's own, so that a step reads as many times more.

    Attributes:
        architecture: ``"v1"``, ``"v2"`` or ``"v3"``.
        tasks: What is trained, one to three; the losses are added.
        width: Factor on every layer.
        epochs: Number of epochs; validated after each.
        steps: Optimizer steps per epoch.
        n_scene: Clips of a step's scene batch.
        n_tag: Clips of a step's tag batch.
        n_event: Channels of recordings of a step's event batch.
        clip_seconds: Length of a scene's or tag's crop, in seconds.
        event_seconds: Length of an event recording's crop, in seconds; a multiple of 0.1.
        learning_rate: Of Adam, at the start of each cosine.
        lowest_rate: Learning rate that each cosine ends at.
        restart: Epochs from one restart of the cosine to the next.
        mixup: Alpha of the Beta distribution that mix-up draws from; 0 is no mix-up.
        mixup_from: First epoch, counted from 0, with mix-up.
        select_on_test: Choose the best epoch in the test split, as the authors did, instead of the
            validation split.
        seed: Of everything random.
    """

    architecture: str = "v3"
    tasks: tuple[Task, ...] = TASKS
    width: float = 1.0
    epochs: int = 160
    steps: int = 500
    n_scene: int = 32
    n_tag: int = 32
    n_event: int = 24
    clip_seconds: float = 5.0
    event_seconds: float = 30.0
    learning_rate: float = 1e-3
    lowest_rate: float = 1e-6
    restart: int = 80
    mixup: float = 0.1
    mixup_from: int = 6
    select_on_test: bool = False
    seed: int = 0

    def batch_size(self, task: Task) -> int:
        """Return the number of examples of a task in a step."""
        return {"scene": self.n_scene, "tag": self.n_tag, "event": self.n_event}[task]
