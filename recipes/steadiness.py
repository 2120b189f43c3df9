"""How steady a checkpoint's answers are, and whether it is sure of what is no recording.

::

    python -m recipes.steadiness DATA --cache DECODED.npz [--weights FILE] [--clips 50]

Test recordings are changed in ways that leave what sounds as it is: level, offset, silence around,
a shift, telephone rate, MP3. Counted is how many of the top labels that the model was sure of, with
a probability of at least 0.5, are others afterwards. Noise, tones, silence and snippets follow: the
model should be sure of none, and find no events.
"""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

import dcasenet
from dcasenet.inference.model import SoundModel
from dcasenet.results import Analysis
from recipes.bank import SAMPLE_RATE, decode_all, waveform_of
from recipes.recordings import read_recordings

log = logging.getLogger(__name__)

Waveform = NDArray[np.float32]
# What a model is given: audio, and the rate of arrays.
Given = tuple[Waveform | bytes, int | None]

LEAST = 0.5  # probability of a top label that counts
SHORTEST, LONGEST = 2.0, 10.0  # seconds of a recording
TELEPHONE_RATE = 8_000
# libsndfile's scale from 160 (0) to 8 kbit/s (1) for MP3 at 24 kHz, at 64 kbit/s.
MP3_COMPRESSION = (160 - 64) / (160 - 8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if options.weights is not None:
        model = dcasenet.load("v3", weights=options.weights)
    else:
        model = dcasenet.load("v3", stage=options.stage)
    test = [r for r in read_recordings(options.data) if r.split == "test" and r.open]
    clips = [waveform_of(clip) for clip in decode_all(test, options.data, options.cache)]
    clips = [clip for clip in clips if len(clip) >= SHORTEST * SAMPLE_RATE]
    chosen = np.random.default_rng(options.seed).permutation(len(clips))[: options.clips]
    clips = [clips[index][: round(LONGEST * SAMPLE_RATE)] for index in chosen]
    log.info("\n%s\n\n%s", steadiness_table(model, clips), unknown_table(model, clips))


def steadiness_table(model: SoundModel, clips: Sequence[Waveform]) -> str:
    """Return how many top labels change, by change, as Markdown."""
    before = [model.analyze(clip, SAMPLE_RATE) for clip in clips]
    lines = ["| change | sure tags | changed | sure scenes | changed |", "|--|--:|--:|--:|--:|"]
    for name, change in CHANGES.items():
        after = [model.analyze(*change(clip)) for clip in clips]
        cells = []
        for top in (top_tag, top_scene):
            pairs = [
                (top(a), top(b)) for a, b in zip(before, after, strict=True) if is_firm(a, top)
            ]
            changed = sum(a[0] != b[0] for a, b in pairs)
            cells += [str(len(pairs)), f"{100 * changed / max(len(pairs), 1):.0f} %"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def unknown_table(model: SoundModel, clips: Sequence[Waveform]) -> str:
    """Return what is said of sounds that nobody recorded, as Markdown."""
    lines = ["| sound | sure | events | top tag | scene |", "|--|--|--:|--|--|"]
    sounds = {**synthetic(), "0.15 s of a recording": clips[0][: round(0.15 * SAMPLE_RATE)]}
    for name, waveform in sounds.items():
        answer = model.analyze(waveform, SAMPLE_RATE)
        cells = ["yes" if answer.is_sure else "no", str(len(answer.events or ()))]
        cells += [f"{label} {value:.2f}" for label, value in (top_tag(answer), top_scene(answer))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def top_tag(answer: Analysis) -> tuple[str, float]:
    """Return the first tag with its probability."""
    best = next(iter(answer.tags or ()))
    return best.label, best.probability


def top_scene(answer: Analysis) -> tuple[str, float]:
    """Return the scene with its probability."""
    return (answer.scene.label, answer.scene.probability) if answer.scene else ("", 0.0)


def is_firm(answer: Analysis, top: Callable[[Analysis], tuple[str, float]]) -> bool:
    """Return whether a model stands by its first label."""
    return answer.is_sure and top(answer)[1] >= LEAST


def synthetic(seconds: float = 8.0, seed: int = 0) -> dict[str, Waveform]:
    """Return noise of several colors and levels, tones, an offset and silence."""
    rng, n = np.random.default_rng(seed), round(seconds * SAMPLE_RATE)
    bins = np.maximum(np.arange(n // 2 + 1), 1)
    sounds = {"digital silence": np.zeros(n), "DC of 0.1": np.full(n, 0.1)}
    for color, slope in (("white", 0.0), ("pink", 0.5)):
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * bins**-slope, n=n)
        noise /= np.abs(noise).max()
        for decibels in (-60, -40, -20, 0):
            sounds[f"{color} noise at {decibels} dBFS"] = noise * 10 ** (decibels / 20)
    for hertz in (100, 440, 1_000, 4_000):
        sounds[f"tone of {hertz} Hz"] = 0.3 * np.sin(2 * np.pi * hertz / SAMPLE_RATE * np.arange(n))
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


def _gain(decibels: float) -> Callable[[Waveform], Given]:
    return lambda x: (x * np.float32(10 ** (decibels / 20)), SAMPLE_RATE)


def _offset(value: float) -> Callable[[Waveform], Given]:
    return lambda x: (x + np.float32(value), SAMPLE_RATE)


def _silence(before: float, after: float) -> Callable[[Waveform], Given]:
    padding = (round(before * SAMPLE_RATE), round(after * SAMPLE_RATE))
    return lambda x: (np.pad(x, padding), SAMPLE_RATE)


def _shift(seconds: float) -> Callable[[Waveform], Given]:
    return lambda x: (x[round(seconds * SAMPLE_RATE) :], SAMPLE_RATE)


def _telephone(x: Waveform) -> Given:
    return soxr.resample(x, SAMPLE_RATE, TELEPHONE_RATE), TELEPHONE_RATE


def _mp3(x: Waveform) -> Given:
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", SAMPLE_RATE, 1, format="MP3",
        compression_level=MP3_COMPRESSION, bitrate_mode="CONSTANT",
    ) as file:  # fmt: skip
        file.write(x)
    return stream.getvalue(), None


CHANGES: Mapping[str, Callable[[Waveform], Given]] = {
    **{f"gain of {g:+} dB": _gain(g) for g in (-40, -20, 20)},
    **{f"DC of {v:+}": _offset(v) for v in (-0.1, 0.1)},
    "10 s of silence before": _silence(10.0, 0.0),
    "10 s of silence after": _silence(0.0, 10.0),
    **{f"{s} s later": _shift(s) for s in (0.1, 0.4, 0.8)},
    "8 kHz": _telephone,
    "MP3 at 64 kbit/s": _mp3,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="decoded recordings")
    parser.add_argument("--stage", default="distilled")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
