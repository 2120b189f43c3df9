"""ESC-50's five folds: linear probes on frozen features, and the network fine-tuned.

::

    python -m recipes.esc.folds DATA --checkpoint FILE [--epochs 8]

The checkpoint must not have read ESC-50 (``python -m recipes.train … --without esc50``). Piczak,
"ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015: accuracy on each of the
five folds after training on the other four, and their mean.

One probe reads the mean embedding, which is what ``model.embed`` returns; another what the layers
before it have to say as well (`features`). Fine-tuning begins where the second ends, with its
linear layer on top of the network: the first gradients of a random one would spoil what the network
knows (Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022). The first blocks stay as they are.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor, nn

import dcasenet
from dcasenet.models.base import mean_over_mel
from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import FusedPart
from dcasenet.train.engine.precision import has_fast_bfloat16
from recipes.bank import decode_whole
from recipes.recordings import LabeledClip, read_recordings
from recipes.training import SETTLED_BLOCKS, follow, mask

log = logging.getLogger(__name__)

N_CLASSES, N_FOLDS = 50, 5
CLIP_SAMPLES = 120_000  # 5 s at 24 kHz
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# What the probe's scores, 0 to 1 for the classes, are multiplied by to be logits.
SCALES = tuple(2.0 ** (index / 2) for index in range(13))

SMOOTHING = 0.1  # of the labels, without which a layer that is always right grows for ever


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
        epochs: Passes over the four folds; with none, the probe's layer is what is evaluated.
        batch: Clips in a batch.
        learning_rate: At its highest.
        warm_up: Share of the steps in which it rises.
        mixup: Chance that a clip is mixed with another.
    """

    epochs: int = 8
    batch: int = 16
    learning_rate: float = 1e-3
    warm_up: float = 0.1
    mixup: float = 0.5

    def rate_at(self, step: int, n_steps: int) -> float:
        """Return the learning rate of a step: it rises, then falls to 0 by a cosine.

        Example:
            >>> [round(FineTuning().rate_at(step, 100), 6) for step in (0, 9, 55, 100)]
            [0.0001, 0.00098, 0.000422, 0.0]
        """
        rise = min(1.0, (step + 1) / max(1.0, self.warm_up * n_steps))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / n_steps))


@dataclass(frozen=True)
class FineTuned:
    """What came of a fold.

    Attributes:
        accuracy: On the fold that was held out.
        losses: Of each step of training.
    """

    accuracy: float
    losses: tuple[float, ...]


class Accuracies(NamedTuple):
    """What came of all folds.

    Attributes:
        probe: Accuracy on each of the probe of the mean embedding.
        wide_probe: Accuracy on each of the probe of all `features`.
        fine_tuned: What came of fine-tuning, of each that was.
    """

    probe: list[float]
    wide_probe: list[float]
    fine_tuned: list[FineTuned]

    def __str__(self) -> str:
        tuned = [fold.accuracy for fold in self.fine_tuned]
        parts = (
            ("probe", self.probe),
            ("probe of all features", self.wide_probe),
            ("fine-tuned", tuned),
        )
        return ", ".join(f"{name} {mean_and_folds(values)}" for name, values in parts if values)


