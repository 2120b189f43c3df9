"""ESC-50's five folds: a linear probe on the frozen embedding, and the whole network fine-tuned.

Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015: accuracy on
each of the five folds after training on the other four, and their mean.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.models.frontend import LogMel

log = logging.getLogger(__name__)

N_CLASSES, N_FOLDS = 50, 5
CLIP_SAMPLES = 120_000  # 5 s at 24 kHz
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class EscClips:
    """All clips on the device.

    Attributes:
        waveform: (clips, 120,000) int16 at 24 kHz.
        target: Class, (clips,).
        fold: 1 to 5, (clips,).
    """

    waveform: Tensor
    target: Tensor
    fold: Tensor


@dataclass(frozen=True)
class FineTuning:
    """How a fold is fine-tuned.

    Attributes:
        epochs: Passes over the four folds.
        batch: Clips in a batch.
        learning_rate: Of the network, at its highest.
        head_rate: Of the new layer.
        mixup: Chance that a clip is mixed with another.
        smoothing: Of the labels.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 5e-4
    head_rate: float = 2e-3
    mixup: float = 0.5
    smoothing: float = 0.1


def embed(frontend: LogMel, network: nn.Module, clips: EscClips, batch: int = 64) -> Tensor:
    """Return the mean embedding of each clip, (clips, size) float32, in evaluation mode."""
    network.eval()
    found = []
    with torch.no_grad():
        for waveform in torch.split(clips.waveform, batch):
            outputs = network(frontend(waveform.float() / 32_768.0), ())
            found.append(outputs.embedding.mean(dim=1).float())
    return torch.cat(found)


def probe(embedding: Tensor, clips: EscClips) -> list[float]:
    """Return the accuracy of a ridge classifier on each fold.

    The ridge is chosen on one of the four training folds, with the other three.
    """
    x, target = embedding.double().cpu().numpy(), clips.target.cpu().numpy()
    fold = clips.fold.cpu().numpy()
    accuracies = []
    for held_out in range(1, N_FOLDS + 1):
        inner = held_out % N_FOLDS + 1
        chosen = max(
            RIDGES,
            key=lambda ridge: _ridge_accuracy(
                x, target, (fold != held_out) & (fold != inner), fold == inner, ridge
            ),
        )
        accuracies.append(_ridge_accuracy(x, target, fold != held_out, fold == held_out, chosen))
    return accuracies


def _ridge_accuracy(
    x: np.ndarray, target: np.ndarray, train: np.ndarray, test: np.ndarray, ridge: float
) -> float:
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
    scaled = (x - mean) / deviation
    truth = np.eye(N_CLASSES)[target[train]] - 1.0 / N_CLASSES
    gram = scaled[train].T @ scaled[train] + ridge * np.eye(x.shape[1]) * len(truth) / 100.0
    weights = np.linalg.solve(gram, scaled[train].T @ truth)
    return float((np.argmax(scaled[test] @ weights, axis=1) == target[test]).mean())


class _Classifier(nn.Module):
    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(size, N_CLASSES)

    def forward(self, log_mel: Tensor) -> Tensor:
        embedding = self.network(log_mel, ()).embedding
        logits: Tensor = self.head(nnf.dropout(embedding.mean(dim=1), 0.2, self.training))
        return logits


def fine_tune(
    frontend: LogMel,
    network: nn.Module,
    clips: EscClips,
    held_out: int,
    settings: FineTuning | None = None,
    half: torch.dtype | None = None,
) -> float:
    """Fine-tune a copy of the network on four folds; return its accuracy on the fifth.

    Nothing is chosen on the fold that is held out: the last average of the weights counts.
    """
    s = settings or FineTuning()
    device = clips.waveform.device
    generator = torch.Generator(device).manual_seed(held_out)
    size = embed(frontend, network, _subset(clips, clips.fold == held_out)).shape[1]
    model = _Classifier(copy.deepcopy(network), size).to(device)
    average = copy.deepcopy(model).eval()
    train = _subset(clips, clips.fold != held_out)
    rates = [
        {"params": model.network.parameters(), "lr": s.learning_rate},
        {"params": model.head.parameters(), "lr": s.head_rate},
    ]
    optimizer = torch.optim.AdamW(rates, weight_decay=0.01)
    n_steps = s.epochs * math.ceil(len(train.target) / s.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (0.1 * n_steps))
        * 0.5 * (1 + math.cos(math.pi * step / n_steps)),
    )  # fmt: skip
    order = torch.empty(0, dtype=torch.long, device=device)
    for step in range(n_steps):
        if len(order) < s.batch:
            order = torch.randperm(len(train.target), generator=generator, device=device)
        chosen, order = order[: s.batch], order[s.batch :]
        log_mel, truth = _augmented(frontend, train, chosen, s, generator)
        model.train()
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            logits = model(log_mel).float()
        loss = nnf.cross_entropy(logits, truth, label_smoothing=s.smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        _follow(average, model, min(0.99, (1 + step) / (10 + step)))
    return _accuracy(frontend, average, _subset(clips, clips.fold == held_out))


def _subset(clips: EscClips, which: Tensor) -> EscClips:
    return EscClips(clips.waveform[which], clips.target[which], clips.fold[which])


@torch.no_grad()
def _augmented(
    frontend: LogMel, clips: EscClips, chosen: Tensor, s: FineTuning, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Roll clips in time, mix some with others, mask their log-mel."""
    device, n = chosen.device, len(chosen)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    waveform = clips.waveform[chosen].float() / 32_768.0
    shift = (uniform(n, 1) * CLIP_SAMPLES).long()
    index = (torch.arange(CLIP_SAMPLES, device=device) + shift) % CLIP_SAMPLES
    waveform = waveform.gather(1, index)
    level = waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-5)
    waveform = waveform / level
    other = torch.randperm(n, generator=generator, device=device)
    share = 0.5 * uniform(n, 1) * (uniform(n, 1) < s.mixup)
    mixed = (1 - share) * waveform + share * waveform[other]
    truth = nnf.one_hot(clips.target[chosen], N_CLASSES).float()
    truth = (1 - share) * truth + share * truth[other]
    log_mel = frontend(0.05 * mixed)
    frames, bins = log_mel.shape[2], log_mel.shape[1]
    begin_t, begin_f = uniform(n, 1) * (frames - 25), uniform(n, 1) * (bins - 16)
    t, f = torch.arange(frames, device=device), torch.arange(bins, device=device)
    masked_t = (t >= begin_t) & (t < begin_t + 25 * uniform(n, 1))
    masked_f = (f >= begin_f) & (f < begin_f + 16 * uniform(n, 1))
    return log_mel.masked_fill(masked_t[:, None, :] | masked_f[:, :, None], 0.0), truth


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    kept = [v for v in average.state_dict().values() if v.is_floating_point()]
    own = [v for v in model.state_dict().values() if v.is_floating_point()]
    torch._foreach_lerp_(kept, own, 1.0 - decay)


@torch.no_grad()
def _accuracy(frontend: LogMel, model: nn.Module, clips: EscClips) -> float:
    guesses = [
        model(frontend(waveform.float() / 32_768.0)).argmax(dim=1)
        for waveform in torch.split(clips.waveform, 64)
    ]
    return float((torch.cat(guesses) == clips.target).float().mean())


def mean_and_folds(accuracies: Sequence[float]) -> str:
    """Return the mean and each fold.

    Example:
        >>> mean_and_folds([0.9, 0.8])
        '0.850 (0.900 0.800)'
    """
    return f"{np.mean(accuracies):.3f} ({' '.join(f'{a:.3f}' for a in accuracies)})"
