"""Mixtures made on the device: crops, speeds, gains, rooms and soundscapes as batched tensor code.

A batch has four kinds of rows, as many of each as its share says on average:

- synthetic: colored noise, tones, near silence;
- layers: one to three recordings of any kind over one another;
- soundscapes: isolated events with exact onsets over a background that holds none of them;
- environments: a recording whose place is known, sometimes with another sound over it.

There is no loop over examples; loops are over layers and over the events of a soundscape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, pi

import torch
from torch import Tensor

from recipes.bank import SAMPLE_RATE, Bank

FADE = 240  # samples (10 ms) that a recording takes to come and go
SMALLEST_RMS = 1e-4
LONGEST_EVENT = 5.2  # seconds
# Decibels over the first layer from which on a further one is said to be there.
AUDIBLE = -12.0


@dataclass(frozen=True)
class MixtureSettings:
    """How mixtures are drawn; decibels, seconds and shares of the rows.

    Attributes:
        synthetic: Share of rows that are noise, tones or silence.
        soundscapes: Share of rows that are soundscapes.
        environments: Share of rows that begin with a recording whose place is known.
        second: Chance of a second layer, where there are layers.
        third: Chance of a third layer after the second.
        layer_level: Level of a further layer over the first, in dB.
        speeds: Semitones by which a recording is slowed down or sped up.
        speed_share: Chance that it is.
        events: Most events in a soundscape.
        further_events: Mean number of events beyond the first in 10 s, between these.
        event_level: Level of an event over its background, in dB.
        equalizer: Deviation of the gain of each octave or so, in dB.
        equalizer_share: Chance of it, for each event of a soundscape and for each mixture.
        room_share: Chance of a room's reverberation.
        low_pass: Hz between which a low-pass for the student alone is drawn.
        low_pass_share: Chance of it.
        noise: Level of white noise for the student alone, in dB under the mixture.
        noise_share: Chance of it.
    """

    synthetic: float = 0.04
    soundscapes: float = 0.5
    environments: float = 0.18
    second: float = 0.3
    third: float = 0.3
    layer_level: tuple[float, float] = (-18.0, 6.0)
    speeds: tuple[float, float] = (-4.0, 4.0)
    speed_share: float = 0.6
    events: int = 9
    further_events: tuple[float, float] = (0.7, 7.3)
    event_level: tuple[float, float] = (-3.0, 30.0)
    equalizer: float = 4.0
    equalizer_share: float = 0.5
    room_share: float = 0.2
    low_pass: tuple[float, float] = (3_000.0, 11_500.0)
    low_pass_share: float = 0.35
    noise: tuple[float, float] = (-60.0, -15.0)
    noise_share: float = 0.4


@dataclass(frozen=True)
class Mixtures:
    """One batch.

    Attributes:
        clean: What the teacher reads, (batch, samples) at 24 kHz.
        degraded: What the student reads: the same, low-passed, with noise and an offset.
        event: Whether each event is active at each step, (batch, steps, events).
        event_known: Rows whose events are all known, (batch,).
        scene: Environment, (batch,); -1 where it is not known.
        tag: Labels of all that was mixed, (batch, tags).
        tag_known: Rows whose labels are all known, (batch,).
    """

    clean: Tensor
    degraded: Tensor
    event: Tensor
    event_known: Tensor
    scene: Tensor
    tag: Tensor
    tag_known: Tensor


@dataclass
class _Rows:
    """A batch while it is being mixed."""

    waveform: Tensor
    event: Tensor
    event_known: Tensor
    scene: Tensor
    tag: Tensor
    tag_known: Tensor = field(default_factory=lambda: torch.empty(0))


class MixtureSampler:
    """Draws batches of mixtures from a bank.

    Args:
        bank: Recordings of one split.
        settings: How to mix.
        step: Seconds of one step of the network.
        seed: Of the generator, which lives on the bank's device.
    """

    def __init__(
        self, bank: Bank, settings: MixtureSettings | None = None, step: float = 0.16, seed: int = 0
    ) -> None:
        self.bank = bank
        self.settings = settings or MixtureSettings()
        self.step = step
        self.device = bank.samples.device
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def draw(self, n: int, seconds: float) -> Mixtures:
        """Return a batch of `n` mixtures of some seconds."""
        s = self.settings
        n_samples = round(seconds * SAMPLE_RATE)
        left = n
        counts = []
        for share in (s.synthetic, s.soundscapes, s.environments):
            counts.append(min(left, self._rows(share * n)))
            left -= counts[-1]
        n_synthetic, n_soundscapes, n_environments = counts
        parts = []
        if n_synthetic:
            parts.append(self._synthetic(n_synthetic, n_samples))
        if n_soundscapes:
            parts.append(self._soundscapes(n_soundscapes, n_samples))
        if n_environments:
            parts.append(self._layers(n_environments, n_samples, self.bank.environment_weight))
        if left:
            parts.append(self._layers(left, n_samples, self.bank.any_weight))
        return self._finish(parts, n_synthetic)

    # Draws

    def _rows(self, wanted: float) -> int:
        """Return a whole number of rows whose mean over batches is what is wanted."""
        return int(wanted + float(torch.rand((), generator=self.generator, device=self.device)))

    def _uniform(self, n: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=self.generator, device=self.device)

    def _chance(self, n: int, share: float) -> Tensor:
        return torch.rand(n, generator=self.generator, device=self.device) < share

    def _pick(self, weight: Tensor, n: int) -> Tensor:
        return torch.multinomial(weight, n, replacement=True, generator=self.generator)

    def _speeds(self, n: int) -> Tensor:
        s = self.settings
        semitones = self._uniform(n, *s.speeds) * self._chance(n, s.speed_share)
        return 2.0 ** (semitones / 12.0)

    # Rows

    def _empty(self, n: int, n_samples: int) -> _Rows:
        bank, steps = self.bank, int(n_samples / SAMPLE_RATE / self.step + 1e-6)
        rows = _Rows(
            waveform=torch.zeros(n, n_samples, device=self.device),
            event=torch.zeros(n, steps, bank.n_events, device=self.device),
            event_known=torch.zeros(n, dtype=torch.bool, device=self.device),
            scene=torch.full((n,), -1, device=self.device),
            tag=torch.zeros(n, bank.tag.shape[1], device=self.device),
        )
        rows.tag_known = torch.zeros(n, dtype=torch.bool, device=self.device)
        return rows

    def _synthetic(self, n: int, n_samples: int) -> _Rows:
        """Noise of any color, one to three tones, or next to nothing."""
        rows = self._empty(n, n_samples)
        white = torch.randn(n, n_samples, generator=self.generator, device=self.device)
        spectrum = torch.fft.rfft(white)
        frequency = torch.arange(spectrum.shape[1], device=self.device).clamp(min=1.0)
        slope = self._uniform(n, 0.0, 1.0)[:, None]
        noise = torch.fft.irfft(spectrum * frequency**-slope, n=n_samples)
        noise = noise / noise.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-9)
        time = torch.arange(n_samples, device=self.device) / SAMPLE_RATE
        tones = torch.zeros_like(noise)
        for harmonic in range(3):
            hertz = torch.exp(self._uniform(n, log(60.0), log(8_000.0)))
            loudness = self._chance(n, 0.4) if harmonic else torch.ones(n, device=self.device)
            tones += loudness[:, None] * torch.sin(2 * pi * hertz[:, None] * time)
        kind = torch.rand(n, generator=self.generator, device=self.device)[:, None]
        mixed = torch.where(kind < 0.6, noise, tones)
        level = 10.0 ** (self._uniform(n, -60.0, -10.0) / 20.0)[:, None]
        silent = (kind > 0.9) * 1e-4
        rows.waveform = mixed * torch.where(kind > 0.9, silent, level)
        rows.event_known[:] = True
        return rows

    def _layers(self, n: int, n_samples: int, weight: Tensor) -> _Rows:
        """Put one to three recordings over one another."""
        s, bank = self.settings, self.bank
        rows = self._empty(n, n_samples)
        rows.tag_known[:] = True
        present = torch.arange(n, device=self.device)
        for layer in range(3):
            if layer:
                share = s.second if layer == 1 else s.third
                present = present[self._chance(len(present), share)]
                if len(present) == 0:
                    break
            clips = self._pick(weight if layer == 0 else bank.any_weight, len(present))
            level = self._uniform(len(present), *s.layer_level) * (layer > 0)
            sound = self._recording(clips, n_samples) * 10.0 ** (level / 20.0)[:, None]
            rows.waveform[present] += sound
            tags = torch.where((level > AUDIBLE)[:, None], bank.tag[clips], 0.0)
            rows.tag[present] = rows.tag[present].maximum(tags)
            rows.tag_known[present] &= bank.tag_known[clips]
            place = bank.environment[clips]
            if layer:
                # A second place, or one that drowns the first, leaves the place unknown.
                before = rows.scene[present]
                elsewhere = ((place >= 0) & (place != before)) | (level > 0.0)
                place = torch.where(elsewhere, -1, before)
            rows.scene[present] = place
        return rows

    def _soundscapes(self, n: int, n_samples: int) -> _Rows:
        """Place events over backgrounds that hold none of them."""
        s, bank = self.settings, self.bank
        rows = self._empty(n, n_samples)
        rows.event_known[:] = True
        clips = self._pick(bank.background_weight, n)
        background = self._recording(clips, n_samples)
        hushed = self._chance(n, 0.2)
        hiss = torch.randn(n, n_samples, generator=self.generator, device=self.device)
        level = 10.0 ** (self._uniform(n, -40.0, -10.0) / 20.0)[:, None]
        rows.waveform = torch.where(hushed[:, None], hiss * level * 0.1, background)
        rows.scene = torch.where(hushed, -1, bank.environment[clips])
        rows.tag = torch.where(hushed[:, None], 0.0, bank.tag[clips])
        rows.tag_known = bank.tag_known[clips] | hushed
        further = self._uniform(n, *s.further_events) * (n_samples / SAMPLE_RATE / 10.0)
        count = 1 + torch.poisson(further, generator=self.generator)
        # Now and then nothing happens.
        count = count * ~self._chance(n, 0.1)
        for index in range(s.events):
            self._place(rows, (index < count).nonzero()[:, 0])
        return rows

    def _place(self, rows: _Rows, present: Tensor) -> None:
        """Add one event to each of the rows that are named by their indices."""
        bank, s, n = self.bank, self.settings, len(present)
        if n == 0:
            return
        n_samples = rows.waveform.shape[1]
        bursts = self._pick(bank.burst_weight, n)
        speed = self._speeds(n)
        # What is slowed down beyond the longest fades out there, and is labeled up to there.
        longest = min(n_samples, round(LONGEST_EVENT * SAMPLE_RATE))
        length = (bank.burst_length[bursts] / speed).clamp(max=longest)
        onset = self._uniform(n, 0.0, 1.0) * (n_samples - 0.25 * SAMPLE_RATE)
        level = bank.burst_level[bursts].clamp(min=SMALLEST_RMS)
        # Backgrounds have a level of 1.
        decibels = self._uniform(n, *s.event_level)
        gain = 10.0 ** (decibels / 20.0) / level
        time = torch.arange(min(longest, int(length.max()) + 1), device=self.device)
        whole, part = _positions(time[None], speed)
        sound = bank.read(bank.burst_start[bursts], bank.burst_length[bursts], whole, part)
        sound = self._equalized(sound)
        ramp = torch.minimum(time + 1.0, length[:, None] - time).div(FADE / 2).clamp(0.0, 1.0)
        position = onset.long()[:, None] + time
        sound = sound * ramp * gain[:, None] * (position < n_samples)
        position = present[:, None] * n_samples + position.clamp(max=n_samples - 1)
        rows.waveform.view(-1).scatter_add_(0, position.flatten(), sound.flatten())
        starts = torch.arange(rows.event.shape[1], device=self.device) * self.step
        onset_s, length_s = onset.long()[:, None] / SAMPLE_RATE, length[:, None] / SAMPLE_RATE
        overlap = torch.minimum(onset_s + length_s, starts + self.step) - onset_s.maximum(starts)
        active = overlap >= 0.5 * length_s.clamp(max=self.step)
        which = bank.burst_class[bursts]
        rows.event[present, :, which] = rows.event[present, :, which].maximum(active.float())
        tags = torch.where((decibels > 3.0)[:, None], bank.burst_tag[bursts], 0.0)
        rows.tag[present] = rows.tag[present].maximum(tags)

    def _recording(self, clips: Tensor, n_samples: int) -> Tensor:
        """Cut a stretch out of each recording, at a level of 1; a short one is looped or alone."""
        bank, n = self.bank, len(clips)
        speed = self._speeds(n)
        length = bank.length[clips]
        needed = n_samples * speed
        spare = length - needed
        looped = (self._chance(n, 0.5) | bank.continuous[clips]) & (spare < 0)
        share = torch.rand(n, generator=self.generator, device=self.device)
        # A long recording starts anywhere that fills the stretch, a looped one anywhere, a short
        # one that sounds once is somewhere inside.
        begin = torch.where(looped, share * length, torch.where(spare > 0, share * spare, 0.0))
        delay = torch.where(looped | (spare > 0), 0.0, share * (n_samples - length / speed))
        time = torch.arange(n_samples, device=self.device) - delay.long()[:, None]
        whole, part = _positions(time, speed)
        position = begin.long()[:, None] + whole
        size = length[:, None]
        wrapped = position.remainder(size)
        inside = looped[:, None] | (position == wrapped)
        edge = torch.minimum(wrapped, size - wrapped).div(FADE).clamp(0.0, 1.0)
        sound = bank.read(bank.start[clips], length, wrapped, part)
        return sound * edge * inside / bank.level[clips, None].clamp(min=SMALLEST_RMS)

    # From mixtures to what the two networks read

    def _finish(self, parts: list[_Rows], n_synthetic: int) -> Mixtures:
        s = self.settings
        waveform = torch.cat([part.waveform for part in parts])
        n, n_samples = waveform.shape
        n_fft = _power_of_two(n_samples)
        spectrum = torch.fft.rfft(waveform, n=n_fft)
        frequency = torch.fft.rfftfreq(n_fft, 1.0 / SAMPLE_RATE, device=self.device)
        colored = spectrum * self._equalizers(n, frequency) * self._rooms(n, n_fft)
        clean = torch.fft.irfft(colored, n=n_fft)[:, :n_samples]
        cutoff = self._uniform(n, *s.low_pass)
        cutoff = torch.where(self._chance(n, s.low_pass_share), cutoff, 1e6)[:, None]
        gain = ((cutoff - frequency) / (0.05 * cutoff)).clamp(0.0, 1.0)
        muffled = torch.fft.irfft(colored * gain, n=n_fft)[:, :n_samples]
        # The teacher reads every mixture at the level of a recording, the student at the same.
        rms = clean.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
        peak = clean.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)
        wanted = 10.0 ** (self._uniform(n, -32.0, -14.0) / 20.0)[:, None]
        scale = torch.minimum(wanted / rms, 0.99 / peak)
        scale[:n_synthetic] = 1.0
        noise = torch.randn(n, n_samples, generator=self.generator, device=self.device)
        amount = 10.0 ** (self._uniform(n, *s.noise) / 20.0) * self._chance(n, s.noise_share)
        offset = self._uniform(n, -0.1, 0.1) * self._chance(n, 0.1)
        degraded = muffled * scale + noise * (amount[:, None] * rms * scale) + offset[:, None]
        return Mixtures(
            clean=clean * scale,
            degraded=degraded,
            event=torch.cat([part.event for part in parts]),
            event_known=torch.cat([part.event_known for part in parts]),
            scene=torch.cat([part.scene for part in parts]),
            tag=torch.cat([part.tag for part in parts]),
            tag_known=torch.cat([part.tag_known for part in parts]),
        )

    def _equalized(self, sound: Tensor) -> Tensor:
        """Filter each sound as another microphone would: an event has few recordings."""
        n, n_samples = sound.shape
        n_fft = _power_of_two(n_samples)
        frequency = torch.fft.rfftfreq(n_fft, 1.0 / SAMPLE_RATE, device=self.device)
        spectrum = torch.fft.rfft(sound, n=n_fft) * self._equalizers(n, frequency)
        equalized: Tensor = torch.fft.irfft(spectrum, n=n_fft)[:, :n_samples]
        return equalized

    def _equalizers(self, n: int, frequency: Tensor) -> Tensor:
        """Draw smooth gains over log frequency, (batch, frequencies)."""
        n_points = 8
        place = (frequency.clamp(min=50.0) / 50.0).log() / log(SAMPLE_RATE / 2 / 50.0)
        place = (place * (n_points - 1)).clamp(max=n_points - 1 - 1e-4)
        points = torch.randn(n, n_points, generator=self.generator, device=self.device)
        points *= self.settings.equalizer * self._chance(n, self.settings.equalizer_share)[:, None]
        low = place.long()
        share = place - low
        decibels = points[:, low] * (1 - share) + points[:, low + 1] * share
        return 10.0 ** (decibels / 20.0)

    def _rooms(self, n: int, n_fft: int) -> Tensor:
        """Draw the spectra of rooms: the direct sound, and noise that dies away."""
        length = SAMPLE_RATE  # a second of tail
        time = torch.arange(length, device=self.device) / SAMPLE_RATE
        decay = self._uniform(n, 0.1, 0.8)[:, None]  # seconds to fall by 60 dB
        tail = torch.randn(n, length, generator=self.generator, device=self.device)
        tail = tail * torch.exp(-6.9 * time / decay) * (time > 0.002)
        tail = tail / tail.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-9)
        level = 10.0 ** (self._uniform(n, -18.0, 0.0) / 20.0)
        tail = tail * (level * self._chance(n, self.settings.room_share))[:, None]
        spectra: Tensor = 1.0 + torch.fft.rfft(tail, n=n_fft)
        return spectra


def _power_of_two(n_samples: int) -> int:
    """Return the smallest power of two that is not below, for a fast transform."""
    return 1 << (n_samples - 1).bit_length()


def _positions(time: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """Return where samples lie in a recording at its speed: whole samples and what is left.

    Double precision: a minute at 24 kHz leaves single precision an eighth of a sample.
    """
    exact = time * speed.double()[:, None]
    whole = exact.floor()
    return whole.long(), (exact - whole).float()
