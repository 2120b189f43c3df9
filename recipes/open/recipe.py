"""The recipe of the open checkpoint: every number that can be turned, with its unit and source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dcasenet.spec import TASKS, Task


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of joint training on the open data.

    The authors' own (paper, Section 4.2; their ``train.sh``) are 160 epochs of 500 steps with
    batches of 32, 24 and 32, Adam at 0.001 with cosine restarts, mix-up 0.1, from 64 h of audio.
    Here there are two hours, so the schedule is one short cycle (the open checkpoint's training has
    two, see `recipes.open.checkpoint`) and the augmentation stronger; and crops are half as
    long, for of the same hours of training more and shorter ones teach more.

    Attributes:
        tasks: What is trained; the streams of other tasks are left out.
        width: Factor on every layer of v3.
        normalization: Of the front end, see `dcasenet.models.frontend.LogMel`.
        max_frequency: Hz above which the front end is deaf: nothing in ESC-50 reaches higher.
        epochs: Number of epochs; validated after each.
        steps: Optimizer steps per epoch.
        n_scene_clips: Clips of the scene stream in a step.
        n_tag_clips: Clips of the tag stream in a step.
        n_soundscapes: Soundscapes of the event stream in a step.
        clip_seconds: Length of a clip's crop, in seconds.
        soundscape_seconds: Length of a soundscape, in seconds.
        learning_rate: Peak of the one cycle.
        rise: Share of the steps that the learning rate rises.
        weight_decay: Of AdamW.
        gradient_norm: Gradients are scaled down to this norm.
        mixup: Alpha of the Beta distribution that mix-up draws from; 0 is no mix-up.
        low_pass: Share of the waveforms that are low-passed at random.
        low_pass_range: Lowest and highest cut-off, in Hz.
        noise: Share of the waveforms that get a floor of white noise.
        noise_range: Lowest and highest level of that floor, in dBFS.
        masks: Widest stretch of mel bins and of frames that is masked (SpecAugment).
        gain: Lowest and highest random gain of a clip, in dB.
        seed: Of everything random.
    """

    tasks: tuple[Task, ...] = TASKS
    width: float = 0.5
    normalization: Literal["clip", "fixed"] = "fixed"
    max_frequency: float = 8_000.0
    epochs: int = 13
    steps: int = 200
    n_scene_clips: int = 12
    n_tag_clips: int = 24
    n_soundscapes: int = 1
    clip_seconds: float = 2.4
    soundscape_seconds: float = 30.0
    learning_rate: float = 2e-3
    rise: float = 0.25
    weight_decay: float = 0.01
    gradient_norm: float = 5.0
    mixup: float = 0.4
    low_pass: float = 0.5
    low_pass_range: tuple[float, float] = (3_000.0, 8_000.0)
    noise: float = 0.5
    noise_range: tuple[float, float] = (-100.0, -55.0)
    masks: tuple[int, int] = (12, 25)
    gain: tuple[float, float] = (-15.0, 5.0)
    seed: int = 0

    @property
    def n_examples(self) -> tuple[int, int, int]:
        """Clips of the scene and of the tag stream, and soundscapes, in a step."""
        counts = (self.n_scene_clips, self.n_tag_clips, self.n_soundscapes)
        counts_used = [
            n if task in self.tasks else 0 for task, n in zip(TASKS, counts, strict=True)
        ]
        return counts_used[0], counts_used[1], counts_used[2]
