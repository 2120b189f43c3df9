"""Listen to sound that has no end yet: blocks in, what is final out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, cast

from numpy.typing import NDArray

from dcasenet.audio.io import mixed
from dcasenet.audio.preprocess import Facts
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
from dcasenet.inference.pipeline import Batches, Infer
from dcasenet.inference.postprocess import (
    Decoding,
    first_step,
    step_probabilities,
    which_scene,
    which_tags,
)
from dcasenet.inference.windowing import (
    ROWS_PER_STEP,
    Joiner,
    Passage,
    Splitter,
    Window,
    event_grid,
    steps_to_rows,
)
from dcasenet.results import Event, Floats, Scene, Tags
from dcasenet.spec import ROW, ModelSpec, rows_of
from dcasenet.types import Samples

SOURCE = "<stream>"
# What a resampler may hold back of what it was given, in seconds (0.073 measured, from 8 kHz).
RESAMPLER_DELAY = 0.08
# Samples of a block, in all channels, that go through the steps at once.
PIECE_VALUES = 2**18


@dataclass(frozen=True)
class Provisional:
    """What a stream says early: as if the recording ended now. The next one replaces it.

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


@dataclass(frozen=True)
class Heard:
    """What has become final: of a task that the model lacks, nothing ever does.

    Attributes:
        scenes: The scene of each window of 5 s, every 2.5 s; `times` says from when to when.
        tags: The tags of each window of 30 s.
        events: Events in the order in which they became final; onset and offset are seconds from
            the start.
        provisional: What is not final yet, of a stream that was opened with `latency`; None where
            it is not yet time to look again.

    Example:
        >>> bool(Heard()), Heard() + Heard()
        (False, Heard(scenes=(), tags=(), events=(), provisional=None))
    """

    scenes: tuple[Scene, ...] = ()
    tags: tuple[Tags, ...] = ()
    events: tuple[Event, ...] = ()
    provisional: Provisional | None = None

    def __bool__(self) -> bool:
        return bool(self.scenes or self.tags or self.events or self.provisional)

    def __add__(self, other: Heard) -> Heard:
        return Heard(
            self.scenes + other.scenes,
            self.tags + other.tags,
            self.events + other.events,
            other.provisional or self.provisional,
        )


class Listener:
    """Hear a waveform at the model's rate that comes in blocks; give what has become final.

    An event is final when every window that reaches it or what `median` and `min_gap` see beyond
    its end has been heard. What is held does not grow with the length of the recording.

    Args:
        infer: The runtime.
        spec: The model's.
        decoding: How events are heard and read.
    """

    def __init__(self, infer: Infer, spec: ModelSpec, decoding: Decoding) -> None:
        rate = spec.frontend.sample_rate
        asks_events = "event" in spec.tasks
        self._infer, self._tasks = infer, spec.tasks
        self._questions = {"scene": which_scene(spec), "tag": which_tags(spec, None)}
        self._grid = event_grid(rate, decoding.window, decoding.hop)
        grids = {**self._questions["scene"].grids, **self._questions["tag"].grids}
        grids["event"] = self._grid
        self._splitter = Splitter({task: grids[task] for task in spec.tasks})
        self._batches = Batches(infer, rate)
        self._joiner = Joiner()
        self._decoder = EventDecoder(
            spec.events if asks_events else (),
            ROW,
            decoding.threshold,
            decoding.median,
            decoding.min_gap,
            decoding.min_duration,
        )
        self._facts = Facts(rate, float("inf"), 0, SOURCE, ())
        self._found: dict[str, list[Any]] = {"scene": [], "tag": []}

    def push(self, waveforms: Floats) -> Heard:
        """Take the next samples, (1, samples)."""
        self._answer(self._splitter.push(waveforms))
        # Whatever length the recording may yet have, its last window begins here or later.
        last = self._grid.last(self._splitter.n_samples)
        steps = self._joiner.take(before=first_step((last, last), self._facts.sample_rate))
        rows = steps_to_rows(steps, ROWS_PER_STEP * len(steps))
        return self._taken(self._decoder.push(rows) if len(rows) else [])

    def preview(self) -> Provisional:
        """Say what is not final, as if the recording ended now; what is final stays as it is."""
        n_samples, rate = self._splitter.n_samples, self._facts.sample_rate
        first = max(self._grid.last(n_samples), n_samples - self._splitter.longest)
        window = (first, n_samples)
        answers = self._infer(self._splitter.cut(window), self._tasks)
        facts = replace(self._facts, duration=n_samples / rate, n_rows=rows_of(n_samples, rate))
        scene, tags = (
            self._questions[task].decode(facts, {task: [window]}, {task: [answers[task]]})
            if task in answers
            else None
            for task in ("scene", "tag")
        )
        events: Sequence[Event] = ()
        if "event" in answers:
            joiner, decoder = copy.deepcopy(self._joiner), copy.deepcopy(self._decoder)
            joiner.add(first_step(window, rate), step_probabilities(answers["event"]))
            events = _decoded_to_the_end(joiner, decoder, facts)
        return Provisional(
            facts.duration,
            cast("Scene | None", scene),
            cast("Tags | None", tags),
            tuple(replace(event, final=False) for event in events),
        )

    def close(self, facts: Facts) -> Heard:
        """Give what is left at the end of a recording."""
        self._facts = facts
        self._answer(self._splitter.close())
        return self._taken(_decoded_to_the_end(self._joiner, self._decoder, facts))

    def _answer(self, passages: Sequence[Passage]) -> None:
        for passage in passages:
            self._batches.add(passage, self._hear)
        self._batches.flush()

    def _hear(self, window: Window, answers: Mapping[str, Floats]) -> None:
        for task, values in answers.items():
            if task == "event":
                first = first_step(window, self._facts.sample_rate)
                self._joiner.add(first, step_probabilities(values))
            else:
                decode = self._questions[task].decode
                self._found[task].append(decode(self._facts, {task: [window]}, {task: [values]}))

    def _taken(self, events: Sequence[Event]) -> Heard:
        scenes, tags = self._found["scene"], self._found["tag"]
        self._found = {"scene": [], "tag": []}
        return Heard(tuple(scenes), tuple(tags), tuple(events))


