"""The model card of the open checkpoint, filled in from the data, the recipe and the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dcasenet.spec import TASKS, ModelSpec, Task
from recipes.open.data import OpenData
from recipes.open.recipe import Recipe
from recipes.open.scores import Grade

SHORT = "10s_"  # what the figures of soundscapes of 10 s begin with

CARD = """# DcaseNet v3, open checkpoint

A preview. It answers three questions about a recording: which of
{n_scenes} environments, which of {n_tags} tags, which of {n_events} events and when.
{parameters:,} parameters (width {width:g} of the paper's v3), float16 on disk, license {license}.

## Data

{training_data}

One split by source recording over all three tasks: ESC-50 by fold (1–3 train, 4 validation,
5 test), the other folders by a hash of the recording. Environments are groups of ESC-50
categories and ambience labels, not places that somebody walked through with a recorder. Events
were cut from clips of one isolated sound by an energy gate ({n_bursts} bursts; {n_gated} clips
without a clear onset left out) and mixed over backgrounds at 0–20 dB, at most three at once.

ESC-50 as a collection is CC BY-NC 3.0; only clips that are themselves CC0 or CC BY were used,
and each is credited in ATTRIBUTION.md.

Labels with too few recordings to stand alone:

{fates}

## Recipe

Joint training on three streams (scene clips, tag clips, soundscapes) in {cycles} cycles, each from
the best epoch of the one before. A cycle: {epochs} epochs of {steps} steps, a step
{n_scene_clips} + {n_tag_clips} clips of {clip_seconds:g} s and soundscapes of
{soundscape_seconds:g} s ({n_soundscapes} in all), AdamW, a learning rate that rises to
{learning_rate:g} and falls, mix-up {mixup:g}, SpecAugment, random low-pass, gain and noise floor,
seed {seed} in the last. Front end: normalization "{normalization}", deaf above
{max_frequency:g} Hz, as nothing in ESC-50 reaches higher. The epoch was chosen on validation: mean
of scene accuracy, tag lwlrap and event segment F1. The command is
`python -m recipes.open.checkpoint`; `training_log.csv` is its log. Normalization and the
clips' length were chosen in short trials of one seed, trained without fold 1 of ESC-50 and graded
on it, never in the test split; `python -m recipes.open.task_comparison` makes trials like them.

## Figures

{protocol}

Intervals hold 95 % of bootstrap resamples of the recordings (events: of the soundscapes).

| task | figure | validation | test | 95 % | chance |
|---|---|---|---|---|---|
{figures}

{per_label}

## What it cannot do

- It was never trained on city scenes as in TAU Urban Acoustic Scenes: the environment head is not
  a DCASE scene classifier, and always answers with one of its {n_scenes} environments.
- It uses nothing above {max_frequency:g} Hz.
- Events are placed on steps of 0.8 s, and were learned from mixtures of isolated sounds, not from
  annotated recordings.
- Per-label figures rest on a handful of recordings each; speech on few speakers.
- It is a preview, {cycles} × {epochs} × {steps} steps at width {width:g}: expect mistakes.
"""


def model_card(
    data: OpenData,
    recipe: Recipe,
    cycles: int,
    spec: ModelSpec,
    graded: Mapping[str, Mapping[Task, Grade]],
    parameters: int,
) -> str:
    """Write the card.

    Args:
        data: The data set.
        recipe: Hyperparameters of the last cycle.
        cycles: How many there were.
        spec: What the checkpoint says about itself.
        graded: Evaluation → task → grade.
        parameters: Number of learned parameters.
    """
    values = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    return CARD.format(
        **values,
        cycles=cycles,
        n_scenes=len(spec.scenes),
        n_tags=len(spec.tags),
        n_events=len(spec.events),
        parameters=parameters,
        license=spec.license,
        training_data=spec.training_data,
        protocol=spec.protocol,
        n_bursts=len(data.bursts),
        n_gated=len(data.gated),
        fates=_fates(data),
        figures=_figures(spec, graded),
        per_label="\n\n".join(
            _per_label(task, grade) for task, grade in graded["test_60s"].items()
        ),
    )


def _fates(data: OpenData) -> str:
    rows = [
        f"- {task} “{fate.name}” ({', '.join(map(str, fate.recordings))} recordings in train, "
        f"validation, test): {fate.outcome}"
        for task, fates in data.fates.items()
        for fate in fates
        if fate.outcome != "kept"
    ]
    return "\n".join(rows)


def _figures(spec: ModelSpec, graded: Mapping[str, Mapping[Task, Grade]]) -> str:
    chance = {"accuracy": 1 / len(spec.scenes), "macro_recall": 1 / len(spec.scenes)}
    n_tags = len(spec.tags)
    chance["top1_accuracy"] = 1 / n_tags
    # One true tag at an even chance of every rank: the mean of 1 / rank.
    chance["lwlrap"] = sum(1 / rank for rank in range(1, n_tags + 1)) / n_tags
    rows = []
    for task in TASKS:
        figures = spec.metrics[task]
        for name, value in figures.items():
            if not name.startswith("test_"):
                continue
            plain = name.removeprefix("test_")
            validation = figures.get(f"validation_{plain}")
            left = f"{validation:.3f}" if validation is not None else ""
            right = f"{chance[plain]:.3f}" if plain in chance else ""
            kind = "test_10s" if plain.startswith(SHORT) else "test_60s"
            within = graded[kind][task].intervals.get(plain.removeprefix(SHORT))
            interval = f"{within.low:.3f}–{within.high:.3f}" if within else ""
            rows.append(f"| {task} | {plain} | {left} | {value:.3f} | {interval} | {right} |")
    return "\n".join(rows)


def _per_label(task: Task, grade: Grade) -> str:
    what = {"scene": "recall", "tag": "average precision", "event": "segment F1 at 1 s"}[task]
    shown = ", ".join(
        f"{name} {'–' if math.isnan(value) else format(value, '.2f')}"
        for name, value in grade.per_label.items()
    )
    return f"Test, {task}, {what} by label: {shown}."
