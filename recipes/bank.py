"""All recordings of one split as one int16 tensor on the device, with their tables.

Recordings are decoded once, resampled to 24 kHz, freed of digital silence at their ends and raised
to a peak just under full scale; gains are drawn anew for each mixture anyway.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcasenet.atomic import replacing
from dcasenet.train.data.bursts import bursts, levels
from dcasenet.train.data.dataset import Split
from recipes.labels import LabelSets, background, continuous, group
from recipes.recordings import LabeledClip

log = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
PEAK = 0.9
# Seconds of one recording that are kept, by the kind of its label: music and game effects repeat.
LONGEST = {"library/music": 20.0, "library/electronic": 20.0, "library/mixed": 60.0}
LONGEST_OTHERS = 150.0
# Folders whose files are one sound each, cut at its ends.
CUT_TIGHT = ("dcase2016_task2", "events_extra", "library")
SHORTEST = 0.05  # seconds; what is shorter says nothing


@dataclass(frozen=True)
class Decoded:
    """A recording as it is mixed.

    Attributes:
        recording: What it is.
        waveform: (samples,) int16 at 24 kHz.
        level: RMS of its frames within 40 dB of the loudest, full scale is 1.
        bursts: (start, stop) of its isolated sounds, in samples.
    """

    recording: LabeledClip
    waveform: NDArray[np.int16]
    level: float
    bursts: tuple[tuple[int, int], ...]


def waveform_of(clip: Decoded) -> NDArray[np.float32]:
    """Return a recording as float32, full scale is 1."""
    return clip.waveform.astype(np.float32) / 32_768.0


def in_split(clips: Iterable[Decoded], split: Split) -> list[Decoded]:
    """Return the open recordings of one split."""
    return [clip for clip in clips if clip.recording.split == split and clip.recording.open]


def decode(recording: LabeledClip, root: Path) -> Decoded | None:
    """Decode one recording; None, with a warning, where that fails or nothing is left."""
    try:
        samples, rate = soundfile.read(recording.path(root), dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        log.warning("%s cannot be decoded and is left out: %s", recording.key, error)
        return None
    kind = recording.label.rsplit("/", 1)[0]
    longest = LONGEST.get(kind, LONGEST_OTHERS)
    mono = samples.mean(axis=1)[: round(longest * rate)]
    return describe(recording, soxr.resample(mono, rate, SAMPLE_RATE))


def decode_whole(recording: LabeledClip, root: Path) -> NDArray[np.int16]:
    """Decode a mono recording as it is, at 24 kHz, full scale is 32,767."""
    samples, rate = soundfile.read(recording.path(root), dtype="float32")
    return pcm_of(soxr.resample(samples, rate, SAMPLE_RATE))


def pcm_of(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return a waveform as int16; what is beyond full scale is clipped."""
    pcm: NDArray[np.int16] = np.round(np.clip(waveform, -1.0, 1.0) * 32_767.0).astype(np.int16)
    return pcm


def describe(recording: LabeledClip, mono: NDArray[np.float32]) -> Decoded | None:
    """Trim, scale and measure a decoded waveform at 24 kHz."""
    peak = float(np.abs(mono).max(initial=0.0))
    (sounding,) = np.nonzero(np.abs(mono) > 1e-3 * peak)
    if peak == 0 or sounding.size < SHORTEST * SAMPLE_RATE:
        log.warning("%s is silent and is left out", recording.key)
        return None
    # Silence around a sound shows that it is isolated; other folders are cut tight.
    found = bursts(mono, SAMPLE_RATE, isolated=recording.folder in CUT_TIGHT)
    first, stop = int(sounding[0]), int(sounding[-1]) + 1
    inside = [(max(a - first, 0), min(b, stop) - first) for a, b in found]
    inside = [(a, b) for a, b in inside if b - a >= SHORTEST * SAMPLE_RATE]
    mono = mono[first:stop] * np.float32(PEAK / peak)
    level = levels(mono, SAMPLE_RATE)
    loud = level[level > level.max() - 40.0]
    rms = float(np.sqrt(np.mean(10.0 ** (loud / 10.0))))
    pcm = np.round(mono * 32_767.0).astype(np.int16)
    return Decoded(recording, pcm, rms, tuple(inside))