def _decoded_to_the_end(joiner: Joiner, decoder: EventDecoder, facts: Facts) -> list[Event]:
    n_rows = facts.n_rows - ROWS_PER_STEP * joiner.first
    steps = joiner.take()
    events = decoder.push(steps_to_rows(steps, n_rows)) if len(steps) else []
    return [*events, *decoder.close(facts.duration)]


class Stream:
    """Sound that is heard while it comes in; `SoundVerbs.stream` opens one.

    The events are those that `detect_events` gives of the whole with the same options, but for
    rounding, whatever the blocks. Scenes and tags are those of the windows that `classify_scene`
    and `tag` average. A model may have any number of streams, in any number of threads; one stream
    belongs to one thread at a time. Closed in a ``with`` block, it leaves what was left in `rest`.

    Args:
        infer: The runtime.
        spec: The model's.
        sample_rate: Of the blocks, in Hz, 1,000 to 384,000.
        decoding: How events are heard and read.
        latency: How soon after its onset a provisional event is given, in seconds; None for none.

    Attributes:
        rest: What `close` gave.
        duration: How much has been heard, in seconds.

    Raises:
        AudioError: The rate is out of range.
        ValueError: An option is out of range.

    Example:
        >>> import dcasenet
        >>> import numpy as np
        >>> model = dcasenet.load("v3", stage="open")
        >>> with model.stream(44_100) as stream:
        ...     for _ in range(12):
        ...         for scene in stream.push(np.zeros(44_100, np.int16)).scenes:
        ...             print(scene.times.round(2).tolist())
        [[0.0, 5.0]]
        [[2.5, 7.5]]
        [[5.0, 10.0]]
        >>> [tags.times.tolist() for tags in stream.rest.tags]
        [[[0.0, 12.0]]]
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
        self._n_unseen = 0  # samples since the last look
        self._model_rate = spec.frontend.sample_rate
        self._resampler = Resampler(self._rate, self._model_rate, spec.resampler)
        self._listener = Listener(infer, spec, decoding)
        self._n_channels: int | None = None
        self._n_samples = 0
        self._warnings: tuple[str, ...] = ()
        self._is_closed = False
        self.rest = Heard()

    @property
    def duration(self) -> float:
        """How much has been heard, in seconds."""
        return self._n_samples / self._rate

    def push(self, samples: Samples, *, channels_last: bool = False) -> Heard:
        """Take the next samples and give what has become final.

        Args:
            samples: An array or tensor of any length, (samples,) or (channels, samples), of a type
                as everywhere. Channels are averaged; their number stays the same.
            channels_last: It is (samples, channels).

        Raises:
            AudioError: It is misshapen, of another number of channels, or not finite. Nothing of
                it has been heard then: the stream goes on with the next block.
            ValueError: The stream is closed, or a fault in the network has ended it.
        """
        if self._is_closed:
            raise ValueError("This stream is closed. Open another one: model.stream(sample_rate).")
        values = self._checked(samples, channels_last)
        self._is_closed = True  # if the network fails now, what comes next would be wrong
        heard = Heard()
        length = max(1, PIECE_VALUES // len(values))
        for start in range(0, values.shape[1], length):
            piece = mixed(scaled(values[:, start : start + length]))
            self._n_samples += piece.shape[1]
            heard += self._listener.push(self._resampler.push(piece))
        if self._interval is not None and self._is_time_to_look(values.shape[1], self._interval):
            heard = replace(heard, provisional=self._listener.preview())
        self._is_closed = False
        return heard

    def close(self) -> Heard:
        """Give what is left: nothing of a stream without samples, or the second time."""
        if self._is_closed:
            return Heard()
        self._is_closed = True
        if self._n_samples:
            facts = Facts(
                sample_rate=self._model_rate,
                duration=self.duration,
                n_rows=rows_of(self._n_samples, self._rate),
                source=SOURCE,
                warnings=self._warnings,
            )
            heard = self._listener.push(self._resampler.close())
            self.rest = heard + self._listener.close(facts)
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
        """Tell whether the next look would be late after one more block like this one."""
        self._n_unseen += n_new
        if not n_new or self._n_unseen + n_new <= interval:
            return False
        self._n_unseen = 0
        return True

    def _checked(self, samples: Samples, channels_last: bool) -> NDArray[Any]:
        array = as_array(samples)
        if array is None:
            raise AudioError(
                f"{type(samples).__name__} is no block of samples. Accepted are NumPy arrays and "
                "torch tensors, (samples,) or (channels, samples)."
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
        self._warnings = levels.warnings(SOURCE) or self._warnings
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
