"""Prepare audio for a model: read it, mix it to mono and resample it to the model's rate."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from dcasenet.audio.decoder import gather
from dcasenet.audio.io import Reader, Recording, is_single, placed
from dcasenet.audio.libsndfile import BLOCK_VALUES
from dcasenet.audio.prefetch import ahead
from dcasenet.audio.quality import Finding, refuse_doubtful
from dcasenet.audio.resample import Resampler
from dcasenet.errors import AudioError
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec
from dcasenet.text import count
from dcasenet.types import MAX_DURATION, Audio, Audios, Channels, Rate, check_flags, check_number

# Length in seconds of the segments in which cancelling channels are detected.
CANCEL_SECONDS = 0.1
# Channels cancel if their mean has less than this share of their mean energy: for two channels, a
# correlation of -0.96. Two uncorrelated ones have one half.
CANCEL_SHARE = 0.02
# Ratio of energies from which another channel counts as louder than the first.
LOUDER = 2.0


def check_channels_option(channels: Any) -> None:
    """Check the option `channels`.

    Raises:
        ValueError: It is neither ``"mix"``, ``"each"`` nor an integer of at least 0.
    """
    is_number = isinstance(channels, int | np.integer) and not isinstance(channels, bool)
    is_known = channels in ("mix", "each") if isinstance(channels, str) else is_number
    if not is_known or (is_number and channels < 0):
        raise ValueError(
            f"channels={channels!r} is not known. Accepted are 'mix', 'each', and the number of a "
            "channel, counted from 0."
        )


@dataclass(frozen=True)
class ReadOptions:
    """How audio is read; see `dcasenet.types.Options`.

    Raises:
        ValueError: An option is out of range.
    """

    channels: Channels = "mix"
    channels_last: bool = False
    max_duration: float | None = MAX_DURATION
    strict: bool = False

    def __post_init__(self) -> None:
        check_channels_option(self.channels)
        check_flags(channels_last=self.channels_last, strict=self.strict)
        if self.max_duration not in (None, math.inf):
            accepted = "give seconds, or None for any length"
            check_number("max_duration", self.max_duration, 0, accepted=accepted)


# The default options.
AS_USUAL = ReadOptions()


@dataclass(frozen=True)
class AudioInfo:
    """Properties of a recording that has been read.

    Attributes:
        n_samples: Number of samples at its own rate.
        sample_rate: Its own rate, in Hz.
        source: Its name in messages.
        warnings: Problems of the recording.
    """

    n_samples: int
    sample_rate: int
    source: str
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


class AudioSource(Protocol):
    """A recording at a model's rate, in memory or streamed."""

    def blocks(self) -> Iterator[Floats]:
        """Yield the waveforms in blocks, (channels, samples) at the model's rate, once."""

    @property
    def info(self) -> AudioInfo:
        """The recording's properties, available after the last block."""


