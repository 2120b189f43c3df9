"""Data sets in miniature, in the layouts they are published in, cut from real recordings."""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from dcasenet.train.esc import ESC10_CLASSES

ROOT = Path(__file__).parents[2]
# (fold, recording) of the clips of each class; recording 900 is in folds 4 and 5.
ESC_CLIPS = ((1, 100), (2, 200), (3, 300), (4, 400), (4, 900), (5, 500), (5, 900))


@cache
def dog() -> tuple[NDArray[np.float32], int]:
    """The dog of the examples, and its rate."""
    samples, rate = soundfile.read(ROOT / "examples" / "dog_barking.ogg", dtype="float32")
    return (samples if samples.ndim == 1 else samples.mean(axis=1)), rate


def real(
    index: int, n_classes: int, n_samples: int, sample_rate: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """The dog, begun anywhere and turned down: a sound for `dcasenet.train.miniature`."""
    start = int(random.integers(len(dog()[0])))
    stretch = np.resize(np.roll(dog()[0], -start), n_samples)
    return np.asarray(stretch * np.float32(random.uniform(0.2, 0.9)))


@cache
def bark(suffix: str, seconds: float) -> bytes:
    """A file of the dog's first barks."""
    samples, rate = dog()
    stream = io.BytesIO()
    soundfile.write(stream, np.resize(samples, round(seconds * rate)), rate, format=suffix)
    return stream.getvalue()


def write_dog(path: Path, seconds: float = 0.5) -> Path:
    """Write the dog's first barks to a file, whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bark(path.suffix[1:].upper(), seconds))
    return path


def esc50(root: Path, categories: tuple[str, ...] = ("dog", "rain")) -> Path:
    """ESC-50 as published: meta/esc50.csv and WAV files in audio."""
    (root / "meta").mkdir(parents=True)
    with (root / "meta" / "esc50.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for target, category in enumerate(categories):
            for fold, source in ESC_CLIPS:
                name = f"{fold}-{source}-A-{target}.wav"
                take = f"{source}{target}"
                writer.writerow([name, fold, target, category, True, take, "A"])
                write_dog(root / "audio" / name)
    return root


def esc10(root: Path) -> Path:
    """ESC-10 as published: ten class folders of Ogg files."""
    for number, name in enumerate(ESC10_CLASSES):
        for fold, source in ESC_CLIPS:
            write_dog(root / name / f"{fold}-{source}{number}-A.ogg")
    return root


def class_folders(root: Path, **n_clips: int) -> Path:
    """A folder for each class, of so many clips."""
    for label, n in n_clips.items():
        (root / label).mkdir(parents=True)
        for number in range(n):
            write_dog(root / label / f"{number}.wav")
    return root


def table(folder: Path, *lines: str, name: str = "sounds.csv", end: str = "\n") -> Path:
    """A table of these lines, with every WAV file that they begin with beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in lines[1:]:
        write_dog(folder / line.partition(",")[0], seconds=2.0)
    path = folder / name
    path.write_bytes(end.join(lines).encode("utf-8"))
    return path
