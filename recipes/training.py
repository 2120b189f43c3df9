"""Training by the clock: as many batches as some minutes hold, and always a checkpoint at the end.

Every student reads the same batches, so that what differs between two of them is what they learn
from them. The learning rate follows the share of the minutes that has passed; the state is saved
every few minutes and training goes on from it, with the minutes that are left.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcasenet.atomic import replacing
from dcasenet.errors import DcasenetError
from recipes.mixtures import Mixtures, MixtureSampler
from recipes.students import Lecturer, Lesson, LossWeights, Student

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        minutes: Of training; what comes before and after is not counted.
        batch: Mixtures of 10 s in a batch; twice as many of 5 s.
        learning_rate: At its highest.
        warm_up: Share of the minutes in which it rises.
        weight_decay: AdamW's.
        averaging: Decay of the moving average of the weights, which is what is kept.
        save_every: Minutes between two saved states.
        masks: Chance that a stretch of time and one of frequency are masked.
    """

    minutes: float
    batch: int = 128
    learning_rate: float = 1.5e-3
    warm_up: float = 0.05
    weight_decay: float = 0.01
    averaging: float = 0.995
    save_every: float = 3.0
    masks: float = 0.5

    def rate_at(self, share: float) -> float:
        """Return the learning rate when a share of the minutes has passed.

        Example:
            >>> Schedule(minutes=8).rate_at(0.05)
            0.0015
        """
        if share < self.warm_up:
            return self.learning_rate * max(share, 0.01) / self.warm_up
        fall = (share - self.warm_up) / (1.0 - self.warm_up)
        return self.learning_rate * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * min(fall, 1))))


# Seconds of the mixtures in turn: the windows that the checkpoint is evaluated lie between them.
DURATIONS = (10.0, 5.0)


REPORT_EVERY = 50  # batches

# What may be changed before training goes on.
UNBOUND = ("minutes", "save_every")

# Blocks of the backbone that stay as they are where training goes on from a checkpoint.
SETTLED_BLOCKS = 2


