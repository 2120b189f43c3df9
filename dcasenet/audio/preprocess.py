"""Any audio becomes what a model hears: read, mixed to mono, at the model's rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from dcasenet.audio.decoder import gather
from dcasenet.audio.io import Reader, Recording, is_single, mixed, placed
from dcasenet.audio.prefetch import ahead
from dcasenet.audio.resample import Resampler
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, rows_of
from dcasenet.types import Audio, Audios, Channels, Rate


@dataclass(frozen=True)
class Facts:
    """What is known of a recording that has been heard.

    Attributes:
        sample_rate: The model's, in Hz.
        duration: Length of the recording, in seconds.
        n_rows: ceil(duration / 0.1), from the sample count, free of rounding.
        source: What the recording is called.
        warnings: What is odd about it.
    """

    sample_rate: int
    duration: float
    n_rows: int
    source: str
    warnings: tuple[str, ...]


class Sound(Protocol):
    """A recording as a model hears it, in memory or on its way."""

    def blocks(self) -> Iterator[Floats]:
        """Give the waveforms in pieces, (channels, samples) at the model's rate, once."""

    @property
    def facts(self) -> Facts:
        """What is known of it after the last piece."""


@dataclass(frozen=True)
class Prepared(Facts):
    """A recording as a model hears it, in memory.

    Attributes:
        waveforms: (channels, samples) at the model's rate; one channel when they are mixed.
    """

    waveforms: Floats

    @property
    def n_samples(self) -> int:
        """Length at the model's rate."""
        return int(self.waveforms.shape[1])

    def blocks(self) -> Iterator[Floats]:
        """Give the waveforms, in one piece."""
        yield self.waveforms

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        return self


class Incoming:
    """A recording that is read, mixed and resampled as its blocks are asked for.

    A long one is read by a thread of its own, ahead of whoever hears it.

    Args:
        recording: A `Reader`, or a `Recording` that has been read.
        spec: The model's.
        channels: ``"mix"`` averages the channels, ``"each"`` leaves them.
    """

    def __init__(
        self, recording: Reader | Recording, spec: ModelSpec, channels: Channels = "mix"
    ) -> None:
        self._recording, self._is_mixed = recording, channels == "mix"
        self._rate = spec.frontend.sample_rate
        self._resampler = Resampler(recording.sample_rate, self._rate, spec.resampler)

    def blocks(self) -> Iterator[Floats]:
        """Give the waveforms in pieces, (channels, samples) at the model's rate, once."""
        blocks = self._resampled()
        return ahead(blocks) if self._recording.is_long else blocks

    def _resampled(self) -> Iterator[Floats]:
        for samples in self._recording:
            yield self._resampler.push(mixed(samples) if self._is_mixed else samples)
        rest = self._resampler.close()
        if rest.size:
            yield rest

    @property
    def facts(self) -> Facts:
        """What is known of it after the last block."""
        recording = self._recording
        return Facts(
            sample_rate=self._rate,
            duration=recording.duration,
            n_rows=rows_of(recording.n_samples, recording.sample_rate),
            source=recording.source,
            warnings=recording.warnings,
        )


def prepare(recording: Reader | Recording, spec: ModelSpec, channels: Channels = "mix") -> Prepared:
    """Mix the channels, unless each is to be heard, and bring them to the model's rate.

    Example:
        >>> from dcasenet.audio.io import read
        >>> import numpy as np
        >>> prepare(read(np.zeros((2, 441)), 44_100), ModelSpec("v3", "mine")).waveforms.shape
        (1, 240)
    """
    incoming = Incoming(recording, spec, channels)
    blocks = list(incoming.blocks())
    return Prepared(**vars(incoming.facts), waveforms=gather(blocks, len(blocks[0])))


def read_each(audio: Audio | Audios, sample_rate: Rate, *, channels_last: bool) -> Iterator[Reader]:
    """Open the one audio, or each of a sequence, one at a time; it is closed with the next.

    Raises:
        AudioError: One cannot be used; for a sequence, the message says which.
    """
    audios = [cast("Audio", audio)] if is_single(audio) else cast("Audios", audio)
    for index, item in enumerate(audios, start=1):
        place = "" if is_single(audio) else f"Audio {index} of {len(audios)}: "
        with placed(place):
            reader = Reader(item, sample_rate, channels_last=channels_last, place=place)
        with reader:
            yield reader
