"""A model gets a new head: what is kept of the old one, and what the new one says about itself."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial
from typing import Any

import torch
from torch import nn

from dcasenet.inference.model import SoundModel
from dcasenet.inference.postprocess import require
from dcasenet.models.base import LAST_LAYERS
from dcasenet.models.dcasenet import NETWORKS, create
from dcasenet.models.frontend import LogMel
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import TASKS, ModelSpec, Task
from dcasenet.text import count
from dcasenet.train.finetuning.data import FinetuningData, n_recordings
from dcasenet.train.finetuning.evaluation import Evaluation
from dcasenet.train.finetuning.probe import Head
from dcasenet.train.finetuning.recipe import FinetuneRecipe
from dcasenet.train.metrics.thresholds import UNTUNED
from dcasenet.weights.builder import NETWORK, assemble, tensors_of
from dcasenet.weights.hub import member_spec

FIELDS: dict[Task, str] = {"scene": "scenes", "tag": "tags", "event": "events"}
# Shares of examples that a label starts from are kept within these.
RAREST, COMMONEST = 1e-3, 0.5
# Share of the recordings that a checkpoint has to know the like of, to go on saying of others
# whether it does.
FAMILIAR = 0.95


def own_network(model: SoundModel, task: Task) -> tuple[ModelSpec, nn.Module]:
    """Return the network that a task has, with its spec: the model's, or one of its members.

    Raises:
        TaskNotAvailableError: The model has networks per task, and none for this one.
    """
    if not model.spec.members:
        return model.spec, model.network
    require(model.spec, task)
    return member_spec(model.spec, task), model.network_of(task)


def with_linear_head(
    model: SoundModel, head: Head, data: FinetuningData, evaluation: Evaluation
) -> SoundModel:
    """Return a model whose task is answered by a linear head; all else is a copy.

    Args:
        model: Any model.
        head: The linear layer.
        data: What it was trained on.
        evaluation: How right it is.
    """
    task = data.task
    spec, network = own_network(model, task)
    note = "a linear head on the frozen backbone", "weight decay"
    own = described(_relabeled(spec, data, head), data, evaluation, *note)
    gone = (f"{NETWORK}linear.{task}.", *(f"{NETWORK}{n}." for n in NETWORKS[spec.name].own[task]))
    tensors = {
        name: tensor.clone()
        for name, tensor in tensors_of(model.frontend, network).items()
        if not name.startswith(gone)
    }
    tensors |= {
        f"{NETWORK}linear.{task}.weight": head.weight,
        f"{NETWORK}linear.{task}.bias": head.bias,
    }
    frontend, network = assemble(tensors, own, f"{spec.name} {own.stage!r}")
    if model.composed is None:
        return SoundModel(own, frontend, network, model.precision).to(model.device)
    loaders = dict(model.composed.loaders)
    loaders[task] = partial(copy.deepcopy, network)
    whole = described(_relabeled(model.spec, data, head), data, evaluation, *note)
    whole = dataclasses.replace(whole, members={**model.spec.members, task: own.stage})
    return SoundModel(whole, frontend, ComposedNetwork(loaders), model.precision).to(model.device)


def with_new_layer(model: SoundModel, data: FinetuningData, recipe: FinetuneRecipe) -> SoundModel:
    """Return a copy of a task's own network with a new last layer, ready to be trained.

    The new layer's biases start at how often each label is true, so that the first steps need not
    learn it.

    Args:
        model: Any model.
        data: What it is about to be trained on.
        recipe: With the seed of the new layer.
    """
    task = data.task
    spec, network = own_network(model, task)
    labels = {FIELDS[other]: () for other in TASKS}
    spec = _relabeled(dataclasses.replace(spec, metrics={}, **labels), data, None)  # type: ignore[arg-type]
    spec = dataclasses.replace(spec, tasks=(task,), members={}, selected_for=None)
    if task != "event":  # what was measured of events goes with them
        spec = dataclasses.replace(spec, curves={}, thresholds={}, hysteresis=1.0)
    sizes: dict[str, int] = dict.fromkeys(("n_scenes", "n_tags", "n_events"), 1)
    sizes[f"n_{FIELDS[task]}"] = len(data.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        fresh: Any = create(spec.name, **sizes, width=spec.width, time_pooling=spec.time_pooling)
        for linear in spec.heads:
            n_labels = len(spec.labels(linear)) or 1
            fresh.give_linear_head(linear, n_labels, spec.embedding_size)
    last = last_layer(spec, task)
    state = fresh.state_dict()
    for name, value in network.state_dict().items():
        if name in state and state[name].shape == value.shape and not name.startswith(f"{last}."):
            state[name] = value.detach().cpu().clone()
    fresh.load_state_dict(state)
    nn.init.constant_(fresh.get_submodule(last).bias, 0.0)
    if task != "scene":
        with torch.no_grad():
            fresh.get_submodule(last).bias.copy_(torch.logit(_shares(data)))
    frontend = LogMel(spec.frontend)
    frontend.load_state_dict({n: v.cpu().clone() for n, v in model.frontend.state_dict().items()})
    return SoundModel(spec, frontend, fresh)


def last_layer(spec: ModelSpec, task: Task) -> str:
    """Name the layer of a network that has one output for each label of a task."""
    return f"linear.{task}" if task in spec.heads else LAST_LAYERS[task]


def described(
    spec: ModelSpec, data: FinetuningData, evaluation: Evaluation, how: str, chosen: str
) -> ModelSpec:
    """Return a spec that says what the model was tuned on and how right it is.

    Args:
        spec: With the new labels; its license is passed on.
        data: What it was tuned on.
        evaluation: How right it is in the validation split.
        how: What was trained.
        chosen: What the validation split decided, besides the thresholds of events.
    """
    task, train, held = data.task, data.train, data.validation
    figures = {f"validation_{name}": round(v, 4) for name, v in evaluation.figures.items()}
    metrics = {other: values for other, values in spec.metrics.items() if other != task}
    before = ", ".join(spec.datasets)
    measured_on = {other: spec.measured_on.get(other, before) for other in metrics}
    others = f" Other tasks: {spec.protocol}" if metrics and spec.protocol else ""
    thresholds = dict(spec.thresholds)
    if task == "event":
        thresholds = evaluation.thresholds or dict.fromkeys(data.labels, UNTUNED)
    measured = "no validation: trained on everything"
    bias = ""
    if held:
        held_out = count(n_recordings(held), "recording")
        measured = f"validation on {count(len(held), 'held-out example')} of {held_out}"
        choices = f"{chosen} and thresholds were" if task == "event" else f"{chosen} was"
        bias = (
            f" The {choices} chosen on these same recordings, so the figures are optimistic: "
            "measure on others what to expect."
        )
    return dataclasses.replace(
        spec,
        metrics={**metrics, **({task: figures} if figures else {})},
        measured_on={**measured_on, task: data.name},
        thresholds=thresholds,
        protocol=f"{task}, {how}: {measured}, in the model's own windows.{bias}{others}",
        training_data=(
            f"{data.name}: {count(len(train), 'example')} of "
            f"{count(n_recordings(train), 'recording')} "
            f"({task}; their license is the user's to state), after: {spec.training_data}"
        ),
        datasets=tuple(dict.fromkeys((data.name, *spec.datasets))),
        source=f"Fine-tuned by dcasenet.train.finetune. Before: {spec.source or spec.stage}",
    )


def _relabeled(spec: ModelSpec, data: FinetuningData, head: Head | None) -> ModelSpec:
    """Return a spec with the data's labels for its task, and a name of its own."""
    task = data.task
    heads = dict(spec.heads)
    if head:
        heads[task] = "linear"
    return dataclasses.replace(
        spec,
        stage=f"{spec.stage}+{data.name}",
        tasks=tuple(other for other in TASKS if other in (*spec.tasks, task)),
        heads=heads,
        # Chosen or measured for other labels.
        thresholds={} if task == "event" else spec.thresholds,
        hysteresis=1.0 if task == "event" else spec.hysteresis,
        curves={} if task == "event" else spec.curves,
        # Under a linear head alone the embedding is the one that was measured. Where it knows
        # nothing like the recordings, the model would never be sure of its own labels.
        familiarity=spec.familiarity if head and head.familiar >= FAMILIAR else None,
        file=None,
        **{FIELDS[task]: data.labels},  # type: ignore[arg-type]
    )


def _shares(data: FinetuningData) -> torch.Tensor:
    """Return the share of training examples, or of their seconds, that each label is true in."""
    store, n_labels = data.store, len(data.labels)
    seconds = torch.zeros(n_labels)
    total = 0.0
    for example in data.train:
        duration = len(store.waveform(example)) / store.sample_rate
        total += duration if data.task == "event" else 1.0
        if data.task == "event":
            for event in example.events or ():
                seconds[data.labels.index(event.label)] += event.offset - event.onset
        else:
            seconds[data.targets(example)] += 1.0
    return (seconds / total).clamp(RAREST, COMMONEST)
