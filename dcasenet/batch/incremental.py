"""Write the results of one long recording to a file while it is analyzed.

Lines are written as they become final, a minute of sound at a time, and never changed: a job that
is stopped leaves complete lines, the last ones up to two minutes before the position where it was
stopped. In either format the scenes and tags are those of a window (`ModelSpec.context`), and the
events are those of `detect_events`. The scene and the tags of the whole recording, as `analyze`
returns them, come at the end.

``.csv`` has the columns of the command: ``filename,task,label,onset,offset,probability``. A window
has its best scene or five best tags, from onset to offset; those of the whole recording have no
times.

``.jsonl`` has one object per line, with ``filename`` and ``task``. ``"scene"`` and ``"tag"``:
onset, offset, familiarity and is_sure of the window, and its scenes or tags as `Scene.to_dict` and
`Tags.to_dict` have them. ``"event"``: the values of `Event.to_dict`. ``"recording"``, the last line
of a job that was not stopped: the values of `Analysis.to_dict`, without the events.

The provenance of the results is in ``<output>.provenance.json``, written last.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import AudioInfo, ReadOptions, StreamedAudio
from dcasenet.inference.operating_points import limits_for
from dcasenet.inference.pipeline import BATCH_SECONDS
from dcasenet.inference.postprocess import Decoding
from dcasenet.inference.stream import StreamDecoder, StreamUpdate
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Floats, Scene, ScoredLabel, Tags, with_recording, writing
from dcasenet.results.exporters import FLAT_COLUMNS, csv_text
from dcasenet.spec import ModelSpec, Task
from dcasenet.text import json_text
from dcasenet.types import Channels, Threshold

# Name of the method in the provenance of such a file.
VERB = "write_results"
# Number of tags of a window in a table.
TOP = 5
# Sound that is inferred before lines are written, so that windows fill whole batches.
STRETCH_SECONDS = BATCH_SECONDS

_Row = tuple[str, ...]


def write_results(
    model: SoundVerbs[Any],
    audio: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    threshold: Threshold = None,
    reject: bool = True,
    channels: Channels = "mix",
    max_duration: float | None = None,
    strict: bool = False,
) -> None:
    """Analyze one recording of any length, and write results line by line as they become final.

    The memory needed does not depend on the recording's length.

    Args:
        model: A model of any runtime.
        audio: Path of the recording.
        output: File to write, with the suffix ``.csv`` or ``.jsonl``; an existing one is replaced.
        threshold: As in `SoundVerbs.detect_events`.
        reject: As in `SoundVerbs.detect_events`.
        channels: How several channels are handled; ``"each"`` is not supported here.
        max_duration: Longest duration accepted, in seconds; None for any.
        strict: Whether to raise an error for a warning, once the recording has been read.

    Raises:
        ValueError: The suffix or the channels are not supported, or a threshold is out of range or
            names no event.
        AudioError: The recording cannot be used. Lines that were final before it stay written.
        JobError: Another program's file has the name of the provenance beside the output.
        OSError: `output` cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet
        >>> import soundfile
        >>> model = dcasenet.load()
        >>> with TemporaryDirectory() as folder:
        ...     soundfile.write(folder + "/night.wav", np.zeros(12 * 8_000), 8_000)
        ...     write_results(model, folder + "/night.wav", folder + "/night.csv")
        ...     lines = Path(folder, "night.csv").read_text().splitlines()
        >>> [",".join(line.split(",")[1:5]) for line in lines if ",scene," in line]
        ['scene,office,0.00,10.00', 'scene,office,2.08,12.00', 'scene,office,,']
    """
    path = Path(output)
    if path.suffix not in FORMS:
        raise ValueError(f"{path} ends in {path.suffix!r}; give one of {', '.join(FORMS)}.")
    if channels == "each":
        raise ValueError("channels='each' needs the whole recording; give 'mix' or a number.")
    writing.check_sidecar(path)
    options = ReadOptions(channels, max_duration=max_duration, strict=strict)
    decoding = Decoding(limits_for(model.spec, threshold), reject=reject)
    with Reader(os.fspath(audio), max_duration=options.max_duration) as reader:
        decoder = StreamDecoder(model.infer_known, model.spec, decoding)
        audio_stream = StreamedAudio(reader, model.spec, options.channels, strict=options.strict)
        form = FORMS[path.suffix](reader.source)
        # Without a buffer, lines reach the file in one write: a kill in between would cut one.
        with path.open("wb", buffering=0) as file:

            def write(text: str) -> None:
                left = memoryview(text.encode("utf-8"))
                while left:
                    left = left[file.write(left) :]

            write(form.head())
            length = round(STRETCH_SECONDS * model.spec.frontend.sample_rate)
            for stretch in _stretches(audio_stream.blocks(), length):
                write(form.lines(decoder.push(stretch)))
            info = audio_stream.info
            lines = form.lines(decoder.close(info))
            scenes, tags = (_ranked(model.spec, task, decoder) for task in ("scene", "tag"))
            write(lines + form.end(scenes, tags, info, decoder.doubt(info)))
    described = {**asdict(decoding), "channels": channels}
    made = model.provenance(VERB, described, decoder.grids)
    writing.write_provenance(path, with_recording(made, os.fspath(audio)))


def _stretches(blocks: Iterable[Floats], length: int) -> Iterator[Floats]:
    """Join blocks, (channels, samples), into longer ones of at least `length` samples."""
    held: list[Floats] = []
    for block in blocks:
        held.append(block)
        if sum(each.shape[1] for each in held) >= length:
            yield np.concatenate(held, axis=1)
            held = []
    if held:
        yield np.concatenate(held, axis=1)


def _ranked(spec: ModelSpec, task: Task, decoder: StreamDecoder) -> list[ScoredLabel]:
    """Return the labels of the whole recording, best first; empty for a task the model lacks."""
    if task not in decoder.pooled:
        return []
    labels, values = spec.labels(task), decoder.pooled[task]
    order = np.argsort(-values, kind="stable")
    return [ScoredLabel(labels[i], float(values[i])) for i in order]


class _Csv:
    """Format results as lines of a table."""

    def __init__(self, source: str) -> None:
        self._source = source

    def head(self) -> str:
        return csv_text([FLAT_COLUMNS])

    def lines(self, update: StreamUpdate) -> str:
        rows = [
            (task, best.label, *_times(item.times[0]), best.probability)
            for task, items, top in (("scene", update.scenes, 1), ("tag", update.tags, TOP))
            for item in items
            for best in item.top(top)
        ]
        rows += [
            ("event", e.label, *_times((e.onset, e.offset)), e.probability) for e in update.events
        ]
        return csv_text(self._row(*row) for row in rows)

    def end(
        self,
        scenes: list[ScoredLabel],
        tags: list[ScoredLabel],
        info: AudioInfo,
        doubt: Mapping[str, Any],
    ) -> str:
        rows = [("scene", scored) for scored in scenes[:1]] + [("tag", s) for s in tags[:TOP]]
        return csv_text(self._row(task, s.label, "", "", s.probability) for task, s in rows)

    def _row(self, task: str, label: str, onset: str, offset: str, probability: float) -> _Row:
        return (self._source, task, label, onset, offset, f"{probability:.3f}")


class _JsonLines:
    """Format results as JSON objects, one per line."""

    def __init__(self, source: str) -> None:
        self._source = source

    def head(self) -> str:
        return ""

    def lines(self, update: StreamUpdate) -> str:
        windows: list[tuple[str, Scene | Tags]] = [("scene", scene) for scene in update.scenes]
        windows += [("tag", tags) for tags in update.tags]
        text = []
        for task, item in windows:
            onset, offset = item.times[0]
            doubt = {"familiarity": item.familiarity, "is_sure": item.is_sure}
            text.append(self._line(task, onset=onset, offset=offset, **doubt, **item.values_dict()))
        return "".join([*text, *(self._line("event", **e.to_dict()) for e in update.events)])

    def end(
        self,
        scenes: list[ScoredLabel],
        tags: list[ScoredLabel],
        info: AudioInfo,
        doubt: Mapping[str, Any],
    ) -> str:
        return self._line(
            "recording",
            duration=info.duration,
            warnings=list(info.warnings),
            **doubt,
            scene=scenes[0].to_dict() if scenes else None,
            tags=[scored.to_dict() for scored in tags],
        )

    def _line(self, task: str, **values: Any) -> str:
        row = {"filename": self._source, "task": task, **values}
        return json_text(row) + "\n"


FORMS: dict[str, type[_Csv] | type[_JsonLines]] = {".csv": _Csv, ".jsonl": _JsonLines}


def _times(times: Iterable[float]) -> tuple[str, str]:
    onset, offset = times
    return f"{onset:.2f}", f"{offset:.2f}"
