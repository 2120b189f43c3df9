"""Draw the recordings in ``examples/`` from the test split, by seed, and print what a model says.

::

    python -m recipes.distilled.examples DATA --cache DECODED.npz --output examples

A dog, a street or train, and a soundscape of 10 s in which events overlap; nothing is chosen by
what a model says of them. The credits that are printed belong into ``examples/README.md``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from itertools import combinations, count
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

import dcasenet
from recipes.bank import SAMPLE_RATE, Decoded, decode_all, in_split, waveform_of
from recipes.labels import LabelSets
from recipes.pack import label_sets
from recipes.recordings import read_recordings
from recipes.soundscapes import Scape, make_soundscapes

log = logging.getLogger(__name__)

SECONDS = 10.0
STREETS = ("street traffic", "train or subway")
LEAST_OVERLAP = 0.3  # seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, write, analyze."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    decoded = decode_all(read_recordings(options.data), options.data, options.cache)
    labels = label_sets(decoded)
    test = in_split(decoded, "test")
    rng = np.random.default_rng(options.seed)
    dogs = [c for c in test if labels.event_of(c.recording) == labels.events.index("dog")]
    places = [labels.environments.index(name) for name in STREETS if name in labels.environments]
    streets = [c for c in test if labels.environment_of(c.recording) in places]
    chosen = {
        name: clips[int(rng.integers(len(clips)))]
        for name, clips in (("dog", dogs), ("street", streets))
    }
    for name, clip in chosen.items():
        source = clip.recording
        title = source.url or source.title
        log.info("%s.ogg: %s by %s, %s", name, title, source.author, source.license)
        _write(options.output / f"{name}.ogg", _loudest(clip))
    scape = draw_overlap(decoded, labels, options.seed)
    for event in scape.events:
        label = labels.events[event.label]
        log.info("overlap.ogg holds: %s from %.2f to %.2f s", label, event.onset, event.offset)
    _write(options.output / "overlap.ogg", scape.waveform)
    model = dcasenet.load("v3", weights=options.weights) if options.weights else dcasenet.load()
    for name in (*chosen, "overlap"):
        log.info("%s", model.analyze(options.output / f"{name}.ogg"))


def draw_overlap(decoded: Sequence[Decoded], labels: LabelSets, seed: int) -> Scape:
    """Return the first soundscape of the test split in which two events overlap."""
    scapes = (
        make_soundscapes(decoded, labels, "test", 1, seconds=SECONDS, seed=seed + index)[0]
        for index in count()
    )
    return next(scape for scape in scapes if _has_overlap(scape))


def _has_overlap(scape: Scape) -> bool:
    pairs = combinations(scape.events, 2)
    return any(min(a.offset, b.offset) - max(a.onset, b.onset) > LEAST_OVERLAP for a, b in pairs)


def _loudest(clip: Decoded) -> NDArray[np.float32]:
    """Cut the stretch of `SECONDS` with the most energy."""
    waveform, n = waveform_of(clip), round(SECONDS * SAMPLE_RATE)
    if len(waveform) <= n:
        return waveform
    energy = np.concatenate([[0.0], np.cumsum(waveform.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[n:] - energy[:-n]))
    return waveform[start : start + n]


def _write(path: Path, waveform: NDArray[np.float32]) -> None:
    soundfile.write(path, waveform, SAMPLE_RATE, format="OGG", subtype="VORBIS")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="the model; by default the shipped one")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
