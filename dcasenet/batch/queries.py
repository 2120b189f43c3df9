"""What a job asks of a model, put to a group of recordings at once."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from dcasenet import __version__
from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import AS_USUAL, AudioInfo, PreparedAudio, ReadOptions, StreamedAudio
from dcasenet.batch.rows import Row, analysis_row, embedding_row, failed_row
from dcasenet.batch.workers import Heard
from dcasenet.errors import AudioError
from dcasenet.inference import postprocess
from dcasenet.inference.pipeline import answer_prepared
from dcasenet.inference.postprocess import Decoding, Query, limits_for, require
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Analysis, Floats
from dcasenet.spec import Task, check_tasks
from dcasenet.types import Threshold, check_number

# A probe of a model: 1 s of noise at its rate, and so many of its first answers to each task.
PROBE_SECONDS, PROBE_VALUES = 1, 16


@dataclass(frozen=True)
class Asked:
    """A command with its options and its model.

    Attributes:
        command: ``"analyze"`` or ``"embed"``.
        model: Any runtime.
        options: The options that decide the answers, as plain values.
        tasks: What is asked of the network; nothing means its embedding.
        trunk: Whose embedding.
        query: What is asked of recordings that are at hand.
        to_row: A file's name, what is known of it and the answer → its row.
        reading: How files are read.
    """

    command: str
    model: SoundVerbs[Any]
    options: Mapping[str, Any]
    tasks: tuple[Task, ...]
    trunk: Task
    query: Query[Any]
    to_row: Callable[[str, AudioInfo, Any], Row]
    reading: ReadOptions = AS_USUAL

    def answer(self, group: Sequence[Heard]) -> list[Row]:
        """Answer a group of files, those at hand together.

        Args:
            group: What reading gave.

        Returns:
            A row for each.
        """
        results = self._results(heard.prepared for heard in group if heard.prepared is not None)
        return [self._row(heard, results) for heard in group]

    def _row(self, heard: Heard, results: Iterator[Any]) -> Row:
        if heard.prepared is not None:
            return self.to_row(heard.source, heard.prepared.info, next(results))
        if heard.error is not None:
            return failed_row(heard.source, heard.error, self.command)
        try:
            options = self.reading
            # A long one, block by block.
            with Reader(heard.source, max_duration=options.max_duration) as reader:
                recording = StreamedAudio(
                    reader, self.model.spec, options.channels, strict=options.strict
                )
                (result,) = self._results([recording])
                return self.to_row(heard.source, recording.info, result)
        except AudioError as error:
            return failed_row(heard.source, str(error), self.command)

    def _results(self, recordings: Iterable[PreparedAudio]) -> Iterator[Any]:
        infer = partial(self.model.infer, trunk=self.trunk)
        return answer_prepared(recordings, self.query, infer, self.model.spec)

    @cached_property
    def _probe(self) -> Mapping[str, Floats]:
        n_samples = PROBE_SECONDS * self.model.spec.frontend.sample_rate
        outputs = self.tasks or ("embedding",)
        noise = 0.1 * np.random.default_rng(0).standard_normal((1, n_samples))
        return self.model.infer(noise.astype(np.float32), outputs, trunk=self.trunk)

    @property
    def size(self) -> int:
        """Length of an embedding; 0 where none is asked for."""
        return self._probe["embedding"].shape[-1] if not self.tasks else 0

    def describe(self) -> dict[str, Any]:
        """Tell what decides the answers, to know the same job again: command, options, model.

        The model is known by its labels and by what it answers to a second of noise, which tells
        weights, precisions and runtimes apart.
        """
        spec = self.model.spec
        return {
            "version": __version__,
            "command": self.command,
            **self.options,
            **asdict(self.reading),
            "model": f"{spec.name} {spec.stage}",
            "precision": getattr(self.model, "precision", "as exported"),
            "labels": {task: list(spec.labels(task)) for task in self.tasks},
            "probe": {
                name: np.ravel(values)[:PROBE_VALUES].astype(float).tolist()
                for name, values in self._probe.items()
            },
        }


def ask_analysis(
    model: SoundVerbs[Any],
    threshold: Threshold = None,
    top: int = 5,
    reading: ReadOptions = AS_USUAL,
) -> Asked:
    """Ask for all that `SoundVerbs.analyze` gives, with the `top` best tags.

    Raises:
        ValueError: The threshold is out of range or names no event, or `top` is less than 1.
    """
    check_number("top", top, 1, accepted="give 1 or more", kind=numbers.Integral)
    spec = model.spec
    limits = limits_for(spec, threshold)

    def to_row(source: str, info: AudioInfo, analysis: Analysis) -> Row:
        return analysis_row(source, analysis, top)

    return Asked(
        command="analyze",
        model=model,
        options={"threshold": limits, "top": top},
        tasks=tuple(spec.tasks),
        trunk="tag",
        query=postprocess.analysis_query(spec, Decoding(limits)),
        to_row=to_row,
        reading=reading,
    )


def ask_embedding(
    model: SoundVerbs[Any], task: Task = "tag", reading: ReadOptions = AS_USUAL
) -> Asked:
    """Ask for the vector that `SoundVerbs.embed` gives of a clip.

    Raises:
        ValueError: There is no such task.
        TaskNotAvailableError: The model's tasks have networks of their own, and not this one.
    """
    check_tasks([task])
    if model.spec.members:
        require(model.spec, task)

    def to_row(source: str, info: AudioInfo, vector: Floats) -> Row:
        return embedding_row(source, vector, info.duration, info.warnings)

    return Asked(
        command="embed",
        model=model,
        options={"task": task},
        tasks=(),
        trunk=task,
        query=postprocess.clip_embedding_query(model.spec, np.asarray),
        to_row=to_row,
        reading=reading,
    )
