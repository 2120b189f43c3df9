"""The front end: a waveform becomes the normalized log-mel spectrogram that a network reads.

Every number here is the authors' (their ``utils.py`` and ``dataloaders.py``; paper, Section 4.2)
and is carried by each checkpoint as a `FrontEndSettings`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log10
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

if TYPE_CHECKING:
    from dcasenet.spec import FrontEndSettings

# A deviation below this is noise of a constant bin; dividing by less would blow it up (authors).
MIN_DEVIATION = 1e-3
# Stands for an exact zero of mel power, whose logarithm does not exist (authors' tagging loader).
SILENCE = 1e-7
# With `normalization="level"`: frames that the loudest level is averaged over (0.18 s), the lowest
# level that is still raised (mel power, about white noise at -90 dBFS), and what is added to mel
# power relative to the level: 70 dB under it, nothing is told from silence.
LEVEL_FRAMES, LOWEST_LEVEL, LEVEL_FLOOR = 9, 1e-6, 1e-7
# One step of the network spans this many frames (0.8 s): a shorter log-mel has no step at all.
MIN_FRAMES = 40


class LogMel(nn.Module):
    """Waveform to normalized log-mel spectrogram, batched, on any device, always float32.

    Steps: pre-emphasis (the first sample goes) → power STFT → mel → logarithm → normalization of
    each bin → bins above ``max_frequency`` set to 0. With ``normalization="clip"`` the mean and
    deviation of a bin are those over the clip itself; with ``"fixed"`` they are the buffers
    ``mean`` and ``deviation`` that a checkpoint stores. With ``"level"`` they are stored too, the
    mean of the waveform is taken off, and mel power is divided by the level of the clip's loudest
    0.18 s: a constant gain changes nothing, nor does silence before or after a sound.

    Args:
        settings: What the checkpoint was trained with.

    Shape:
        - Input: (batch, samples) at ``settings.sample_rate``, at least one sample.
        - Output: (batch, n_mels, frames), frames = floor((samples − 1) / hop_length) + 1, at
          least 40. A waveform under 1,026 samples is repeated up to that (the STFT's reflection
          needs 1,025 after pre-emphasis); fewer than 40 frames are doubled, as mel power, until
          there are 40 or more, as the authors do for tags.

    Example:
        >>> from dcasenet.spec import FrontEndSettings
        >>> LogMel(FrontEndSettings())(torch.randn(2, 120_001)).shape
        torch.Size([2, 128, 251])
    """

    window: Tensor
    mel_filters: Tensor
    audible: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: FrontEndSettings) -> None:
        super().__init__()
        if settings.normalization not in ("clip", "fixed", "level"):
            raise ValueError(
                f"normalization={settings.normalization!r} is not known; give 'clip', 'fixed' or "
                "'level'."
            )
        self.settings = settings
        filters, upper_edges = mel_filterbank(settings.n_mels, settings.n_fft, settings.sample_rate)
        # Half a hertz of slack: the last filter's edge is the Nyquist frequency but for rounding.
        audible = upper_edges <= settings.max_frequency + 0.5
        hamming = torch.hamming_window(settings.win_length, periodic=True, dtype=torch.float32)
        # Only `mean` and `deviation` are learned from data; the rest follows from the settings.
        self.register_buffer("window", hamming, persistent=False)
        self.register_buffer("mel_filters", filters, persistent=False)
        self.register_buffer("audible", audible.float()[:, None], persistent=False)
        stored = settings.normalization != "clip"
        self.register_buffer(
            "mean", torch.zeros(settings.n_mels, dtype=torch.float32), persistent=stored
        )
        self.register_buffer(
            "deviation", torch.ones(settings.n_mels, dtype=torch.float32), persistent=stored
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LogMel:
        """Move the front end, as ``to`` and ``half`` do, but leave it float32."""
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the normalized log-mel of each waveform of a batch."""
        return self.normalize(self.log_mel(waveform))

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Return the log-mel before normalization, (batch, n_mels, frames) float32."""
        if waveform.dim() != 2 or waveform.shape[1] == 0:
            raise ValueError(
                f"The waveform has the shape {tuple(waveform.shape)}; give (batch, samples), at "
                "least one sample."
            )
        # Mixed precision is for the network: in bfloat16 the power spectrum loses its quiet bins.
        with torch.autocast(waveform.device.type, enabled=False):
            return self._log_mel(waveform.float())

    def _log_mel(self, waveform: Tensor) -> Tensor:
        s = self.settings
        shortest = s.n_fft // 2 + 2
        if waveform.shape[-1] < shortest:
            repeats = -(-shortest // waveform.shape[-1])
            waveform = waveform.repeat(1, repeats)[:, :shortest]
        if s.normalization == "level":
            waveform = waveform - waveform.mean(dim=1, keepdim=True)
        emphasised = waveform[:, 1:] - s.pre_emphasis * waveform[:, :-1]
        spectrum = torch.stft(
            emphasised,
            n_fft=s.n_fft,
            hop_length=s.hop_length,
            win_length=s.win_length,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        mel = self.mel_filters @ power
        while mel.shape[-1] < MIN_FRAMES:
            mel = torch.cat((mel, mel), dim=-1)
        return self.compress(mel)

    def compress(self, mel: Tensor) -> Tensor:
        """Take the logarithm of mel power, with ``"level"`` relative to the loudest 0.18 s."""
        if self.settings.normalization == "level":
            return (mel / loudest_level(mel) + LEVEL_FLOOR).log()
        return torch.where(mel == 0, SILENCE, mel).log()

    def normalize(self, log_mel: Tensor) -> Tensor:
        """Centre and scale each bin, then silence the bins above ``max_frequency``."""
        if self.settings.normalization != "clip":
            mean, deviation = self.mean[:, None], self.deviation[:, None]
        else:
            mean = log_mel.mean(dim=-1, keepdim=True)
            deviation = log_mel.std(dim=-1, keepdim=True)  # unbiased: divided by frames − 1
        return (log_mel - mean) / deviation.clamp(min=MIN_DEVIATION) * self.audible


def loudest_level(mel: Tensor) -> Tensor:
    """Return the mean power of the loudest 0.18 s of each clip, at least `LOWEST_LEVEL`.

    Args:
        mel: Mel power, (batch, n_mels, frames).

    Returns:
        (batch, 1, 1).
    """
    powers = nnf.avg_pool1d(mel.mean(dim=1, keepdim=True), LEVEL_FRAMES, stride=1)
    return powers.amax(dim=2, keepdim=True).clamp(min=LOWEST_LEVEL)


def mel_filterbank(n_mels: int, n_fft: int, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Return triangular filters, evenly spaced on the HTK mel scale from 0 Hz to Nyquist.

    The triangles are not scaled by their width (torchaudio's ``norm=None``).

    Args:
        n_mels: Number of filters.
        n_fft: Length of the Fourier transform, in samples.
        sample_rate: Sample rate, in Hz.

    Returns:
        The filters, float32 (n_mels, n_fft // 2 + 1), and each one's upper edge in Hz (n_mels,).

    Example:
        >>> filters, upper_edges = mel_filterbank(128, 2048, 24_000)
        >>> filters.shape, round(float(upper_edges[-1]))
        (torch.Size([128, 1025]), 12000)
    """
    # Single precision throughout, as torchaudio computes it: the authors' filters to the last bit.
    nyquist = sample_rate / 2
    mels = torch.linspace(
        0.0, 2595.0 * log10(1.0 + nyquist / 700.0), n_mels + 2, dtype=torch.float32
    )
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    frequencies = torch.linspace(0.0, nyquist, n_fft // 2 + 1, dtype=torch.float32)
    widths = edges.diff()[:, None]
    distances = edges[:, None] - frequencies
    rising, falling = -distances[:-2] / widths[:-1], distances[2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0.0), edges[2:]
