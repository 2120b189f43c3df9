"""Any audio as a model takes it: read, mixed to mono, at the model's rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from dcasenet.audio.decoder import gather
from dcasenet.audio.io import Reader, Recording, is_single, mixed, placed
from dcasenet.audio.prefetch import ahead
from dcasenet.audio.resample import Resampler
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec
from dcasenet.types import Audio, Audios, Channels, Rate


@dataclass(frozen=True)
class AudioInfo:
    """What is known of a recording that has been read.

    Attributes:
        n_samples: Its length at its own rate.
        sample_rate: Its own rate, in Hz.
        source: What it is called.
        warnings: What is odd about it.
    """

    n_samples: int
    sample_rate: int
    source: str
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


class PreparedAudio(Protocol):
    """A recording at a model's rate, in memory or while it is read."""

    def blocks(self) -> Iterator[Floats]:
        """Yield the waveforms in blocks, (channels, samples) at the model's rate, once."""

    @property
    def info(self) -> AudioInfo:
        """What is known of it after the last block."""


@dataclass(frozen=True, eq=False)
class LoadedAudio:
    """A recording at a model's rate, in memory.

    Attributes:
        waveforms: (channels, samples) at the model's rate; one channel when they are mixed.
        info: What is known of it.
    """

    waveforms: Floats
    info: AudioInfo

    @property
    def n_samples(self) -> int:
        """Length at the model's rate."""
        return int(self.waveforms.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.info.duration

    def blocks(self) -> Iterator[Floats]:
        """Yield the waveforms, in one block."""
        yield self.waveforms


class StreamedAudio:
    """A recording that is read, mixed and resampled as its blocks are pulled.

    A long one is read by a thread of its own, ahead of whoever pulls.

    Args:
        recording: A `Reader`, or a `Recording` that has been read.
        spec: The model's.
        channels: ``"mix"`` averages the channels, ``"each"`` leaves them.
    """

    def __init__(
        self, recording: Reader | Recording, spec: ModelSpec, channels: Channels = "mix"
    ) -> None:
        self._recording, self._is_mixed = recording, channels == "mix"
        self._resampler = Resampler(
            recording.sample_rate, spec.frontend.sample_rate, spec.resampler
        )

    def blocks(self) -> Iterator[Floats]:
        """Yield the waveforms in blocks, (channels, samples) at the model's rate, once."""
        blocks = self._resampled()
        return ahead(blocks) if self._recording.is_long else blocks

    def _resampled(self) -> Iterator[Floats]:
        for samples in self._recording:
            yield self._resampler.push(mixed(samples) if self._is_mixed else samples)
        rest = self._resampler.close()
        if rest.size:
            yield rest

    @property
    def info(self) -> AudioInfo:
        """What is known of it after the last block."""
        recording = self._recording
        return AudioInfo(
            n_samples=recording.n_samples,
            sample_rate=recording.sample_rate,
            source=recording.source,
            warnings=recording.warnings,
        )


def prepare(
    recording: Reader | Recording, spec: ModelSpec, channels: Channels = "mix"
) -> LoadedAudio:
    """Mix the channels, unless each is wanted by itself, and bring them to the model's rate.

    Example:
        >>> from dcasenet.audio.io import read
        >>> import numpy as np
        >>> prepare(read(np.zeros((2, 441)), 44_100), ModelSpec("v3", "mine")).waveforms.shape
        (1, 240)
    """
    streamed = StreamedAudio(recording, spec, channels)
    blocks = list(streamed.blocks())
    return LoadedAudio(gather(blocks, len(blocks[0])), streamed.info)


def prepare_each(
    audio: Audio | Audios,
    sample_rate: Rate,
    spec: ModelSpec,
    channels: Channels = "mix",
    *,
    channels_last: bool,
) -> Iterator[StreamedAudio]:
    """Open the one audio, or each of a sequence, one at a time, to be read at the model's rate.

    Raises:
        AudioError: One cannot be used; for a sequence, the message says which.
    """
    for reader in read_each(audio, sample_rate, channels_last=channels_last):
        yield StreamedAudio(reader, spec, channels)


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
