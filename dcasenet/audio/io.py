"""Read audio of any accepted kind into a checked `Recording`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio import decoder
from dcasenet.audio.libsndfile import BLOCK_VALUES
from dcasenet.audio.quality import Finding, Meter
from dcasenet.audio.validation import (
    Levels,
    arranged,
    as_array,
    check_channels,
    check_rate,
    number,
    scaled,
    whole_rate,
)
from dcasenet.errors import AudioError
from dcasenet.types import Audio

# Scheme of a URL; a single letter and a colon are a drive.
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")

ACCEPTED = (
    "Accepted are a path, a binary file, bytes, a NumPy array or torch tensor with sample_rate=, "
    "a tuple (samples, sample_rate), a dictionary with 'array' and 'sampling_rate' or with 'bytes' "
    "or 'path', and a decoder of datasets or torchcodec."
)


class Reader:
    """One audio input of any accepted kind, read and checked block by block; see `read`.

    Iterating yields blocks (channels, samples), float32, once. An error that is found only while
    reading, such as NaN samples in the middle, is raised at that block.

    Args:
        audio: As in `read`.
        sample_rate: As in `read`.
        channels_last: As in `read`.
        max_duration: As in `read`.
        channel: The only channel that is used, so that `findings` are about it; by default all.
        place: Text before the messages of errors that are raised while reading.

    Attributes:
        sample_rate: In Hz.
        n_channels: 1 to 64.
        n_expected: Number of samples, if known before reading; else None.
        is_long: Whether it has more than one block, as far as is known before reading.
        source: Name used in messages.
        n_samples: Number of samples read so far.
        warnings: Messages of the findings, complete after the last block.
        place: Text before messages that tells which of several inputs it is.

    Example:
        >>> with Reader(np.zeros(8_000, np.int16), 8_000) as reader:
        ...     for block in reader:
        ...         print(block.shape, block.dtype)
        (1, 8000) float32
        >>> reader.duration
        1.0
    """

    def __init__(
        self,
        audio: Audio,
        sample_rate: int | None = None,
        *,
        channels_last: bool = False,
        max_duration: float | None = None,
        channel: int | None = None,
        place: str = "",
    ) -> None:
        audio, sample_rate, name = _opened(audio, sample_rate)
        self.place, self._limit, self.n_samples = place, max_duration, 0
        self._channel = channel
        self.warnings: tuple[str, ...] = ()
        self._closing = ExitStack()
        self._file: decoder.FileReader | None = None
        self.n_expected: int | None
        array = as_array(audio)
        if array is None:
            self.source = name or _name(audio, sample_rate)
            with ExitStack() as undoing:
                self._file = undoing.enter_context(
                    decoder.FileReader(cast("decoder.File", audio), self.source)
                )
                self.sample_rate, self.n_expected = self._file.sample_rate, self._file.n_expected
                self._check(self._file.n_channels, channels_last)
                self._closing = undoing.pop_all()
        else:
            self._values = arranged(array, channels_last)
            self.source, self.sample_rate = "<array>", whole_rate(sample_rate)
            n_channels, self.n_expected = self._values.shape
            self._check(n_channels, channels_last)

    def _check(self, n_channels: int, channels_last: bool) -> None:
        check_rate(self.sample_rate, self.source)
        self.n_channels = n_channels
        if not n_channels:
            raise self._empty()
        n_samples = sys.maxsize if self.n_expected is None else self.n_expected
        check_channels(n_channels, n_samples, self.source, channels_last)
        self._check_duration(self.n_expected or 0)
        self.is_long = n_channels * n_samples > BLOCK_VALUES
        # Whatever selects the channel also refuses one that does not exist.
        self._measured = slice(self._channel, None if self._channel is None else self._channel + 1)
        n_measured = n_channels if self._channel is None else 1
        self._meter = Meter(self.sample_rate, n_measured)

    def _check_duration(self, n_samples: int) -> None:
        if self._limit is not None and n_samples > self._limit * self.sample_rate:
            raise AudioError(
                f"{self.source} is {_hours(n_samples / self.sample_rate)} long or longer, and the "
                f"limit is {_hours(self._limit)}. Accept longer ones with max_duration=, in "
                "seconds (on the command line: --max-duration)."
            )

    @property
    def duration(self) -> float:
        """Duration read so far, in seconds."""
        return float(self.n_samples / self.sample_rate)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        with placed(self.place):
            yield from self._checked()

    def _checked(self) -> Iterator[NDArray[np.float32]]:
        levels, is_sound = Levels(), True
        for block in self._file or self._slices():
            self.n_samples += block.shape[1]
            self._check_duration(self.n_samples)
            is_sound = levels.see(block)
            if is_sound:  # else the rest is read only to report all errors
                samples = block if self._file else scaled(block)
                self._meter.add(samples[self._measured])
                yield samples
        if not is_sound:
            raise levels.fault(self.sample_rate, self.source)
        if not self.n_samples:
            raise self._empty()
        self.warnings = tuple(finding.message for finding in self.findings())

    def findings(self) -> list[Finding]:
        """Return the findings, once everything has been read."""
        of_file = self._file.warnings if self._file else ()
        found = [Finding("file", warning) for warning in of_file]
        return found + self._meter.findings(self.source)

    @property
    def meter(self) -> Meter:
        """The measurements so far."""
        return self._meter

    def _slices(self) -> Iterator[NDArray[Any]]:
        length = max(1, BLOCK_VALUES // self.n_channels)
        for start in range(0, self._values.shape[1], length):
            # Later steps are faster per channel in C order, as in decoded files.
            yield np.ascontiguousarray(self._values[:, start : start + length])

    def _empty(self) -> AudioError:
        return AudioError(
            f"{self.source} is empty: {self.n_channels} channel(s) of {self.n_samples} samples. "
            "Give at least one sample."
        )


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Begin the messages of audio errors with a place, such as ``"Audio 2 of 3: "``."""
    try:
        yield
    except AudioError as error:
        if not place:
            raise
        raise AudioError(f"{place}{error}") from error


