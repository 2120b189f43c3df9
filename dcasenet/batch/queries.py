"""Define what a job computes with a model for a group of recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import AS_USUAL, AudioInfo, AudioSource, ReadOptions, StreamedAudio
from dcasenet.batch.rows import Row, embedding_row, failed_row, result_row
from dcasenet.batch.workers import ReadResult
from dcasenet.errors import AudioError
from dcasenet.inference import postprocess
from dcasenet.inference.operating_points import limits_for
from dcasenet.inference.pipeline import answer_loaded
from dcasenet.inference.postprocess import Decoding, Query, require
from dcasenet.inference.verbs import SoundVerbs, check_top
from dcasenet.results import Floats, Provenance, Result
from dcasenet.results.provenance import plain_numbers
from dcasenet.spec import Task, check_tasks
from dcasenet.types import DecodingOptions, Threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class JobSpec:
    """A model and what a job computes with it.

    Attributes:
        command: A key of `dcasenet.batch.rows.ANSWER_COLUMNS`.
        model: A model of any runtime.
        tasks: Tasks that the network computes; empty for its embedding.
        backbone: Task whose embedding is computed.
        query: The computation for recordings in memory.
        to_row: Builds a row from the read file, its properties and the result.
        provenance: Provenance of the results.
        reading: How files are read.
    """

    command: str
    model: SoundVerbs[Any]
    tasks: tuple[Task, ...]
    backbone: Task
    query: Query[Any]
    to_row: Callable[[ReadResult, AudioInfo, Any], Row]
    provenance: Provenance
    reading: ReadOptions = AS_USUAL

    def answer(self, group: Sequence[ReadResult]) -> list[Row]:
        """Compute the rows of a group of files; those in memory share batches.

        Args:
            group: The files as they were read.

        Returns:
            One row per file.
        """
        results = self._results(file.audio for file in group if file.audio is not None)
        return [self._row(file, results) for file in group]

    def _row(self, file: ReadResult, results: Iterator[Any]) -> Row:
        if file.audio is not None:
            return self.to_row(file, file.audio.info, next(results))
        if file.error is not None:
            return failed_row(file.source, file.error, self.command, file.digest)
        try:
            options = self.reading
            # A long recording, block by block.
            with Reader(file.source, max_duration=options.max_duration) as reader:
                recording = StreamedAudio(
                    reader, self.model.spec, options.channels, strict=options.strict
                )
                (result,) = self._results([recording])
                return self.to_row(file, recording.info, result)
        except AudioError as error:
            return failed_row(file.source, str(error), self.command, file.digest)

    def _results(self, recordings: Iterable[AudioSource]) -> Iterator[Any]:
        infer = partial(self.model.infer_known, backbone=self.backbone)
        return answer_loaded(recordings, self.query, infer, self.model.spec)

    @cached_property
    def size(self) -> int:
        """Length of an embedding, found by computing one; 0 for other commands."""
        if self.tasks:
            return 0
        silence = np.zeros((1, self.model.spec.frontend.sample_rate), np.float32)
        return int(self.model.infer(silence, ["embedding"], self.backbone)["embedding"].shape[-1])

    def describe(self) -> dict[str, Any]:
        """Return the values that determine the results, to recognize the same job later.

        The model is identified by the digest of its weights, the code by the package's version.
        """
        spec = self.model.spec
        labels = {task: list(spec.labels(task)) for task in self.tasks}
        reading = plain_numbers(asdict(self.reading))
        return {"command": self.command, **self.provenance.to_dict(), "labels": labels, **reading}


def analysis_job(
    model: SoundVerbs[Any],
    threshold: Threshold = None,
    top: int = 5,
    reading: ReadOptions = AS_USUAL,
    *,
    reject: bool = True,
) -> JobSpec:
    """Compute what `SoundVerbs.analyze` returns, with the `top` best tags.

    Raises:
        ValueError: The threshold is out of range or names no event, or `top` is less than 1.
    """
    check_top(top)
    decoding = Decoding(limits_for(model.spec, threshold), reject=reject)
    query = postprocess.analysis_query(model.spec, decoding, top)
    return _job("analyze", model, query, tuple(model.spec.tasks), reading)


def scene_job(
    model: SoundVerbs[Any], reading: ReadOptions = AS_USUAL, *, reject: bool = True
) -> JobSpec:
    """Compute what `SoundVerbs.classify_scene` returns.

    Raises:
        TaskNotAvailableError: The model has no scenes.
    """
    require(model.spec, "scene")
    query = postprocess.scene_query(model.spec, reject=reject)
    return _job("scene", model, query, ("scene",), reading)


def tags_job(
    model: SoundVerbs[Any],
    top: int = 5,
    reading: ReadOptions = AS_USUAL,
    *,
    reject: bool = True,
) -> JobSpec:
    """Compute what `SoundVerbs.tag` returns.

    Raises:
        TaskNotAvailableError: The model has no tags.
        ValueError: `top` is less than 1.
    """
    require(model.spec, "tag")
    check_top(top)
    query = postprocess.tag_query(model.spec, top, reject=reject)
    return _job("tags", model, query, ("tag",), reading)


def events_job(
    model: SoundVerbs[Any], reading: ReadOptions = AS_USUAL, **options: Unpack[DecodingOptions]
) -> JobSpec:
    """Compute what `SoundVerbs.detect_events` returns with the same options.

    Raises:
        TaskNotAvailableError: The model has no events.
        ValueError: An option is out of range.
    """
    query = model.event_query(**options)
    return _job("events", model, query, ("event",), reading)


def embedding_job(
    model: SoundVerbs[Any], task: Task = "tag", reading: ReadOptions = AS_USUAL
) -> JobSpec:
    """Compute the embedding that `SoundVerbs.embed` returns.

    Raises:
        ValueError: The task is not known.
        TaskNotAvailableError: The model has one network per task, and none for this one.
    """
    check_tasks([task])
    if model.spec.members:
        require(model.spec, task)

    def to_row(file: ReadResult, info: AudioInfo, vector: Floats) -> Row:
        return embedding_row(file.source, vector, info.duration, info.warnings, file.digest)

    query = postprocess.clip_embedding_query(model.spec, np.asarray)
    options = {"task": task, "channels": reading.channels}
    made = model.provenance("embed", options, query.grids)
    return JobSpec("embed", model, (), task, query, to_row, made, reading)


def _job(
    command: str,
    model: SoundVerbs[Any],
    query: Query[Any],
    tasks: tuple[Task, ...],
    reading: ReadOptions,
) -> JobSpec:
    def to_row(file: ReadResult, info: AudioInfo, result: Result) -> Row:
        return result_row(file.source, result, command, file.digest)

    options = {**query.options, "channels": reading.channels}
    made = model.provenance(query.verb, options, query.grids)
    return JobSpec(command, model, tasks, "tag", query, to_row, made, reading)
