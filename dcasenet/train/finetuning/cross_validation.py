"""What fine-tuning on few recordings is worth: each is evaluated once, by a model without it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import DcasenetError
from dcasenet.inference.model import SoundModel
from dcasenet.spec import ModelSpec, Task
from dcasenet.text import json_text
from dcasenet.train.data.dataset import Example, SoundDataset, Split
from dcasenet.train.data.resolve import Group, as_dataset
from dcasenet.train.data.splits import hold_out, k_folds
from dcasenet.train.finetuning.data import FinetuningData, gather, n_recordings
from dcasenet.train.finetuning.evaluation import Evaluation, evaluate, predict, verb
from dcasenet.train.finetuning.learning import (
    Freeze,
    RecipeOptions,
    check_freeze,
    learn,
    recipe_for,
)
from dcasenet.train.finetuning.probe import (
    Embedded,
    answered,
    choose_head,
    embed,
    labeled,
    train_head,
)
from dcasenet.train.finetuning.recipe import FinetuneRecipe
from dcasenet.train.finetuning.surgery import own_network, with_linear_head
from dcasenet.train.metrics.classification import Confusion

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """How right models are on the recordings that they were not trained on.

    Attributes:
        task: What was learned.
        labels: The labels.
        folds: How many models were trained, each without one fold.
        n_examples: How many examples were evaluated, each once.
        n_recordings: How many recordings they were cut from.
        figures: Name → its value in each fold: accuracy and ``macro_recall`` of scenes; ``map`` and
            lwlrap of tags; segment-based F1 and error rate of events, by thresholds that each
            model chose without the fold.
        confusion: Number of examples by true label and answered label, over all folds; None for
            events, and for tags unless every example has exactly one.
        decay: Median of the weight decays that the folds chose; None where a whole network was
            trained.
        thresholds: Event label → median of the folds' thresholds.
    """

    task: Task
    labels: tuple[str, ...]
    folds: int
    n_examples: int
    n_recordings: int
    figures: Mapping[str, tuple[float, ...]]
    confusion: Confusion | None = None
    decay: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def mean(self, figure: str) -> float:
        """Return a figure's mean over the folds that have it."""
        return float(np.nanmean(self.figures[figure]))

    def deviation(self, figure: str) -> float:
        """Return a figure's standard deviation over the folds."""
        return float(np.nanstd(self.figures[figure]))

    @property
    def metrics(self) -> dict[str, float]:
        """The means and deviations, as `ModelSpec.metrics` has them."""
        values: dict[str, float] = {}
        for name in self.figures:
            values[f"{self.folds}_fold_{name}"] = round(self.mean(name), 4)
            values[f"{self.folds}_fold_{name}_deviation"] = round(self.deviation(name), 4)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        confusion = self.confusion
        return {
            "task": self.task,
            "labels": list(self.labels),
            "folds": self.folds,
            "examples": self.n_examples,
            "recordings": self.n_recordings,
            "figures": {
                name: {
                    "mean": self.mean(name),
                    "deviation": self.deviation(name),
                    "folds": list(values),
                }
                for name, values in self.figures.items()
            },
            "confusion": None if confusion is None else confusion.counts.tolist(),
        }

    def to_json(self, indent: int | None = None) -> str:
        """Return `to_dict` as JSON text."""
        return json_text(self.to_dict(), indent=indent)

    def to_text(self) -> str:
        """Return the figures and the confusion table as text, a true label in each row."""
        lines = [
            f"{self.folds} folds over {self.n_examples} examples of {self.n_recordings} recordings"
        ]
        for name, values in self.figures.items():
            folds = " ".join(f"{value:.3f}" for value in values)
            lines.append(
                f"{name:24}{self.mean(name):.3f} ± {self.deviation(name):.3f}   (folds: {folds})"
            )
        if self.confusion is not None:
            lines += ["", *_table(self.labels, self.confusion)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()


def cross_validate(  # noqa: PLR0913 - the options of `finetune` that it shares
    model: SoundModel,
    data: str | os.PathLike[str] | SoundDataset,
    task: Task,
    *,
    folds: int = 5,
    freeze: Freeze = "trunk",
    validation: float = 0.2,
    seed: int = 0,
    group: Group | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[RecipeOptions],
) -> CrossValidation:
    """Fine-tune once for each fold of the recordings, and evaluate the fold that was left out.

    Recordings are dealt whole, those of each label as evenly as can be. Data that comes in folds
    keeps its own, the test fold among them: with ``folds=5`` `ESC50` gives its published protocol.
    What a model must choose (weight decay, when to stop, thresholds), it
    chooses on recordings held out of its own training split, never on the fold it is evaluated.

    Args:
        model: As for `finetune`.
        data: As for `finetune`; what it holds out for validation is dealt like the rest, and a
            test split is left alone unless it is one of the data's own folds.
        task: As for `finetune`.
        folds: How many, 2 or more; as many as there are recordings leaves one out at a time. Of
            data that comes in folds, as many as it has.
        freeze: As for `finetune`.
        validation: Share of a training split that is held out for choices.
        seed: Of everything random.
        group: As for `finetune`.
        work_dir: As for `finetune`.
        **options: As for `finetune` without freeze.

    Returns:
        Figures of each fold, and which labels were taken for which.

    Raises:
        ValueError: An option is out of range.
        DcasenetError: The data cannot be trained on, has too few recordings for the folds, or
            comes in another number of folds.

    Example:
        >>> import dcasenet, soundfile
        >>> random = np.random.default_rng(0)
        >>> with TemporaryDirectory() as folder:
        ...     for name, loud in (("hiss", 0.5), ("hum", 0.01)):
        ...         Path(folder, name).mkdir()
        ...         for take in range(4):
        ...             hum = np.sin(np.arange(24_000) * 0.02) / 2
        ...             noise = loud * random.standard_normal(24_000)
        ...             soundfile.write(f"{folder}/{name}/{take}.wav", (noise + hum) / 4, 24_000)
        ...     model = dcasenet.load()
        ...     report = cross_validate(model, folder, "scene", folds=4)
        >>> report.mean("accuracy"), report.confusion.counts.tolist()
        (1.0, [[4, 0], [0, 4]])
    """
    check_freeze(freeze)
    dataset = _all_folds(as_dataset(data, task, validation=0.0, seed=seed, group=group))
    recipe = recipe_for(model, dataset, seed, options)
    spec, _ = own_network(model, task)
    with nullcontext(work_dir) if work_dir is not None else TemporaryDirectory() as folder:
        whole = gather(dataset, spec, 0.0, seed, Path(folder, "cache"))
        parts = _folds(whole.train, folds, seed)
        rounds = [_round(whole, parts, k, validation, seed) for k in range(folds)]
        if freeze == "trunk":
            tried = list(_probes(model, rounds, parts))
        else:
            tried = list(_networks(model, rounds, parts, recipe, Path(folder, "folds")))
    return _report(whole, parts, tried)


def learn_after(
    report: CrossValidation,
    model: SoundModel,
    data: FinetuningData,
    recipe: FinetuneRecipe,
    folder: Path,
    freeze: Freeze,
) -> SoundModel:
    """Teach a model what folds have tried, and put their figures into its spec.

    A linear head is trained on everything, with the decay and thresholds that the folds chose.
    """
    if freeze == "trunk" and report.decay is not None:
        query = verb(model.spec, data.task)
        train = list(embed(model, query, data.train, data))
        (head,) = train_head(model.spec, data, train, (report.decay,))
        tuned = with_linear_head(model, head, data, Evaluation({}, dict(report.thresholds)))
    else:
        tuned = learn(model, data, recipe, folder, freeze)
    tuned.spec = _with_figures(tuned.spec, report)
    return tuned


def all_to_train(data: SoundDataset) -> SoundDataset:
    """Return a data set whose validation split is in the training split."""
    return _to_train(data, ("validation",))


def _all_folds(data: SoundDataset) -> SoundDataset:
    """Return a data set to be dealt: of one that comes in folds, the test fold is one of them."""
    in_folds = all(example.fold is not None for example in data)
    return _to_train(data, ("validation", "test") if in_folds else ("validation",))


def _to_train(data: SoundDataset, splits: Sequence[Split]) -> SoundDataset:
    examples = [dataclasses.replace(e, split="train") if e.split in splits else e for e in data]
    return SoundDataset(data.name, data.task, data.labels, examples, data.left_out)


@dataclass(frozen=True)
class _Tried:
    """A fold's answers and how right they are."""

    evaluation: Evaluation
    results: list[Any]
    decay: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)


