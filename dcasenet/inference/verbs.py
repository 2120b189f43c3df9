"""The verbs: what any runtime answers. `dcasenet.inference.pipeline` shows how."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, overload

import numpy as np

from dcasenet import __version__
from dcasenet.audio.io import is_single
from dcasenet.audio.preprocess import ReadOptions
from dcasenet.errors import DcasenetError
from dcasenet.inference import postprocess
from dcasenet.inference.calibration import Calibration, Labeled, calibrate, calibrated
from dcasenet.inference.events import check_decoding
from dcasenet.inference.familiarity import FAMILIARITY, familiarity
from dcasenet.inference.operating_points import limits_for
from dcasenet.inference.pipeline import answer
from dcasenet.inference.postprocess import Decoding, Query, Result, require
from dcasenet.inference.stream import Stream
from dcasenet.inference.windowing import Grid, event_grid
from dcasenet.results import (
    Analysis,
    Array,
    Embedding,
    Events,
    Floats,
    Provenance,
    Scene,
    Tags,
    with_source,
)
from dcasenet.spec import TASKS, ModelSpec, Task, check_tasks
from dcasenet.types import (
    MAX_DURATION,
    AnalyzeOptions,
    Audio,
    Audios,
    Channels,
    EmbedOptions,
    EventOptions,
    Rate,
    Resolution,
    SceneOptions,
    TagOptions,
    Threshold,
    check_number,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

EMBEDDING = "embedding"
# Windows and hop of a stream's events, in seconds, where tasks have windows of their own: short
# ones, so that events are final soon.
STREAM_WINDOW, STREAM_HOP = 10.0, 2.4


def tasks_of(outputs: Iterable[str], options: Mapping[str, Any]) -> tuple[Task, ...]:
    """Return the tasks whose networks give some outputs.

    Args:
        outputs: As of `SoundVerbs.infer`.
        options: Of the verb; ``task`` says whose embedding.

    Example:
        >>> tasks_of(["scene", "fine_event"], {}), tasks_of(["embedding"], {"task": "scene"})
        (('scene', 'event'), ('scene',))
    """
    own = {"fine_event": "event", "embedding": options.get("task", "tag")}
    names = {own.get(output, output) for output in outputs}
    return tuple(task for task in TASKS if task in names)


def check_top(top: int | None) -> None:
    """Refuse a number of tags that is none.

    Raises:
        ValueError: It is less than 1, or no whole number.
    """
    if top is not None:
        accepted = "give 1 or more, or None for all"
        check_number("top", top, 1, accepted=accepted, kind=numbers.Integral)


class SoundVerbs(ABC, Generic[Array]):
    """`classify_scene`, `tag`, `detect_events`, `analyze`, `embed`.

    Every verb takes one audio or a sequence of them, and gives one result or a list. An audio is
    a path, a binary file, ``bytes``, an array or tensor with `sample_rate` in Hz, a tuple
    (samples, sample_rate), or a dictionary or decoder of the library datasets. Arrays are
    (samples,) or (channels, samples), or (samples, channels) with ``channels_last=True``; integers
    are scaled by their type, channels are averaged. Nothing is changed in place. What is doubtful
    about a recording is in the result's `warnings`; see `dcasenet.check`. Every verb raises
    `AudioError` for audio that it cannot use, and `TaskNotAvailableError` where the checkpoint has
    no head for it.

    Attributes:
        spec: What the model knows about itself.
        runtime: What the network runs in: ``"torch"`` or ``"onnx"``.
        precision: What it computes in.
        has_fine_steps: Whether the runtime can give events at finer steps than the network's.
    """

    spec: ModelSpec
    runtime: ClassVar[str] = "unknown"
    precision: str = "float32"
    has_fine_steps: ClassVar[bool] = False

    @property
    def weights_digest(self) -> str:
        """``"sha256:…"`` of all weights, or ``"unknown"`` for a runtime that cannot know them."""
        return "unknown"

    def digest_of(self, tasks: Sequence[Task]) -> str:
        """Return the digest of the weights that answer some tasks, by default of all."""
        return self.weights_digest

    @abstractmethod
    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Featurize a batch and run the network on it.

        Args:
            waveforms: (batch, samples) at the model's rate.
            outputs: What to return: tasks (logits), ``"embedding"``, or ``"fine_event"`` where the
                runtime has fine steps.
            backbone: Whose embedding, where tasks have networks of their own.

        Returns:
            Output → array (batch, …) as in `Outputs`.
        """

    @abstractmethod
    def as_array(self, values: Floats) -> Array:
        """Return an embedding in the runtime's own type."""

    def tag_head(self, embeddings: Floats) -> Floats:
        """Return the tags' logits of embeddings of clips.

        Args:
            embeddings: (clips, size), as `embed` gives them.

        Returns:
            (clips, tags).

        Raises:
            DcasenetError: The runtime cannot run the tag head alone.
        """
        raise DcasenetError(
            f"{type(self).__name__} cannot run its tag head alone. Load the model with "
            f"runtime='torch' or runtime='onnx'."
        )

    def infer_known(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Run `infer`, and compute what follows from its outputs.

        Args:
            waveforms: As of `infer`.
            outputs: As of `infer`, or ``"familiarity"``: (batch,), of a checkpoint that has
                statistics.
            backbone: As of `infer`.
        """
        statistics = self.spec.familiarity
        if FAMILIARITY not in outputs or statistics is None:
            return self.infer(waveforms, outputs, backbone)
        wanted = [name for name in outputs if name != FAMILIARITY]
        inferred = dict(self.infer(waveforms, list(dict.fromkeys((*wanted, EMBEDDING))), backbone))
        means = inferred[EMBEDDING].mean(axis=1, dtype=np.float64).astype(np.float32)
        values = {name: inferred[name] for name in wanted}
        return {**values, FAMILIARITY: familiarity(statistics, means)}

    def _answer(
        self,
        audio: Audio | Audios,
        sample_rate: Rate,
        query: Query[Result],
        options: ReadOptions,
        backbone: Task = "tag",
    ) -> Result | list[Result]:
        infer = partial(self.infer_known, backbone=backbone)
        results = answer(audio, sample_rate, query, infer, self.spec, options)
        if query.verb:
            described = {**query.options, "channels": options.channels}
            made = self.provenance(query.verb, described, query.grids)
            results = (with_source(result, made) for result in results)
        return next(results) if is_single(audio) else list(results)

    def provenance(
        self, verb: str, options: Mapping[str, Any], grids: Mapping[str, Grid]
    ) -> Provenance:
        """Return what results are made with: all but the recording.

        Args:
            verb: The method that makes them.
            options: Its options that decide the result, as plain values.
            grids: Output of the network → the windows that it reads.
        """
        rate = self.spec.frontend.sample_rate
        return Provenance(
            version=__version__,
            model=f"{self.spec.name} {self.spec.stage}",
            weights=self.digest_of(tasks_of(grids, options)),
            runtime=self.runtime,
            precision=self.precision,
            verb=verb,
            options=dict(options),
            context={
                output: {"window": grid.size / rate, "hop": grid.hop / rate}
                for output, grid in grids.items()
            },
        )

    # In the overloads a str is an Audio and, to a type checker, a sequence too: the first is meant.

    @overload
    def classify_scene(  # type: ignore[overload-overlap]
        self, audio: Audio, sample_rate: Rate = None, **o: Unpack[SceneOptions]
    ) -> Scene: ...
    @overload
    def classify_scene(
        self, audio: Audios, sample_rate: Rate = None, **o: Unpack[SceneOptions]
    ) -> list[Scene]: ...
    def classify_scene(
        self,
        audio: Audio | Audios,
        sample_rate: Rate = None,
        *,
        reject: bool = True,
        channels: Channels = "mix",
        channels_last: bool = False,
        max_duration: float | None = MAX_DURATION,
        strict: bool = False,
    ) -> Scene | list[Scene]:
        """Classify where a recording was made: exactly one scene is true.

        The probabilities are averaged over the windows of the checkpoint's `ModelSpec.context`: of
        the released files, 5 s every 2.5 s (the authors' crops of a 10 s clip).

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            reject: Whether a recording that is unlike all training data makes the model not sure
                (`Scene.is_sure`); the released files have no statistics and are always sure.
            channels: How several channels are handled; see `dcasenet.types.Options`.
            channels_last: Arrays are (samples, channels).
            max_duration: Longest recording accepted, in seconds; None for any length.
            strict: Treat warnings about a recording as errors.

        Raises:
            ValueError: An option is out of range.
        """
        options = ReadOptions(channels, channels_last, max_duration, strict)
        require(self.spec, "scene")
        return self._answer(
            audio, sample_rate, postprocess.scene_query(self.spec, reject=reject), options
        )

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
        reject: bool = True,
        channels: Channels = "mix",
        channels_last: bool = False,
        max_duration: float | None = MAX_DURATION,
        strict: bool = False,
    ) -> Tags | list[Tags]:
        """Tag what sounds anywhere in a recording: any number of tags is true.

        Each tag takes its highest probability over the windows of the checkpoint's
        `ModelSpec.context`: of the released files, the whole recording up to 30 s.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            top: How many tags the result holds, 1 or more; all by default.
            reject: As in `classify_scene`.
            channels: How several channels are handled; see `dcasenet.types.Options`.
            channels_last: Arrays are (samples, channels).
            max_duration: Longest recording accepted, in seconds; None for any length.
            strict: Treat warnings about a recording as errors.

        Raises:
            ValueError: `top` is less than 1.
        """
        options = ReadOptions(channels, channels_last, max_duration, strict)
        require(self.spec, "tag")
        check_top(top)
        return self._answer(
            audio, sample_rate, postprocess.tag_query(self.spec, top, reject=reject), options
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
        window: float | None = None,
        hop: float | None = None,
        hysteresis: float | None = None,
        resolution: Resolution = "step",
        channels: Channels = "mix",
        reject: bool = True,
        channels_last: bool = False,
        max_duration: float | None = MAX_DURATION,
        strict: bool = False,
    ) -> Events | list[Events]:
        """Detect which sounds begin and end when, in the model's steps (`ModelSpec.step`).

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            threshold: Active means strictly above it: a number; an operating point, ``"f1"``,
                ``"precision@0.9"`` or ``"recall@0.9"``, from curves that the checkpoint stores
                (see `calibrate`); or either for some labels, by label. The spec's by default.
            median: Length of the median filter, in seconds, at most 60.
            min_gap: Gaps within a label that are shorter are closed, in seconds.
            min_duration: Events that are shorter are dropped, in seconds.
            window: A recording up to this long is read whole, a longer one in such windows, in
                seconds; by default the checkpoint's (60 s for the released files).
            hop: Step between windows, in seconds: a multiple of the step; by default the
                checkpoint's (48 s).
            hysteresis: An event that exceeds its threshold somewhere lasts as long as its
                probability exceeds this share of the threshold, 0.05 to 1; by default the
                checkpoint's (`ModelSpec.hysteresis`). With 1, every step of an event is above
                the threshold; with less, its mean probability may be below.
            resolution: ``"step"``, or ``"fine"``: rows of 0.16 s from a network whose steps are
                longer. Its last pooling is done at each of its offsets, the convolutions once.
            channels: How several channels are handled; see `dcasenet.types.Options`.
            reject: As in `classify_scene`; where the model is not sure, events have a probability
                above 0.5.
            channels_last: Arrays are (samples, channels).
            max_duration: Longest recording accepted, in seconds; None for any length.
            strict: Treat warnings about a recording as errors.

        Raises:
            ValueError: An option is out of range, a threshold names no event, or the runtime has
                no fine steps.
        """
        options = ReadOptions(channels, channels_last, max_duration, strict)
        query = self.event_query(
            threshold=threshold,
            median=median,
            min_gap=min_gap,
            min_duration=min_duration,
            window=window,
            hop=hop,
            hysteresis=hysteresis,
            resolution=resolution,
            reject=reject,
        )
        return self._answer(audio, sample_rate, query, options)

    def event_query(  # noqa: PLR0913 - the options of `detect_events`
        self,
        *,
        threshold: Threshold = None,
        median: float = 0.0,
        min_gap: float = 0.0,
        min_duration: float = 0.0,
        window: float | None = None,
        hop: float | None = None,
        hysteresis: float | None = None,
        resolution: Resolution = "step",
        reject: bool = True,
    ) -> Query[Events]:
        """Return what `detect_events` wants to know with the same options, for many recordings.

        Raises:
            TaskNotAvailableError: The model has no events.
            ValueError: An option is out of range, a threshold names no event, or the runtime has
                no fine steps.
        """
        require(self.spec, "event")
        event_grid(self.spec, window, hop)
        check_decoding(self.spec.step, median, min_gap, min_duration)
        if resolution not in ("step", "fine"):
            raise ValueError(f"resolution={resolution!r} is not known; give 'step' or 'fine'.")
        limits = limits_for(self.spec, threshold)
        if hysteresis is None:
            hysteresis = self.spec.hysteresis
        decoding = Decoding(
            limits, median, min_gap, min_duration, window, hop, resolution, reject, hysteresis
        )
        if postprocess.is_fine(self.spec, decoding) and not self.has_fine_steps:
            raise ValueError(
                "resolution='fine' needs the network in torch. Type: "
                "dcasenet.load(..., runtime='torch')"
            )
        return postprocess.event_query(self.spec, decoding)

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
        reject: bool = True,
        channels: Channels = "mix",
        channels_last: bool = False,
        max_duration: float | None = MAX_DURATION,
        strict: bool = False,
    ) -> Analysis | list[Analysis]:
        """Answer every task that the model has, as the three verbs would, in as few passes.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            threshold: As in `detect_events`.
            reject: As in `detect_events`.
            channels: How several channels are handled; see `dcasenet.types.Options`.
            channels_last: Arrays are (samples, channels).
            max_duration: Longest recording accepted, in seconds; None for any length.
            strict: Treat warnings about a recording as errors.

        Raises:
            ValueError: A threshold is out of range or names no event.
        """
        options = ReadOptions(channels, channels_last, max_duration, strict)
        query = postprocess.analysis_query(
            self.spec, Decoding(limits_for(self.spec, threshold), reject=reject)
        )
        return self._answer(audio, sample_rate, query, options)

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
        channels: Channels = "mix",
        channels_last: bool = False,
        max_duration: float | None = MAX_DURATION,
        strict: bool = False,
    ) -> Array | Embedding[Array] | list[Any]:
        """Return the embedding of the frozen backbone, for a classifier of your own.

        Args:
            audio: One audio or a sequence of them.
            sample_rate: Rate of arrays, in Hz.
            level: ``"clip"``: one vector (`ModelSpec.embedding_size`,), the mean over all steps
                but those of silence that windows are cut from (`Context`). ``"frame"``: an
                `Embedding` with a vector for each `ModelSpec.step`, of 0 in such silence.
            task: Whose backbone, for a model whose tasks have networks of their own.
            channels: How several channels are handled; see `dcasenet.types.Options`.
            channels_last: Arrays are (samples, channels).
            max_duration: Longest recording accepted, in seconds; None for any length.
            strict: Treat warnings about a recording as errors.

        Raises:
            ValueError: `level` or `task` is not known.
        """
        if level not in ("clip", "frame"):
            raise ValueError(f"level={level!r} is not known; give 'clip' or 'frame'.")
        check_tasks([task])
        if self.spec.members:
            require(self.spec, task)
        query: Query[Array | Embedding[Array]] = (
            postprocess.clip_embedding_query(self.spec, self.as_array)
            if level == "clip"
            else postprocess.frame_embedding_query(self.spec, self.as_array, task)
        )
        options = ReadOptions(channels, channels_last, max_duration, strict)
        return self._answer(audio, sample_rate, query, options, backbone=task)

    def calibrate(self, labeled: Labeled) -> Calibration:
        """Measure on labeled recordings how far event probabilities can be believed.

        The model keeps the precision and recall of each event by threshold:
        ``threshold="precision@0.9"`` and the like follow them from now on, and a saved model
        stores them. Probabilities do not change.

        Args:
            labeled: A CSV with the columns filename (relative to it), onset, offset (in seconds)
                and event_label; or pairs (audio, events), where events have these as attributes.

        Returns:
            A reliability diagram, curves, and a table of labels; see `Calibration`.

        Raises:
            DcasenetError: The table is faulty, or none of the model's events sounds anywhere.
            AudioError: A recording cannot be used.

        Example:
            >>> import dcasenet
            >>> import numpy as np
            >>> model = dcasenet.load()
            >>> noise = np.random.default_rng(0).standard_normal(48_000) * 0.1
            >>> truth = [dcasenet.Event("frog", 0.0, 1.0, 1.0)]
            >>> measured = model.calibrate([((noise, 24_000), truth)])
            >>> list(measured.thresholds("recall@0.9"))
            ['frog']
            >>> model.spec.curves["frog"] == measured.curves["frog"]
            True
        """
        require(self.spec, "event")
        detect = partial(self.detect_events, reject=False)
        measured = calibrate(detect, self.spec.events, labeled)
        self.spec = calibrated(self.spec, measured)
        return measured

    def stream(  # noqa: PLR0913 - the public signature
        self,
        sample_rate: int,
        *,
        threshold: Threshold = None,
        median: float = 0.0,
        min_gap: float = 0.0,
        min_duration: float = 0.0,
        window: float | None = None,
        hop: float | None = None,
        hysteresis: float | None = None,
        latency: float | None = None,
        reject: bool = True,
    ) -> Stream:
        """Process audio as it arrives: blocks in, final results out; see `Stream`.

        An event is final at most `window` + `hop` seconds, plus the lookahead of `median` and
        `min_gap`, after its offset. With `latency`, provisional events are returned as well.

        Args:
            sample_rate: Sample rate of the blocks, in Hz.
            threshold: As in `detect_events`.
            median: Length of the median filter, in seconds.
            min_gap: Gaps that are shorter are closed, in seconds.
            min_duration: Events that are shorter are dropped, in seconds.
            window: Length of a window for events, in seconds; by default 10 s, or that of a
                checkpoint with one grid for all tasks (`ModelSpec.has_one_grid`).
            hop: Step between windows, in seconds: a multiple of the step; by default 2.4 s,
                or that of the checkpoint.
            hysteresis: As in `detect_events`.
            latency: Also emit provisional events, at most this many seconds after onset if blocks
                are short; more than `ModelSpec.step`. They are marked ``final=False`` and equal
                the result of `Stream.close` at that point.
                Each look costs a pass over a window; there is one every `latency` less a step.
            reject: As in `detect_events`.

        Raises:
            ValueError: An option is out of range, or a threshold names no event.
        """
        limits = limits_for(self.spec, threshold)
        if not self.spec.has_one_grid:
            window = STREAM_WINDOW if window is None else window
            hop = STREAM_HOP if hop is None else hop
        options = Decoding(
            limits, median, min_gap, min_duration, window, hop, reject=reject, hysteresis=hysteresis
        )
        return Stream(self.infer_known, self.spec, sample_rate, options, latency)