def is_pair(audio: tuple[Any, ...]) -> bool:
    """Return whether a tuple is (samples, sample_rate), in either order, and not several inputs."""
    return len(audio) == 2 and any(number(part) is not None for part in audio)


def _opened(audio: Any, sample_rate: Any) -> tuple[Any, Any, str]:
    """Unpack an object that contains audio; return the audio, its rate and its name, if known.

    Raises:
        AudioError: It is empty, or its rate differs from the given one.
    """
    if isinstance(audio, tuple):
        return *_split_pair(audio, sample_rate), ""
    if isinstance(audio, Mapping):
        return _from_mapping(audio, sample_rate)
    if hasattr(audio, "get_all_samples"):  # a decoder of torchcodec or datasets
        audio = audio.get_all_samples()
    if hasattr(audio, "pts_seconds") and hasattr(audio, "sample_rate"):  # samples of torchcodec
        return audio.data, _one_rate(audio.sample_rate, sample_rate, "decoder"), ""
    if isinstance(audio, bytearray | memoryview):
        audio = bytes(audio)
    return audio, sample_rate, ""


def _from_mapping(audio: Mapping[str, Any], sample_rate: Any) -> tuple[Any, Any, str]:
    """Unpack a dictionary of the datasets library."""
    array, content, path = (audio.get(key) for key in ("array", "bytes", "path"))
    if array is not None and audio.get("sampling_rate") is not None:
        if isinstance(array, list):
            array = np.asarray(array)
        return array, _one_rate(audio["sampling_rate"], sample_rate, "dictionary"), ""
    if isinstance(content, bytes | bytearray | memoryview):
        if sample_rate is None:
            return bytes(content), None, path if isinstance(path, str) else ""
        return bytes(content), sample_rate, ""
    if isinstance(path, str | os.PathLike):
        return path, sample_rate, ""
    raise AudioError(
        f"A dictionary with {', '.join(map(repr, audio)) or 'nothing'} is not audio. Accepted are "
        "those with 'array' and 'sampling_rate', or with 'bytes' or 'path'."
    )


def _split_pair(pair: tuple[Any, ...], sample_rate: Any) -> tuple[Any, int]:
    if not is_pair(pair):
        raise AudioError(f"A tuple of {len(pair)} without a sample rate is not audio. {ACCEPTED}")
    samples, rate = pair
    if number(rate) is None:
        raise AudioError(
            f"The tuple has the sample rate ({samples!r}) first. Accepted is (samples, "
            "sample_rate): swap the two."
        )
    return samples, _one_rate(rate, sample_rate, "tuple")


def _one_rate(stated: Any, sample_rate: Any, holder: str) -> int:
    rate = whole_rate(stated)
    if sample_rate is not None and whole_rate(sample_rate) != rate:
        raise AudioError(
            f"The {holder} states {rate:,} Hz, and sample_rate={sample_rate!r} was given as well. "
            "Leave one of them out."
        )
    return rate


