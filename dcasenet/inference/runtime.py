"""What a model must be able to do for the verbs, whatever runs its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Generic

from dcasenet.audio.io import is_single
from dcasenet.audio.preprocess import Incoming, read_each
from dcasenet.inference.pipeline import answer_each
from dcasenet.inference.postprocess import Question, Result
from dcasenet.results import Array, Floats
from dcasenet.spec import ModelSpec, Task
from dcasenet.types import Audio, Audios, Rate


class Runtime(ABC, Generic[Array]):
    """A network and its front end, by whatever library they run.

    Attributes:
        spec: What the model knows about itself.
    """

    spec: ModelSpec

    @abstractmethod
    def infer(
        self, waveforms: Floats, tasks: Sequence[Task], trunk: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Featurise a batch and run the network on it.

        Args:
            waveforms: (batch, samples) at the model's rate.
            tasks: Whose logits to give; with none, the embedding alone.
            trunk: Whose embedding, where tasks have networks of their own.

        Returns:
            Task, or ``"embedding"``, → array (batch, …) as in `Outputs`.
        """

    @abstractmethod
    def as_array(self, values: Floats) -> Array:
        """Give an embedding in the runtime's own type."""

    def _answer(
        self,
        audio: Audio | Audios,
        sample_rate: Rate,
        channels_last: bool,
        question: Question[Result],
        trunk: Task = "tag",
    ) -> Result | list[Result]:
        readers = read_each(audio, sample_rate, channels_last=channels_last)
        sounds = (Incoming(reader, self.spec, question.channels) for reader in readers)
        infer = partial(self.infer, trunk=trunk)
        results = list(answer_each(sounds, question, infer, self.spec))
        return results[0] if is_single(audio) else results
