"""Recordings without their speech, to be shared: the seconds with speech become silence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from dcasenet.atomic import replacing
from dcasenet.audio.io import Reader
from dcasenet.errors import AudioError, JobError
from dcasenet.inference.events import decode_events, thresholds_for
from dcasenet.inference.postprocess import require
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Events, Floats
from dcasenet.results.values import _Json
from dcasenet.spec import ModelSpec
from dcasenet.types import check_flags, find_label

# Far below what is best for detection: a second too many is lost sooner than a word is kept.
THRESHOLD = 0.005
PAD = 0.48  # seconds, at least
FADE = 0.005  # seconds beside a silenced span, so that its ends make no click
# PCM of a file → the integers that hold it exactly; libsndfile's own scaling of floats does not.
INTEGERS: dict[str, type[np.signedinteger[Any]]] = {
    "PCM_S8": np.int16,
    "PCM_U8": np.int16,
    "PCM_16": np.int16,
    "PCM_24": np.int32,
    "PCM_32": np.int32,
}
# Suffix → format that can be written; others are written as FLAC.
FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
    ".w64": "W64",
    ".rf64": "RF64",
}
WAV_LIMIT = 2**32 - 2**16  # bytes of sound that a WAV's header can count
WIDEST = 8  # bytes of a sample, at most


@dataclass(frozen=True)
class Redaction(_Json):
    """What was silenced in a recording.

    Attributes:
        source: What the recording is called.
        output: The file written.
        spans: (onset, offset) of each silenced stretch in seconds, earliest first.
        labels: Event labels that count as speech.
        threshold: Probability above which they are silenced.
        pad: Seconds silenced before and after.
        duration: Length of the recording, in seconds.
        warnings: What is odd about it.
    """

    source: str
    output: str
    spans: tuple[tuple[float, float], ...]
    labels: tuple[str, ...]
    threshold: float
    pad: float
    duration: float
    warnings: tuple[str, ...] = ()

    @property
    def silenced(self) -> float:
        """How many seconds were silenced."""
        return float(sum(offset - onset for onset, offset in self.spans))


def redact(
    model: SoundVerbs[Any],
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    labels: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    pad: float | None = None,
    overwrite: bool = False,
) -> Redaction:
    """Write a copy of a recording in which speech is silence.

    What is left has the rate, the channels and, where it can be written, the format of the
    original, without its tags and pictures; PCM samples outside the silenced spans are the
    original's to the bit.

    Args:
        model: A model of any runtime that detects events.
        path: The recording.
        output: The file to write; by default ``NAME.redacted.SUFFIX`` beside the recording.
        labels: Events to silence; by default every label of the model with the word speech.
        threshold: Probability above which they are silenced, 0 to below 1. The lower, the less
            is missed and the more is lost besides.
        pad: Seconds to silence before and after; by default one step of the model, and at least
            0.48 s.
        overwrite: Whether an output that exists is replaced.

    Returns:
        What was silenced.

    Raises:
        AudioError: The recording cannot be used.
        JobError: The output exists, is the recording itself, or cannot be written.
        TaskNotAvailableError: The model detects no events.
        ValueError: The model has none of the labels, or a number is out of range.

    Example:
        >>> import dcasenet
        >>> from tempfile import TemporaryDirectory
        >>> model = dcasenet.load()
        >>> with TemporaryDirectory() as folder:
        ...     done = redact(model, dcasenet.example(), folder + "/a.ogg", threshold=0.3)
        >>> done.spans, done.pad
        ((), 0.48)
    """
    path = Path(path)
    check_flags(overwrite=overwrite)
    chosen = speech_labels(model.spec, labels)
    thresholds_for(chosen, threshold)
    if pad is not None and not 0 <= pad < float("inf"):
        raise ValueError(f"pad={pad} is out of range; give 0 or more seconds.")
    target = default_output(path) if output is None else Path(output)
    if path.exists() and target.exists() and target.samefile(path):
        raise JobError(
            f"{target} is the recording itself, which is never replaced. Give another output."
        )
    if os.path.lexists(target) and not overwrite:
        raise JobError(
            f"{target} exists already. Give another output, or overwrite=True (--overwrite)."
        )
    events = model.detect_events(path)
    pad = max(PAD, events.resolution) if pad is None else pad
    spans = silent_spans(events, chosen, threshold, pad)
    _write(path, target, spans, events.duration)
    return Redaction(
        source=str(path),
        output=str(target),
        spans=spans,
        labels=chosen,
        threshold=threshold,
        pad=pad,
        duration=events.duration,
        warnings=events.warnings,
    )


def speech_labels(spec: ModelSpec, labels: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the events to silence: those given, or a model's labels of speech.

    Raises:
        TaskNotAvailableError: The model detects no events.
        ValueError: It has none of them.

    Example:
        >>> speech_labels(ModelSpec("v3", "mine", events=("dog", "male_speech", "speech")))
        ('male_speech', 'speech')
    """
    require(spec, "event")
    if labels is None:
        found = tuple(name for name in spec.events if "speech" in name.lower())
        if not found:
            raise ValueError(
                f"{spec.name} {spec.stage!r} has no event of speech. Say which to silence, of "
                f"{', '.join(spec.events)}."
            )
        return found
    if not labels:
        raise ValueError(
            f"labels={labels!r} names no event. Give some of {', '.join(spec.events)}."
        )
    return tuple(find_label(name, spec.events, "event") for name in labels)


