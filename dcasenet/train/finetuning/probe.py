"""The linear probe: one linear layer on embeddings that are computed once.

It reads the very windows that the verb will read, one example each, or each step of the events'
windows. So what is trained is what answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from dcasenet.audio.preprocess import AudioInfo
from dcasenet.errors import DcasenetError
from dcasenet.inference.familiarity import familiarity
from dcasenet.inference.postprocess import Decoder, InferredChunk, Query
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, Task
from dcasenet.train.data.dataset import Example
from dcasenet.train.finetuning.data import FinetuningData
from dcasenet.train.finetuning.evaluation import Evaluation, evaluate, predict, verb

# Weight decays that validation chooses from, strongest first, and the one without validation.
# The loss is a mean over examples, of embeddings scaled to a deviation of 1.
DECAYS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
DECAY = 0.03
# Steps of L-BFGS: the loss is convex and hardly moves after 100 on 2,000 clips.
ITERATIONS = 200
# A deviation below this is a unit that never moves; dividing by less would blow it up.
MIN_DEVIATION = 1e-4


@dataclass(frozen=True)
class Embedded:
    """A recording with the embedding of each of its windows.

    Attributes:
        info: The recording.
        chunks: Its windows, with an ``"embedding"`` of (1, 1, embedding size), or (1, steps,
            embedding size) for events.
    """

    info: AudioInfo
    chunks: tuple[InferredChunk, ...]

    @property
    def embeddings(self) -> tuple[Floats, ...]:
        """For each window, (1, embedding size) or (steps, embedding size)."""
        return tuple(chunk.outputs["embedding"][0] for chunk in self.chunks)


@dataclass(frozen=True)
class Head:
    """One linear layer.

    Attributes:
        weight: (labels, embedding size).
        bias: (labels,).
        decay: The weight decay that it was trained with.
        familiar: Share of the recordings it learned from that the checkpoint knows the like of; 1
            without statistics.
    """

    weight: Tensor
    bias: Tensor
    decay: float = DECAY
    familiar: float = 1.0

    def logits(self, embeddings: Floats, task: Task) -> Floats:
        """Answer a window as a network does, (1, labels) or (1, steps, labels)."""
        values: Floats = embeddings @ self.weight.numpy().T + self.bias.numpy()
        return values[None] if task == "event" else values


def fit_head(model: SoundVerbs[Any], data: FinetuningData) -> tuple[Head, Evaluation]:
    """Train a linear head, choosing the weight decay by the validation split.

    Scene: cross-entropy, each label weighted by one over its number of examples, so that a rare
    class counts as much as a common one; the layer is trained on all examples at once, so that
    there are no draws to balance. Tags and events: binary cross-entropy with plain weights, as
    weighted ones would no longer answer with probabilities; the events' thresholds make up for it.

    Args:
        model: The model, whose backbone stays as it is.
        data: What to learn from.

    Returns:
        The head, and how right it is in the validation split, empty if there is none.

    Raises:
        DcasenetError: The model's embeddings or the loss are not finite.
    """
    query = verb(model.spec, data.task)
    train = list(embed(model, query, data.train, data))
    held = list(embed(model, query, data.validation, data))
    return choose_head(model.spec, data, train, held)


def choose_head(
    spec: ModelSpec, data: FinetuningData, train: Sequence[Embedded], held: Sequence[Embedded]
) -> tuple[Head, Evaluation]:
    """Train a linear head on embeddings; see `fit_head`.

    Args:
        spec: Of the model that made the embeddings.
        data: What to learn from.
        train: The embeddings of its training split.
        held: Those of its validation split.

    Raises:
        DcasenetError: The embeddings or the loss are not finite.
    """
    if not data.validation:
        return train_head(spec, data, train, (DECAY,))[0], Evaluation({})
    task = data.task
    answering = verb(labeled(spec, data), task)
    trials: list[tuple[Head, Evaluation]] = []
    for head in train_head(spec, data, train, DECAYS):
        results = [answered(item, head, answering, task) for item in held]
        trials.append((head, evaluate(data, data.validation, results)))
    return max(trials, key=lambda trial: trial[1].score)  # of equals the strongest decay


def train_head(
    spec: ModelSpec, data: FinetuningData, train: Sequence[Embedded], decays: Sequence[float]
) -> list[Head]:
    """Train a linear head with each of some weight decays.

    Raises:
        DcasenetError: The embeddings or the loss are not finite.
    """
    inputs = np.concatenate([window for item in train for window in item.embeddings])
    if not np.isfinite(inputs).all():
        raise DcasenetError(
            f"The embeddings of {spec.name} {spec.stage!r} are not finite. Are its weights?"
        )
    targets = np.concatenate(
        [_targets(item, e, data) for item, e in zip(train, data.train, strict=True)]
    )
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    heads = [solve(x, y, data.task, decay) for decay in decays]
    familiar = familiar_share(spec, train)
    return [dataclasses.replace(head, familiar=familiar) for head in heads]


def familiar_share(spec: ModelSpec, recordings: Sequence[Embedded]) -> float:
    """Return the share of recordings with a window that a checkpoint knows the like of."""
    if spec.familiarity is None or not recordings:
        return 1.0
    highest = [
        familiarity(spec.familiarity, np.stack([w.mean(axis=0) for w in item.embeddings])).max()
        for item in recordings
    ]
    return float(np.mean(np.array(highest) >= spec.familiarity.limit))


def embed(
    model: SoundVerbs[Any],
    query: Query[Any],
    examples: Sequence[Example],
    data: FinetuningData,
) -> Iterator[Embedded]:
    """Embed the windows that a verb reads of each example."""
    task = data.task
    embedding = Query({"embedding": query.grids[task]}, partial(_Embedding, task))
    return predict(model, embedding, examples, data.store, backbone=task)


class _Embedding(Decoder[Embedded]):
    """Keeps the windows' embeddings, averaged over the steps unless events are read from them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._chunks: list[InferredChunk] = []

    def add(self, chunk: InferredChunk) -> None:
        steps = chunk.outputs["embedding"]
        if self._task != "event":
            steps = steps.mean(axis=1, keepdims=True)
        self._chunks.append(dataclasses.replace(chunk, outputs={"embedding": steps}))

    def result(self, info: AudioInfo) -> Embedded:
        return Embedded(info, tuple(self._chunks))


