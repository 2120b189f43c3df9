"""The model in torch: the front end and the network behind the verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from dcasenet.inference.explain import Explanation, explain
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import Twins
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, Task
from dcasenet.types import Audio, Rate
from dcasenet.weights import hub

# What the convolutions can compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class SoundModel(SoundVerbs[Tensor]):
    """A checkpoint, ready to be asked; `dcasenet.load` makes it.

    Its verbs are those of `SoundVerbs`. The two parts behind them are plain modules, of use in
    anyone's training loop; the verbs run the network's fast twin (`dcasenet.models.fused`), which
    follows every change of it and always answers as in evaluation mode. Threads may share a model.

    Args:
        spec: Labels, front-end settings, thresholds, licence and origin.
        frontend: (batch, samples) at 24 kHz → (batch, 128, frames) normalised log-mel.
        network: (batch, 128, frames) → `Outputs`.
        precision: What the verbs compute in: ``"float32"``, or ``"bfloat16"`` for the convolutions.

    Attributes:
        spec: As given.
        frontend: As given, always float32.
        network: As given, the plain network.
        precision: As given.

    Raises:
        ValueError: The precision is not known.

    Example:
        >>> import dcasenet
        >>> model = dcasenet.load("v3", stage="open")
        >>> log_mel = model.frontend(torch.zeros(1, 240_000))
        >>> model.network(log_mel, tasks=("event",)).event.shape[:2]
        torch.Size([1, 12])
    """

    def __init__(
        self, spec: ModelSpec, frontend: LogMel, network: nn.Module, precision: str = "float32"
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision={precision!r} is not known; give one of {', '.join(PRECISIONS)}."
            )
        self.spec = spec
        self.frontend = frontend.eval()
        self.network = network.eval()
        self.precision = precision
        self._twins = Twins(PRECISIONS[precision])

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.frontend.window.device

    def to(self, device: str | torch.device) -> SoundModel:
        """Move it to a device, such as ``"cuda"``, and give it back."""
        self.frontend.to(device)
        self.network.to(device)
        return self

    def infer(
        self, waveforms: Floats, tasks: Sequence[Task], trunk: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Featurise a batch and run the network on it; see `SoundVerbs.infer`."""
        asked: list[tuple[nn.Module, tuple[Task, ...]]] = [(self.network, tuple(tasks))]
        if isinstance(self.network, ComposedNetwork):
            asked = [(self.network.member(task), (task,)) for task in tasks]
            asked = asked or [(self.network.member(trunk), ())]
        answers: dict[str, Floats] = {}
        with torch.inference_mode():
            log_mel = self.frontend(torch.from_numpy(waveforms).to(self.device))
            for network, wanted in asked:
                outputs = self._twins.of(network)(log_mel, tasks=wanted)
                for name in wanted or ("embedding",):
                    answers[name] = getattr(outputs, name).float().cpu().numpy()
        return answers

    def as_array(self, values: Floats) -> Tensor:
        """Give an embedding as a tensor on the CPU."""
        return torch.from_numpy(values)

    def explain(
        self,
        audio: Audio,
        label: str,
        sample_rate: Rate = None,
        *,
        task: Task | None = None,
        steps: int = 16,
        channels_last: bool = False,
    ) -> Explanation:
        """Say what in a recording speaks for a label: which bins of the log-mel, which seconds.

        Integrated gradients of the label's log-odds, from a quiet version of the recording (each
        mel bin at its lowest tenth, or at the training's average where that is less) to itself.
        It takes some 50 passes; a long recording is explained in windows of 30 s.

        Args:
            audio: One audio, as the verbs take it.
            label: A tag, event or scene of the model.
            sample_rate: Rate of an array, in Hz.
            task: Which task's label, where several have it; by default the first of tag, event and
                scene.
            steps: Points of the integral; more are slower and more exact.
            channels_last: An array is (samples, channels).

        Returns:
            The saliency (mel, frames) and the seconds that count; its `plot` draws them.

        Raises:
            AudioError: The audio cannot be used.
            TaskNotAvailableError: The checkpoint has no head for the task.
            ValueError: The model has no such label, or `steps` is less than 1.

        Example:
            >>> import dcasenet, numpy as np
            >>> model = dcasenet.load("v3", stage="open")
            >>> audio = 0.1 * np.random.default_rng(0).standard_normal(24_000)
            >>> model.explain(audio, "rain", 24_000).saliency.shape
            (128, 50)
        """
        return explain(
            self,
            audio,
            label,
            sample_rate,
            task=task,
            steps=steps,
            channels_last=channels_last,
        )

    def save_pretrained(self, folder: str | PathLike[str]) -> Path:
        """Write the model as a folder that `dcasenet.load` reads back; see `dcasenet.weights.hub`.

        Args:
            folder: Made if it does not exist.

        Returns:
            The folder: ``config.json``, the weights as safetensors, a model card.

        Raises:
            WeightsError: The folder cannot be written.
        """
        return hub.save_pretrained(self, folder)

    def push_to_hub(
        self, repo: str, *, private: bool | None = None, token: str | None = None
    ) -> str:
        """Upload the model to the Hugging Face Hub, in one commit; see `dcasenet.weights.hub`.

        Args:
            repo: ``"org/name"``; made if it does not exist.
            private: Whether a new repository is private; by default as the organisation has it.
            token: Access token; by default the one that ``hf auth login`` stored.

        Returns:
            What `dcasenet.load` takes to get exactly this upload: ``"org/name@<commit>"``.

        Raises:
            WeightsError: The Hub refuses or cannot be reached.
        """
        return hub.push_to_hub(self, repo, private=private, token=token)

    def __repr__(self) -> str:
        counts = {"scene": "scenes", "tag": "tags", "event": "events"}
        answers = ", ".join(f"{len(self.spec.labels(t))} {counts[t]}" for t in self.spec.tasks)
        return f"SoundModel({self.spec.name} {self.spec.stage!r}: {answers}; {self.device})"
