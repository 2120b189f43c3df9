"""Read one file of a job to what a model hears, or to the reason why it cannot be heard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from dcasenet.audio.io import read
from dcasenet.audio.preprocess import Prepared, prepare
from dcasenet.errors import AudioError
from dcasenet.spec import ModelSpec

# A longer file is not handed from process to process, but read by the model's own verb.
LONG_SECONDS = 120.0
# Values in all channels (256 MiB of float32) that are decoded at once at most.
LONG_VALUES = 2**26


@dataclass(frozen=True)
class Heard:
    """What became of a file.

    Attributes:
        source: Its name.
        prepared: What a model hears; None for a file that is long or cannot be read.
        error: Why it cannot be read.
        duration: Length of a long file in seconds, as its header says.
    """

    source: str
    prepared: Prepared | None = None
    error: str | None = None
    duration: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether the model's own verb has to read it."""
        return self.prepared is None and self.error is None


def hear(source: str, spec: ModelSpec) -> Heard:
    """Read, mix and resample a file, unless it is long.

    Args:
        source: Its path.
        spec: The model's.

    Returns:
        What a model hears; of a file of more than 120 s the duration alone; or what is wrong.

    Example:
        >>> hear("missing.wav", ModelSpec("v3", "mine")).error.split(" (")[0]
        'There is no file missing.wav'
    """
    try:
        duration = long_duration(source)
        if duration is not None:
            return Heard(source, duration=duration)
        prepared = prepare(read(source), spec)
    except AudioError as error:
        return Heard(source, error=str(error))
    except MemoryError:
        return Heard(source, error=f"{source} needs more memory than there is.")
    if prepared.duration > LONG_SECONDS:  # the header promised less
        return Heard(source, duration=prepared.duration)
    return Heard(source, prepared)


def long_duration(source: str) -> float | None:
    """Give the length in seconds that a file's header states, if that is long; else None.

    Raises:
        AudioError: It is a folder that could not be listed.
    """
    if Path(source).is_dir():
        raise AudioError(f"The folder {source} cannot be listed. Allow this user to read it.")
    try:
        header = soundfile.info(source)
    except (soundfile.LibsndfileError, OSError, ValueError):
        return None  # whoever reads it says what is wrong
    is_long = header.duration > LONG_SECONDS or header.frames * header.channels > LONG_VALUES
    return float(header.duration) if is_long else None
