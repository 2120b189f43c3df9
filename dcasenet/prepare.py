"""Any audio becomes what a model hears: read, mixed to mono, at the model's rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from dcasenet.audio import Audio, Recording, is_single, mono, read
from dcasenet.errors import AudioError
from dcasenet.options import Audios, Channels, Rate
from dcasenet.resample import resample
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec
from dcasenet.windows import ROWS_PER_SECOND


@dataclass(frozen=True)
class Prepared:
    """A recording as the model hears it.

    Attributes:
        waveforms: (channels, samples) at the model's rate; one channel when they are mixed.
        sample_rate: That rate, in Hz.
        duration: Length of the recording, in seconds.
        n_rows: ceil(duration / 0.1), from the sample count, free of rounding.
        source: What the recording is called.
        warnings: What is odd about it.
    """

    waveforms: Floats
    sample_rate: int
    duration: float
    n_rows: int
    source: str
    warnings: tuple[str, ...]

    @property
    def n_samples(self) -> int:
        """Length at the model's rate."""
        return int(self.waveforms.shape[1])


def read_each(
    audio: Audio | Audios, sample_rate: Rate, *, channels_last: bool
) -> Iterator[Recording]:
    """Read one audio, or each of a sequence, one at a time.

    Raises:
        AudioError: One cannot be used; for a sequence, the message says which.
    """
    if is_single(audio):
        yield read(cast("Audio", audio), sample_rate, channels_last=channels_last)
        return
    audios = cast("Audios", audio)
    for index, item in enumerate(audios, start=1):
        try:
            yield read(item, sample_rate, channels_last=channels_last)
        except AudioError as error:
            raise AudioError(f"Audio {index} of {len(audios)}: {error}") from error


def prepare(recording: Recording, spec: ModelSpec, channels: Channels = "mix") -> Prepared:
    """Mix the channels, unless each is to be heard, and bring them to the model's rate."""
    samples = mono(recording)[None] if channels == "mix" else recording.samples
    rate, n_samples = recording.sample_rate, recording.samples.shape[1]
    return Prepared(
        waveforms=resample(samples, rate, spec.frontend.sample_rate, spec.resampler),
        sample_rate=spec.frontend.sample_rate,
        duration=recording.duration,
        n_rows=-(-n_samples * ROWS_PER_SECOND // rate),
        source=recording.source,
        warnings=recording.warnings,
    )
