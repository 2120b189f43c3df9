"""Fit the events' layers to soundscapes, and the last ones of tags and environments to labels.

::

    python -m recipes.heads DATA --teacher FILE --checkpoint FILE --cache FILE --output FILE

The convolutions stay as they are. The events' GRU comes first (`recipes.event_layers`), since the
tags read it, too. In training most of what the tags follow is the teacher's, where there is one;
labels are few among 527. Here every training recording is embedded once as a user would give it,
and mixtures beside it; on the embeddings the tags' layers learn both, labels with the weight that
serves the validation split best. The environments' layer learns from the recordings whose place is
known, and from what the teacher's embedding tells of all others' (`recipes.places`).
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as nnf
from safetensors.torch import load_file
from torch import Tensor, nn

import dcasenet
from dcasenet.inference.model import SoundModel
from dcasenet.models.fused import fuse
from dcasenet.train.metrics.classification import confusion, mean_average_precision
from dcasenet.weights.checkpoint import write
from recipes.bank import (
    Bank,
    Decoded,
    decode_all,
    in_split,
    make_bank,
)
from recipes.distilled.teacher import load_teacher
from recipes.event_layers import (
    N_TRAIN,
    N_WATCHED,
    SETTINGS,
    EventLayers,
    fit_events,
    read_soundscapes,
)
from recipes.labels import LabelSets, named_tags
from recipes.mixtures import MixtureSampler
from recipes.pack import label_sets
from recipes.package import WINDOW, read_description, window_of
from recipes.places import fit_places
from recipes.recordings import read_recordings
from recipes.students import LABEL_WEIGHT, N_TAUGHT_TAGS, Lecturer, Lesson, LossWeights

log = logging.getLogger(__name__)

# How sure a label of a whole recording is; in training, where it may be drowned, it is less.
LABELED = 0.95
WEIGHTS = (1.0, 3.0, 10.0, 30.0)  # of labels against what only the teacher says
SHIFTS = tuple(0.1 * step for step in range(-40, 21))  # of the logits of labeled tags
FREQUENT = 0.25  # share of the labeled recordings
DECAYS = (0.01, 1.0)  # of the environments' layer
SHARES = (0.0, 0.1, 0.5)  # of a recording whose place the teacher tells, beside one that is labeled
EPOCHS, BATCH, RATE = 24, 128, 5e-4
N_MIXTURES = 1_600
FEWEST_RECORDINGS = 3  # of a class that the choice is made on


class Examples(NamedTuple):
    """What the head reads, and what is true.

    Attributes:
        embedding: Mean over the steps, (n, size).
        truth: What the tags should say: what the teacher does, if there is one, and labels; (n,
            tags).
        known: Whether there is anything that they should say, (n,).
        labeled: Which tags recordings are labeled with, (n, tags) of 0 and 1.
        code: What the environments' last layer reads, (n, size).
        scene: The environment, (n,); -1 where it is not known.
        place: Its probabilities by the teacher, (n, environments); all 0 without one.
    """

    embedding: Tensor
    truth: Tensor
    known: Tensor
    labeled: Tensor
    code: Tensor
    scene: Tensor
    place: Tensor


def main(arguments: Sequence[str] | None = None) -> None:
    """Embed, fit, choose, write."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    decoded = decode_all(read_recordings(options.data), options.data, options.cache)
    labels = label_sets(decoded)
    spec = read_description(options.checkpoint)
    model = dcasenet.load("v3", weights=options.checkpoint)
    of_split = {split: in_split(decoded, split) for split in ("train", "validation")}
    banks = {split: make_bank(clips, labels) for split, clips in of_split.items()}
    lecturer, named, kept = None, torch.eye(len(labels.tags)), 1.0
    if len(spec.tags) == N_TAUGHT_TAGS:
        if options.teacher is None:
            raise SystemExit("--teacher is needed by a checkpoint with AudioSet's tags")
        lecturer = Lecturer(load_teacher(options.teacher))
        lecturer.places = fit_places(lecturer, of_split["train"], labels, banks["train"])
        named, kept = torch.tensor(named_tags(labels.tags)), LABEL_WEIGHT
    network: Any = model.network
    if options.soundscapes:
        network.event_gru, network.event_head = learned_events(model, banks, options.soundscapes)
    backbone = Backbone(model)
    watched = embed_clips(backbone, lecturer, of_split["validation"], labels, named)
    own = _joined(
        *(embed_clips(backbone, lecturer, of_split["train"], labels, named, seed=s) for s in (0, 1))
    )
    log.info("%d recordings are embedded, and %d to choose on", len(own[0]), len(watched[0]))
    mixer = MixtureSampler(banks["train"], seed=1)
    n_tags, n_scenes = named.shape[1], len(labels.environments)
    train = _joined(own, embed_mixtures(backbone, lecturer, mixer, n_tags, n_scenes))
    network.tag_head = fit_tags(network.tag_head, train, watched, kept)
    network.scene_head = fit_scenes(network.scene_head, train, watched)
    tensors = load_file(options.checkpoint)
    for name, value in network.state_dict().items():
        tensors[f"network.{name}"] = value.to(tensors[f"network.{name}"].dtype)
    write(options.output, tensors, spec)


