"""How much speech `dcasenet redact` silences, and how much else, by threshold and padding.

::

    python -m recipes.redaction DATA --cache DECODED --soundscapes 50

The shipped setting was chosen on soundscapes of the validation split. Those of the table are of the
test split, in frames of 10 ms: recall is the share of speech frames that are silent in the copy,
loss the share of all other frames. Intervals are 95 %, by resampling soundscapes.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dcasenet
from dcasenet.inference.model import SoundModel
from dcasenet.inference.redact import PAD, THRESHOLD, silent_spans, speech_labels
from dcasenet.results import Events
from dcasenet.train.metrics.intervals import intervals, ratio, values
from recipes.bank import SAMPLE_RATE, decode_all
from recipes.pack import label_sets
from recipes.recordings import read_recordings
from recipes.soundscapes import Scape, make_soundscapes

log = logging.getLogger(__name__)

FRAME = 0.01  # seconds
THRESHOLDS = (0.001, 0.002, THRESHOLD, 0.01, 0.02, 0.05, 0.1, 0.3)
WANTED = 0.98  # recall of the shipped setting, on validation


@dataclass(frozen=True)
class RedactionScores:
    """Recall and loss at one setting.

    Attributes:
        threshold: Probability above which speech is silenced.
        pad: Seconds silenced before and after.
        recall: Share of speech frames that are silenced, with its interval.
        loss: Share of the other frames that are, with its interval.
    """

    threshold: float
    pad: float
    recall: tuple[float, ...]
    loss: tuple[float, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and fail if the shipped setting misses too much."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    decoded = decode_all(read_recordings(options.data), options.data, options.cache)
    labels = label_sets(decoded)
    model = dcasenet.load("v3", stage=options.stage, weights=options.weights)
    table: dict[str, list[RedactionScores]] = {}
    for name, folder in (("soundscapes", None), ("office soundscapes", "dcase2016_task2")):
        scapes = make_soundscapes(decoded, labels, "test", options.soundscapes, folder=folder)
        table[name] = measure(model, scapes, labels.events)
    log.info("\n%s", render(table))
    if options.output is not None:
        plain = {name: [vars(row) for row in rows] for name, rows in table.items()}
        options.output.write_text(json.dumps(plain, indent=1))
    watched = make_soundscapes(decoded, labels, "validation", options.soundscapes)
    rows = measure(model, watched, labels.events)
    shipped = next(row for row in rows if row.threshold == THRESHOLD and row.pad > 0)
    log.info("the shipped setting on validation: %s", shipped)
    if shipped.recall[0] < WANTED:
        raise SystemExit(
            f"The shipped setting (threshold {THRESHOLD}) silences {shipped.recall[0]:.3f} of the "
            f"speech frames of validation, and {WANTED} are wanted. Lower it in "
            f"dcasenet.inference.redact."
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--stage", default="distilled")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--soundscapes", type=int, default=50)
    parser.add_argument("--output", type=Path)
    return parser


def measure(
    model: SoundModel, scapes: Sequence[Scape], names: Sequence[str]
) -> list[RedactionScores]:
    """Return recall and loss at every threshold, without padding and with that of the command.

    Args:
        model: Any model with events of speech.
        scapes: Soundscapes, some of them with speech.
        names: Label of each event of a soundscape, by its index.
    """
    speech = [index for index, name in enumerate(names) if "speech" in name]
    chosen = speech_labels(model.spec)
    found = [model.detect_events(scape.waveform, SAMPLE_RATE) for scape in scapes]
    truth = [_frames(_spoken(scape, speech), len(scape.waveform)) for scape in scapes]
    rows = []
    for pad in (0.0, max(PAD, found[0].resolution)):
        for threshold in THRESHOLDS:
            silent = [_silent(events, chosen, threshold, pad) for events in found]
            pairs = list(zip(truth, silent, strict=True))
            figures = {
                "recall": ratio(
                    np.array([(spoken & muted).sum() for spoken, muted in pairs]),
                    np.array([spoken.sum() for spoken, _ in pairs]),
                ),
                "loss": ratio(
                    np.array([(~spoken & muted).sum() for spoken, muted in pairs]),
                    np.array([(~spoken).sum() for spoken, _ in pairs]),
                ),
            }
            once, spread = values(figures, len(scapes)), intervals(figures, len(scapes))
            cells = {
                name: (once[name], *(float(end) for end in spread.get(name, ()))) for name in once
            }
            rows.append(RedactionScores(threshold, pad, cells["recall"], cells["loss"]))
    return rows


def _spoken(scape: Scape, speech: Sequence[int]) -> list[tuple[float, float]]:
    return [(event.onset, event.offset) for event in scape.events if event.label in speech]


def _silent(
    events: Events, labels: Sequence[str], threshold: float, pad: float
) -> NDArray[np.bool_]:
    spans = silent_spans(events, labels, threshold, pad)
    return _frames(spans, round(events.duration * SAMPLE_RATE))


def _frames(spans: Sequence[tuple[float, float]], n_samples: int) -> NDArray[np.bool_]:
    """Return which frames of a recording have their center in a span."""
    centers = (np.arange(round(n_samples / SAMPLE_RATE / FRAME)) + 0.5) * FRAME
    inside: NDArray[np.bool_] = np.zeros(len(centers), bool)
    for onset, offset in spans:
        inside |= (centers >= onset) & (centers < offset)
    return inside


def render(table: dict[str, list[RedactionScores]]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| what | threshold | pad (s) | speech silenced | 95 % | other sound lost | 95 % |",
        "|--|--:|--:|--:|--|--:|--|",
    ]
    for name, rows in table.items():
        for row in rows:
            cells = " | ".join(
                f"{share[0]:.3f} | {'-'.join(f'{end:.3f}' for end in share[1:])}"
                for share in (row.recall, row.loss)
            )
            lines.append(f"| {name} | {row.threshold:g} | {row.pad:g} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
