"""Find problems of a recording, measured block by block while it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import AudioError
from dcasenet.text import shorten_list

Kind: TypeAlias = Literal[
    "file", "level", "clipping", "dc", "silence", "bandwidth", "antiphase", "length", "channels"
]
Samples: TypeAlias = NDArray[np.float32]

# Full scale is 1. Mixing and lossy coding exceed it by a few dB, integers kept as floats by far.
LOUD_PEAK = 1.5
# Equal samples near full scale are clipped if they follow a jump of at least so many steps of 16
# bits. Below three such places, they are taken for accidental.
CLIP_LEVEL, CLIP_JUMP, LEAST_FLAT = 0.99, 16 / 2**15, 3
# Half the range from the lowest to the highest sample: −80 dB of full scale.
QUIET = 1e-4
# Smallest mean that is reported; recorders usually have an offset of some thousandths.
LEAST_OFFSET = 0.02
# Duration in seconds, less than a step of the event curves.
SHORT = 0.1
# Most channels that are not reported; more are probably a batch of clips.
MOST_USUAL_CHANNELS = 8
# Telephone sound ends at 3.4 or 4 kHz; the models' training data extends to 8 kHz and more. A
# spectrum that ends far below that is naturally low.
LEAST_END, NARROW = 2_500.0, 5_512.5  # Hz
# Samples of a window, of which the spectrum is taken once a second, and number of its bands.
WINDOW, N_BANDS = 4096, 64
# Where a spectrum ends, it falls by so many decibels from two bands to the two after the next one,
# and everything above stays lower by the second number.
CLIFF, REMAINS = 25.0, 20.0


@dataclass(frozen=True)
class Finding:
    """A problem of a recording.

    Attributes:
        kind: The kind of problem: ``"file"`` (missing, damaged or left out), ``"level"``
            (beyond full scale), ``"clipping"``, ``"dc"``, ``"silence"``, ``"bandwidth"``,
            ``"antiphase"``, ``"length"``, ``"channels"``.
        message: A sentence that begins with the recording's name.
    """

    kind: Kind
    message: str


class Meter:
    """Measure a recording block by block; the result does not depend on the blocks.

    Args:
        sample_rate: In Hz.
        n_channels: Number of channels.

    Attributes:
        n_samples: Number of samples so far.
        peak: Highest absolute sample.
    """

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._rate, self._n_channels = sample_rate, n_channels
        self.n_samples = 0
        self._low = np.full(n_channels, np.inf)
        self._high = np.full(n_channels, -np.inf)
        self._sum = np.zeros(n_channels)
        self._squares = 0.0
        self._tail = np.zeros((n_channels, 0), np.float32)  # for runs across two blocks
        self._n_clipped = self._n_flat = 0
        self._spectrum = _Spectrum(sample_rate, n_channels)

    @property
    def peak(self) -> float:
        """Highest absolute sample."""
        return float(max(self._high.max(), -self._low.min())) if self.n_samples else 0.0

    @property
    def rms(self) -> float:
        """Root of the mean square of all samples."""
        return float(np.sqrt(self._squares / max(1, self.n_samples * self._n_channels)))

    @property
    def offset(self) -> float:
        """Mean of the channel whose mean is furthest from zero."""
        means = self._sum / max(1, self.n_samples)
        return float(means[np.abs(means).argmax()])

    @property
    def clipped(self) -> float:
        """Share of the samples that are clipped, 0 to 1."""
        if self._n_flat < LEAST_FLAT:
            return 0.0
        return self._n_clipped / (self.n_samples * self._n_channels)

    @property
    def bandwidth(self) -> float:
        """Highest frequency of the sound, in Hz: half the rate unless the spectrum ends below."""
        return self._spectrum.end()

    def add(self, block: Samples) -> None:
        """Add the next samples, (channels, samples)."""
        if not block.size:
            return
        low, high = block.min(axis=1), block.max(axis=1)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._sum += block.sum(axis=1, dtype=np.float64)
        self._squares += sum(float(np.dot(channel, channel)) for channel in block)
        self._spectrum.add(block)
        start = np.concatenate((self._tail, block[:, -3:]), axis=1)
        if max(high.max(), -low.min()) >= CLIP_LEVEL:
            self._look_for_clipping(np.concatenate((self._tail, block), axis=1))
        self._tail = start[:, -3:]
        self.n_samples += block.shape[1]

    def _look_for_clipping(self, samples: Samples) -> None:
        # Of four samples in a row, a jump from the first to the next three, which are equal.
        if samples.shape[1] < 4:
            return
        same = (samples[:, 1:] == samples[:, :-1]) & (np.abs(samples[:, 1:]) >= CLIP_LEVEL)
        is_flat = same[:, 2:] & same[:, 1:-1]
        jumps = np.abs(samples[:, 1:-2] - samples[:, :-3]) >= CLIP_JUMP
        self._n_clipped += int(np.count_nonzero(is_flat))
        self._n_flat += int(np.count_nonzero(is_flat & jumps))

    def findings(self, source: str) -> list[Finding]:
        """Return the problems, once all samples have been added."""
        found: list[tuple[Kind, str]] = []
        if self.n_samples < SHORT * self._rate:
            found.append(("length", f"it is {self.n_samples / self._rate:.3f} s long: {_SHORT}"))
        if self.peak > LOUD_PEAK:
            found.append(("level", f"the peak is {self.peak:g} where full scale is 1; {_LOUD}"))
        if self.clipped:
            found.append(
                ("clipping", f"{100 * self.clipped:.2g}% of the samples are clipped; {_CLIPPED}")
            )
        is_silent = bool((self._high - self._low).max() < 2 * QUIET)
        if is_silent:
            found.append(("silence", self._silence()))
        elif abs(self.offset) > LEAST_OFFSET:
            found.append(("dc", f"the mean is {self.offset:.2g} where 0 is expected; {_OFFSET}"))
        if not is_silent and (dead := np.flatnonzero(self._high - self._low < 2 * QUIET)).size:
            found.append(("silence", self._dead(dead.tolist())))
        if not is_silent and self.bandwidth <= NARROW:
            found.append(
                ("bandwidth", f"there is no sound above {self.bandwidth / 1000:.1f} kHz; {_NARROW}")
            )
        if self._n_channels > MOST_USUAL_CHANNELS:
            found.append(("channels", f"{self._n_channels} channels are averaged; {_CHANNELS}"))
        return [Finding(kind, f"{source}: {text}") for kind, text in found]

    def _silence(self) -> str:
        if abs(self.offset) > QUIET:
            return f"it is constant ({self.offset:.2g}) and holds no sound."
        if self.peak == 0:
            return "it is silent: all samples are 0."
        return f"it is very quiet: nothing is louder than {20 * np.log10(self.peak):.0f} dB."

    def _dead(self, channels: list[int]) -> str:
        named = (
            f"channel{'s' if len(channels) > 1 else ''} {shorten_list(list(map(str, channels)))}"
        )
        live = next(k for k in range(self._n_channels) if k not in channels)
        return f"there is no sound in {named} of {self._n_channels}; {_DEAD.format(live)}"


_SHORT = "answers about less than 0.1 s mean little."
_LOUD = (
    "if these are integers kept as floats, divide them by their full scale (32,768 for 16 bits)."
)
_CLIPPED = "what is added by that sounds like noise and clicks."
_OFFSET = "the recorder adds a constant voltage."
_NARROW = (
    "it is telephone sound or was resampled from it, and models that were trained on wider sound "
    "are wrong more often."
)
_DEAD = "averaged, that only lowers the level. Choose with channels={}, the first being 0."
_CHANNELS = "if this is a batch of clips, pass them as a list: list(batch)."


class _Spectrum:
    """The mean spectrum of one window each second."""

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._rate = sample_rate
        self._window = np.hanning(WINDOW).astype(np.float32)
        self._power = np.zeros(WINDOW // 2 + 1)
        self._waiting = np.zeros((n_channels, 0), np.float32)
        self._n_skipped = 0  # samples to skip before the next window

    def add(self, block: Samples) -> None:
        place = 0
        while place < block.shape[1]:
            if self._n_skipped:
                step = min(self._n_skipped, block.shape[1] - place)
                self._n_skipped -= step
            else:
                step = min(WINDOW - self._waiting.shape[1], block.shape[1] - place)
                part = block[:, place : place + step]
                self._waiting = np.concatenate((self._waiting, part), axis=1)
                if self._waiting.shape[1] == WINDOW:
                    self._power += _power(self._waiting * self._window)
                    self._waiting = self._waiting[:, :0]
                    self._n_skipped = max(0, self._rate - WINDOW)
            place += step

    def end(self) -> float:
        power = self._power
        if not power.any() and self._waiting.shape[1]:  # shorter than a window
            n_waiting = self._waiting.shape[1]
            short = np.zeros((len(self._waiting), WINDOW), np.float32)
            short[:, :n_waiting] = self._waiting * np.hanning(n_waiting + 2)[1:-1]
            power = _power(short)
        if not power.any():
            return self._rate / 2
        bands = power[1:].reshape(N_BANDS, -1).mean(axis=1)
        levels = 10 * np.log10(np.maximum(bands, bands.max() * 1e-12))
        end = self._rate / 2 * _last_band(levels) / N_BANDS
        return end if end >= LEAST_END else self._rate / 2


def _power(frame: Samples) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(frame, axis=1)
    power: NDArray[np.float64] = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    return power


def _last_band(levels: NDArray[np.float64]) -> int:
    """Return the band above which the spectrum drops steeply and stays low."""
    for band in range(len(levels) - 3, 1, -1):
        below = levels[band - 2 : band].mean()
        above = levels[band + 1 :]
        if below - above[:2].mean() >= CLIFF and below - above.max() >= REMAINS:
            return band
    return len(levels)


def refuse_doubtful(warnings: tuple[str, ...]) -> None:
    """Raise an error if there are warnings.

    Raises:
        AudioError: There is at least one.
    """
    if warnings:
        raise AudioError(
            f"{' '.join(warnings)} strict=True makes this an error; without it, it is a warning."
        )
