"""Draw the recordings in ``examples/`` from the test split, and count how often a model is right.

::

    python -m recipes.examples DATA --cache DECODED.npz --output examples

Recordings of three kinds are drawn in an order that the seed alone decides. The model is asked
about the first 20 of each kind, encoded as they would be shipped. Printed is of how many its
answer is right; the first of these is written, with its number in the order. An answer is right
where this holds:

- dog: the first tag is a dog or a sound that AudioSet knows of dogs alone, and the most probable
  event is a dog;
- street (or train): the scene is the recording's environment, and the most probable event, if
  there is any, is what the recording is labeled with;
- overlap (a soundscape of 10 s): every event in it is found with its onset within 0.2 s, and
  whatever is reported beside them is less probable than each of them.

The table and the credits that are printed belong into ``examples/README.md``.
"""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, count, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

import dcasenet
from dcasenet.atomic import write_bytes
from dcasenet.inference.model import SoundModel
from dcasenet.results import Analysis, Event
from recipes.bank import SAMPLE_RATE, Decoded, decode_all, in_split, waveform_of
from recipes.labels import LabelSets
from recipes.pack import label_sets
from recipes.recordings import LabeledClip, read_recordings
from recipes.soundscapes import Scape, make_soundscapes

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 10.0
STREETS = ("street traffic", "train or subway")
LEAST_OVERLAP = 0.3  # seconds
TOLERANCE = 0.2  # seconds that an onset may be off
# AudioSet's class and what it has below it.
DOG_TAGS = ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)")
N_TAGS = 2  # tags of the table
HEADER = "| file | holds | scene | first tags | events |\n|--|--|--|--|--|"


@dataclass(frozen=True)
class Candidate:
    """A recording that a model is asked about.

    Attributes:
        waveform: (samples,) float32 at 24 kHz.
        recordings: What it was made of.
        holds: What is in it, for people.
        is_right: Whether an answer about it is right.
    """

    waveform: NDArray[np.float32]
    recordings: tuple[LabeledClip, ...]
    holds: str
    is_right: Callable[[Analysis], bool]


@dataclass(frozen=True)
class Prediction:
    """A model's result for a candidate.

    Attributes:
        candidate: The candidate.
        content: The candidate as an Ogg Vorbis file, which is what the model read.
        analysis: The answer.
    """

    candidate: Candidate
    content: bytes
    analysis: Analysis

    @property
    def is_right(self) -> bool:
        """Whether it is right."""
        return self.candidate.is_right(self.analysis)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, ask, count, write."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    decoded = decode_all(read_recordings(options.data), options.data, options.cache)
    labels = label_sets(decoded)
    model = dcasenet.load("v3", weights=options.weights) if options.weights else dcasenet.load()
    kinds = {
        "dog": draw_dogs(decoded, labels, options.seed),
        "street": draw_streets(decoded, labels, options.seed),
        "overlap": draw_overlaps(decoded, labels, options.seed),
    }
    rows, credit = [HEADER], []
    for name, candidates in kinds.items():
        answers = analyze_all(model, islice(candidates, options.draws))
        right = [number for number, answer in enumerate(answers, start=1) if answer.is_right]
        log.info("%s: %d of %d right: %s", name, len(right), len(answers), right)
        if not right:
            log.warning("%s.ogg is not written: no answer is right", name)
            continue
        first = answers[right[0] - 1]
        write_bytes(options.output / f"{name}.ogg", first.content)
        rows.append(row(f"{name}.ogg", first.candidate.holds, first.analysis))
        sources = dict.fromkeys(recording.credit for recording in first.candidate.recordings)
        credit.append(f"- `{name}.ogg`, number {right[0]}: {'; '.join(sources)}")
    log.info("\n%s\n\n%s", "\n".join(rows), "\n".join(credit))


def analyze_all(model: SoundModel, candidates: Iterable[Candidate]) -> list[Prediction]:
    """Analyze candidates, in their order."""
    answers = []
    for candidate in candidates:
        content = encode(candidate.waveform)
        answers.append(Prediction(candidate, content, model.analyze(content)))
    return answers