def _folds(examples: Sequence[Example], n_folds: int, seed: int) -> list[list[Example]]:
    if any(example.fold is None for example in examples):
        return k_folds(examples, n_folds, seed)
    own = sorted({example.fold for example in examples if example.fold is not None})
    if len(own) != n_folds:
        raise DcasenetError(
            f"The data comes in {len(own)} folds, and {n_folds} are requested. Type "
            f"folds={len(own)} to use its own, as figures of others do."
        )
    return [[e for e in examples if e.fold == number] for number in own]


def _round(
    whole: FinetuningData, parts: Sequence[Sequence[Example]], k: int, share: float, seed: int
) -> FinetuningData:
    """Return what is learned from without a fold, with a validation split of its own."""
    rest = [example for i, part in enumerate(parts) if i != k for example in part]
    split, _ = hold_out(rest, share, seed)
    return dataclasses.replace(
        whole,
        train=tuple(e for e in split if e.split == "train"),
        validation=tuple(e for e in split if e.split == "validation"),
    )


def _probes(
    model: SoundModel, rounds: Sequence[FinetuningData], parts: Sequence[Sequence[Example]]
) -> Iterator[_Tried]:
    """Try a linear head for each fold, on embeddings that are computed once."""
    data = rounds[0]
    every = [example for part in parts for example in part]
    query = verb(model.spec, data.task)
    found = zip(every, embed(model, query, every, data), strict=True)
    embedded: dict[str, Embedded] = {example.key: one for example, one in found}
    answering = verb(labeled(model.spec, data), data.task)
    for own, part in zip(rounds, parts, strict=True):
        head, evaluation = choose_head(
            model.spec,
            own,
            [embedded[example.key] for example in own.train],
            [embedded[example.key] for example in own.validation],
        )
        results = [answered(embedded[example.key], head, answering, own.task) for example in part]
        thresholds = evaluation.thresholds or None
        evaluated = evaluate(own, part, results, thresholds)
        yield _Tried(evaluated, results, head.decay, evaluated.thresholds)


