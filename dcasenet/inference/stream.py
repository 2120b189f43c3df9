"""Streaming inference: blocks in, final results out."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.preprocess import AudioInfo, Downmix
from dcasenet.audio.quality import Meter
from dcasenet.audio.resample import Resampler
from dcasenet.audio.validation import (
    Levels,
    arranged,
    as_array,
    check_channels,
    check_rate,
    scaled,
    whole_rate,
)
from dcasenet.errors import AudioError
from dcasenet.inference.events import EventDecoder
from dcasenet.inference.familiarity import FAMILIARITY
from dcasenet.inference.pipeline import Infer, infer_chunks
from dcasenet.inference.postprocess import (
    Decoding,
    FamiliarityPool,
    InferredChunk,
    SceneDecoder,
    TagDecoder,
    WindowPool,
    familiarity_of,
    flagged_steps,
    unflagged,
)
from dcasenet.inference.windowing import (
    Chunk,
    Grid,
    OverlapAdd,
    SlidingWindows,
    TimeAxis,
    event_grid,
    grid_of,
    placed,
)
from dcasenet.results import Event, Floats, Scene, Tags, with_fields
from dcasenet.spec import ModelSpec
from dcasenet.types import Samples

SOURCE = "<stream>"
# What is known of a recording whose end has not come.
ENDLESS = AudioInfo(sys.maxsize, 1, SOURCE)
# What a resampler may hold back of what it was given, in seconds (0.073 measured, from 8 kHz).
RESAMPLER_DELAY = 0.08
# Samples of a block, in all channels, that go through the steps at once.
PIECE_VALUES = 2**18
# Offsets are rounded to 1e-6 s.
SAME_TIME = 1e-6


@dataclass(frozen=True)
class Provisional:
    """Provisional results of a stream, as if the recording ended now; the next ones replace them.

    Attributes:
        time: When, in seconds from the start.
        scene: The scene of the last window; None if the model has no scenes.
        tags: The tags of the last window; None if it has none.
        events: The events that are not final, each with ``final=False``: those under way, and
            those that what follows may still change.
    """

    time: float
    scene: Scene | None
    tags: Tags | None
    events: tuple[Event, ...]

    @property
    def under_way(self) -> tuple[Event, ...]:
        """The events that reach up to the present."""
        return tuple(event for event in self.events if event.offset >= self.time - SAME_TIME)


@dataclass(frozen=True)
class StreamUpdate:
    """Results that have become final; none for tasks that the model lacks.

    Attributes:
        scenes: The scene of each window; `times` says from when to when.
        tags: The tags of each window.
        events: Events in the order in which they became final; onset and offset are seconds from
            the start.
        provisional: What is not final yet, of a stream that was opened with `latency`; None where
            it is not yet time to look again.

    Example:
        >>> bool(StreamUpdate()), StreamUpdate() + StreamUpdate()
        (False, StreamUpdate(scenes=(), tags=(), events=(), provisional=None))
    """

    scenes: tuple[Scene, ...] = ()
    tags: tuple[Tags, ...] = ()
    events: tuple[Event, ...] = ()
    provisional: Provisional | None = None

    def __bool__(self) -> bool:
        return bool(self.scenes or self.tags or self.events or self.provisional)

    def __add__(self, other: StreamUpdate) -> StreamUpdate:
        return StreamUpdate(
            self.scenes + other.scenes,
            self.tags + other.tags,
            self.events + other.events,
            other.provisional or self.provisional,
        )


class StreamDecoder:
    """Read results from a waveform at the model's rate that comes in blocks, as they become final.

    An event is final when every window that reaches it or what `median` and `min_gap` see beyond
    its end has been read. What is held does not grow with the length of the recording.

    Args:
        infer: The runtime.
        spec: The model's.
        decoding: How events are inferred and decoded.

    Attributes:
        grids: Task → the windows that it reads.
    """

    def __init__(self, infer: Infer, spec: ModelSpec, decoding: Decoding) -> None:
        self._infer, self._spec = infer, spec
        self._rate = spec.frontend.sample_rate
        self._axis = TimeAxis.of(spec)
        self._grid = event_grid(spec, decoding.window, decoding.hop)
        grids: dict[str, Grid] = {task: grid_of(spec, task) for task in spec.tasks}
        if "event" in grids:
            grids["event"] = self._grid
        self._limit: float | None = None
        self._familiarity: FamiliarityPool | None = None
        if decoding.reject and spec.familiarity is not None:
            self._limit = spec.familiarity.limit
            self._familiarity = FamiliarityPool(self._limit)
            grids[FAMILIARITY] = next(iter(grids.values()))
        self.grids = grids
        self._windows = SlidingWindows(grids)
        self._pools = {
            task: WindowPool(spec.context[task].pooling, by_level=spec.has_one_grid)
            for task in spec.tasks
            if task != "event"
        }
        self._steps = OverlapAdd()
        self._events = EventDecoder(
            spec.events if "event" in spec.tasks else (),
            self._axis.hop,
            decoding.threshold,
            decoding.median,
            decoding.min_gap,
            decoding.min_duration,
            hysteresis=decoding.hysteresis_for(spec),
        )

    def push(self, waveforms: Floats) -> StreamUpdate:
        """Take the next samples, (1, samples)."""
        update = self._process(self._windows.push(waveforms), ENDLESS)
        # Whatever length the recording may yet have, its last window begins here or later.
        last = self._grid.last(self._windows.n_samples)
        steps = self._steps.take(before=self._axis.first_step((last, last)))
        events = self._events.push(unflagged(self._axis.rows(steps))[1]) if len(steps) else []
        return replace(update, events=tuple(events))

    def preview(self) -> Provisional:
        """Return the results that are not final, as if the recording ended now."""
        n_samples, rate = self._windows.n_samples, self._rate
        first = max(self._grid.last(n_samples), n_samples - self._windows.longest)
        window = self._windows.cut((first, n_samples), self._grid, self.grids)
        (inferred,) = self._inferred([window])
        info = AudioInfo(n_samples, rate, SOURCE)
        scene, tags = self._pooled(inferred, info)
        events: Sequence[Event] = ()
        if "event" in inferred.outputs:
            steps, decoder = copy.deepcopy(self._steps), copy.deepcopy(self._events)
            self._join(steps, inferred)
            events = self._decoded_to_the_end(steps, decoder, info)
        return Provisional(
            time=info.duration,
            scene=scene,
            tags=tags,
            events=tuple(replace(event, final=False) for event in events),
        )

    def close(self, info: AudioInfo) -> StreamUpdate:
        """Return the remaining results at the end of a recording."""
        update = self._process(self._windows.close(), info)
        events = self._decoded_to_the_end(self._steps, self._events, info)
        return replace(update, events=tuple(events))

    @property
    def pooled(self) -> dict[str, Floats]:
        """Probabilities of scenes and tags over all windows so far, by task."""
        return {task: pool.pooled().astype(np.float32) for task, pool in self._pools.items()}

    def doubt(self, info: AudioInfo) -> dict[str, Any]:
        """Return how familiar the recording is, and whether the model is sure, after its end."""
        if self._familiarity is None:
            return {"familiarity": None, "is_sure": True}
        return self._familiarity.fields(info)

    def _process(self, chunks: Sequence[Chunk], info: AudioInfo) -> StreamUpdate:
        """Infer windows: scenes and tags of each are results, steps of events are joined."""
        scenes: list[Scene] = []
        all_tags: list[Tags] = []
        for inferred in self._inferred(chunks):
            scene, tags = self._pooled(inferred, info)
            if scene is not None:
                scenes.append(scene)
                self._pools["scene"].add(scene.values.astype(np.float64), inferred.level)
            if tags is not None:
                all_tags.append(tags)
                self._pools["tag"].add(tags.values.astype(np.float64), inferred.level)
            if "event" in inferred.outputs:
                self._join(self._steps, inferred)
            if self._familiarity is not None:
                self._familiarity.add(inferred)
        return StreamUpdate(tuple(scenes), tuple(all_tags))

    def _inferred(self, chunks: Sequence[Chunk]) -> list[InferredChunk]:
        inferred = infer_chunks(chunks, self._infer, self._rate)
        return [chunk for chunk in inferred if isinstance(chunk, InferredChunk)]

    def _pooled(self, inferred: InferredChunk, info: AudioInfo) -> tuple[Scene | None, Tags | None]:
        scene: Scene | None = None
        tags: Tags | None = None
        if "scene" in inferred.outputs:
            scenes = SceneDecoder(self._spec)
            scenes.add(inferred)
            scene = scenes.result(info)
        if "tag" in inferred.outputs:
            tagging = TagDecoder(self._spec)
            tagging.add(inferred)
            tags = tagging.result(info)
        known = familiarity_of(inferred)
        if known is not None and self._limit is not None:
            fields = {"familiarity": known, "is_sure": known >= self._limit}
            scene, tags = with_fields(scene, **fields), with_fields(tags, **fields)
        return scene, tags

    def _join(self, steps: OverlapAdd, inferred: InferredChunk) -> None:
        values = flagged_steps(inferred, "event", self._limit or 0.0)
        values = placed(values, inferred.window, inferred.active, self._axis.step_samples)
        steps.add(self._axis.first_step(inferred.window), values)

    def _decoded_to_the_end(
        self, steps: OverlapAdd, decoder: EventDecoder, info: AudioInfo
    ) -> list[Event]:
        n_rows = self._axis.n_rows(info.n_samples, info.sample_rate)
        n_rows -= self._axis.rows_per_step * steps.first
        last = steps.take()
        events = decoder.push(unflagged(self._axis.rows(last, n_rows))[1]) if len(last) else []
        return [*events, *decoder.close(info.duration)]


class Stream:
    """Incremental inference on audio as it arrives; created by `SoundVerbs.stream`.

    The events equal those of `detect_events` on the whole recording with the same options, up to
    rounding, for any block sizes. Scenes and tags are those of the windows that `classify_scene`
    and `tag` average. A model may have any number of streams, in any number of threads; a stream
    must be used by one thread at a time. A ``with`` block closes it and stores the remaining
    results in `rest`.

    Args:
        infer: The runtime.
        spec: The model's.
        sample_rate: Sample rate of the blocks, 1,000 to 384,000 Hz.
        decoding: How events are inferred and decoded.
        latency: Longest delay from onset to a provisional event, in seconds; None disables them.

    Attributes:
        rest: The result of `close`.
        duration: Seconds of audio received so far.

    Raises:
        AudioError: The rate is out of range.
        ValueError: An option is out of range.

    Example:
        >>> import dcasenet
        >>> import numpy as np
        >>> model = dcasenet.load()
        >>> with model.stream(44_100) as stream:
        ...     for _ in range(20):
        ...         for scene in stream.push(np.zeros(44_100, np.int16)).scenes:
        ...             print(scene.times.round(2).tolist())
        [[0.0, 10.0]]
        [[8.96, 18.96]]
        >>> [tags.times.round(2).tolist() for tags in stream.rest.tags]
        [[[10.08, 20.0]]]
    """

    def __init__(
        self,
        infer: Infer,
        spec: ModelSpec,
        sample_rate: int,
        decoding: Decoding,
        latency: float | None = None,
    ) -> None:
        self._rate = whole_rate(sample_rate)
        check_rate(self._rate, SOURCE)
        # From one look at what is not final to the next: a sound is seen when its step is complete.
        self._interval = (
            None if latency is None else _looking_interval(latency, spec.step) * self._rate
        )
        # Samples since the last look. The first is as late as may be: the beginning alone, answered
        # as if it were all, says little.
        self._n_unseen = -spec.step * self._rate
        self._resampler = Resampler(self._rate, spec.frontend.sample_rate, spec.resampler)
        self._decoder = StreamDecoder(infer, spec, decoding)
        self._downmix: Downmix | None = None  # as soon as the number of channels is known
        self._meter = Meter(self._rate, 1)
        self._n_channels: int | None = None
        self._n_samples = 0
        self._is_closed = False
        self.rest = StreamUpdate()

    @property
    def duration(self) -> float:
        """How much has been processed, in seconds."""
        return self._n_samples / self._rate

    def push(self, samples: Samples, *, channels_last: bool = False) -> StreamUpdate:
        """Process the next samples and return the results that have become final.

        Args:
            samples: An array or tensor of any length, (samples,) or (channels, samples), of a type
                as everywhere. Channels are averaged, a tenth of a second at a time; their number
                stays the same.
            channels_last: It is (samples, channels).

        Raises:
            AudioError: It is misshapen, of another number of channels, or not finite. Nothing of
                it has been processed then: the stream goes on with the next block.
            ValueError: The stream is closed, or a fault in the network has ended it.
        """
        if self._is_closed:
            raise ValueError("This stream is closed. Open another one: model.stream(sample_rate).")
        values = self._checked(samples, channels_last)
        self._is_closed = True  # if the network fails now, what comes next would be wrong
        update = StreamUpdate()
        if self._downmix is None:
            self._downmix = Downmix(self._rate, len(values), source=SOURCE)
            self._meter = Meter(self._rate, len(values))
        length = max(1, PIECE_VALUES // len(values))
        for start in range(0, values.shape[1], length):
            piece = scaled(values[:, start : start + length])
            self._n_samples += piece.shape[1]
            self._meter.add(piece)
            update += self._decoder.push(self._resampler.push(self._downmix.push(piece)))
        if self._interval is not None and self._is_time_to_look(values.shape[1], self._interval):
            update = replace(update, provisional=self._decoder.preview())
        self._is_closed = False
        return update

    def close(self) -> StreamUpdate:
        """Return the remaining results; none for a stream without samples, or when called again."""
        if self._is_closed:
            return StreamUpdate()
        self._is_closed = True
        if self._n_samples and self._downmix is not None:
            update = self._decoder.push(self._resampler.push(self._downmix.close()))
            found = [*self._meter.findings(SOURCE), *self._downmix.findings(SOURCE)]
            warnings = tuple(finding.message for finding in found)
            info = AudioInfo(self._n_samples, self._rate, SOURCE, warnings)
            update += self._decoder.push(self._resampler.close())
            self.rest = update + self._decoder.close(info)
        return self.rest

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        self._is_closed = True

    def _is_time_to_look(self, n_new: int, interval: float) -> bool:
        """Return whether the next look would be late after one more block like this one."""
        self._n_unseen += n_new
        if not n_new or self._n_unseen + n_new <= interval:
            return False
        self._n_unseen = 0
        return True

    def _checked(self, samples: Samples, channels_last: bool) -> NDArray[Any]:
        array = as_array(samples)
        if array is None:
            raise AudioError(
                f"{type(samples).__name__} is not a block of samples. Accepted are NumPy "
                "arrays and torch tensors, (samples,) or (channels, samples)."
            )
        values = arranged(array, channels_last)
        n_channels, n_samples = values.shape
        check_channels(n_channels, n_samples, SOURCE, channels_last)
        if n_channels != (self._n_channels or n_channels or 1):
            raise AudioError(
                f"The block has {n_channels} channels, where those before had "
                f"{self._n_channels or 'at least 1'}. Accepted are blocks of equally many channels."
            )
        levels = Levels(self._n_samples)
        if not levels.see(values):
            raise levels.fault(self._rate, SOURCE)
        self._n_channels = n_channels
        return values


def _looking_interval(latency: float, step: float) -> float:
    interval = latency - step - RESAMPLER_DELAY
    if not 0 < interval < float("inf"):
        raise ValueError(
            f"latency={latency} is out of range: a sound is seen when its step of {step} s is "
            f"complete. Give more than {step + RESAMPLER_DELAY:.2f} s, or None for what is final "
            "alone."
        )
    return interval
