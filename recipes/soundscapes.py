"""Soundscapes with exact onsets from the recordings of one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.train.data.dataset import Split
from dcasenet.train.data.soundscapes import Burst, Mix, Mixer
from recipes.bank import SAMPLE_RATE, Decoded, in_split, waveform_of
from recipes.labels import LabelSets, background
from recipes.recordings import LabeledClip


@dataclass(frozen=True)
class PlacedEvent:
    """An event of a soundscape.

    Attributes:
        label: Index of the event.
        onset: Seconds.
        offset: Seconds.
    """

    label: int
    onset: float
    offset: float


@dataclass(frozen=True)
class Scape:
    """A soundscape: (samples,) float32 at 24 kHz, what is in it, and what it was made of."""

    waveform: NDArray[np.float32]
    events: tuple[PlacedEvent, ...]
    recordings: tuple[LabeledClip, ...]


@dataclass(frozen=True)
class _Clip:
    """A decoded recording as the mixer wants it."""

    decoded: Decoded

    @property
    def key(self) -> str:
        return self.decoded.recording.key

    @property
    def label(self) -> str:
        return self.decoded.recording.label

    @property
    def source(self) -> str:
        return self.decoded.recording.source

    @property
    def split(self) -> Split:
        return self.decoded.recording.split


class _Store:
    """Waveforms of decoded recordings."""

    sample_rate = SAMPLE_RATE

    def waveform(self, clip: _Clip) -> NDArray[np.float32]:
        return waveform_of(clip.decoded)


def make_soundscapes(
    decoded: Sequence[Decoded],
    labels: LabelSets,
    split: Split,
    n: int,
    *,
    folder: str | None = None,
    seconds: float = 60.0,
    seed: int = 0,
) -> list[Scape]:
    """Mix `n` soundscapes of one split; the same seed gives the same samples.

    Args:
        decoded: All recordings.
        labels: The events.
        split: Split that events and backgrounds are from.
        n: How many.
        folder: Folder of the data that the events are from; all of them if None.
        seconds: Length of each.
        seed: Of all draws.
    """
    own = in_split(decoded, split)
    bursts = [
        Burst(_Clip(clip), start, stop, event)
        for clip in own
        if folder in (None, clip.recording.folder)
        and (event := labels.event_of(clip.recording)) is not None
        for start, stop in clip.bursts
    ]
    backgrounds = [_Clip(clip) for clip in own if background(clip.recording)]
    mixer = Mixer(bursts, backgrounds, _Store(), Mix(duration=seconds))
    scapes = []
    for index in range(n):
        mixed = mixer.soundscape((seed, index))
        events = tuple(PlacedEvent(e.label, e.onset, e.offset) for e in mixed.events)
        recordings = tuple(clip.decoded.recording for clip in mixed.clips)
        scapes.append(Scape(mixed.waveform, events, recordings))
    return scapes
