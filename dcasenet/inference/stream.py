"""Listen to sound that has no end yet: blocks in, what is final out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

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
# Samples of a block, in all channels, that go through the steps at once.
PIECE_VALUES = 2**18


@dataclass(frozen=True)
class Heard:
    """What has become final: of a task that the model lacks, nothing ever does.

    Attributes:
        scenes: The scene of each window of 5 s, every 2.5 s; `times` says from when to when.
        tags: The tags of each window of 30 s.
        events: Events in the order in which they became final; onset and offset are seconds from
            the start.

    Example:
        >>> bool(Heard()), Heard() + Heard()
        (False, Heard(scenes=(), tags=(), events=()))
    """

    scenes: tuple[Scene, ...] = ()
    tags: tuple[Tags, ...] = ()
    events: tuple[Event, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.scenes or self.tags or self.events)

    def __add__(self, other: Heard) -> Heard:
        return Heard(self.scenes + other.scenes, self.tags + other.tags, self.events + other.events)


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

    def close(self, facts: Facts) -> Heard:
        """Give what is left at the end of a recording."""
        self._facts = facts
        self._answer(self._splitter.close())
        n_rows = facts.n_rows - ROWS_PER_STEP * self._joiner.first
        steps = self._joiner.take()
        events = self._decoder.push(steps_to_rows(steps, n_rows)) if len(steps) else []
        return self._taken([*events, *self._decoder.close(facts.duration)])

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

    def __init__(self, infer: Infer, spec: ModelSpec, sample_rate: int, decoding: Decoding) -> None:
        self._rate = whole_rate(sample_rate)
        check_rate(self._rate, SOURCE)
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
