"""Students: DcaseNet with its front end, and what each learns from a batch of mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.models.blocks import BiGru
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from recipes.distilled.teacher import COLUMN, Teacher
from recipes.distilled.teacher import SAMPLE_RATE as TEACHER_RATE
from recipes.mixtures import Mixtures

STEP = 0.16  # seconds of a step, with the last pooling leaving time alone
N_TAUGHT_TAGS = 527
TEACHER_EMBEDDING = 384
# Least target of a tag that the label of a recording names: labels are not always audible.
LABEL_TARGET = 0.8
# How much more its cross-entropy counts than that of what only the teacher says.
LABEL_WEIGHT = 3.0
# Of the layer to the teacher's embedding, for a student that was trained before.
RIDGE = 0.1


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses.

    Tags are binary cross-entropies summed over labels, events likewise and averaged over steps;
    the embedding's is the mean squared error of the teacher's, each dimension at a deviation of 1.

    Attributes:
        tag: Of the clip's tags.
        ranking: Of the clip's tags against one another (`_listwise`).
        columns: Of the tags every 0.32 s.
        embedding: Of the teacher's embedding, for the clip and every 0.32 s.
        event: Of the events.
        scene: Of the environments.
        places: Of the environments that the teacher's embedding tells.
    """

    tag: float = 1.0
    ranking: float = 3.0
    columns: float = 0.2
    embedding: float = 5.0
    event: float = 10.0
    scene: float = 1.0
    places: float = 3.0


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of a batch.

    Attributes:
        tag: Probabilities of the clip, (batch, 527).
        columns: Probabilities every 0.32 s of the 1.6 s around, (batch, columns, 527).
        embedding: Its embedding every 0.32 s, (batch, columns, 384), not yet scaled.
        scene: Probabilities of the environments, (batch, environments), if it has places.
    """

    tag: Tensor
    columns: Tensor
    embedding: Tensor
    scene: Tensor | None = None


class Places(nn.Module):
    """Environments by the teacher's mean embedding (`recipes.places`).

    Args:
        mean: Of the embedding, (384,).
        deviation: Of the embedding, (384,).
        n_scenes: Number of environments.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, n_scenes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.layer = nn.Linear(len(mean), n_scenes)
        nn.init.zeros_(self.layer.weight)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return logits, (batch, environments), of mean embeddings, (batch, 384)."""
        logits: Tensor = self.layer((embedding - self.mean) / self.deviation)
        return logits


class Lecturer(nn.Module):
    """The teacher, listening to mixtures at 24 kHz.

    Args:
        teacher: In evaluation mode.

    Attributes:
        places: What its embedding tells of environments; nothing until it is set.
    """

    kernel: Tensor

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.places: Places | None = None
        self.teacher = teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("kernel", _four_thirds(), persistent=False)

    @torch.no_grad()
    def forward(self, waveform: Tensor, *, half: torch.dtype | None = None) -> Lesson:
        """Return the teacher's lesson on waveforms at 24 kHz, (batch, samples)."""
        log_mel = self.teacher.frontend(self.resample(waveform))
        with torch.autocast(waveform.device.type, dtype=half, enabled=half is not None):
            outputs = self.teacher.infer(log_mel)
            columns = self.teacher.head(smooth(outputs.column_embedding))
        embedding = outputs.column_embedding.float()
        scene = self.places(embedding.mean(dim=1)).softmax(dim=1) if self.places else None
        return Lesson(outputs.tag.float().sigmoid(), columns.float().sigmoid(), embedding, scene)

    def resample(self, waveform: Tensor) -> Tensor:
        """Resample from 24 to 32 kHz, by a windowed sinc in four phases."""
        width = self.kernel.shape[-1]
        padded = nnf.pad(waveform[:, None], (width // 2, width // 2))
        phases = nnf.conv1d(padded, self.kernel, stride=3)
        resampled = phases.transpose(1, 2).flatten(1)
        return resampled[:, : waveform.shape[1] * TEACHER_RATE // 24_000]


def _four_thirds(width: int = 16) -> Tensor:
    """Return the four filters, (4, 1, 2 width + 1), that make four samples out of three.

    Output 4 m + p lies at input 3 m + 3 p / 4: a sinc cut off at 24 kHz's Nyquist frequency, under
    a Hann window of 16 samples a side.
    """
    taps = torch.arange(-width, width + 1, dtype=torch.float64)
    phases = torch.arange(4, dtype=torch.float64)[:, None] * 0.75
    distance = taps - phases
    window = torch.cos(torch.pi * distance / (2 * (width + 1))).square()
    return (torch.sinc(distance) * window)[:, None].float()


@dataclass(frozen=True)
class StudentSettings:
    """What a student is.

    Attributes:
        name: Of its files.
        width: Factor on every channel, GRU and dense width.
        taught: Whether it learns from the teacher; if not, tags are the recordings' own labels.
    """

    name: str
    width: float
    taught: bool


class Float32Gru(BiGru):
    """The recurrent layer in float32 whatever the convolutions run in: its sums are long."""

    def forward(  # type: ignore[override] # packed sequences are not read here
        self, x: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the layer."""
        with torch.autocast(x.device.type, enabled=False):
            outputs, last = super().forward(x.float(), state)
            return outputs, last


class Student(nn.Module):
    """A network, its front end, and what ties it to the teacher.

    Args:
        settings: What it is.
        n_labels: Number of environments, own tags and events.
        named: Which of the teacher's tags each own tag is, (own tags, 527) of 0 and 1.
    """

    embedding_mean: Tensor
    embedding_deviation: Tensor
    named: Tensor

    def __init__(
        self, settings: StudentSettings, n_labels: tuple[int, int, int], named: Tensor
    ) -> None:
        super().__init__()
        self.settings = settings
        n_scenes, n_tags, n_events = n_labels
        self.frontend = LogMel(FrontEndSettings(normalization="level"))
        network = create(
            "v3",
            n_scenes=n_scenes,
            n_tags=N_TAUGHT_TAGS if settings.taught else n_tags,
            n_events=n_events,
            width=settings.width,
            time_pooling=1,
        )
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for gru in (self.network.tag_gru, self.network.event_gru):
            gru.__class__ = Float32Gru
        self._set_priors(n_events)
        size = 4 * self.network.event_gru.hidden_size
        self.projection = nn.Linear(size, TEACHER_EMBEDDING) if settings.taught else None
        self.register_buffer("named", named, persistent=False)
        self.register_buffer("embedding_mean", torch.zeros(TEACHER_EMBEDDING))
        self.register_buffer("embedding_deviation", torch.ones(TEACHER_EMBEDDING))

    def _set_priors(self, n_events: int) -> None:
        """Start the heads at how rare their labels are."""
        for head, prior in ((self.network.tag_head[-1], 0.01), (self.network.event_head, 0.01)):
            nn.init.constant_(head.bias, log(prior / (1 - prior)))

    def losses(
        self, mixtures: Mixtures, lesson: Lesson | None, log_mel: Tensor
    ) -> dict[str, Tensor]:
        """Return each loss of a batch.

        Args:
            mixtures: What was mixed.
            lesson: What the teacher says of it; None for a student that is not taught.
            log_mel: The front end's view of what was degraded, masked, (batch, 128, frames).
        """
        outputs = self.network(log_mel)
        losses = {
            "event": _event_loss(outputs.event.float(), mixtures),
            "scene": _scene_loss(outputs.scene.float(), mixtures.scene),
        }
        if lesson is None or self.projection is None:
            losses["tag"] = _own_tag_loss(outputs.tag.float(), mixtures)
            return losses
        if lesson.scene is not None:
            losses["places"] = nnf.cross_entropy(outputs.scene.float(), lesson.scene)
        columns = _columns(outputs.embedding)
        n = min(columns.shape[1], lesson.columns.shape[1])
        columns = columns[:, :n]
        tags = self.network.tag_head(smooth(columns)).float()
        # The teacher may miss what the recordings are known to hold; it knows what else they hold.
        known = (LABEL_TARGET * mixtures.tag @ self.named).clamp(max=LABEL_TARGET)
        truth = lesson.tag.maximum(known)
        weight = 1.0 + (LABEL_WEIGHT - 1.0) * (known > 0)
        losses["tag"] = _binary(outputs.tag.float(), truth, weight)
        losses["ranking"] = _listwise(outputs.tag.float(), truth)
        losses["columns"] = _binary(tags, lesson.columns[:, :n])
        taught = self._scaled(lesson.embedding[:, :n])
        guess = self.projection(columns).float()
        clip = (guess.mean(dim=1) - taught.mean(dim=1)).square().mean()
        losses["embedding"] = clip + 0.5 * (guess - taught).square().mean()
        return losses

    def _scaled(self, embedding: Tensor) -> Tensor:
        return (embedding - self.embedding_mean) / self.embedding_deviation

    @torch.no_grad()
    def fit_projection(self, waveforms: Sequence[Tensor], embeddings: Sequence[Tensor]) -> None:
        """Fit the layer to the teacher's embedding by ridge regression, in evaluation mode.

        A random one would pull at all that was learned before, until it has been learned itself.

        Args:
            waveforms: Batches of mixtures, (batch, samples).
            embeddings: What the teacher makes of each, (batch, columns, 384), not yet scaled.
        """
        if self.projection is None:
            return
        own, taught = [], []
        is_training = self.training
        self.eval()
        for waveform, embedding in zip(waveforms, embeddings, strict=True):
            columns = _columns(self.network(self.frontend(waveform), ()).embedding)
            n = min(columns.shape[1], embedding.shape[1])
            own.append(columns[:, :n].flatten(0, 1).double())
            taught.append(self._scaled(embedding[:, :n]).flatten(0, 1).double())
        self.train(is_training)
        x, y = torch.cat(own), torch.cat(taught)
        mean, deviation = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
        x = (x - mean) / deviation
        gram = x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
        weight = torch.linalg.solve(gram, x.T @ (y - y.mean(dim=0)) / len(x)) / deviation[:, None]
        self.projection.weight.copy_(weight.T)
        self.projection.bias.copy_(y.mean(dim=0) - mean @ weight)


def _columns(embedding: Tensor) -> Tensor:
    """Average the embedding over the teacher's columns of 0.32 s, (batch, columns, size)."""
    per_column = round(COLUMN / STEP)
    n = embedding.shape[1] // per_column
    shape = (len(embedding), n, per_column, embedding.shape[2])
    return embedding[:, : n * per_column].reshape(shape).mean(dim=2)


def smooth(columns: Tensor) -> Tensor:
    """Average columns over the five around each, 1.6 s: (batch, columns, size).

    The teacher's head learned from means over 10 s. A single column is nothing that it knows, and
    what it says of one is noise that a student cannot follow (a divergence ten times the clip's).
    """
    averaged = nnf.avg_pool1d(columns.transpose(1, 2), 5, 1, 2, count_include_pad=False)
    return averaged.transpose(1, 2)


def _binary(logits: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    loss = nnf.binary_cross_entropy_with_logits(logits, truth, weight, reduction="none")
    return loss.sum(dim=-1).mean()


def _listwise(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the cross-entropy of the tags against one another (ListNet, Cao et al., ICML 2007).

    Of 527 binary cross-entropies most are of tags that nobody would name; this one is about which
    come first.
    """
    share = truth / truth.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return -(share * logits.log_softmax(dim=1)).sum(dim=1).mean()


def _own_tag_loss(logits: Tensor, mixtures: Mixtures) -> Tensor:
    loss = nnf.binary_cross_entropy_with_logits(logits, mixtures.tag, reduction="none")
    known = mixtures.tag_known.float()
    return (loss.sum(dim=1) * known).sum() / known.sum().clamp(min=1.0)


def _event_loss(logits: Tensor, mixtures: Mixtures) -> Tensor:
    n = min(logits.shape[1], mixtures.event.shape[1])
    loss = nnf.binary_cross_entropy_with_logits(
        logits[:, :n], mixtures.event[:, :n], reduction="none"
    )
    known = mixtures.event_known.float()
    return (loss.sum(dim=2).mean(dim=1) * known).sum() / known.sum().clamp(min=1.0)


def _scene_loss(logits: Tensor, scene: Tensor) -> Tensor:
    known = (scene >= 0).float()
    loss = nnf.cross_entropy(logits, scene.clamp(min=0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1.0)