def learned_events(model: SoundModel, banks: Mapping[str, Bank], n_train: int) -> EventLayers:
    """Return the events' layers, fitted to soundscapes of the training split."""
    network: Any = model.network
    train, watched = (
        read_soundscapes(model.frontend, network, MixtureSampler(banks[split], SETTINGS, seed=5), n)
        for split, n in (("train", n_train), ("validation", N_WATCHED))
    )
    return fit_events(EventLayers(network.event_gru, network.event_head), train, watched)


class Backbone:
    """What the last layers of tags and environments read.

    Args:
        model: Its network is fused as it is now.
    """

    def __init__(self, model: SoundModel) -> None:
        self.frontend, self.network = model.frontend, fuse(model.network)

    def __call__(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean embedding and the environments' code, (batch, size) each."""
        codes: list[Tensor] = []
        hook = self.network.get_submodule("scene_head").register_forward_pre_hook(
            lambda _, inputs: codes.append(inputs[0])
        )
        try:
            embedding: Tensor = self.network(self.frontend(waveforms)).embedding
        finally:
            hook.remove()
        return embedding.mean(dim=1), codes[0]


@torch.no_grad()
def embed_clips(
    backbone: Backbone,
    lecturer: Lecturer | None,
    clips: Sequence[Decoded],
    labels: LabelSets,
    named: Tensor,
    *,
    seed: int = 0,
) -> Examples:
    """Return a window of each recording, as the checkpoint reads it: trimmed, and repeated."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Tensor, ...]] = []
    for clip in clips:
        batch = torch.from_numpy(window_of(clip, rng))
        tags = list(labels.tags_of(clip.recording) or ())
        labeled = named[tags].amax(dim=0) if tags else torch.zeros(named.shape[1])
        truth, place = LABELED * labeled, torch.zeros(len(labels.environments))
        if lecturer is not None:
            lesson = lecturer(batch)
            truth, place = truth.maximum(lesson.tag[0]), _place(lesson)[0]
        known = torch.tensor(bool(tags) or lecturer is not None)
        environment = labels.learned_environment_of(clip.recording)
        embedding, code = backbone(batch)
        scene = torch.tensor(-1 if environment is None else environment)
        rows.append((embedding[0], truth, known, labeled, code[0], scene, place))
    return Examples(*(torch.stack(column) for column in zip(*rows, strict=True)))


@torch.no_grad()
def embed_mixtures(
    backbone: Backbone,
    lecturer: Lecturer | None,
    mixer: MixtureSampler,
    n_tags: int,
    n_scenes: int,
    batch: int = 16,
) -> Examples:
    """Return mixtures, noise and tones among them; what they were mixed of may be drowned."""
    rows = []
    for _ in range(N_MIXTURES // batch):
        mixed = mixer.draw(batch, WINDOW)
        truth, known, place = mixed.tag, mixed.tag_known, torch.zeros(batch, n_scenes)
        if lecturer is not None:
            lesson = lecturer(mixed.clean)
            truth, known, place = lesson.tag, torch.ones_like(known), _place(lesson)
        labeled = torch.zeros(batch, n_tags)
        embedding, code = backbone(mixed.degraded)
        rows.append((embedding, truth, known, labeled, code, mixed.scene, place))
    return Examples(*(torch.cat(column) for column in zip(*rows, strict=True)))


def fit_tags(head: nn.Sequential, train: Examples, watched: Examples, kept: float) -> nn.Sequential:
    """Return the head that is best on what is watched, the given one among them.

    Args:
        head: Layers of the tags.
        train: To learn from.
        watched: To choose by.
        kept: How much a label counted in training.
    """
    best, chosen = _score(head, watched), head
    train = Examples(*(column[train.known] for column in train))
    log.info("as it was: mAP %.3f, top-1 %.3f", *best)
    for weight in WEIGHTS:
        torch.manual_seed(0)
        own = copy.deepcopy(head).requires_grad_(requires_grad=True)
        optimizer = torch.optim.AdamW(own.parameters(), lr=RATE, weight_decay=0.05)
        for epoch in range(EPOCHS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1.0 - epoch / EPOCHS)
            own.train()
            for rows in _batches(len(train.embedding)):
                optimizer.zero_grad()
                loss = _loss(own, Examples(*(column[rows] for column in train)), weight)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            score = _score(own.eval(), watched)
            if sum(score) > sum(best):
                best, chosen = score, copy.deepcopy(own)
                log.info("weight %.0f, epoch %d: mAP %.3f, top-1 %.3f", weight, epoch, *score)
    shift_labeled(chosen, train.labeled.any(dim=0), watched, kept)
    shift_frequent(chosen, watched)
    return chosen.requires_grad_(requires_grad=False)


@torch.no_grad()
def shift_labeled(
    head: nn.Sequential, is_labeled: Tensor, watched: Examples, weight: float
) -> None:
    """Bring the odds of labeled classes to where the loss on what is watched is least.

    A class that was fitted with a greater weight is too likely beside those that only the teacher
    knows. One shift serves all labeled classes, so that their order stays as it is.

    Args:
        head: Layers of the tags, whose last bias changes.
        is_labeled: Which tags are labeled, (tags,).
        watched: Examples to choose by.
        weight: How much a label counts.
    """
    watched = Examples(*(column[watched.known] for column in watched))
    logits: Tensor = head(watched.embedding)
    share = 1.0 + (weight - 1.0) * watched.labeled

    def loss(shift: float) -> float:
        shifted = logits + shift * is_labeled
        return float(nnf.binary_cross_entropy_with_logits(shifted, watched.truth, share))

    shift = min(SHIFTS, key=loss)
    log.info("labeled tags are shifted by %.1f", shift)
    last: Any = head[-1]
    last.bias += shift * is_labeled


@torch.no_grad()
def shift_frequent(head: nn.Sequential, watched: Examples) -> None:
    """Bring the odds of tags that many recordings are labeled with to where top-1 is highest.

    A third of the recordings is speech, of a few collections; beside it, others would come second.
    """
    rows = watched.labeled.any(dim=1)
    labeled, logits = watched.labeled[rows], head(watched.embedding[rows])
    last: Any = head[-1]
    for tag in (labeled.mean(dim=0) > FREQUENT).nonzero().flatten().tolist():

        def top1(shift: float, tag: int = tag) -> float:
            shifted = logits.clone()
            shifted[:, tag] += shift
            return float(labeled.gather(1, shifted.argmax(dim=1, keepdim=True)).mean())

        shift = max(sorted(SHIFTS, key=abs), key=top1)  # of equals the smallest
        log.info("tag %d is shifted by %.1f: top-1 of all tags %.3f", tag, shift, top1(shift))
        last.bias[tag] += shift


def fit_scenes(head: nn.Linear, train: Examples, watched: Examples) -> nn.Linear:
    """Return the environments' layer that is best on what is watched, the given one among them."""
    known, watched_known = train.scene >= 0, watched.scene >= 0
    n_scenes = head.out_features
    labeled = nnf.one_hot(train.scene.clamp(min=0), n_scenes).float()
    truth = torch.where(known[:, None], labeled, train.place)
    count = (labeled * known[:, None]).sum(dim=0).clamp(min=1.0)
    of_class = (count.mean() / count).sqrt()
    watched_scene = watched.scene[watched_known].numpy()

    def score(layer: nn.Linear) -> float:
        found = confusion(layer(watched.code[watched_known]).detach().numpy(), watched_scene)
        return found.accuracy + float(np.nanmean(found.recall))

    best, chosen = score(head), head
    log.info("environments as they were: accuracy and macro recall sum up to %.3f", best)
    for decay, share in itertools.product(DECAYS, SHARES):
        weight = torch.where(known, labeled @ of_class, share * train.place.sum(dim=1))
        read = weight > 0
        code, target, weight = train.code[read], truth[read], weight[read]
        torch.manual_seed(0)
        own = copy.deepcopy(head).requires_grad_(requires_grad=True)
        optimizer = torch.optim.AdamW(own.parameters(), lr=2 * RATE, weight_decay=decay)
        for epoch in range(EPOCHS):
            for rows in _batches(len(code)):
                optimizer.zero_grad()
                each = nnf.cross_entropy(own(code[rows]), target[rows], reduction="none")
                loss = (each * weight[rows]).sum() / weight[rows].sum()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if (found := score(own)) > best:
                best, chosen = found, copy.deepcopy(own)
                log.info("decay %g, share %g, epoch %d: %.3f", decay, share, epoch, found)
    return chosen.requires_grad_(requires_grad=False)


def _loss(head: nn.Sequential, examples: Examples, weight: float) -> Tensor:
    logits: Tensor = head(examples.embedding)
    truth = examples.truth
    share = 1.0 + (weight - 1.0) * examples.labeled
    binary = nnf.binary_cross_entropy_with_logits(logits, truth, share, reduction="none")
    ranks = share * truth
    ranks = ranks / ranks.sum(dim=1, keepdim=True).clamp(min=1e-6)
    listwise = -(ranks * logits.log_softmax(dim=1)).sum(dim=1)
    return (binary.sum(dim=1) + LossWeights().ranking * listwise).mean()


@torch.no_grad()
def _score(head: nn.Sequential, examples: Examples) -> tuple[float, float]:
    """Return mAP and top-1 accuracy over the classes that recordings are labeled with."""
    classes = examples.labeled.sum(dim=0) >= FEWEST_RECORDINGS
    truth = examples.labeled[:, classes].numpy() > 0
    rows = truth.any(axis=1)
    scores = torch.sigmoid(head(examples.embedding))[:, classes].numpy()[rows]
    top1 = truth[rows][np.arange(rows.sum()), scores.argmax(axis=1)].mean()
    return mean_average_precision(scores, truth[rows]), float(top1)


def _batches(n: int) -> Sequence[Tensor]:
    order = torch.randperm(n)
    return [order[start : start + BATCH] for start in range(0, n, BATCH)]


def _place(lesson: Lesson) -> Tensor:
    if lesson.scene is None:
        raise ValueError("The teacher has no places; fit them first (recipes.places.fit_places).")
    return lesson.scene


def _joined(*parts: Examples) -> Examples:
    return Examples(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--teacher", type=Path, help="mn04_as.safetensors, of a taught checkpoint")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--soundscapes", type=int, default=N_TRAIN, help="that events learn from; with 0 they stay"
    )
    return parser


if __name__ == "__main__":
    main()