def _networks(
    model: SoundModel,
    rounds: Sequence[FinetuningData],
    parts: Sequence[Sequence[Example]],
    recipe: FinetuneRecipe,
    folder: Path,
) -> Iterator[_Tried]:
    """Train a whole network for each fold."""
    for k, (own, part) in enumerate(zip(rounds, parts, strict=True)):
        tuned = learn(model, own, recipe, folder / str(k), "none")
        results = list(predict(tuned, verb(tuned.spec, own.task), part, own.store))
        thresholds = dict(tuned.spec.thresholds) if own.task == "event" else None
        evaluated = evaluate(own, part, results, thresholds)
        yield _Tried(evaluated, results, None, evaluated.thresholds)


def _report(
    whole: FinetuningData, parts: Sequence[Sequence[Example]], tried: Sequence[_Tried]
) -> CrossValidation:
    names = list(tried[0].evaluation.figures)
    decays = [one.decay for one in tried if one.decay is not None]
    return CrossValidation(
        task=whole.task,
        labels=whole.labels,
        folds=len(parts),
        n_examples=len(whole.train),
        n_recordings=n_recordings(whole.train),
        figures={name: tuple(one.evaluation.figures[name] for one in tried) for name in names},
        confusion=_confusion(whole, parts, tried),
        decay=median(decays) if decays else None,
        thresholds={
            label: median(one.thresholds[label] for one in tried)
            for label in whole.labels
            if whole.task == "event"
        },
    )


def _confusion(
    whole: FinetuningData, parts: Sequence[Sequence[Example]], tried: Sequence[_Tried]
) -> Confusion | None:
    if whole.task == "event" or any(len(whole.targets(e)) != 1 for e in whole.train):
        return None
    counts: NDArray[np.int64] = np.zeros((len(whole.labels),) * 2, np.int64)
    for part, one in zip(parts, tried, strict=True):
        for example, result in zip(part, one.results, strict=True):
            counts[whole.targets(example)[0], result.values.argmax()] += 1
    return Confusion(counts)


def _with_figures(spec: ModelSpec, report: CrossValidation) -> ModelSpec:
    own = {**report.metrics, **spec.metrics.get(report.task, {})}
    sentence = (
        f"{report.task}, {report.folds} folds over {report.n_examples} examples of "
        f"{report.n_recordings} recordings: mean and deviation of the folds, each evaluated with "
        f"a model trained without it."
    )
    return dataclasses.replace(
        spec,
        metrics={**spec.metrics, report.task: own},
        protocol=f"{sentence} {spec.protocol}",
    )


def _table(labels: Sequence[str], confusion: Confusion) -> list[str]:
    """Lay out a confusion table: true labels in rows, answers in columns, recall and precision."""
    counts = confusion.counts
    corner = "true \\ answered"
    first = max(len(corner), *map(len, labels))
    widths = [max(6, len(label)) for label in labels]
    head = "  ".join(label.rjust(width) for label, width in zip(labels, widths, strict=True))
    lines = [f"{corner:{first}}  {head}  recall"]
    for label, row, recall in zip(labels, counts.tolist(), confusion.recall, strict=True):
        cells = "  ".join(str(n).rjust(width) for n, width in zip(row, widths, strict=True))
        lines.append(f"{label:{first}}  {cells}  {recall:6.2f}")
    shares = zip(confusion.precision, widths, strict=True)
    cells = "  ".join(f"{share:.2f}".rjust(width) for share, width in shares)
    return [*lines, f"{'precision':{first}}  {cells}"]
