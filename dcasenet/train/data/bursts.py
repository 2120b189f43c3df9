"""An energy gate: where in a clip of one isolated sound its bursts begin and end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.inference.events import close_gaps, runs

FRAME = 0.02  # seconds of a level frame
HOP = 0.01  # seconds from one level to the next
# Mean power of a frame of digital silence: -120 dBFS, under any recording.
SILENCE = 1e-12


@dataclass(frozen=True)
class Gate:
    """Settings of the gate; chosen on the DCASE 2016 clips, each of one event.

    A frame is open when its level is within `threshold` of the clip's loudest frame and at least
    `margin` above the clip's floor (its 10th percentile, digital silence left out). The gate
    stays open for `hangover` after the last open frame; bursts closer than `min_gap` are one;
    bursts shorter than `shortest` are dropped.

    Attributes:
        threshold: dB below the loudest frame.
        margin: dB above the floor.
        contrast: dB by which the loudest frame must exceed the floor, unless 10 % of the clip is
            digital silence: a clip with less has no clear onset and gives no burst.
        hangover: Seconds.
        min_gap: Seconds.
        shortest: Seconds, hangover included.
        longest: Seconds; a longer burst is a texture, not an event, and is dropped.
    """

    threshold: float = 30.0
    margin: float = 6.0
    contrast: float = 12.0
    hangover: float = 0.03
    min_gap: float = 0.3
    shortest: float = 0.05
    longest: float = 5.1


def levels(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each frame of 20 ms every 10 ms, in dBFS, (frames,).

    Frame k covers the time from k × 10 ms to k × 10 ms + 20 ms; the end is padded with silence.
    """
    hop, frame = round(HOP * sample_rate), round(FRAME * sample_rate)
    n_frames = max(1, -(-len(waveform) // hop))
    total = np.zeros(n_frames * hop + frame + 1)
    total[1 : len(waveform) + 1] = np.square(waveform, dtype=np.float64)
    total = np.cumsum(total)
    starts = np.arange(n_frames) * hop
    power = (total[starts + frame] - total[starts]) / frame
    return np.asarray(10.0 * np.log10(np.maximum(power, SILENCE)))


def bursts(
    waveform: NDArray[np.float32],
    sample_rate: int,
    gate: Gate | None = None,
    *,
    isolated: bool = False,
) -> list[tuple[int, int]]:
    """Find the bursts of a clip.

    Args:
        waveform: (samples,), full scale is 1.
        sample_rate: Its rate, in Hz.
        gate: Settings, the defaults if None.
        isolated: The file is one event cut tight (DCASE 2016): without contrast, all of it is
            the burst.

    Returns:
        (start, stop) of each burst, in samples, in order; none if the clip has no clear onset.

    Example:
        >>> click = np.zeros(24_000, np.float32)
        >>> click[6_000:7_200] = 0.5
        >>> bursts(click, 24_000)  # a hop before the onset, at most a hangover after the end
        [(5760, 7920)]
    """
    gate = gate or Gate()
    level = levels(waveform, sample_rate)
    audible = level[level > 10.0 * np.log10(SILENCE)]
    if audible.size == 0:
        return []
    peak, floor = float(audible.max()), float(np.percentile(audible, 10))
    silent = 1.0 - audible.size / level.size
    if peak - floor < gate.contrast and silent < 0.1:
        fits = gate.shortest <= len(waveform) / sample_rate <= gate.longest
        return [(0, len(waveform))] if isolated and fits else []
    # A clip that is cut tight has no floor to rise from: there the peak alone decides.
    lowest = peak - gate.threshold
    if peak - floor >= gate.contrast:
        lowest = max(lowest, floor + gate.margin)
    hangover = round(gate.hangover / HOP)
    prolonged = [(start, stop + hangover) for start, stop in runs(level >= lowest)]
    joined = close_gaps(prolonged, round(gate.min_gap / HOP))
    hop = round(HOP * sample_rate)
    found = [(start * hop, min(stop * hop, len(waveform))) for start, stop in joined]
    shortest, longest = gate.shortest * sample_rate, gate.longest * sample_rate
    return [(start, stop) for start, stop in found if shortest <= stop - start <= longest]