def decode_all(recordings: Sequence[LabeledClip], root: Path, cache: Path) -> list[Decoded]:
    """Decode recordings on all cores, or read what an earlier run has decoded.

    Args:
        recordings: What to decode.
        root: Folder of the data.
        cache: ``.npz`` file that holds what was decoded. It is written anew if it lacks any of the
            recordings, or was decoded in another way.
    """
    by_key = {recording.key: recording for recording in recordings}
    if not _serves(cache, by_key):
        cache.parent.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(decode, recordings, [root] * len(recordings), chunksize=32)
            save(cache, [decoded for decoded in found if decoded is not None], list(by_key))
    return load(cache, by_key)


def save(path: Path, clips: Sequence[Decoded], tried: Sequence[str]) -> None:
    """Write decoded recordings to one file, by renaming.

    Args:
        path: The file.
        clips: What was decoded.
        tried: Keys of all recordings that were to be decoded; some cannot be.
    """
    spans = [(i, *span) for i, clip in enumerate(clips) for span in clip.bursts]
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            how=np.array(_how()),
            tried=np.array(tried),
            key=np.array([clip.recording.key for clip in clips]),
            length=np.array([len(clip.waveform) for clip in clips]),
            level=np.array([clip.level for clip in clips]),
            spans=np.array(spans, dtype=np.int64).reshape(-1, 3),
            samples=np.concatenate([clip.waveform for clip in clips]),
        )


def load(path: Path, by_key: dict[str, LabeledClip]) -> list[Decoded]:
    """Read what `save` wrote, of the recordings that are requested."""
    with np.load(path) as file:
        keys, lengths, level = file["key"], file["length"], file["level"]
        spans, samples = file["spans"], file["samples"]
    of_clip: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for index, start, stop in spans.tolist():
        of_clip[index].append((start, stop))
    ends = np.cumsum(lengths)
    return [
        Decoded(by_key[key], samples[end - length : end], float(level[i]), tuple(of_clip[i]))
        for i, (key, length, end) in enumerate(zip(keys.tolist(), lengths, ends, strict=True))
        if key in by_key
    ]


def _serves(cache: Path, wanted: Iterable[str]) -> bool:
    """Whether a file was decoded as it would be now, and nothing that is wanted is missing."""
    if not cache.is_file():
        return False
    with np.load(cache) as file:
        same = "how" in file and str(file["how"]) == _how()
        return same and set(wanted) <= set(file["tried"].tolist())


def _how() -> str:
    """Name all that what is decoded depends on, beside the recordings."""
    settings = (SAMPLE_RATE, PEAK, LONGEST, LONGEST_OTHERS, CUT_TIGHT, SHORTEST)
    return f"{settings} soxr {soxr.__version__} libsndfile {soundfile.__libsndfile_version__}"


@dataclass(frozen=True)
class Bank:
    """Recordings of one split as tensors on one device.

    Attributes:
        samples: All waveforms one after another, int16.
        start: First sample of each recording, (clips,).
        length: Its samples, (clips,).
        level: Its RMS where it sounds, (clips,).
        continuous: Whether it may be looped, (clips,).
        tag: Its named labels, (clips, tags).
        tag_known: Whether they are all that it holds, (clips,).
        environment: Place, or -1, (clips,).
        any_weight: Chance of being a layer of a mixture, (clips,).
        environment_weight: Chance of being a place, (clips,).
        background_weight: Chance of lying under a soundscape, (clips,).
        burst_start: First sample of each isolated sound, (bursts,).
        burst_length: Its samples, (bursts,).
        burst_class: Its event, (bursts,).
        burst_level: Its RMS, (bursts,).
        burst_tag: Its tags, (bursts, tags).
        burst_weight: Chance of being placed: even over events, then over recordings, (bursts,).
        n_events: Number of events.
    """

    samples: Tensor
    start: Tensor
    length: Tensor
    level: Tensor
    continuous: Tensor
    tag: Tensor
    tag_known: Tensor
    environment: Tensor
    any_weight: Tensor
    environment_weight: Tensor
    background_weight: Tensor
    burst_start: Tensor
    burst_length: Tensor
    burst_class: Tensor
    burst_level: Tensor
    burst_tag: Tensor
    burst_weight: Tensor
    n_events: int

    def read(self, start: Tensor, length: Tensor, whole: Tensor, part: Tensor) -> Tensor:
        """Read samples between samples, by linear interpolation.

        Args:
            start: First sample of each recording, (batch,).
            length: Its samples, (batch,).
            whole: Whole samples from there, (batch, n); what lies outside repeats the ends.
            part: What is left of a sample, 0 to 1, (batch, n).

        Returns:
            (batch, n) float32, full scale is 1.
        """
        last = length[:, None] - 1
        begin = start[:, None]
        low = self.samples[begin + torch.minimum(whole.clamp(min=0), last)]
        high = self.samples[begin + torch.minimum((whole + 1).clamp(min=0), last)]
        return torch.lerp(low.float(), high.float(), part) / 32_768.0

    def to(self, device: torch.device | str) -> Bank:
        """Return the same bank on another device."""
        values: dict[str, Any] = vars(self)
        moved: dict[str, Any] = {
            n: v.to(device) if isinstance(v, Tensor) else v for n, v in values.items()
        }
        return Bank(**moved)