def _name(file: Any, sample_rate: Any) -> str:
    """Return the name in messages of a path, bytes or a binary file.

    Raises:
        AudioError: It is none of these, or a rate is given although files state their own.
    """
    if isinstance(file, str | os.PathLike):
        source = os.fsdecode(file)
        _check_path(source)
    elif isinstance(file, bytes):
        source = "<bytes>"
    elif hasattr(file, "buffer_read_into"):  # soundfile.SoundFile, whose read returns samples
        raise AudioError(
            "A soundfile.SoundFile is not accepted. Pass the file that it reads, or its samples: "
            "(file.read(always_2d=True).T, file.samplerate)."
        )
    elif hasattr(file, "read"):
        name = getattr(file, "name", None)
        source = name if isinstance(name, str) else "<file>"
    elif isinstance(file, Iterable) and not isinstance(file, list | tuple):
        raise AudioError(
            f"{type(file).__name__} is not a single audio input. Pass several as list(...). "
            f"{ACCEPTED} Convert numbers to an array with np.asarray."
        )
    else:
        raise AudioError(
            f"{type(file).__name__} is not audio. {ACCEPTED} Convert numbers with np.asarray."
        )
    if sample_rate is not None:
        raise AudioError(
            f"{source} states its own sample rate, and {sample_rate!r} was given as well. Leave "
            "the rate out for paths, files and bytes."
        )
    return source


def _check_path(path: str) -> None:
    if _ADDRESS.match(path):
        raise AudioError(
            f"{path} is a URL, and nothing is downloaded. Save the file first, for example with "
            "urllib.request.urlretrieve(url, path), and pass its path."
        )
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise AudioError(
            f"The path {path!r} contains characters that no file name can have. Give the path of "
            "an audio file."
        ) from error


def _hours(seconds: float) -> str:
    """Return a duration in hours, or in seconds below one hour."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds:,.1f} s"


@dataclass(frozen=True, eq=False)
class Recording:
    """Audio that has passed every check, at its own rate.

    Attributes:
        samples: Shape (channels, samples), finite, full scale 1; never the caller's own memory.
        sample_rate: In Hz, 1,000 to 384,000.
        source: Name in messages and tables: the path as given, ``"<bytes>"``, ``"<file>"``
            or ``"<array>"``.
        warnings: Problems of the recording, one sentence each.

    Example:
        >>> read(np.zeros((2, 22_050), np.int16), 44_100).duration
        0.5
    """

    samples: NDArray[np.float32]
    sample_rate: int
    source: str
    warnings: tuple[str, ...] = ()

    is_long, place = False, ""  # the recording is already in memory

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.samples)

    @property
    def n_samples(self) -> int:
        """Length in samples."""
        return int(self.samples.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        yield self.samples


def is_single(audio: object) -> bool:
    """Return whether an input is one audio and not a sequence of several.

    Args:
        audio: The input.

    Returns:
        False for a list, and for a tuple that is not ``(samples, sample_rate)``.

    Example:
        >>> is_single("a.wav"), is_single(["a.wav"]), is_single((np.zeros(10), 8_000))
        (True, False, True)
    """
    return is_pair(audio) if isinstance(audio, tuple) else not isinstance(audio, list)


def read(
    audio: Audio,
    sample_rate: int | None = None,
    *,
    channels_last: bool = False,
    max_duration: float | None = None,
) -> Recording:
    """Read one audio input of any accepted kind and check it.

    Integers are scaled by their type: signed ones of b bits by 2**(b - 1), unsigned ones as
    offset binary. Floating-point samples are not scaled.

    Args:
        audio: A path; a binary file, which is read from its current position and put back there
            if it can seek; the bytes of a file; an array or tensor, shape (samples,) or
            (channels, samples); a tuple of such an array or tensor and its rate; a dictionary of
            the datasets library, with ``array`` and ``sampling_rate`` or with ``bytes`` or
            ``path``; or a decoder of datasets or torchcodec.
        sample_rate: Rate of an array or tensor in Hz, 1,000 to 384,000; files state their own.
        channels_last: Whether an array or tensor is (samples, channels).
        max_duration: Longest duration accepted, in seconds; None for any.

    Returns:
        The recording at its own rate: at least one sample, at most 64 channels.

    Raises:
        AudioError: It is missing, unreadable, empty, not finite, misshapen or too long; its rate
            is unknown, given twice or out of range; or the file changes while it is read.

    Example:
        >>> read(np.array([0, 16_384, -32_768], np.int16), sample_rate=8_000).samples
        array([[ 0. ,  0.5, -1. ]], dtype=float32)
    """
    with Reader(
        audio, sample_rate, channels_last=channels_last, max_duration=max_duration
    ) as reader:
        samples = decoder.gather(reader, reader.n_channels)
        return Recording(samples, reader.sample_rate, reader.source, reader.warnings)