@dataclass(frozen=True, eq=False)
class LoadedAudio:
    """A recording at a model's rate, in memory.

    Attributes:
        waveforms: (channels, samples) at the model's rate; one channel if they are mixed.
        info: The recording's properties.
    """

    waveforms: Floats
    info: AudioInfo

    @property
    def n_samples(self) -> int:
        """Number of samples at the model's rate."""
        return int(self.waveforms.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.info.duration

    def blocks(self) -> Iterator[Floats]:
        """Yield the waveforms, in one block."""
        yield self.waveforms


class StreamedAudio:
    """A recording that is read, mixed and resampled block by block, on demand.

    A long one is read ahead in a background thread.

    Args:
        recording: A `Reader`, or a `Recording` in memory.
        spec: The model's specification.
        channels: See `Downmix`.
        strict: Whether to raise an error if there is a finding.

    Raises:
        AudioError: The channel does not exist, or `strict` is set and there is a finding.
    """

    def __init__(
        self,
        recording: Reader | Recording,
        spec: ModelSpec,
        channels: Channels = "mix",
        *,
        strict: bool = False,
    ) -> None:
        self._recording, self._rate, self._strict = recording, spec.frontend.sample_rate, strict
        self._downmix = Downmix(
            recording.sample_rate, recording.n_channels, channels, recording.source
        )
        self._resampler = Resampler(recording.sample_rate, self._rate, spec.resampler)

    def blocks(self) -> Generator[Floats]:
        """Yield the waveforms in blocks, (channels, samples) at the model's rate, once."""
        blocks = self._resampled()
        return ahead(blocks) if self._recording.is_long else blocks

    def _resampled(self) -> Generator[Floats]:
        for samples in self._mixed():
            # Samples at 1 kHz become 24 times as many.
            length = BLOCK_VALUES * self._recording.sample_rate // (self._rate * len(samples))
            for start in range(0, samples.shape[1], max(1, length)):
                block = self._resampler.push(samples[:, start : start + max(1, length)])
                if block.size:  # a resampler returns nothing before it has enough samples
                    yield block
        if self._strict:
            with placed(self._recording.place):
                refuse_doubtful(self.info.warnings)
        rest = self._resampler.close()
        if rest.size:
            yield rest

    def _mixed(self) -> Iterator[Floats]:
        for samples in self._recording:
            yield self._downmix.push(samples)
        rest = self._downmix.close()
        if rest.size:
            yield rest

    @property
    def info(self) -> AudioInfo:
        """The recording's properties, available after the last block."""
        recording = self._recording
        found = self._downmix.findings(recording.source)
        return AudioInfo(
            n_samples=recording.n_samples,
            sample_rate=recording.sample_rate,
            source=recording.source,
            warnings=(*recording.warnings, *(finding.message for finding in found)),
        )

    def load(self, most: int | None = None) -> LoadedAudio | None:
        """Read all blocks.

        Args:
            most: Most values accepted at the model's rate, in all channels; None for any
                number.

        Returns:
            The recording in memory; None if it has more values.
        """
        blocks, n_values = [], 0
        with contextlib.closing(self.blocks()) as stream:
            for block in stream:
                n_values += block.size
                if most is not None and n_values > most:
                    return None
                blocks.append(block)
        return LoadedAudio(gather(blocks, len(blocks[0])), self.info)


class Downmix:
    """Average or select the channels of a recording, block by block.

    Where channels cancel each other, as in stereo with one channel inverted, the louder one is used
    instead. This is decided for each tenth of a second, whatever the lengths of the blocks.

    Args:
        sample_rate: In Hz.
        n_channels: Number of channels.
        channels: ``"mix"`` averages them, ``"each"`` keeps them all, and an integer selects one,
            counted from 0.
        source: Name of the recording in messages.

    Raises:
        AudioError: The channel does not exist.
        ValueError: `channels` is not valid.

    Example:
        >>> downmix = Downmix(8_000, 2)
        >>> left = np.ones((1, 800), np.float32)
        >>> downmix.push(np.concatenate((left, 0 * left)))[0, :3]
        array([0.5, 0.5, 0.5], dtype=float32)
        >>> downmix.push(np.concatenate((left, -left)))[0, -3:]
        array([1., 1., 1.], dtype=float32)
    """

    def __init__(
        self,
        sample_rate: int,
        n_channels: int,
        channels: Channels = "mix",
        source: str = "The recording",
    ) -> None:
        check_channels_option(channels)
        if not isinstance(channels, str) and channels >= n_channels:
            known = "0" if n_channels == 1 else f"0 to {n_channels - 1}"
            raise AudioError(
                f"{source} has {count(n_channels, 'channel')}, and channels={channels} was given. "
                f"Accepted are {known}, 'mix' and 'each'."
            )
        self._channels = channels
        self._is_mixed = channels == "mix" and n_channels > 1
        self._rate = sample_rate
        self._length = max(1, round(CANCEL_SECONDS * sample_rate))
        self._waiting = np.zeros((n_channels, 0), np.float32)
        self._n_samples = self._n_cancelled = 0

    def push(self, samples: Floats) -> Floats:
        """Add samples, (channels, samples), and return the output that is complete."""
        if not self._is_mixed:
            return samples if self._channels in ("mix", "each") else self._one(samples)
        waiting = np.concatenate((self._waiting, samples), axis=1)
        n_ready = waiting.shape[1] // self._length * self._length
        self._waiting = waiting[:, n_ready:]
        return self._mix(waiting[:, :n_ready])

    def close(self) -> Floats:
        """Return the rest."""
        rest, self._waiting = self._waiting, self._waiting[:, :0]
        if self._is_mixed:
            return self._mix(rest)
        return rest if self._channels == "each" else rest[:1]

    def findings(self, source: str) -> list[Finding]:
        """Return a finding if channels cancelled each other, with the time for which they did."""
        if not self._n_cancelled:
            return []
        cancelled, all_of_it = self._n_cancelled / self._rate, self._n_samples / self._rate
        return [
            Finding(
                "antiphase",
                f"{source}: the channels cancel each other when averaged, in {cancelled:.1f} of "
                f"{all_of_it:.1f} s; the louder one is used there. Choose with channels=0, 1, "
                "... or 'each'.",
            )
        ]

    def _one(self, samples: Floats) -> Floats:
        number = cast("int", self._channels)
        return samples[number : number + 1]

    def _mix(self, samples: Floats) -> Floats:
        mean: Floats = samples.mean(axis=0, keepdims=True)
        self._n_samples += samples.shape[1]
        for start in range(0, samples.shape[1], self._length):
            part = slice(start, start + self._length)
            out, own = mean[:, part], samples[:, part]
            energy = np.einsum("cs,cs->c", own, own)
            if float(np.vdot(out, out)) < CANCEL_SHARE * float(energy.mean()):
                self._n_cancelled += out.shape[1]
                out[:] = own[_louder(energy)]
        return mean


def _louder(energies: Floats) -> int:
    loudest = int(energies.argmax())
    return loudest if energies[loudest] > LOUDER * energies[0] else 0


def mono(recording: Recording, channels: Channels = "mix") -> Floats:
    """Mix a recording to mono, at its own rate.

    Args:
        recording: A recording that `dcasenet.audio.io.read` returned.
        channels: See `Downmix`; ``"each"`` is not useful here.

    Returns:
        The waveform, shape (samples,).

    Example:
        >>> from dcasenet.audio.io import read
        >>> mono(read(np.array([[1.0, 0.0], [0.0, 0.0]]), 8_000))
        array([0.5, 0. ], dtype=float32)
    """
    downmix = Downmix(recording.sample_rate, recording.n_channels, channels, recording.source)
    parts = [downmix.push(recording.samples), downmix.close()]
    waveform: Floats = gather([part[:1] for part in parts], 1)[0]
    return waveform


def prepare(
    recording: Reader | Recording, spec: ModelSpec, channels: Channels = "mix"
) -> LoadedAudio:
    """Mix the channels, unless all are kept, and resample them to the model's rate.

    Example:
        >>> from dcasenet.audio.io import read
        >>> prepare(read(np.zeros((2, 441)), 44_100), ModelSpec("v3", "mine")).waveforms.shape
        (1, 240)
    """
    return cast("LoadedAudio", StreamedAudio(recording, spec, channels).load())


def prepare_each(
    audio: Audio | Audios, sample_rate: Rate, spec: ModelSpec, options: ReadOptions
) -> Iterator[StreamedAudio]:
    """Open one audio input, or each of a sequence in turn, for reading at the model's rate.

    Raises:
        AudioError: An input cannot be used; for a sequence, the message tells which.
    """
    for reader in read_each(audio, sample_rate, options):
        yield StreamedAudio(reader, spec, options.channels, strict=options.strict)


def read_each(
    audio: Audio | Audios, sample_rate: Rate, options: ReadOptions = AS_USUAL
) -> Iterator[Reader]:
    """Open one audio input, or each of a sequence in turn; it is closed before the next is opened.

    Raises:
        AudioError: An input cannot be used; for a sequence, the message tells which.
    """
    audios = [cast("Audio", audio)] if is_single(audio) else cast("Audios", audio)
    for index, item in enumerate(audios, start=1):
        place = "" if is_single(audio) else f"Audio {index} of {len(audios)}: "
        with placed(place):
            reader = Reader(
                item,
                sample_rate,
                channels_last=options.channels_last,
                max_duration=options.max_duration,
                channel=None if isinstance(options.channels, str) else options.channels,
                place=place,
            )
        with reader:
            yield reader
