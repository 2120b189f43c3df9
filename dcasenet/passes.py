"""Run the windows of many recordings through a network, each distinct window once.

Windows of one length share a batch, so nothing is ever padded: a clip's answer does not depend on
what it was batched with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from dcasenet.audio import Recording
from dcasenet.prepare import Prepared
from dcasenet.results import Floats
from dcasenet.spec import TASKS, Task
from dcasenet.windows import Window

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