def make_bank(clips: Sequence[Decoded], labels: LabelSets) -> Bank:
    """Build the tables of a split's recordings."""
    recordings = [clip.recording for clip in clips]
    lengths = np.array([len(clip.waveform) for clip in clips])
    starts = np.cumsum(lengths) - lengths
    tag_rows = [labels.tags_of(recording) for recording in recordings]
    tag = torch.zeros(len(clips), len(labels.tags))
    for row, indices in enumerate(tag_rows):
        tag[row, list(indices or ())] = 1.0
    environment = [labels.learned_environment_of(recording) for recording in recordings]
    burst_rows = [
        (i, start, stop, event)
        for i, clip in enumerate(clips)
        if (event := labels.event_of(clip.recording)) is not None
        for start, stop in clip.bursts
    ]
    clip_of, first, after, event_of = np.array(burst_rows, dtype=np.int64).reshape(-1, 4).T
    return Bank(
        samples=torch.from_numpy(np.concatenate([clip.waveform for clip in clips])),
        start=torch.from_numpy(starts),
        length=torch.from_numpy(lengths),
        level=torch.tensor([clip.level for clip in clips]),
        continuous=torch.tensor([continuous(recording) for recording in recordings]),
        tag=tag,
        tag_known=torch.tensor([row is not None for row in tag_rows]),
        environment=torch.tensor([-1 if e is None else e for e in environment]),
        any_weight=_any_weight(clips),
        environment_weight=_even(environment, recordings),
        background_weight=_even(
            [r.label if background(r) else None for r in recordings], recordings
        ),
        burst_start=torch.from_numpy(starts[clip_of] + first),
        burst_length=torch.from_numpy(after - first),
        burst_class=torch.from_numpy(event_of.copy()),
        burst_level=torch.tensor([_rms(clips[i].waveform[a:b]) for i, a, b, _ in burst_rows]),
        burst_tag=tag[torch.from_numpy(clip_of)],
        burst_weight=_even(event_of.tolist(), [recordings[i] for i in clip_of.tolist()]),
        n_events=len(labels.events),
    )


def _rms(waveform: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(np.square(waveform / 32_768.0))))


def _even(labels: Sequence[object], recordings: Sequence[LabeledClip]) -> Tensor:
    """Weigh labels evenly, then the sources of a label, then the files of a source.

    Where a label has few sources it is drawn less: by the root of their number.
    """
    takes = Counter(zip(labels, (r.source for r in recordings), strict=True))
    sources = Counter(label for label, _ in takes)
    weight = [
        0.0 if label is None else 1.0 / (takes[label, r.source] * sources[label] ** 0.5)
        for label, r in zip(labels, recordings, strict=True)
    ]
    return torch.tensor(weight, dtype=torch.float64).float()


def _any_weight(clips: Iterable[Decoded]) -> Tensor:
    """Weigh the groups of `labels.group`, and in each one sources evenly, longer files more."""
    clips = list(clips)
    groups = [group(clip.recording) for clip in clips]
    raw = _even([clip.recording.label for clip in clips], [clip.recording for clip in clips])
    length = torch.tensor([len(clip.waveform) / SAMPLE_RATE for clip in clips])
    raw = raw * length.clamp(0.5, 30.0).sqrt()
    weight = torch.zeros_like(raw)
    for name, share in group.shares.items():
        inside = torch.tensor([of == name for of in groups])
        total = float((raw * inside).sum())
        if total > 0:
            weight += raw * inside * share / total
    return weight