def answered(embedded: Embedded, head: Head, query: Query[Any], task: Task) -> Any:
    """Return the verb's result for a recording, from its embeddings and a head."""
    decoder = query.decoder()
    for chunk, window in zip(embedded.chunks, embedded.embeddings, strict=True):
        outputs: dict[str, Floats] = {task: head.logits(window, task)}
        decoder.add(dataclasses.replace(chunk, outputs=outputs))
    return decoder.result(embedded.info)


def labeled(spec: ModelSpec, data: FinetuningData) -> ModelSpec:
    """Return a spec with the data's labels in place of its task's."""
    names = {"scene": "scenes", "tag": "tags", "event": "events"}
    return dataclasses.replace(spec, **{names[data.task]: data.labels})  # type: ignore[arg-type]


def solve(inputs: Tensor, targets: Tensor, task: Task, decay: float) -> Head:
    """Find the linear layer with the least loss: L-BFGS on all examples at once.

    Args:
        inputs: (examples, embedding size).
        targets: (examples, labels), 0 to 1; for scenes rows that sum to 1.
        task: Which loss.
        decay: Weight of half the squared norm of the weights, for inputs of deviation 1.

    Raises:
        DcasenetError: The loss is not finite.
    """
    mean = inputs.mean(dim=0)
    deviation = inputs.std(dim=0, correction=0).clamp(min=MIN_DEVIATION)
    x = (inputs - mean) / deviation
    weight = torch.zeros(targets.shape[1], inputs.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    balance = len(targets) / targets.shape[1] / targets.sum(dim=0).clamp(min=1e-6)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = x @ weight.T + bias
        if task == "scene":
            loss = nnf.cross_entropy(logits, targets, weight=balance)
        else:
            loss = nnf.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            loss = loss.sum(dim=1).mean()
        loss = loss + decay / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    loss = float(optimizer.step(closure).detach())  # type: ignore[no-untyped-call]
    weight, bias = weight.detach() / deviation, bias.detach()
    if not np.isfinite(loss) or not weight.isfinite().all():
        raise DcasenetError(
            f"The loss of the linear layer is not finite ({loss}), with a weight decay of {decay}."
        )
    return Head(weight, bias - weight @ mean, decay)


def _targets(item: Embedded, example: Example, data: FinetuningData) -> NDArray[np.float32]:
    """Return the truth of each window, or of each step of each window, (…, labels)."""
    if data.task != "event":
        row = np.zeros((len(item.chunks), len(data.labels)), np.float32)
        row[:, data.targets(example)] = 1.0
        return row
    return np.concatenate(
        [
            data.step_truth(example, chunk.window[0], len(steps) * data.step)
            for chunk, steps in zip(item.chunks, item.embeddings, strict=True)
        ]
    )
