"""The line of inference, for recordings of any length and number.

Read → prepare → split → featurize → infer → decode: generators, each of which pulls from the one
before it. A long recording is never in memory as a whole; nor are many, beyond a group. Each
distinct window goes through the network once, in batches of one length, so that nothing is padded
to fit a batch: a clip's result does not depend on what it was batched with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dcasenet.audio.preprocess import AudioInfo, AudioSource, ReadOptions, prepare_each
from dcasenet.inference.familiarity import FAMILIARITY
from dcasenet.inference.postprocess import InferredChunk, Query, Result
from dcasenet.inference.windowing import Chunk, Grid, level_of, sliding_windows
from dcasenet.results import Floats
from dcasenet.spec import TASKS, ModelSpec
from dcasenet.types import Audio, Audios, Rate

# (batch, samples), names of outputs → output → (batch, …); featurizes, and runs the network.
Infer = Callable[[Floats, Sequence[str]], Mapping[str, Floats]]

# What a network can give of a window, in the order in which runtimes are queried.
OUTPUTS = (*TASKS, "fine_event", "embedding", FAMILIARITY)
# At most this many seconds of audio go through the network at once: about 0.4 GB of activations
# at full width. A longer window, which only `window=` can request, goes alone.
BATCH_SECONDS = 60.0
# Recordings that together have so many seconds are decoded before more are read.
GROUP_SECONDS = 600.0


def answer(
    audio: Audio | Audios,
    sample_rate: Rate,
    query: Query[Result],
    infer: Infer,
    spec: ModelSpec,
    options: ReadOptions,
) -> Iterator[Result]:
    """Answer a query about one audio or each of several, in order: the whole line.

    Args:
        audio: As the verbs take it.
        sample_rate: Rate of arrays, in Hz.
        query: What is to be known.
        infer: Featurizes a batch and runs the network on it.
        spec: The model's.
        options: How audio is read.

    Raises:
        AudioError: A recording cannot be used, which may show only while it is read.
    """
    recordings = prepare_each(audio, sample_rate, spec, options)  # read, prepare
    return answer_loaded(recordings, query, infer, spec)


def answer_loaded(
    recordings: Iterable[AudioSource], query: Query[Result], infer: Infer, spec: ModelSpec
) -> Iterator[Result]:
    """Answer a query about recordings at the model's rate, in order: the line from there on."""
    chunks = split(recordings, query.grids)
    inferred = infer_chunks(chunks, infer, spec.frontend.sample_rate)  # featurize, infer
    return decode(inferred, query)


def split(
    recordings: Iterable[AudioSource], grids: Mapping[str, Grid]
) -> Iterator[Chunk | AudioInfo]:
    """Cut recordings into windows; after those of each comes what is known of it."""
    for recording in recordings:
        yield from sliding_windows(recording.blocks(), grids)
        yield recording.info


def infer_chunks(
    items: Iterable[Chunk | AudioInfo], infer: Infer, sample_rate: int
) -> Iterator[InferredChunk | AudioInfo]:
    """Run the network on windows of one length together, each channel by itself, and keep order.

    Args:
        items: Windows, and what is known of a recording after the last of its windows.
        infer: The runtime.
        sample_rate: Of the windows, in Hz.
    """
    queue: deque[_Pending | AudioInfo] = deque()  # what has not been passed on
    batches: dict[tuple[int, frozenset[str]], list[tuple[_Pending, int]]] = {}
    seconds = 0.0
    for item in items:
        if isinstance(item, AudioInfo):
            queue.append(item)
            seconds += item.duration
        else:
            pending = _Pending(item, level_of(item.waveforms, sample_rate))
            queue.append(pending)
            n_channels, length = item.waveforms.shape
            key, size = (length, item.outputs), max(1, int(BATCH_SECONDS * sample_rate) // length)
            for channel in range(n_channels):
                batches.setdefault(key, []).append((pending, channel))
                if len(batches[key]) == size:
                    _run(batches.pop(key), infer)
        if seconds >= GROUP_SECONDS:
            seconds = 0.0
            _run_all(batches, infer)
        yield from _finished(queue)
    _run_all(batches, infer)
    yield from _finished(queue)


def decode(items: Iterable[InferredChunk | AudioInfo], query: Query[Result]) -> Iterator[Result]:
    """Read results from what the network gave of the windows of each recording."""
    decoder = query.decoder()
    for item in items:
        if isinstance(item, AudioInfo):
            yield decoder.result(item)
            decoder = query.decoder()
        else:
            decoder.add(item)


@dataclass(eq=False)
class _Pending:
    """A window, and what the network gave so far: for each channel, output → (…)."""

    chunk: Chunk
    level: float
    rows: list[Mapping[str, Floats]] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        return len(self.rows) == len(self.chunk.waveforms)

    def inferred(self) -> InferredChunk:
        names = self.rows[0]
        outputs = {name: np.stack([row[name] for row in self.rows]) for name in names}
        return InferredChunk(self.chunk.window, self.chunk.active, self.level, outputs)


def _run_all(
    batches: dict[tuple[int, frozenset[str]], list[tuple[_Pending, int]]], infer: Infer
) -> None:
    while batches:
        _run(batches.pop(next(iter(batches))), infer)


def _run(batch: Sequence[tuple[_Pending, int]], infer: Infer) -> None:
    first = batch[0][0].chunk
    waveforms = np.stack([pending.chunk.waveforms[channel] for pending, channel in batch])
    outputs = infer(waveforms, [name for name in OUTPUTS if name in first.outputs])
    for row, (pending, _) in enumerate(batch):
        pending.rows.append({name: values[row] for name, values in outputs.items()})


def _finished(queue: deque[_Pending | AudioInfo]) -> Iterator[InferredChunk | AudioInfo]:
    """Take what is finished off the front of the queue."""
    while queue:
        first = queue[0]
        if isinstance(first, _Pending):
            if not first.is_finished:
                return
            queue.popleft()
            yield first.inferred()
        else:
            queue.popleft()
            yield first