class Learner:
    """One student with its optimizer and the average of its weights."""

    def __init__(self, student: Student, schedule: Schedule) -> None:
        self.student = student
        self.optimizer = torch.optim.AdamW(
            student.parameters(), weight_decay=schedule.weight_decay, fused=True
        )
        self.average = copy.deepcopy(student).eval().requires_grad_(False)
        self.averaging = schedule.averaging

    def step(self, loss: Tensor, rate: float, n_steps: int) -> None:
        """Follow the gradient of a loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        follow(self.average, self.student, n_steps, self.averaging)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])


class StudentTrainer:
    """Trains students on mixtures, with at most one teacher, for a number of minutes.

    Args:
        students: Who learns.
        lecturer: The teacher, if any of them is taught.
        mixer: Draws the batches.
        schedule: How long and how fast.
        weights: Of the losses.
        half: Type of the convolutions where the device is faster in it; None for float32.
        compiled: Whether to compile the convolution blocks.
        settled: Whether the students were trained before: statistics and the first blocks stay.
    """

    def __init__(
        self,
        students: Sequence[Student],
        lecturer: Lecturer | None,
        mixer: MixtureSampler,
        schedule: Schedule,
        *,
        weights: LossWeights | None = None,
        half: torch.dtype | None = None,
        compiled: bool = False,
        settled: bool = False,
    ) -> None:
        self.mixer, self.schedule, self.half = mixer, schedule, half
        self.device = mixer.device
        self.weights = asdict(weights or LossWeights())
        self.lecturer = lecturer.to(self.device) if lecturer else None
        self.learners = [Learner(student.to(self.device), schedule) for student in students]
        self.settled = settled
        self.n_steps, self.elapsed = 0, 0.0
        self.seconds_seen = 0.0
        self.shares: dict[str, float] = defaultdict(float)
        self.history: list[dict[str, float]] = []
        for student in students:
            if settled:
                student.network.trunk[:SETTLED_BLOCKS].requires_grad_(False)
            if compiled:
                compile_blocks(student.network)

    def run(self, work: Path) -> None:
        """Train until the minutes have passed; begin with the saved state, if there is one.

        Raises:
            DcasenetError: A loss is not a number; the last good state is kept in `work`.
        """
        state_file = work / "state.pt"
        if state_file.is_file():
            self._load(state_file)
        else:
            self._measure()
        total = self.schedule.minutes * 60.0
        began, last_save = time.monotonic() - self.elapsed, self.elapsed
        sums: dict[str, float] = defaultdict(float)
        while self.elapsed < total:
            rate = self.schedule.rate_at(self.elapsed / total)
            for name, value in self._step(rate).items():
                sums[name] += value
            self.n_steps += 1
            self.elapsed = time.monotonic() - began
            if self.n_steps % REPORT_EVERY == 0:
                self._report(sums, rate)
                sums.clear()
            if self.elapsed - last_save > self.schedule.save_every * 60.0:
                self._save(state_file)
                last_save = self.elapsed
        self._save(state_file)

    def _step(self, rate: float) -> dict[str, float]:
        timer = _Timer(self.device, enabled=self.n_steps % 50 == 10)
        seconds = DURATIONS[self.n_steps % len(DURATIONS)]
        n = round(self.schedule.batch * DURATIONS[0] / seconds)
        with torch.no_grad():
            mixtures = self.mixer.draw(n, seconds)
            timer.lap("data")
            lesson = self.lecturer(mixtures.clean, half=self.half) if self.lecturer else None
            timer.lap("teacher")
            log_mel = self._features(mixtures)
        values: dict[str, float] = {}
        for learner in self.learners:
            losses = self._losses(learner.student, mixtures, lesson, log_mel)
            name = learner.student.settings.name
            found = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
            values |= {f"{name}/{key}": value for key, value in found.items()}
            self._check(values)
            total = torch.stack([self.weights[k] * v for k, v in losses.items()]).sum()
            learner.step(total, rate, self.n_steps)
        timer.lap("students")
        self.seconds_seen += n * seconds
        for name, share in timer.shares().items():
            self.shares[name] += share
        return values

    def _check(self, losses: dict[str, float]) -> None:
        """Refuse losses that are not numbers, before anything follows their gradient."""
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            raise DcasenetError(
                f"The losses {', '.join(broken)} are not numbers at batch {self.n_steps}; the last "
                "good state is kept. Lower the learning rate, or train in float32."
            )

    def _losses(
        self, student: Student, mixtures: Mixtures, lesson: Lesson | None, log_mel: Tensor
    ) -> dict[str, Tensor]:
        student.train()
        if self.settled:
            for module in student.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            return student.losses(mixtures, lesson, log_mel)

    def _features(self, mixtures: Mixtures) -> Tensor:
        """Return what the students read: the front ends are equal, so one pass serves all."""
        log_mel = self.learners[0].student.frontend(mixtures.degraded)
        return mask(log_mel, self.mixer.generator, self.schedule.masks)

    def _measure(self) -> None:
        """Measure the mean and deviation of each mel bin and of the teacher's embedding.

        What was trained before also gets its way to that embedding, which no checkpoint holds.
        """
        frontend = self.learners[0].student.frontend
        values, embeddings, read = [], [], []
        with torch.no_grad():
            for _ in range(4):
                mixtures = self.mixer.draw(min(64, self.schedule.batch), DURATIONS[0])
                values.append(frontend.log_mel(mixtures.degraded))
                read.append(mixtures.degraded)
                if self.lecturer:
                    embeddings.append(self.lecturer(mixtures.clean).embedding)
        bins = torch.cat(values).transpose(0, 1).flatten(1)
        for learner in self.learners:
            student = learner.student
            if not self.settled:
                student.frontend.mean.copy_(bins.mean(dim=1))
                student.frontend.deviation.copy_(bins.std(dim=1))
            if embeddings:
                flat = torch.cat(embeddings).flatten(0, 1)
                student.embedding_mean.copy_(flat.mean(dim=0))
                student.embedding_deviation.copy_(flat.std(dim=0).clamp(min=1e-3))
                if self.settled:
                    student.fit_projection(read, embeddings)
            learner.average.load_state_dict(student.state_dict())

    def _report(self, sums: dict[str, float], rate: float) -> None:
        figures = {name: round(value / REPORT_EVERY, 4) for name, value in sums.items()}
        speed = self.seconds_seen / max(self.elapsed, 1e-9)
        entry = {"step": self.n_steps, "elapsed": round(self.elapsed, 1), "rate": rate}
        self.history.append(entry | figures | {"times_real_time": round(speed, 1)})
        log.info("%s", json.dumps(self.history[-1]))

    def summary(self) -> dict[str, object]:
        """Log how much was processed, how fast, and where the time of a step went."""
        whole = sum(self.shares.values()) or 1.0
        return {
            "steps": self.n_steps,
            "minutes": round(self.elapsed / 60.0, 2),
            "hours_seen": round(self.seconds_seen / 3600.0, 1),
            "times_real_time": round(self.seconds_seen / max(self.elapsed, 1e-9), 1),
            "shares": {name: round(value / whole, 3) for name, value in self.shares.items()},
        }

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "recipe": self._recipe(),
            "n_steps": self.n_steps,
            "elapsed": self.elapsed,
            "seconds_seen": self.seconds_seen,
            "history": self.history,
            "generator": self.mixer.generator.get_state(),
            "learners": [learner.state() for learner in self.learners],
        }
        with replacing(path) as draft:
            torch.save(state, draft)

    def _recipe(self) -> dict[str, str]:
        """Name all that a training depends on, but how long it takes."""
        bank = self.mixer.bank
        digest = hashlib.sha256()
        for table in (bank.start, bank.length, bank.environment, bank.tag, bank.burst_class):
            digest.update(table.cpu().numpy().tobytes())
        schedule = {k: v for k, v in asdict(self.schedule).items() if k not in UNBOUND}
        return {
            "students": str([learner.student.settings for learner in self.learners]),
            "recordings": digest.hexdigest(),
            "mixtures": str(self.mixer.settings),
            "seed": str(self.mixer.generator.initial_seed()),
            "schedule": str(schedule),
            "weights of the losses": str(self.weights),
        }

    def _load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location=self.device)
        saved, own = state.get("recipe", {}), self._recipe()
        other = sorted(name for name in own if saved.get(name) != own[name])
        if other:
            raise DcasenetError(
                f"{path} is of another training: {', '.join(other)} differ. Train in "
                "another folder, or delete it."
            )
        self.n_steps, self.elapsed = state["n_steps"], state["elapsed"]
        self.seconds_seen, self.history = state["seconds_seen"], state["history"]
        self.mixer.generator.set_state(state["generator"].cpu())
        for learner, saved in zip(self.learners, state["learners"], strict=True):
            learner.load(saved)
        log.info("goes on from step %d, %.1f minutes in", self.n_steps, self.elapsed / 60.0)


def compile_blocks(network: nn.Module) -> None:
    """Compile the convolution blocks in place; recurrent layers have fast kernels of their own."""
    for name in ("trunk", "common", "scene_block", "scene_branch"):
        network.get_submodule(name).compile(dynamic=False)


class _Timer:
    """Wall-clock shares of a step, by stages; waits for the device only when enabled."""

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        self.device, self.enabled = device, enabled
        self.laps: dict[str, float] = {}
        self.last = self._now() if enabled else 0.0

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()

    def lap(self, name: str) -> None:
        if self.enabled:
            now = self._now()
            self.laps[name] = now - self.last
            self.last = now

    def shares(self) -> dict[str, float]:
        return self.laps


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, n_steps: int, decay: float) -> None:
    """Let an average of a model's weights follow it, faster in the first steps."""
    own = [v for v in model.state_dict().values() if v.is_floating_point()]
    kept = [v for v in average.state_dict().values() if v.is_floating_point()]
    torch._foreach_lerp_(kept, own, 1.0 - min(decay, (1 + n_steps) / (10 + n_steps)))


def mask(
    log_mel: Tensor,
    generator: torch.Generator,
    share: float = 1.0,
    widest: tuple[int, int] = (16, 20),
) -> Tensor:
    """Mask one stretch of bins and one of frames in a share of the batch (SpecAugment).

    Args:
        log_mel: (batch, bins, frames), normalized.
        generator: Draws on its device.
        share: Chance that there is a stretch, for each of the two.
        widest: Most bins and most frames of a stretch.
    """
    n, n_mels, n_frames = log_mel.shape
    device = log_mel.device

    def stretch(size: int, longest: int) -> Tensor:
        length = torch.rand(n, 1, generator=generator, device=device) * longest
        length *= torch.rand(n, 1, generator=generator, device=device) < share
        start = torch.rand(n, 1, generator=generator, device=device) * (size - length)
        place = torch.arange(size, device=device)
        return (place >= start) & (place < start + length)

    frames, bins = stretch(n_frames, widest[1]), stretch(n_mels, widest[0])
    return log_mel.masked_fill(frames[:, None, :] | bins[:, :, None], 0.0)