@dataclass(frozen=True)
class LinearLayer:
    """A probe: logits are ``(x - mean) / deviation @ weight``.

    Attributes:
        mean: Of the features, (size,).
        deviation: Of the features, (size,).
        weight: (size, classes).
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logits of features, (clips, size)."""
        return (x - self.mean) / self.deviation @ self.weight

    def accuracy(self, x: NDArray[np.float64], target: NDArray[np.int64]) -> float:
        """Return the share of clips whose highest logit is their class's."""
        return float((self(x).argmax(axis=1) == target).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the accuracies of a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True, help="that never read ESC-50")
    parser.add_argument("--epochs", type=int, default=0, help="of fine-tuning; 0: the probe alone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recordings = read_recordings(options.data, ["esc50"])
    clips = clips_of(((r, decode_whole(r, options.data)) for r in recordings), device)
    model = dcasenet.load("v3", weights=options.checkpoint).to(device)
    settings = FineTuning(epochs=options.epochs)
    half = torch.bfloat16 if has_fast_bfloat16(device.type) else None
    tuned = range(1, N_FOLDS + 1) if options.epochs else ()
    found = evaluate(model.frontend, model.network, clips, tuned, settings, half)
    sys.stdout.write(f"{found}\n")


def clips_of(
    recordings: Iterable[tuple[LabeledClip, NDArray[np.int16]]], device: torch.device
) -> EscClips:
    """Put recordings of ESC-50, each with its 5 s at 24 kHz, on the device."""
    pairs = list(recordings)
    names = sorted({recording.label for recording, _ in pairs})
    return EscClips(
        torch.from_numpy(np.stack([waveform for _, waveform in pairs])).to(device),
        torch.tensor([names.index(recording.label) for recording, _ in pairs], device=device),
        torch.tensor([recording.fold for recording, _ in pairs], device=device),
    )


def evaluate(
    frontend: LogMel,
    network: nn.Module,
    clips: EscClips,
    tuned: Iterable[int],
    settings: FineTuning | None = None,
    half: torch.dtype | None = None,
) -> Accuracies:
    """Probe all folds and fine-tune some.

    Args:
        frontend: Front end of the network.
        network: What is evaluated; it stays as it is.
        clips: The clips.
        tuned: Folds that are held out of fine-tuning in turn.
        settings: How to fine-tune.
        half: Type of the convolutions where the device is faster in it; None for float32.
    """
    of_clips, n_embedding = read(frontend, network, clips)
    found = Accuracies(probe(of_clips[:, :n_embedding], clips), probe(of_clips, clips), [])
    log.info("%s", found)
    for fold in tuned:
        result = fine_tune(frontend, network, of_clips, clips, fold, settings, half)
        found.fine_tuned.append(result)
        log.info("fold %d: fine-tuned %.3f", fold, result.accuracy)
    return found


def features(network: Any, lower: Callable[[Tensor], Tensor], log_mel: Tensor) -> list[Tensor]:
    """Return what a network makes of clips, each (clips, size).

    The mean embedding; the mean and the most of what the GRUs read; what the environments' branch
    makes of the clip.

    Args:
        network: A `DcaseNetV3`.
        lower: Its first `SETTLED_BLOCKS` blocks.
        log_mel: (clips, bins, frames).
    """
    shared = network.trunk[SETTLED_BLOCKS:](lower(log_mel[:, None]))
    scene_map = network.scene_block(shared)
    sequence = mean_over_mel(torch.cat((network.common(shared), scene_map), dim=1))
    embedding, _ = network.embed(sequence)
    branch = network.scene_branch(scene_map).mean(dim=(2, 3))
    return [embedding.mean(dim=1), sequence.mean(dim=1), sequence.amax(dim=1), branch]


def read(frontend: LogMel, network: Any, clips: EscClips, batch: int = 64) -> tuple[Tensor, int]:
    """Return the `features` of each clip side by side, and how many of them are its embedding.

    Args:
        frontend: Front end of the network.
        network: It is read in evaluation mode.
        clips: The clips.
        batch: Clips that are read at once.

    Returns:
        (clips, size) float32, the embedding first, and the size of the embedding.
    """
    network.eval()
    found = []
    with torch.no_grad():
        for waveform in torch.split(clips.waveform, batch):
            log_mel = frontend(waveform.float() / 32_768.0)
            found.append(features(network, network.trunk[:SETTLED_BLOCKS], log_mel))
    parts = [torch.cat(part).float() for part in zip(*found, strict=True)]
    return torch.cat(parts, dim=1), parts[0].shape[1]


def probe(of_clips: Tensor, clips: EscClips) -> list[float]:
    """Return the accuracy on each fold of a ridge classifier on features, (clips, size)."""
    x, target = of_clips.double().cpu().numpy(), clips.target.cpu().numpy()
    fold = clips.fold.cpu().numpy()
    return [
        fit_probe(of_clips, clips, held_out).accuracy(x[fold == held_out], target[fold == held_out])
        for held_out in range(1, N_FOLDS + 1)
    ]


def fit_probe(of_clips: Tensor, clips: EscClips, held_out: int) -> LinearLayer:
    """Fit a ridge classifier to the features of four folds, and scale its scores to logits.

    The ridge (by accuracy) and the scale (by the loss of fine-tuning) are chosen on one of the
    four folds, with the other three.

    Args:
        of_clips: Features of each, (clips, size).
        clips: The clips.
        held_out: Fold that is not looked at, 1 to 5.
    """
    x, target = of_clips.double().cpu().numpy(), clips.target.cpu().numpy()
    fold = clips.fold.cpu().numpy()
    inner = held_out % N_FOLDS + 1
    train, watched = (fold != held_out) & (fold != inner), fold == inner
    fits = {ridge: _fit_ridge(x[train], target[train], ridge) for ridge in RIDGES}
    # Of equals the strongest: it asks the least of the features.
    chosen = max(
        reversed(RIDGES), key=lambda ridge: fits[ridge].accuracy(x[watched], target[watched])
    )
    scores = torch.from_numpy(fits[chosen](x[watched]))
    truth = torch.from_numpy(target[watched])
    scale = min(
        SCALES,
        key=lambda scale: float(
            nnf.cross_entropy(scale * scores, truth, label_smoothing=SMOOTHING)
        ),
    )
    layer = _fit_ridge(x[fold != held_out], target[fold != held_out], chosen)
    return replace(layer, weight=scale * layer.weight)


def _fit_ridge(x: NDArray[np.float64], target: NDArray[np.int64], ridge: float) -> LinearLayer:
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    scaled = (x - mean) / deviation
    truth = np.eye(N_CLASSES)[target] - 1.0 / N_CLASSES
    gram = scaled.T @ scaled + ridge * np.eye(x.shape[1]) * len(truth) / 100.0
    return LinearLayer(mean, deviation, np.linalg.solve(gram, scaled.T @ truth))


class _Classifier(nn.Module):
    """The network with a probe's layer on its features; the first blocks stay as they are."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: Any, layer: LinearLayer, half: torch.dtype | None) -> None:
        super().__init__()
        settled = network.trunk[:SETTLED_BLOCKS].requires_grad_(False).eval()
        self.lower = FusedPart(settled, half or torch.float32, in_pieces=True)
        self.network = network
        self.register_buffer("mean", torch.from_numpy(layer.mean).float())
        self.register_buffer("deviation", torch.from_numpy(layer.deviation).float())
        self.head = nn.Linear(*layer.weight.shape)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(layer.weight.T))
            self.head.bias.zero_()

    def forward(self, log_mel: Tensor) -> Tensor:
        x = torch.cat(features(self.network, self.lower, log_mel), dim=1)
        logits: Tensor = self.head((x - self.mean) / self.deviation)
        return logits

    def train(self, mode: bool = True) -> _Classifier:
        """Train all but the statistics of the normalizations, on which the probe relies."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def fine_tune(
    frontend: LogMel,
    network: nn.Module,
    of_clips: Tensor,
    clips: EscClips,
    held_out: int,
    settings: FineTuning | None = None,
    half: torch.dtype | None = None,
) -> FineTuned:
    """Fine-tune a copy of the network and its probe on four folds; evaluate it on the fifth.

    Nothing is chosen on the fold that is held out: the last average of the weights counts.

    Args:
        frontend: Front end of the network.
        network: What is copied.
        of_clips: Their features, as `read` returned them.
        clips: The clips.
        held_out: Fold that is evaluated, 1 to 5.
        settings: How to fine-tune.
        half: Type of the convolutions where the device is faster in it; None for float32.
    """
    s = settings or FineTuning()
    device = clips.waveform.device
    generator = torch.Generator(device).manual_seed(held_out)
    layer = fit_probe(of_clips, clips, held_out)
    model = _Classifier(copy.deepcopy(network), layer, half).to(device).train()
    average = copy.deepcopy(model).eval()
    train = _subset(clips, clips.fold != held_out)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, weight_decay=0.01, fused=True)
    n_steps = s.epochs * math.ceil(len(train.target) / s.batch)
    losses = []
    order = torch.empty(0, dtype=torch.long, device=device)
    for step in range(n_steps):
        if len(order) < s.batch:
            order = torch.randperm(len(train.target), generator=generator, device=device)
        chosen, order = order[: s.batch], order[s.batch :]
        log_mel, truth = _augmented(frontend, train, chosen, s, generator)
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            logits = model(log_mel).float()
        loss = nnf.cross_entropy(logits, truth, label_smoothing=SMOOTHING)
        for group in optimizer.param_groups:
            group["lr"] = s.rate_at(step, n_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, 5.0)
        optimizer.step()
        follow(average, model, step, 0.99)
        losses.append(loss.detach())
    accuracy = _accuracy(frontend, average, _subset(clips, clips.fold == held_out))
    return FineTuned(accuracy, tuple(torch.stack(losses).tolist() if losses else ()))


def _subset(clips: EscClips, which: Tensor) -> EscClips:
    return EscClips(clips.waveform[which], clips.target[which], clips.fold[which])


@torch.no_grad()
def _augmented(
    frontend: LogMel, clips: EscClips, chosen: Tensor, s: FineTuning, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Roll clips in time, mix some with others at the level of the first, mask their log-mel."""
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
    return mask(frontend(level * mixed), generator), truth


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


if __name__ == "__main__":
    main()
