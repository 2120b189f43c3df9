"""The paper's three data sets in miniature: the real layouts, made-up sounds, a few seconds' work.

For trying a whole experiment before its data is there, and for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from dcasenet.train.data.fsdkaggle import SILENT
from dcasenet.train.data.nigens import FRAMES_PER_SECOND, N_FRAMES
from dcasenet.weights.manifest import find

Samples = NDArray[np.float32]
# What a class sounds like: (its index, number of classes, samples, rate in Hz, random) → samples.
Sound = Callable[[int, int, int, int, np.random.Generator], Samples]

CLIP_RATE, MINUTE_RATE = 44_100, 24_000  # Hz: of the scenes and tags, and of the events
SCENE_SECONDS = 10
TAG_SECONDS = (0.3, 2.0)  # the real ones are up to 30 s long
CITIES = ("lisbon", "vienna", "milan")  # two for training, the last one for evaluation
N_TAG_ROWS = 100
N_MICROPHONES = 4
BACKGROUND = 0.01  # RMS of the noise under the events


class Miniatures(NamedTuple):
    """Folders of the three data sets."""

    scene: Path
    tag: Path
    event: Path


def synthetic(
    index: int, n_classes: int, n_samples: int, sample_rate: int, random: np.random.Generator
) -> Samples:
    """Make a sound of a class: a tone, a band of noise or clicks, of the class's own pitch.

    Args:
        index: Of the class, from 0.
        n_classes: Number of classes; their pitches lie evenly between 200 and 8,000 Hz in octaves.
        n_samples: Length.
        sample_rate: In Hz.
        random: Draws phase, level and noise.

    Returns:
        (n_samples,), peak below 1.

    Example:
        >>> synthetic(0, 3, 480, 24_000, np.random.default_rng(0)).shape
        (480,)
    """
    pitch = 200 * 40 ** (index / max(n_classes - 1, 1))
    time = np.arange(n_samples) / sample_rate
    carrier = np.sin(2 * np.pi * (pitch * time + random.random()))
    if index % 3 == 1:  # noise slower than the carrier gives a band around it
        steps = random.standard_normal(n_samples // 50 + 2)
        carrier *= np.interp(time * sample_rate / 50, np.arange(len(steps)), steps) / 3
    elif index % 3 == 2:
        carrier *= np.exp(-60 * (time * (2 + index % 7) % 1))
    noise = 0.01 * random.standard_normal(n_samples)
    sound = random.uniform(0.2, 0.7) * carrier.clip(-1, 1) + noise
    limited: Samples = sound.clip(-0.99, 0.99).astype(np.float32)
    return limited


def build(folder: Path, seed: int = 0, sound: Sound = synthetic) -> Miniatures:
    """Write the three data sets in miniature, about 120 MB.

    Args:
        folder: Where to; made if need be.
        seed: The same seed writes the same samples.
        sound: What each class sounds like.

    Returns:
        Folders for `TAUUrban2020Mobile`, `FSDKaggle2019Curated` and `TAUNigens2020`.
    """
    where = Miniatures(
        folder / "TAU-urban-acoustic-scenes-2020-mobile-development",
        folder / "FSDKaggle2019",
        folder / "TAU-NIGENS-SSE-2020",
    )
    build_scenes(where.scene, seed, sound)
    build_tags(where.tag, seed, sound)
    build_events(where.event, seed, sound)
    return where


def build_scenes(folder: Path, seed: int = 0, sound: Sound = synthetic) -> None:
    """Write TAU Urban 2020 Mobile: each of ten scenes in three places, 10 s, 24 bits, 44.1 kHz.

    As in the published copies, one list ends its lines with carriage returns and another its last
    line with nothing.
    """
    scenes = find("v3", "joint").scenes
    random = np.random.default_rng([seed, 0])
    audio, setup = folder / "audio", folder / "evaluation_setup"
    for path in (audio, setup):
        path.mkdir(parents=True, exist_ok=True)
    meta = ["filename\tscene_label\tidentifier\tsource_label"]
    lists: tuple[list[str], list[str]] = (["filename\tscene_label"], ["filename\tscene_label"])
    n_samples = SCENE_SECONDS * CLIP_RATE
    for place, city in enumerate(CITIES):
        for index, scene in enumerate(scenes):
            location = f"{city}-{1_000 + index}"
            name = f"audio/{scene}-{location}-40000-a.wav"
            samples = sound(index, len(scenes), n_samples, CLIP_RATE, random)
            soundfile.write(folder / name, samples, CLIP_RATE, "PCM_24")
            meta.append(f"{name}\t{scene}\t{location}\ta")
            lists[place == len(CITIES) - 1].append(f"{name}\t{scene}")
    _write(folder / "meta.csv", meta, "\n")
    train, evaluate = lists
    _write(setup / "fold1_train.csv", train, "\n", last="")
    _write(setup / "fold1_evaluate.csv", evaluate, "\r\n")


def build_tags(folder: Path, seed: int = 0, sound: Sound = synthetic) -> None:
    """Write FSDKaggle2019 as on Kaggle: 100 clips, each of 80 tags at least once, one silent."""
    tags = find("v3", "joint").tags
    random = np.random.default_rng([seed, 1])
    audio = folder / "train_curated"
    audio.mkdir(parents=True, exist_ok=True)
    names = [f"{number:08x}.wav" for number in random.choice(2**32, N_TAG_ROWS, replace=False)]
    names[-1] = next(iter(SILENT))
    rows = ["fname,labels"]
    for row, name in enumerate(sorted(names)):
        n_samples = round(random.uniform(*TAG_SECONDS) * CLIP_RATE)
        present = [row % len(tags)]
        if row % 7 == 0:
            present.append((row + 40) % len(tags))
        parts = [sound(index, len(tags), n_samples, CLIP_RATE, random) for index in present]
        samples = np.zeros(n_samples) if name in SILENT else np.mean(parts, axis=0)
        soundfile.write(audio / name, samples, CLIP_RATE, "PCM_16")
        labels = ",".join(tags[index] for index in present)
        rows.append(f'{name},"{labels}"' if len(present) > 1 else f"{name},{labels}")
    _write(folder / "train_curated.csv", rows, "\n")


def build_events(folder: Path, seed: int = 0, sound: Sound = synthetic) -> None:
    """Write TAU-NIGENS 2020: a minute of each fold, each of 14 events twice, four microphones."""
    events = find("v3", "joint").events
    audio, tables = folder / "mic_dev", folder / "metadata_dev"
    for path in (audio, tables):
        path.mkdir(parents=True, exist_ok=True)
    for fold in range(1, 7):
        random = np.random.default_rng([seed, 2, fold])
        name = f"fold{fold}_room1_mix001_ov2"
        spans = _spans(len(events), random)
        minute = _minute(spans, len(events), sound, random)
        soundfile.write(audio / f"{name}.wav", minute, MINUTE_RATE, "PCM_16")
        frames = sorted(
            (frame, label, track)
            for track, (label, start, stop) in enumerate(spans)
            for frame in range(start, stop)
        )
        rows = [f"{frame},{label},{track},{-30 * (track % 6)},10" for frame, label, track in frames]
        _write(tables / f"{name}.csv", rows, "\n")


def _spans(n_events: int, random: np.random.Generator) -> list[tuple[int, int, int]]:
    """(event, first frame, frame after the last): one every two seconds, each twice in all."""
    order = np.concatenate([random.permutation(n_events) for _ in range(2)])
    starts = np.arange(len(order)) * 20 + random.integers(0, 10, len(order))
    lengths = random.integers(5, 30, len(order))
    stops = np.minimum(starts + lengths, N_FRAMES)
    return list(zip(order.tolist(), starts.tolist(), stops.tolist(), strict=True))


def _minute(
    spans: Sequence[tuple[int, int, int]],
    n_events: int,
    sound: Sound,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Events over noise, each louder in one microphone than in the others, (samples, 4)."""
    frame = MINUTE_RATE // FRAMES_PER_SECOND
    minute = BACKGROUND * random.standard_normal((N_FRAMES * frame, N_MICROPHONES))
    for label, start, stop in spans:
        samples = sound(label, n_events, (stop - start) * frame, MINUTE_RATE, random)
        gains = random.uniform(0.2, 0.4, N_MICROPHONES)
        minute[start * frame : stop * frame] += samples[:, None] * gains
    return minute.clip(-0.99, 0.99)


def _write(path: Path, lines: Sequence[str], end: str, last: str | None = None) -> None:
    """Write lines with the ending requested, the last one with another if need be."""
    text = end.join(lines) + (end if last is None else last)
    path.write_bytes(text.encode("utf-8"))
