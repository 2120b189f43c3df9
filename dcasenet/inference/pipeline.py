"""The one road from audio to results, for recordings of any length.

Read → prepare → split → featurise → infer → decode: block by block, a window as soon as it is
complete. A long recording is never in memory as a whole; nor are many, beyond a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic

from dcasenet.audio.preprocess import Sound
from dcasenet.inference.batches import Batches, Infer
from dcasenet.inference.postprocess import Question, Result
from dcasenet.inference.split import Splitter
from dcasenet.inference.windowing import Window
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec

# Recordings that together have so many seconds are answered before more are read.
GROUP_SECONDS = 600.0


def answer_each(
    sounds: Iterable[Sound], question: Question[Result], infer: Infer, spec: ModelSpec
) -> Iterator[Result]:
    """Put a question to recordings, in order.

    Args:
        sounds: The recordings, as a model hears them: `Incoming` or `Prepared`.
        question: What is asked.
        infer: The runtime: featurises a batch and runs the network on it.
        spec: The model's.

    Raises:
        AudioError: A recording turns out to be unusable while it is read.
    """
    batches = Batches(infer, spec.frontend.sample_rate)
    group: list[_Heard[Result]] = []
    seconds = 0.0
    for sound in sounds:
        heard = _Heard(sound, question)
        splitter = Splitter(question.grids)
        for block in sound.blocks():  # read, prepare
            for passage in splitter.push(block):  # split
                batches.add(passage, heard.hear)  # featurise, infer
        for passage in splitter.close():
            batches.add(passage, heard.hear)
        group.append(heard)
        seconds += sound.facts.duration
        if seconds >= GROUP_SECONDS:
            batches.flush()
            yield from (heard.result() for heard in group)  # decode
            group, seconds = [], 0.0
    batches.flush()
    yield from (heard.result() for heard in group)


class _Heard(Generic[Result]):
    """What the network answered about one recording so far."""

    def __init__(self, sound: Sound, question: Question[Result]) -> None:
        self._sound, self._question = sound, question
        self._split: dict[str, list[Window]] = defaultdict(list)
        self._answers: dict[str, list[Floats]] = defaultdict(list)

    def hear(self, window: Window, answers: Mapping[str, Floats]) -> None:
        for task, values in answers.items():
            self._split[task].append(window)
            self._answers[task].append(self._question.keep(values))

    def result(self) -> Result:
        return self._question.decode(self._sound.facts, self._split, self._answers)
