"""Run the windows of many recordings through a network, each distinct window once.

Windows of one length share a batch, so nothing is ever padded: a clip's answer does not depend on
what it was batched with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from dcasenet.audio import Audio, Recording, is_single, mono, read
from dcasenet.errors import AudioError
from dcasenet.options import Audios, Channels, Rate
from dcasenet.resample import resample
from dcasenet.results import Floats
from dcasenet.spec import TASKS, ModelSpec, Task
from dcasenet.windows import ROWS_PER_SECOND, Window

# Task → the windows that it hears; no task ("embedding") hears its own.
Split = Mapping[str, Sequence[Window]]
# Task → one array (channels, …) for each of its windows.
Answers = Mapping[str, Sequence[Floats]]
# (batch, samples), tasks → task → (batch, …); with no tasks, "embedding" alone.
Infer = Callable[[Floats, Sequence[Task]], Mapping[str, Floats]]

# One run of the network: a recording's index, a window of it, a channel.
Pass = tuple[int, Window, int]

# At most this many seconds of audio go through the network at once: about 0.4 GB of activations
# at full width. A longer window, which only `window=` can ask for, goes alone.
BATCH_SECONDS = 60.0
# Recordings are read until they make this many seconds together, then answered, then let go.
GROUP_SECONDS = 600.0


@dataclass(frozen=True)
class Prepared:
    """A recording as the model hears it.

    Attributes:
        waveforms: (channels, samples) at the model's rate; one channel when they are mixed.
        sample_rate: That rate, in Hz.
        duration: Length of the recording, in seconds.
        n_rows: ceil(duration / 0.1), from the sample count, free of rounding.
        source: What the recording is called.
        warnings: What is odd about it.
    """

    waveforms: Floats
    sample_rate: int
    duration: float
    n_rows: int
    source: str
    warnings: tuple[str, ...]

    @property
    def n_samples(self) -> int:
        """Length at the model's rate."""
        return int(self.waveforms.shape[1])


def read_each(
    audio: Audio | Audios, sample_rate: Rate, *, channels_last: bool
) -> Iterator[Recording]:
    """Read one audio, or each of a sequence, one at a time.

    Raises:
        AudioError: One cannot be used; for a sequence, the message says which.
    """
    if is_single(audio):
        yield read(cast("Audio", audio), sample_rate, channels_last=channels_last)
        return
    audios = cast("Audios", audio)
    for index, item in enumerate(audios, start=1):
        try:
            yield read(item, sample_rate, channels_last=channels_last)
        except AudioError as error:
            raise AudioError(f"Audio {index} of {len(audios)}: {error}") from error


def prepare(recording: Recording, spec: ModelSpec, channels: Channels = "mix") -> Prepared:
    """Mix the channels, unless each is to be heard, and bring them to the model's rate."""
    samples = mono(recording)[None] if channels == "mix" else recording.samples
    rate, n_samples = recording.sample_rate, recording.samples.shape[1]
    return Prepared(
        waveforms=resample(samples, rate, spec.frontend.sample_rate, spec.resampler),
        sample_rate=spec.frontend.sample_rate,
        duration=recording.duration,
        n_rows=-(-n_samples * ROWS_PER_SECOND // rate),
        source=recording.source,
        warnings=recording.warnings,
    )


def groups(recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
    """Give the recordings in groups that together are long enough to fill batches."""
    group: list[Recording] = []
    seconds = 0.0
    for recording in recordings:
        group.append(recording)
        seconds += recording.duration
        if seconds >= GROUP_SECONDS:
            yield group
            group, seconds = [], 0.0
    if group:
        yield group


def run_passes(
    prepared: Sequence[Prepared], splits: Sequence[Split], infer: Infer
) -> list[dict[str, list[Floats]]]:
    """Answer every window of every recording.

    Args:
        prepared: The recordings.
        splits: For each, which windows each task hears.
        infer: The runtime.

    Returns:
        For each recording, `Answers`: task → an array (channels, …) for each window.
    """
    tasks_of: dict[tuple[int, Window], set[str]] = defaultdict(set)
    for index, split in enumerate(splits):
        for task, windows in split.items():
            for window in windows:
                tasks_of[index, window].add(task)

    alike: dict[tuple[int, frozenset[str]], list[Pass]] = defaultdict(list)
    for (index, window), wanted in tasks_of.items():
        length = window[1] - window[0]
        for channel in range(len(prepared[index].waveforms)):
            alike[length, frozenset(wanted)].append((index, window, channel))

    outputs: dict[Pass, dict[str, Floats]] = {}
    for (length, names), passes in alike.items():
        tasks = [task for task in TASKS if task in names]
        size = max(1, int(BATCH_SECONDS * prepared[0].sample_rate) // length)
        for first in range(0, len(passes), size):
            batch = passes[first : first + size]
            waveforms = [prepared[i].waveforms[channel, a:b] for i, (a, b), channel in batch]
            answered = infer(np.stack(waveforms), tasks)
            for row, key in enumerate(batch):
                outputs[key] = {task: values[row] for task, values in answered.items()}

    def channels_of(index: int, window: Window, task: str) -> Floats:
        channels = range(len(prepared[index].waveforms))
        return np.stack([outputs[index, window, channel][task] for channel in channels])

    return [
        {task: [channels_of(index, w, task) for w in windows] for task, windows in split.items()}
        for index, split in enumerate(splits)
    ]
