"""Files become waveforms at one rate, several at a time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.io import Recording, read
from dcasenet.audio.preprocess import mono
from dcasenet.audio.resample import resample
from dcasenet.cpus import usable_cpus
from dcasenet.errors import AudioError

log = logging.getLogger(__name__)

Method = Literal["soxr", "sinc"]
SILENT = "it is silent: every sample is 0"


@dataclass(frozen=True)
class Source:
    """Where one waveform of a store comes from.

    Attributes:
        key: What the store knows it by.
        path: The audio file.
        channel: Which channel of it, from 0; None is the average of all.
    """

    key: str
    path: Path
    channel: int | None = None


@dataclass(frozen=True)
class Settings:
    """How files become waveforms.

    Attributes:
        sample_rate: Rate to resample to, in Hz.
        method: How to resample; see `dcasenet.audio.resample.resample`.
        keep_silent: Whether a waveform without any signal is one.
    """

    sample_rate: int
    method: Method = "soxr"
    keep_silent: bool = False


def waveforms(sources: Sequence[Source], settings: Settings) -> Iterator[NDArray[np.float32] | str]:
    """Decode sources one after the other, a few ahead.

    Args:
        sources: What to decode; channels of one file that follow one another are read at once.
        settings: How.

    Yields:
        Of each source in order its waveform, (samples,), or why it has none.
    """
    groups: list[list[Source]] = []
    for source in sources:
        if groups and groups[-1][0].path == source.path:
            groups[-1].append(source)
        else:
            groups.append([source])
    n_threads = usable_cpus()
    waiting: deque[Future[list[NDArray[np.float32] | str]]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:  # decoding and resampling hold no Python lock
        for group in groups:
            waiting.append(pool.submit(_waveforms, group, settings))
            if len(waiting) > 2 * n_threads:  # no more in memory than keeps every thread busy
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _waveforms(group: Sequence[Source], settings: Settings) -> list[NDArray[np.float32] | str]:
    try:
        recording = read(group[0].path)
    except AudioError as error:
        return [str(error)] * len(group)
    for warning in recording.warnings:
        log.warning("%s", warning)
    return [_waveform(recording, source.channel, settings) for source in group]


def _waveform(
    recording: Recording, channel: int | None, settings: Settings
) -> NDArray[np.float32] | str:
    n_channels = len(recording.samples)
    if channel is not None and channel >= n_channels:
        return f"it has {n_channels} channel(s), and channel {channel} (from 0) is wanted"
    samples = mono(recording) if channel is None else recording.samples[channel]
    if not settings.keep_silent and not samples.any():
        return SILENT
    return resample(samples, recording.sample_rate, settings.sample_rate, settings.method)
