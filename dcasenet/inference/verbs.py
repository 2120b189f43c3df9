"""The verbs: what a caller may ask of any runtime. See `dcasenet.inference.pipeline` for how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from dcasenet.inference import postprocess
from dcasenet.inference.postprocess import Decoding, Question, limits_for, require
from dcasenet.inference.runtime import Runtime
from dcasenet.inference.stream import Stream
from dcasenet.inference.windowing import EVENT_HOP, EVENT_WINDOW, check_event_windows
from dcasenet.results import Analysis, Array, Embedding, Events, Scene, Tags
from dcasenet.spec import Task, check_tasks
from dcasenet.types import (
    AnalyzeOptions,
    Audio,
    Audios,
    Channels,
    EmbedOptions,
    EventOptions,
    Options,
    Rate,
    TagOptions,
    Threshold,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SoundVerbs(Runtime[Array]):
    """`classify_scene`, `tag`, `detect_events`, `analyze`, `embed`.

    Every verb takes one audio or a sequence of them, and gives one result or a list. An audio is
    a path, a binary file, ``bytes``, an array or tensor with `sample_rate` in Hz, or a tuple
    (samples, sample_rate). Arrays are (samples,) or (channels, samples), or (samples, channels)
    with ``channels_last=True``; integers are scaled by their type, channels are averaged. Nothing
    is changed in place. Every verb raises `AudioError` for audio that it cannot use, and
    `TaskNotAvailableError` where the checkpoint has no head for it.

    Attributes:
        spec: What the model knows about itself.
    """

    # In the overloads a str is an Audio and, to a type checker, a sequence too: the first is meant.

    @overload
    def classify_scene(  # type: ignore[overload-overlap]
        self, audio: Audio, sample_rate: Rate = None, **o: Unpack[Options]
    ) -> Scene: ...
    @overload
    def classify_scene(
        self, audio: Audios, sample_rate: Rate = None, **o: Unpack[Options]
    ) -> list[Scene]: ...
    def classify_scene(
        self,
        audio: Audio | Audios,
        sample_rate: Rate = None,
        *,
        channels_last: bool = False,
    ) -> Scene | list[Scene]:
        """Say where a recording was made: exactly one scene is true.

        Heard in windows of 5 s every 2.5 s, averaged (the authors' crops of a 10 s clip).
        """
        require(self.spec, "scene")
        return self._answer(audio, sample_rate, channels_last, postprocess.which_scene(self.spec))

    @overload
    def tag(self, audio: Audio, sample_rate: Rate = None, **o: Unpack[TagOptions]) -> Tags: ...  # type: ignore[overload-overlap]
    @overload
    def tag(
        self, audio: Audios, sample_rate: Rate = None, **o: Unpack[TagOptions]
    ) -> list[Tags]: ...
    def tag(
        self,
        audio: Audio | Audios,
        sample_rate: Rate = None,
        *,
        top: int | None = None,
        channels_last: bool = False,
    ) -> Tags | list[Tags]:
        """Say what is heard anywhere in a recording: any number of tags is true.

        It is heard whole up to 30 s; a longer one in windows of 30 s, each tag taking its highest
        probability.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            top: How many tags the result holds, 1 or more; all by default.
            channels_last: Arrays are (samples, channels).

        Raises:
            ValueError: `top` is less than 1.
        """
        require(self.spec, "tag")
        if top is not None and top < 1:
            raise ValueError(f"top={top} is out of range; give 1 or more, or None for all.")
        return self._answer(
            audio, sample_rate, channels_last, postprocess.which_tags(self.spec, top)
        )

    @overload
    def detect_events(  # type: ignore[overload-overlap]
        self, audio: Audio, sample_rate: Rate = None, **o: Unpack[EventOptions]
    ) -> Events: ...
    @overload
    def detect_events(
        self, audio: Audios, sample_rate: Rate = None, **o: Unpack[EventOptions]
    ) -> list[Events]: ...
    def detect_events(  # noqa: PLR0913 - the public signature: one option per step of decoding
        self,
        audio: Audio | Audios,
        sample_rate: Rate = None,
        *,
        threshold: Threshold = None,
        median: float = 0.0,
        min_gap: float = 0.0,
        min_duration: float = 0.0,
        window: float = EVENT_WINDOW,
        hop: float = EVENT_HOP,
        channels: Channels = "mix",
        channels_last: bool = False,
    ) -> Events | list[Events]:
        """Say which sounds begin and end when, in steps of 0.8 s.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            threshold: Active means strictly above it: one number, or some labels' own by label;
                the spec's by default.
            median: Length of the median filter, in seconds.
            min_gap: Gaps within a label that are shorter are closed, in seconds.
            min_duration: Events that are shorter are dropped, in seconds.
            window: A recording up to this long is heard whole, a longer one in such windows, in
                seconds.
            hop: From one window to the next: a multiple of 0.8 s.
            channels: ``"mix"`` averages the channels first; ``"each"`` averages the channels'
                probabilities (the authors' protocol for four microphones).
            channels_last: Arrays are (samples, channels).

        Raises:
            ValueError: An option is out of range, or a threshold names no event.
        """
        require(self.spec, "event")
        check_event_windows(window, hop)
        if channels not in ("mix", "each"):
            raise ValueError(f"channels={channels!r} is not known; give 'mix' or 'each'.")
        limits = limits_for(self.spec, threshold)
        options = Decoding(limits, median, min_gap, min_duration, window, hop)
        question = postprocess.which_events(self.spec, options, channels)
        return self._answer(audio, sample_rate, channels_last, question)

    @overload
    def analyze(  # type: ignore[overload-overlap]
        self, audio: Audio, sample_rate: Rate = None, **o: Unpack[AnalyzeOptions]
    ) -> Analysis: ...
    @overload
    def analyze(
        self, audio: Audios, sample_rate: Rate = None, **o: Unpack[AnalyzeOptions]
    ) -> list[Analysis]: ...
    def analyze(
        self,
        audio: Audio | Audios,
        sample_rate: Rate = None,
        *,
        threshold: Threshold = None,
        channels_last: bool = False,
    ) -> Analysis | list[Analysis]:
        """Answer every task that the model has, as the three verbs would, in as few passes.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            threshold: As in `detect_events`.
            channels_last: Arrays are (samples, channels).

        Raises:
            ValueError: A threshold is out of range or names no event.
        """
        options = Decoding(limits_for(self.spec, threshold))
        return self._answer(
            audio, sample_rate, channels_last, postprocess.everything(self.spec, options)
        )

    @overload
    def embed(  # type: ignore[overload-overlap]
        self,
        audio: Audio,
        sample_rate: Rate = None,
        *,
        level: Literal["clip"] = "clip",
        **o: Unpack[EmbedOptions],
    ) -> Array: ...
    @overload
    def embed(  # type: ignore[overload-overlap]
        self,
        audio: Audio,
        sample_rate: Rate = None,
        *,
        level: Literal["frame"],
        **o: Unpack[EmbedOptions],
    ) -> Embedding[Array]: ...
    @overload
    def embed(
        self,
        audio: Audios,
        sample_rate: Rate = None,
        *,
        level: Literal["clip"] = "clip",
        **o: Unpack[EmbedOptions],
    ) -> list[Array]: ...
    @overload
    def embed(
        self,
        audio: Audios,
        sample_rate: Rate = None,
        *,
        level: Literal["frame"],
        **o: Unpack[EmbedOptions],
    ) -> list[Embedding[Array]]: ...
    def embed(
        self,
        audio: Audio | Audios,
        sample_rate: Rate = None,
        *,
        level: Literal["clip", "frame"] = "clip",
        task: Task = "tag",
        channels_last: bool = False,
    ) -> Array | Embedding[Array] | list[Any]:
        """Give what the frozen trunk heard, for a classifier of your own.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            level: ``"clip"``: one vector (512 × width,), the mean over all steps. ``"frame"``:
                an `Embedding` with a vector for each step of 0.8 s.
            task: Whose trunk, for a model whose tasks have networks of their own.
            channels_last: Arrays are (samples, channels).

        Raises:
            ValueError: `level` or `task` is not known.
        """
        if level not in ("clip", "frame"):
            raise ValueError(f"level={level!r} is not known; give 'clip' or 'frame'.")
        check_tasks([task])
        if self.spec.members:
            require(self.spec, task)
        question: Question[Array | Embedding[Array]] = (
            postprocess.which_vector(self.spec, self.as_array)
            if level == "clip"
            else postprocess.which_steps(self.spec, self.as_array)
        )
        return self._answer(audio, sample_rate, channels_last, question, trunk=task)

    def stream(
        self,
        sample_rate: int,
        *,
        threshold: Threshold = None,
        median: float = 0.0,
        min_gap: float = 0.0,
        min_duration: float = 0.0,
        window: float = 10.0,
        hop: float = 2.4,
        latency: float | None = None,
    ) -> Stream:
        """Listen to sound while it comes in: blocks in, what is final out; see `Stream`.

        An event is given at most `window` + `hop` seconds, and what `median` and `min_gap` look
        ahead, after its offset. With `latency`, it is given early, too, beside what is final.

        Args:
            sample_rate: Of the blocks, in Hz.
            threshold: As in `detect_events`, and so are the others.
            median: Length of the median filter, in seconds.
            min_gap: Gaps that are shorter are closed, in seconds.
            min_duration: Events that are shorter are dropped, in seconds.
            window: How much is heard at once for events, in seconds.
            hop: From one window to the next: a multiple of 0.8 s.
            latency: Give provisional events as well, each at most so many seconds after its onset
                if blocks are short: more than a step of the network. They are marked
                ``final=False`` and are what `Stream.close` would give if the sound ended there.
                Each look costs a pass over a window; there is one every `latency` less a step.

        Raises:
            ValueError: An option is out of range, or a threshold names no event.
        """
        limits = limits_for(self.spec, threshold)
        options = Decoding(limits, median, min_gap, min_duration, window, hop)
        return Stream(self.infer, self.spec, sample_rate, options, latency)
