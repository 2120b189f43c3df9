"""The queries of a job: what a model computes for a group of recordings at once."""

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
    """A command with its options and its model.

    Attributes:
        command: A key of `dcasenet.batch.rows.ANSWER_COLUMNS`.
        model: Any runtime.
        tasks: Those that the network answers; none means its embedding.
        backbone: Whose embedding.
        query: What is computed for recordings that are at hand.
        to_row: What became of the file, what is known of it and the answer → its row.
        provenance: What the answers are made with.
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
        """Answer a group of files, those at hand together.

        Args:
            group: What reading gave.

        Returns:
            A row for each.
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
            # A long one, block by block.
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
        """Length of an embedding, by computing one; 0 where none is requested."""
        if self.tasks:
            return 0
        silence = np.zeros((1, self.model.spec.frontend.sample_rate), np.float32)
        return int(self.model.infer(silence, ["embedding"], self.backbone)["embedding"].shape[-1])

    def describe(self) -> dict[str, Any]:
        """Return what decides the answers, to know the same job again.

        The model is known by the digest of its weights, and the code by the package's version.
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
    """Query all that `SoundVerbs.analyze` returns, with the `top` best tags.

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
    """Query what `SoundVerbs.classify_scene` gives.

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
    """Query what `SoundVerbs.tag` gives.

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
    """Query what `SoundVerbs.detect_events` gives with the same options.

    Raises:
        TaskNotAvailableError: The model has no events.
        ValueError: An option is out of range.
    """
    query = model.event_query(**options)
    return _job("events", model, query, ("event",), reading)


def embedding_job(
    model: SoundVerbs[Any], task: Task = "tag", reading: ReadOptions = AS_USUAL
) -> JobSpec:
    """Query the vector that `SoundVerbs.embed` returns for a clip.

    Raises:
        ValueError: There is no such task.
        TaskNotAvailableError: The model's tasks have networks of their own, and not this one.
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
