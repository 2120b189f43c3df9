"""A recording in few enough columns to be drawn: its waveform's envelope and a mel spectrogram.

Computed from blocks, in memory that does not grow with the recording, and without torch. The
spectrogram is for the eye; what a model is given comes from its own front end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import StreamedAudio
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec

N_FFT = 1024  # samples of a Hann window: 43 ms at 24 kHz
FINE_HOP, COARSE_HOP = 256, 512  # samples; the fine one where columns are few frames wide
N_MELS = 64
LOWEST_FREQUENCY = 40.0  # Hz
DYNAMIC_RANGE = 80.0  # dB below the loudest column
ENVELOPE = 4  # columns of the envelope for each one of the spectrogram, which takes 32 × its room
# Frames that are transformed at once: 8 MB of float64 spectra.
FRAMES_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Overview:
    """What there is to draw of a recording.

    Attributes:
        envelope: Lowest and highest sample of each column, (columns, 2), full scale 1.
        mel_db: Mean power of each column in dB, relative to the loudest and at least
            -`DYNAMIC_RANGE`, (n_mels, columns), fewer than those of `envelope`.
        duration: Length of the recording, in seconds.
        frequencies: Centre of each mel band in Hz, (n_mels,).
    """

    envelope: Floats
    mel_db: Floats
    duration: float
    frequencies: NDArray[np.float64]


def overview(
    blocks: Iterable[Floats], sample_rate: int, duration: float, max_columns: int
) -> Overview:
    """Reduce a recording to columns.

    Args:
        blocks: The waveform in pieces, (samples,) or (1, samples).
        sample_rate: In Hz.
        duration: Length of the recording, in seconds, which sets the width of a column.
        max_columns: How many columns the spectrogram has at most; the envelope has up to four
            times as many.

    Returns:
        Envelope and spectrogram from the first sample to the last.

    Example:
        >>> tone = np.sin(np.arange(24_000) * 2 * np.pi * 1_000 / 24_000).astype(np.float32)
        >>> seen = overview([tone], 24_000, duration=1.0, max_columns=10)
        >>> seen.mel_db.shape, round(float(seen.frequencies[seen.mel_db.sum(axis=1).argmax()]))
        ((64, 10), 999)
        >>> seen.envelope.shape, seen.envelope[5].round(1).tolist()
        ((40, 2), [-1.0, 1.0])
    """
    n_samples = max(1, round(duration * sample_rate))
    envelope = _Envelope(n_samples, min(ENVELOPE * max_columns, n_samples))
    spectrogram = _Spectrogram(n_samples, max_columns, sample_rate)
    for block in blocks:
        samples = np.asarray(block, dtype=np.float32).reshape(-1)
        envelope.add(samples)
        spectrogram.add(samples)
    return Overview(envelope.result(), spectrogram.result(), duration, _centers(sample_rate))


def mono_blocks(path: str, spec: ModelSpec) -> Iterator[Floats]:
    """Yield a recording's waveform, (1, samples), mixed and at a model's rate.

    Raises:
        AudioError: It cannot be used.
    """
    with Reader(path) as reader:
        yield from StreamedAudio(reader, spec).blocks()


class _Envelope:
    """Lowest and highest sample of each column."""

    def __init__(self, n_samples: int, n_columns: int) -> None:
        self._edges = np.linspace(0, n_samples, n_columns + 1).astype(np.int64)
        self._lowest = np.full(n_columns, np.inf, dtype=np.float32)
        self._highest = np.full(n_columns, -np.inf, dtype=np.float32)
        self._position = 0

    def add(self, samples: Floats) -> None:
        if not len(samples):
            return
        stop = self._position + len(samples)
        last = len(self._lowest) - 1
        first = min(int(np.searchsorted(self._edges, self._position, "right")) - 1, last)
        final = min(int(np.searchsorted(self._edges, stop, "left")), last + 1)
        columns = np.arange(first, max(final, first + 1))
        starts = np.maximum(self._edges[columns] - self._position, 0)
        self._lowest[columns] = np.minimum(
            self._lowest[columns], np.minimum.reduceat(samples, starts)
        )
        self._highest[columns] = np.maximum(
            self._highest[columns], np.maximum.reduceat(samples, starts)
        )
        self._position = stop

    def result(self) -> Floats:
        both = np.stack([self._lowest, self._highest], axis=1)
        return np.where(np.isfinite(both), both, np.float32(0.0))


class _Spectrogram:
    """Mean mel power of each column, in dB."""

    def __init__(self, n_samples: int, max_columns: int, sample_rate: int) -> None:
        is_short = n_samples <= 2 * max_columns * FINE_HOP
        self._hop = FINE_HOP if is_short else COARSE_HOP
        self._n_frames = -(-n_samples // self._hop)
        n_columns = min(max_columns, self._n_frames)
        self._power = np.zeros((n_columns, N_MELS))
        self._counts = np.zeros(n_columns, dtype=np.int64)
        self._filters = mel_filters(sample_rate)
        # Frames are centered: half a window of silence before the first sample and after the last.
        self._rest = np.zeros(N_FFT // 2, dtype=np.float32)
        self._first = 0

    def add(self, samples: Floats) -> None:
        self._rest = np.concatenate((self._rest, samples))
        while len(self._rest) >= N_FFT:
            n_frames = min((len(self._rest) - N_FFT) // self._hop + 1, FRAMES_AT_ONCE)
            self._transform(n_frames)
            self._rest = self._rest[n_frames * self._hop :]

    def result(self) -> Floats:
        self.add(np.zeros(N_FFT, dtype=np.float32))
        power = self._power / np.maximum(self._counts, 1)[:, None]
        loudest = max(float(power.max()), 1e-12)
        decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-DYNAMIC_RANGE / 10)))
        return np.ascontiguousarray(decibels.T, dtype=np.float32)

    def _transform(self, n_frames: int) -> None:
        frames = np.lib.stride_tricks.sliding_window_view(self._rest, N_FFT)[
            : n_frames * self._hop : self._hop
        ]
        spectra = np.fft.rfft(frames * _window(), axis=1)
        power = (spectra.real**2 + spectra.imag**2) @ self._filters
        index = np.arange(self._first, self._first + n_frames)
        n_columns = len(self._counts)
        # What pads the end falls into the last column only as far as it holds sound.
        columns = np.minimum(index * n_columns // self._n_frames, n_columns - 1)
        inside = index < self._n_frames
        np.add.at(self._power, columns[inside], power[inside])
        np.add.at(self._counts, columns[inside], 1)
        self._first += n_frames


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int) -> NDArray[np.float64]:
    """Return triangular mel filters of equal area, (N_FFT / 2 + 1, N_MELS).

    Source: the HTK mel scale, as in `dcasenet.models.frontend`.
    """
    edges = _hertz(np.linspace(_mel(LOWEST_FREQUENCY), _mel(sample_rate / 2), N_MELS + 2))
    bins = np.arange(N_FFT // 2 + 1) * sample_rate / N_FFT
    # A band narrower than a bin would see none: it is at least as wide as two.
    width = sample_rate / N_FFT
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    lower, upper = np.minimum(lower, center - width), np.maximum(upper, center + width)
    rising = (bins[:, None] - lower) / (center - lower)
    falling = (upper - bins[:, None]) / (upper - center)
    filters = np.maximum(np.minimum(rising, falling), 0.0)
    return np.asarray(filters / filters.sum(axis=0), dtype=np.float64)


@lru_cache(maxsize=1)
def _window() -> Floats:
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def _centers(sample_rate: int) -> NDArray[np.float64]:
    edges = np.linspace(_mel(LOWEST_FREQUENCY), _mel(sample_rate / 2), N_MELS + 2)
    return _hertz(edges[1:-1])


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0), dtype=np.float64)
