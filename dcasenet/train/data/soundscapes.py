"""Soundscapes: isolated events over a background, mixed by seed, with the truth in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import DcasenetError
from dcasenet.train.data.crops import trim_silence
from dcasenet.train.data.dataset import Split
from dcasenet.train.data.targets import TrueEvent

FADE = 0.01  # seconds: an event's ends are faded so that cutting makes no click
CROSSFADE = 0.5  # seconds: a short background is repeated with its ends overlapped by this
ATTEMPTS = 20  # to find a place for an event before it is given up


class SourceClip(Protocol):
    """What a soundscape can be made of: a clip that has a Split."""

    @property
    def key(self) -> str:
        """Name in the store."""

    @property
    def label(self) -> str:
        """What it holds."""

    @property
    def source(self) -> str:
        """Recording it was cut from."""

    @property
    def split(self) -> Split:
        """Split that the recording is on."""


AnyClip = TypeVar("AnyClip", bound=SourceClip)


class ClipStore(Protocol):
    """Where the waveforms of clips are: a `WaveformStore`, or anything like it."""

    @property
    def sample_rate(self) -> int:
        """Rate of the waveforms, in Hz."""

    def waveform(self, item: Any, /) -> NDArray[np.float32]:
        """Return the waveform of a clip, (samples,)."""


@dataclass(frozen=True)
class Burst(Generic[AnyClip]):
    """One isolated event: a stretch of a clip.

    Attributes:
        clip: The clip.
        start: First sample.
        stop: Sample after the last.
        label: Index of the event label.
    """

    clip: AnyClip
    start: int
    stop: int
    label: int


@dataclass(frozen=True)
class Mix:
    """How soundscapes are mixed.

    Attributes:
        duration: Length, in seconds.
        rate: Fewest and most events per minute.
        polyphony: Most events at once; one label never overlaps itself.
        snr: Level of an event above its background over the event's own time, in dB, between
            these.
        level: Level of the background, in dBFS, between these.
        peak: The mixture is turned down to this peak if it exceeds it (full scale is 1).
    """

    duration: float = 60.0
    rate: tuple[float, float] = (10.0, 50.0)
    polyphony: int = 3
    snr: tuple[float, float] = (0.0, 20.0)
    level: tuple[float, float] = (-55.0, -25.0)
    peak: float = 0.99


@dataclass(frozen=True)
class Soundscape(Generic[AnyClip]):
    """A mixture: (samples,) float32, what is in it, and the clips it was made from."""

    waveform: NDArray[np.float32]
    events: tuple[TrueEvent, ...]
    clips: tuple[AnyClip, ...]


class Mixer(Generic[AnyClip]):
    """Mixes soundscapes from the bursts and backgrounds of one split.

    Labels are drawn evenly, then a source recording, then one of its bursts, so that neither a
    frequent label nor a recording cut into many files is drawn more often than the others.

    Args:
        events: Bursts of one split.
        backgrounds: Background clips of the same split.
        store: Their waveforms.
        mix: How to mix.

    Raises:
        DcasenetError: There are no events or no backgrounds, or they are of different splits.
    """

    def __init__(
        self,
        events: Sequence[Burst[AnyClip]],
        backgrounds: Sequence[AnyClip],
        store: ClipStore,
        mix: Mix | None = None,
    ) -> None:
        splits = {burst.clip.split for burst in events} | {clip.split for clip in backgrounds}
        if not events or not backgrounds or len(splits) != 1:
            raise DcasenetError(
                f"{len(events)} events and {len(backgrounds)} backgrounds of the splits "
                f"{sorted(splits)} cannot be mixed; give some of each, all of one split."
            )
        self.mix = mix or Mix()
        self._store = store
        by_label: dict[int, dict[str, list[Burst[AnyClip]]]] = {}
        for burst in events:
            by_label.setdefault(burst.label, {}).setdefault(burst.clip.source, []).append(burst)
        self._events = [[*by_label[label].values()] for label in sorted(by_label)]
        by_kind: dict[str, list[AnyClip]] = {}
        for clip in backgrounds:
            by_kind.setdefault(clip.label, []).append(clip)
        self._backgrounds = [by_kind[kind] for kind in sorted(by_kind)]

    def soundscape(self, seed: Sequence[int]) -> Soundscape[AnyClip]:
        """Mix the soundscape of a seed; the same seed gives the same samples."""
        mix, rate = self.mix, self._store.sample_rate
        random = np.random.default_rng(seed)
        n_samples = round(mix.duration * rate)
        clip, background = self._background(random, n_samples)
        waveform = background.copy()
        n_events = random.poisson(random.uniform(*mix.rate) * mix.duration / 60.0)
        placed: list[tuple[int, int, int]] = []
        clips = [clip]
        for _ in range(max(1, n_events)):
            burst = self._draw(random)
            length = min(burst.stop - burst.start, n_samples)
            onset = self._place(random, placed, burst.label, length, n_samples)
            if onset is None:
                continue
            event = self._store.waveform(burst.clip)[burst.start : burst.start + length]
            snr = random.uniform(*mix.snr)
            behind = background[onset : onset + length]
            waveform[onset : onset + length] += _at_snr(event, behind, snr, round(FADE * rate))
            placed.append((burst.label, onset, onset + length))
            clips.append(burst.clip)
        peak = float(np.abs(waveform).max())
        if peak > mix.peak:
            waveform *= mix.peak / peak
        events = [TrueEvent(label, a / rate, b / rate) for label, a, b in placed]
        events.sort(key=lambda event: (event.onset, event.offset, event.label))
        return Soundscape(waveform, tuple(events), tuple(clips))

    def _draw(self, random: np.random.Generator) -> Burst[AnyClip]:
        sources = self._events[random.integers(len(self._events))]
        takes = sources[random.integers(len(sources))]
        return takes[random.integers(len(takes))]

    def _background(
        self, random: np.random.Generator, n_samples: int
    ) -> tuple[AnyClip, NDArray[np.float32]]:
        kind = self._backgrounds[random.integers(len(self._backgrounds))]
        clip = kind[random.integers(len(kind))]
        samples = trim_silence(self._store.waveform(clip))
        looped = loop(samples, n_samples, round(CROSSFADE * self._store.sample_rate), random)
        gain = 10.0 ** (random.uniform(*self.mix.level) / 20.0) / max(_rms(looped), 1e-9)
        return clip, np.asarray(looped * np.float32(gain), dtype=np.float32)

    def _place(
        self,
        random: np.random.Generator,
        placed: Sequence[tuple[int, int, int]],
        label: int,
        length: int,
        n_samples: int,
    ) -> int | None:
        """Find an onset that keeps to the polyphony; None if none was found."""
        for _ in range(ATTEMPTS):
            onset = int(random.integers(n_samples - length + 1))
            beside = [e for e in placed if e[1] < onset + length and onset < e[2]]
            if any(e[0] == label for e in beside):
                continue
            # The most at once is reached at an onset: this event's, or one during it.
            at = [onset, *(e[1] for e in beside if e[1] > onset)]
            if all(sum(e[1] <= t < e[2] for e in beside) < self.mix.polyphony for t in at):
                return onset
        return None


def loop(
    samples: NDArray[np.float32], n_samples: int, overlap: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return a stretch of this length, samples repeated with a crossfade if they are too short.

    Args:
        samples: (samples,), at least one.
        n_samples: Length to give.
        overlap: Samples of the crossfade, at most a quarter of `samples`.
        random: Draws where the stretch begins.
    """
    if len(samples) >= n_samples:
        start = int(random.integers(len(samples) - n_samples + 1))
        return samples[start : start + n_samples]
    overlap = min(overlap, len(samples) // 4)
    turn = samples[: len(samples) - overlap].copy()
    if overlap:
        # Equal power, as the two ends are unrelated.
        rise = np.sin(np.linspace(0.0, np.pi / 2, overlap, dtype=np.float32))
        turn[:overlap] = turn[:overlap] * rise + samples[-overlap:] * rise[::-1]
    start = int(random.integers(len(turn)))
    return np.resize(np.roll(turn, -start), n_samples)


def _at_snr(
    event: NDArray[np.float32], background: NDArray[np.float32], snr: float, fade: int
) -> NDArray[np.float32]:
    """Scale an event to stand `snr` dB above its background, and fade its ends."""
    gain = 10.0 ** (snr / 20.0) * max(_rms(background), 1e-5) / max(_rms(event), 1e-9)
    scaled = np.asarray(event * np.float32(gain), dtype=np.float32)
    fade = min(fade, len(event) // 2)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        scaled[:fade] *= ramp
        scaled[-fade:] *= ramp[::-1]
    return scaled


def _rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
