"""From a trained student to the checkpoint that ships: calibration, thresholds, figures, credits.

::

    python -m recipes.release DATA --checkpoint CHECKPOINT --cache DECODED.npz
    --stage distilled --output dcasenet/data/distilled

Everything that is chosen is chosen in the validation split; figures are of the test split.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

import dcasenet
from dcasenet.atomic import write_bytes
from dcasenet.inference.calibration import calibration, segments
from dcasenet.inference.model import SoundModel
from dcasenet.results import Event, Events
from dcasenet.spec import ModelSpec, OperatingCurve
from dcasenet.weights.checkpoint import write
from dcasenet.weights.manifest import DEFAULT_STAGES
from recipes import familiarity
from recipes.bank import SAMPLE_RATE, Decoded, decode_all, in_split, waveform_of
from recipes.decoding import best_decoding
from recipes.evaluate import EvaluationSet, MetricTable, evaluate, render
from recipes.labels import LabelSets
from recipes.pack import label_sets
from recipes.package import WINDOW, one_grid, read_description
from recipes.recordings import FORMER, LabeledClip, read_recordings
from recipes.soundscapes import Scape, make_soundscapes
from recipes.students import N_TAUGHT_TAGS

log = logging.getLogger(__name__)

# Soundscapes of validation that thresholds and hysteresis are chosen on. In 30, an event sounds in
# some 20 places only.
N_WATCHED = 120
TEMPERATURES = tuple(np.round(1.05 ** np.arange(-18, 23), 3).tolist())  # 1, nothing, among them
TRAINING_DATA = (
    "{clips} recordings ({minutes} minutes), each CC0, CC BY, OGA BY, public domain or Apache-2.0; "
    "see ATTRIBUTION.md. {teacher}"
)
TAUGHT = (
    "Its teacher, EfficientAT mn04_as (MIT), learned from AudioSet (recordings from YouTube, which "
    "are not part of the data here)."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose on validation, evaluate on test, write the files."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    decoded = decode_all(read_recordings(options.data), options.data, options.cache)
    labels = label_sets(decoded)
    tensors = load_file(options.checkpoint)
    spec = read_description(options.checkpoint)
    spec = dataclasses.replace(spec, stage=options.stage, context=one_grid())
    path = options.output / "model.safetensors"
    write(path, tensors, spec)
    watched = in_split(decoded, "validation")
    cooled = cool(tensors, scene_temperature(load(path), watched, labels))
    write(path, cooled, spec)
    scapes = make_soundscapes(decoded, labels, "validation", N_WATCHED)
    model = load(path)
    detected = [model.detect_events(s.waveform, SAMPLE_RATE, reject=False) for s in scapes]
    threshold, hysteresis = best_decoding(detected, scapes, labels.events)
    thresholds = dict.fromkeys(labels.events, threshold)
    spec = dataclasses.replace(spec, thresholds=thresholds, hysteresis=hysteresis)
    spec = dataclasses.replace(spec, curves=operating_curves(detected, scapes, labels))
    train = in_split(decoded, "train")
    known = familiarity.measure(load(path), train, watched, WINDOW)
    spec = dataclasses.replace(spec, familiarity=known)
    training = [*train, *(clip for clip in decoded if clip.recording.key == FORMER)]
    spec = dataclasses.replace(spec, **training_description(spec, training))
    write(path, cooled, spec)
    split = EvaluationSet(decoded, labels, options.soundscapes)
    table = evaluate(load(path), split)
    spec = dataclasses.replace(spec, metrics=metrics_of(table))
    write(path, cooled, spec)
    write_bytes(options.output / "metrics.json", json.dumps(table, indent=1).encode())
    write_bytes(options.output / "ATTRIBUTION.md", credits_of(training).encode())
    figures = render({spec.stage: table})
    write_bytes(options.output / "MODEL_CARD.md", card_of(spec, figures).encode())
    log.info("\n%s", figures)


def load(path: Path) -> SoundModel:
    """Load the checkpoint as a user would."""
    return dcasenet.load("v3", weights=path)


def scene_temperature(model: SoundModel, clips: Sequence[Decoded], labels: LabelSets) -> float:
    """Return the temperature at which the environments of validation are likeliest."""
    known = [c for c in clips if labels.environment_of(c.recording) is not None]
    target = np.array([labels.environment_of(clip.recording) for clip in known])
    found = [model.classify_scene(waveform_of(clip), SAMPLE_RATE) for clip in known]
    logits = np.log(np.maximum([scene.values for scene in found], 1e-12))

    def surprise(temperature: float) -> float:
        scaled = logits / temperature
        normal = np.log(np.exp(scaled - scaled.max(axis=1, keepdims=True)).sum(axis=1))
        own = scaled[np.arange(len(target)), target] - scaled.max(axis=1)
        return float((normal - own).mean())

    chosen = float(min(TEMPERATURES, key=surprise))
    log.info("scene temperature %.2f of %d recordings", chosen, len(known))
    return chosen


def cool(tensors: dict[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """Divide the environments' logits by a temperature, in the weights of their last layer."""
    last = ("network.scene_head.weight", "network.scene_head.bias")
    return {n: (v / temperature).to(v.dtype) if n in last else v for n, v in tensors.items()}