def draw_dogs(decoded: Sequence[Decoded], labels: LabelSets, seed: int) -> Iterator[Candidate]:
    """Yield the dogs of the test split, in the seed's order."""
    dog = labels.events.index("dog")
    dogs = [c for c in in_split(decoded, "test") if labels.event_of(c.recording) == dog]
    for clip in _in_order(dogs, seed):
        yield Candidate(_loudest(clip), (clip.recording,), "dog", names_a_dog)


def draw_streets(decoded: Sequence[Decoded], labels: LabelSets, seed: int) -> Iterator[Candidate]:
    """Yield the recordings of traffic and trains of the test split, in the seed's order."""
    streets = [
        (labels.environments[index], clip)
        for clip in in_split(decoded, "test")
        if (index := labels.environment_of(clip.recording)) is not None
        and labels.environments[index] in STREETS
    ]
    for place, clip in _in_order(streets, seed):
        index = labels.event_of(clip.recording)
        event = None if index is None else labels.events[index]
        holds = place if event is None else f"{place}; {event}"
        is_right = partial(names_the_place, place=place, event=event)
        yield Candidate(_loudest(clip), (clip.recording,), holds, is_right)


def draw_overlaps(decoded: Sequence[Decoded], labels: LabelSets, seed: int) -> Iterator[Candidate]:
    """Yield soundscapes of the test split in which events overlap, without end."""
    for index in count(seed):
        (scape,) = make_soundscapes(decoded, labels, "test", 1, seconds=SECONDS, seed=index)
        if _has_overlap(scape):
            named = [(labels.events[e.label], e.onset, e.offset) for e in scape.events]
            holds = "; ".join(f"{label} {a:.2f}–{b:.2f} s" for label, a, b in named)
            is_right = partial(finds_all, truth=[(label, onset) for label, onset, _ in named])
            yield Candidate(scape.waveform, scape.recordings, holds, is_right)


def names_a_dog(analysis: Analysis) -> bool:
    """Return whether the first tag and the most probable event are a dog's."""
    tag, best = next(iter(analysis.tags or ()), None), _most_probable(analysis.events or ())
    is_tagged = tag is not None and tag.label in DOG_TAGS
    return is_tagged and best is not None and best.label == "dog"


def names_the_place(analysis: Analysis, place: str, event: str | None) -> bool:
    """Return whether the scene is this place, and no event more probable than this one."""
    best = _most_probable(analysis.events or ())
    is_there = analysis.scene is not None and analysis.scene.label == place
    return is_there and (best is None or best.label == event)


def finds_all(analysis: Analysis, truth: Sequence[tuple[str, float]]) -> bool:
    """Return whether all events are found, and nothing else is as probable as one of them.

    Args:
        analysis: The answer.
        truth: Label and onset in seconds of each event.
    """
    events = analysis.events or ()
    found = [
        [e for e in events if e.label == label and abs(e.onset - onset) <= TOLERANCE]
        for label, onset in truth
    ]
    if not all(found):
        return False
    least = min(max(e.probability for e in matches) for matches in found)
    true = [e for matches in found for e in matches]
    return all(e in true or e.probability < least for e in events)


def row(name: str, holds: str, analysis: Analysis) -> str:
    """Return what a file holds and what is said of it as a row of the table, in Markdown."""
    scene = analysis.scene
    tags = [f"{tag.label} {tag.probability:.2f}" for tag in (analysis.tags or ())[:N_TAGS]]
    events = [
        f"{e.label} {e.onset:.2f}–{e.offset:.2f} s ({e.probability:.2f})"
        for e in analysis.events or ()
    ]
    cells = (
        f"`{name}`",
        holds,
        "" if scene is None else f"{scene.label} {scene.probability:.2f}",
        "; ".join(tags),
        "; ".join(events) or "none",
    )
    return f"| {' | '.join(cells)} |"


def encode(waveform: NDArray[np.float32]) -> bytes:
    """Return a waveform at 24 kHz as an Ogg Vorbis file."""
    stream = io.BytesIO()
    soundfile.write(stream, waveform, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return stream.getvalue()


def _in_order(items: Sequence[T], seed: int) -> Iterator[T]:
    for index in np.random.default_rng(seed).permutation(len(items)):
        yield items[index]


def _most_probable(events: Sequence[Event]) -> Event | None:
    return max(events, key=lambda event: event.probability, default=None)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="the model; by default the shipped one")
    parser.add_argument("--draws", type=int, default=20, help="of each kind, at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