def silent_spans(
    events: Events, labels: Sequence[str], threshold: float, pad: float
) -> tuple[tuple[float, float], ...]:
    """Find what is to be silenced by the curves of a detection.

    Args:
        events: What `detect_events` gave, at any threshold.
        labels: Labels to silence.
        threshold: Probability above which they are.
        pad: Seconds before and after.

    Returns:
        (onset, offset) in seconds, earliest first, apart from each other.

    Raises:
        ValueError: The threshold is not 0 to 1.

    Example:
        >>> curve = np.array([[0.0], [0.2], [0.2], [0.0], [0.0], [0.0]], np.float32)
        >>> events = Events(
        ...     items=(), labels=("speech",), probabilities=curve, hop=0.1, resolution=0.1,
        ...     duration=0.55,
        ... )
        >>> silent_spans(events, ["speech"], threshold=0.1, pad=0.2)
        ((0.0, 0.5),)
    """
    columns = [events.labels.index(label) for label in labels]
    found = decode_events(
        events.probabilities[:, columns],
        labels,
        events.hop,
        thresholds_for(labels, threshold),
        duration=events.duration,
    )
    spans: list[tuple[float, float]] = []
    for event in sorted(found, key=lambda event: event.onset):
        onset, offset = max(0.0, event.onset - pad), min(events.duration, event.offset + pad)
        if spans and onset <= spans[-1][1]:
            onset, offset = spans[-1][0], max(offset, spans.pop()[1])
        spans.append((onset, offset))
    return tuple(spans)


def default_output(path: Path) -> Path:
    """Name the copy of a recording, after the format that it can be written in.

    Example:
        >>> default_output(Path("a.mp4")).name, default_output(Path("b.WAV")).name
        ('a.redacted.flac', 'b.redacted.WAV')
    """
    suffix = path.suffix if path.suffix.lower() in FORMATS else ".flac"
    return path.with_name(f"{path.stem}.redacted{suffix}")


def silenced(
    blocks: Iterable[Floats], spans: Sequence[tuple[float, float]], sample_rate: int
) -> Iterator[Floats]:
    """Silence stretches of a recording that comes in blocks, (channels, samples).

    The samples beside a stretch are faded, outside of it.

    Example:
        >>> (block,) = silenced([np.ones((1, 4), np.float32)], [(0.001, 0.002)], 1_000)
        >>> block.round(1).tolist() == np.float32([[0.2, 0.0, 0.2, 0.4]]).tolist()
        True
    """
    fade = max(1, round(FADE * sample_rate))
    edges = [(int(onset * sample_rate), ceil(offset * sample_rate)) for onset, offset in spans]
    first = 0
    for block in blocks:
        samples = block.copy()
        last = first + block.shape[1]
        for onset, offset in edges:
            start, stop = max(first, onset - fade), min(last, offset + fade)
            if start < stop:
                numbers = np.arange(start, stop)
                distance = np.maximum(onset - numbers, numbers - offset + 1).clip(0, fade)
                samples[:, start - first : stop - first] *= (distance / fade).astype(np.float32)
        first = last
        yield samples


def _write(path: Path, target: Path, spans: Sequence[tuple[float, float]], duration: float) -> None:
    """Write the copy beside its place, where it moves when it is complete."""
    try:
        with Reader(path) as reader, replacing(target) as draft:
            n_values = round(duration * reader.sample_rate) * reader.n_channels
            kind, subtype = _format(path, target, n_values)
            with soundfile.SoundFile(
                draft, "w", reader.sample_rate, reader.n_channels, subtype, format=kind
            ) as file:
                for block in silenced(reader, spans, reader.sample_rate):
                    file.write(_storable(block.T, subtype))
    except (OSError, soundfile.SoundFileError, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        raise JobError(
            f"{target} cannot be written: {getattr(error, 'strerror', None) or error}. Give an "
            f"output in a folder that can be written to, with another of the suffixes "
            f"{', '.join(FORMATS)}."
        ) from error


def _format(path: Path, target: Path, n_values: int) -> tuple[str, str]:
    """Choose the format of the copy by its suffix, and how its samples are stored."""
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise ValueError(f"nothing is known of the suffix {target.suffix!r}")
    default = "OPUS" if target.suffix.lower() == ".opus" else soundfile.default_subtype(kind)
    with suppress(soundfile.SoundFileError):  # other libraries may read it
        original = soundfile.info(path)
        is_plain = original.subtype.startswith(("PCM", "FLOAT", "DOUBLE"))
        same = original.format in (kind, "WAVEX", "RF64") or is_plain
        if same and soundfile.check_format(kind, original.subtype):
            default = original.subtype
    if kind == "WAV" and n_values * WIDEST > WAV_LIMIT:
        kind = "RF64"
    return kind, default


def _storable(samples: NDArray[np.float32], subtype: str) -> NDArray[Any]:
    """Return samples as the integers that they were read from: libsndfile rounds floats anew."""
    integers = INTEGERS.get(subtype)
    if integers is None:
        return samples
    scale = 2.0 ** (8 * np.dtype(integers).itemsize - 1)
    scaled = np.round(samples.astype(np.float64) * scale).clip(-scale, scale - 1)
    return scaled.astype(integers)
