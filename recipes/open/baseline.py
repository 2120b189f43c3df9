"""A plain baseline: mean and deviation of the log-mel, and logistic regression.

What any network must beat. It reads what the network reads (windows, front end, frequencies) and
is graded on the same validation set; `recipes.open.baseline_comparison` is the command.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcasenet.annotations.segments import segment_activity
from dcasenet.models.frontend import LogMel
from dcasenet.spec import STEP, TASKS, FrontEndSettings, Task
from dcasenet.train.engine.validation import Answers
from dcasenet.train.metrics.thresholds import UNTUNED
from recipes.open.scores import grade, tune_thresholds
from recipes.open.validation import ValidationSet

log = logging.getLogger("recipes.open.baseline")

# Inverse strengths of the L2 penalty that validation chooses from, a decade apart.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
ITERATIONS = 2000  # of lbfgs, at most; a few hundred are enough on standardized features

Features = NDArray[np.float32]


@dataclass
class BaselineFeatures:
    """The features of a validation set.

    Attributes:
        found: Task → recording (of events: soundscape) → features of each of its windows,
            (2 × bins,), or (steps, 2 × bins) for events.
    """

    found: dict[Task, dict[int, list[Features]]] = field(
        default_factory=lambda: {task: {} for task in TASKS}
    )


def statistics(log_mel: NDArray[np.float32]) -> Features:
    """Return mean and deviation of each bin over time.

    Args:
        log_mel: (…, bins, frames).

    Returns:
        (…, 2 × bins).

    Example:
        >>> statistics(np.array([[1.0, 3.0], [2.0, 2.0]], np.float32)).tolist()
        [2.0, 2.0, 1.0, 0.0]
    """
    return np.asarray(np.concatenate([log_mel.mean(axis=-1), log_mel.std(axis=-1)], axis=-1))


@torch.inference_mode()
def featurize(validation_set: ValidationSet, settings: FrontEndSettings) -> BaselineFeatures:
    """Return the features of every batch: of a window, or of each step of 0.8 s.

    Args:
        validation_set: What is evaluated.
        settings: The front end; its log-mel is taken before normalization, without the bins above
            ``max_frequency``.
    """
    frontend = LogMel(settings)
    audible = frontend.audible[:, 0].numpy() > 0
    frames = round(STEP * settings.sample_rate / settings.hop_length)
    features = BaselineFeatures()
    for position in range(len(validation_set)):
        batch = validation_set[position]
        log_mel = frontend.log_mel(batch.waveforms).numpy()[:, audible]
        for task in batch.tasks:
            found = _by_step(log_mel, frames) if task == "event" else statistics(log_mel)
            for index, value in zip(batch.indices, found, strict=True):
                features.found[task].setdefault(index, []).append(value)
    return features


def _by_step(log_mel: NDArray[np.float32], frames: int) -> Features:
    """Cut (batch, bins, frames) into whole steps: (batch, steps, 2 × bins)."""
    n_steps = log_mel.shape[-1] // frames
    cut = log_mel[..., : n_steps * frames].reshape(*log_mel.shape[:-1], n_steps, frames)
    return statistics(np.moveaxis(cut, 2, 1))


@dataclass
class Baseline:
    """Standardized logistic regressions: one for scenes, one for tags, one for each event.

    Attributes:
        penalties: Task → inverse strength of the penalty that it was fitted with.
        models: Task → fitted scikit-learn pipelines; of an event that never occurs, None.
        n_labels: Task → number of labels.
    """

    penalties: dict[Task, float]
    models: dict[Task, list[Any]]
    n_labels: dict[Task, int]

    def answer(self, features: BaselineFeatures) -> Answers:
        """Answer the tasks that were fitted: probabilities, of tags their logarithms."""
        answers = Answers()
        for task in self.models:
            for index, windows in features.found[task].items():
                answers.found[task][index] = [self._probabilities(task, w) for w in windows]
        return answers

    def _probabilities(self, task: Task, features: Features) -> NDArray[np.float32]:
        rows = np.atleast_2d(features)
        found = np.zeros((len(rows), self.n_labels[task]), np.float32)
        if task == "event":
            for label, model in enumerate(self.models[task]):
                if model is not None:
                    found[:, label] = model.predict_proba(rows)[:, 1]
            return found
        (model,) = self.models[task]
        scores = model.predict_log_proba(rows) if task == "tag" else model.predict_proba(rows)
        # A label without a training clip is ranked below all others.
        found[:] = scores.min() - 1.0 if task == "tag" else 0.0
        found[:, model.classes_] = scores
        return np.asarray(found[0])


def fit(
    validation_set: ValidationSet, features: BaselineFeatures, task: Task, penalty: float
) -> Baseline:
    """Fit one task in the training split.

    Args:
        validation_set: Of the training split.
        features: Its features.
        task: The task.
        penalty: Inverse strength of the L2 penalty.
    """
    data = validation_set.data
    n_labels = len(data.labels[task])
    rows, truth = _design_matrix(validation_set, features, task)
    models: list[Any] = []
    if task == "event":
        for label in range(n_labels):
            occurs = 0 < truth[:, label].sum() < len(truth)
            models.append(_regression(penalty).fit(rows, truth[:, label]) if occurs else None)
    else:
        models.append(_regression(penalty).fit(rows, truth))
    return Baseline({task: penalty}, {task: models}, {task: n_labels})


def _regression(penalty: float) -> Any:
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=penalty, max_iter=ITERATIONS, tol=1e-3)
    )


def _design_matrix(
    validation_set: ValidationSet, features: BaselineFeatures, task: Task
) -> tuple[Features, NDArray[Any]]:
    """Return features (rows, size) and truth: index of the label, or activity (rows, labels)."""
    data, found = validation_set.data, features.found[task]
    if task == "event":
        n_labels = len(data.labels[task])
        truth = []
        for number, (steps,) in found.items():
            events = [
                (e.label, e.onset, e.offset) for e in validation_set.soundscape(number).events
            ]
            active = segment_activity(events, n_labels, len(steps) * STEP, STEP)
            truth.append(active)
        return np.concatenate([steps for (steps,) in found.values()]), np.concatenate(truth)
    index_of = data.index_of(task)
    labels = [
        index_of[validation_set.clips[index].label]
        for index, windows in found.items()
        for _ in windows
    ]
    return np.stack([window for windows in found.values() for window in windows]), np.array(labels)


def choose(
    training: tuple[ValidationSet, BaselineFeatures],
    validation: tuple[ValidationSet, BaselineFeatures],
    penalties: Sequence[float] = PENALTIES,
) -> tuple[Baseline, tuple[float, ...]]:
    """Fit every task with each penalty; keep what the validation's first figure likes best.

    Args:
        training: Validation set of the training split, and its features.
        validation: Likewise of the validation split.
        penalties: To choose from; of equally good ones the smallest, which shrinks most.

    Returns:
        The baseline, and each event's threshold, tuned on validation.
    """
    chosen = Baseline({}, {}, {})
    thresholds: tuple[float, ...] = ()
    for task in TASKS:
        best = -np.inf
        for penalty in penalties:
            trial = fit(*training, task, penalty)
            answers = trial.answer(validation[1])
            limits = tune_thresholds(answers, validation[0]) if task == "event" else ()
            graded = grade(answers, validation[0], limits or UNTUNED)
            figure = next(iter(graded[task].figures.values()))
            log.info("%s, C = %g: %.3f on validation", task, penalty, figure)
            if figure > best:
                best = figure
                thresholds = limits or thresholds
                chosen.penalties |= trial.penalties
                chosen.models |= trial.models
                chosen.n_labels |= trial.n_labels
    return chosen, thresholds