def operating_curves(
    detected: Sequence[Events], scapes: Sequence[Scape], labels: LabelSets
) -> dict[str, OperatingCurve]:
    """Return precision and recall of each event by threshold, over segments of soundscapes."""
    parts = [
        segments(
            events,
            [Event(labels.events[e.label], e.onset, e.offset, 1.0) for e in scape.events],
        )
        for events, scape in zip(detected, scapes, strict=True)
    ]
    truth, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return dict(calibration(labels.events, truth, values, len(scapes)).curves)


def training_description(spec: ModelSpec, training: Sequence[Decoded]) -> dict[str, Any]:
    """Describe what a checkpoint was trained on and by what."""
    minutes = sum(len(clip.waveform) for clip in training) / SAMPLE_RATE / 60.0
    taught = len(spec.tags) == N_TAUGHT_TAGS
    return {
        "training_data": TRAINING_DATA.format(
            clips=len(training), minutes=round(minutes), teacher=TAUGHT if taught else ""
        ).strip(),
        "source": "Trained by the recipes of docs/recipes.md.",
        "protocol": (
            "Recordings and soundscapes of the test split, no source of which was "
            "trained on. Tags: over AudioSet classes that at least five test recordings are "
            "labeled with. Events: soundscapes of 60 s, segments of 1 s, onsets within 200 ms. "
            "The threshold, its hysteresis and the temperature are chosen on validation."
        ),
    }


def metrics_of(table: MetricTable) -> dict[str, dict[str, float]]:
    """Return the figures that the checkpoint carries: task → name → value."""
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in table["test"].items():
        if isinstance(value, list):
            task = "scene" if name.startswith("scene_") else "tag"
            metrics[task][f"test_{name.removeprefix('scene_')}"] = value[0]
    for where in ("soundscapes", "office"):
        for name, value in table[where].items():
            if isinstance(value, list):
                metrics["event"][f"{where}_{name}"] = value[0]
    return dict(metrics)


CARD = """# DcaseNet v3, {stage} checkpoint

{n_scenes} environments, {n_tags} tags, {n_events} events, every 0.16 s; width {width:g} of the
paper's v3, float16 on disk, license {license}. It reads {window:g} s at once, up to
{frequency:,.0f} Hz.

## Data

{training_data} Mixtures of one to three recordings, soundscapes with known onsets, and rooms,
equalizers, low-pass filters, levels and noise made of them are what it learned from
(`recipes/mixtures.py`).

## Figures

{protocol} Intervals hold 95 % of bootstrap resamples of the recordings (events: of the
soundscapes). `python -m recipes.evaluate` puts the shipped checkpoints, the teacher and a plain
baseline beside one another.

{figures}

## What it is not

{tags} Environments and events are closed sets of what the recordings had. An environment is where
a sound of that name is at home (a rooster: farmyard), in training and in the figures alike; no
place that people walked through with a recorder is in the test data.

## Labels

Environments: {scenes}.

Events: {events}.
{own_tags}"""
TAUGHT_TAGS = (
    "Tags are AudioSet's, as a small network has learned them from a larger small network: rare "
    "ones are seldom right, and near ones are taken for one another."
)
OWN_TAGS = "Tags are what the authors of the recordings called them, not all that they hold."


def card_of(spec: ModelSpec, figures: str) -> str:
    """Describe a checkpoint for people."""
    taught = len(spec.tags) == N_TAUGHT_TAGS
    return CARD.format(
        tags=TAUGHT_TAGS if taught else OWN_TAGS,
        own_tags="" if taught else f"\nTags: {', '.join(spec.tags)}.\n",
        stage=spec.stage,
        n_scenes=len(spec.scenes),
        n_tags=len(spec.tags),
        n_events=len(spec.events),
        width=spec.width,
        license=spec.license,
        window=spec.context["tag"].window,
        frequency=spec.frontend.sample_rate / 2,
        training_data=spec.training_data,
        protocol=spec.protocol,
        figures=figures,
        scenes=", ".join(spec.scenes),
        events=", ".join(spec.events),
    )


def credits_of(clips: Sequence[Decoded]) -> str:
    """Name everybody whose recordings were trained on, by author."""
    by_author: dict[tuple[str, str], list[LabeledClip]] = defaultdict(list)
    for clip in clips:
        by_author[clip.recording.author or "unknown", clip.recording.license].append(clip.recording)
    lines = [
        "# Recordings that this checkpoint learned from",
        "",
        "By author and license; each line is a file of the data and where it was published.",
    ]
    for (author, license_), recordings in sorted(by_author.items()):
        lines += ["", f"## {_plain(author)} ({license_})", ""]
        lines += [f"- {_plain(r.key)}: {_plain(r.url or r.title)}" for r in recordings]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Keep a name on its line and out of Markdown's way."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "/")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stage", choices=DEFAULT_STAGES, required=True)
    parser.add_argument("--soundscapes", type=int, default=30)
    return parser


if __name__ == "__main__":
    main()
