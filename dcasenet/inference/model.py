"""The model in torch: the front end and the network behind the verbs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from dcasenet.errors import DcasenetError
from dcasenet.inference.explain import Explanation, explain
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.models.base import Outputs
from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import fuse
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.results import Floats
from dcasenet.spec import TASKS, ModelSpec, Task
from dcasenet.types import Audio, Rate, check_flags
from dcasenet.weights import hub
from dcasenet.weights.builder import weights_digest
from dcasenet.weights.loader import read_model
from dcasenet.weights.sources import Access, is_offline

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dcasenet.weights.hub import PushOptions

# What the convolutions can compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class SoundModel(SoundVerbs[Tensor], nn.Module):
    """A checkpoint with its verbs, and a module: waveform in, `Outputs` out.

    `dcasenet.load` makes it. The verbs run the network's fused form (`dcasenet.models.fused`) and
    always answer as in evaluation mode. That form is made at the first verb, and made again after
    ``to``, ``half``, ``train``, ``eval`` and ``load_state_dict``; call `refresh` after any other
    change of weights or hooks. Threads may share a model; it pickles and goes to other processes.

    Args:
        spec: Labels, front-end settings, context, thresholds, license and source.
        frontend: (batch, samples) at 24 kHz → (batch, 128, frames) normalized log-mel, float32
            whatever the network is cast to.
        network: (batch, 128, frames) → `Outputs`.
        precision: What the verbs compute in: ``"float32"``, or ``"bfloat16"`` for the convolutions.

    Shape:
        - Input: (batch, samples) at ``spec.frontend.sample_rate``.
        - Output: see `Outputs`.

    Raises:
        ValueError: The precision is not known.

    Example:
        >>> import dcasenet
        >>> model = dcasenet.load()
        >>> model(torch.zeros(1, 240_000)).event.shape[:2]
        torch.Size([1, 62])
        >>> log_mel = model.frontend(torch.zeros(1, 240_000))
        >>> model.network(log_mel, tasks=("scene",)).tag is None
        True
    """

    runtime: ClassVar[str] = "torch"
    has_fine_steps: ClassVar[bool] = True

    def __init__(
        self, spec: ModelSpec, frontend: LogMel, network: nn.Module, precision: str = "float32"
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision={precision!r} is not known; give one of {', '.join(PRECISIONS)}."
            )
        super().__init__()
        if torch.get_num_threads() > 1:  # some have been at work on the weights
            _first_process()
        self.refresh()
        self.spec = spec
        self.frontend = frontend
        self.network = network
        self.precision = precision
        self.eval()

    def forward(self, waveform: Tensor, tasks: Sequence[Task] | None = None) -> Outputs:
        """Run the front end and the network.

        Args:
            waveform: (batch, samples) at the model's rate.
            tasks: Whose logits to return, none for the embedding alone; by default the model's.

        Raises:
            TypeError: The waveform is not a tensor.
            ValueError: It is not (batch, samples), or holds nothing.
        """
        if not isinstance(waveform, Tensor):
            raise TypeError(
                f"The waveform is a {type(waveform).__name__}; give a tensor (batch, samples), or "
                f"call a verb, such as model.tag(array, sample_rate), which takes other audio."
            )
        if waveform.dim() == 2 and not len(waveform):
            raise ValueError(
                f"The waveform has the shape {tuple(waveform.shape)}; give (batch, samples), at "
                f"least one waveform."
            )
        log_mel = self.frontend(waveform).to(self.dtype)
        return self.network(log_mel, self.spec.tasks if tasks is None else tasks)  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.frontend.window.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's weights."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        return next(tensor.dtype for tensor in tensors if tensor.is_floating_point())

    def refresh(self) -> None:
        """Make the verbs see changes of weights, modules or hooks of the network."""
        self._fused: dict[Task | None, nn.Module] = {}
        self._digests: dict[tuple[Task, ...], str] = {}

    @property
    def weights_digest(self) -> str:
        """``"sha256:…"`` of all weights and the front end's settings.

        It is the same wherever the weights were loaded from; `refresh` has it computed anew.

        Example:
            >>> import dcasenet
            >>> dcasenet.load().weights_digest[:7]
            'sha256:'
        """
        return self.digest_of(self.spec.tasks)

    def digest_of(self, tasks: Sequence[Task]) -> str:
        """Return the digest of the weights that answer some tasks.

        It is `weights_digest`, but for a model whose tasks have networks of their own: the
        networks of other tasks are neither hashed nor loaded.
        """
        composed = self.composed
        key = tuple(task for task in TASKS if task in tasks) if composed else ()
        if key not in self._digests:
            networks = [composed.member(task) for task in key] if composed else [self.network]
            digests = [weights_digest(self.spec, self.frontend, network) for network in networks]
            joined = hashlib.sha256(" ".join(digests).encode()).hexdigest()
            self._digests[key] = f"sha256:{joined}" if composed else digests[0]
        return self._digests[key]

    @property
    def composed(self) -> ComposedNetwork | None:
        """The network, where it is one a task; None where one network answers all of them."""
        return self.network if isinstance(self.network, ComposedNetwork) else None

    @property
    def networks(self) -> dict[Task | None, nn.Module]:
        """The networks behind the model: ``{None: network}``, or the own one of each task.

        Raises:
            WeightsError: A task's network cannot be loaded.
        """
        if (composed := self.composed) is None:
            return {None: self.network}
        return {task: composed.member(task) for task in composed.tasks}

    def network_of(self, task: Task) -> nn.Module:
        """Return the network that answers a task: the model's, or the task's own.

        Raises:
            TaskNotAvailableError: Tasks have networks of their own, and this one has none.
            WeightsError: It cannot be loaded.
        """
        return self.network if (composed := self.composed) is None else composed.member(task)

    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Featurize a batch and run the network on it; see `SoundVerbs.infer`.

        Raises:
            DcasenetError: The process, with several threads, was forked after a model was loaded.
        """
        if torch.get_num_threads() > 1:
            _refuse_fork()
        by_task: dict[Task | None, list[str]] = {}
        for name in outputs:
            task: Any = {"embedding": backbone, "fine_event": "event"}.get(name, name)
            key = None if self.composed is None else task
            by_task.setdefault(key, []).append(name)
        values: dict[str, Tensor] = {}
        # The caller's autocast is for the caller's own layers: it would change the answers.
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            log_mel = self.frontend(torch.from_numpy(waveforms).to(self.device)).to(self.dtype)
            for key, names in by_task.items():
                values |= _outputs(self._fast(key), log_mel, names)
            return {name: value.float().cpu().numpy() for name, value in values.items()}

    def _fast(self, key: Task | None) -> nn.Module:
        if key not in self._fused:  # of two threads that make it, one is followed
            network = self.network if key is None else self.network_of(key)
            self._fused.setdefault(key, fuse(network, PRECISIONS[self.precision]))
        return self._fused[key]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SoundModel:
        self.refresh()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> SoundModel:
        """Set training or evaluation mode, and refresh the verbs."""
        self.refresh()
        return super().train(mode)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights, and refresh the verbs; see `torch.nn.Module.load_state_dict`."""
        self.refresh()
        return super().load_state_dict(state_dict, strict, assign)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fused": {}}  # it can be made again

    def as_array(self, values: Floats) -> Tensor:
        """Return an embedding as a tensor on the CPU."""
        return torch.from_numpy(values)

    def tag_head(self, embeddings: Floats) -> Floats:
        """Return the tags' logits of embeddings; see `SoundVerbs.tag_head`."""
        network: Any = self.network_of("tag")
        has_linear = "tag" in network.linear  # a ModuleDict, which has no `get`
        head = network.linear["tag"] if has_linear else network.tag_head
        with torch.inference_mode():
            logits = head.eval()(torch.from_numpy(embeddings).to(next(head.parameters())))
            return logits.float().cpu().numpy()  # type: ignore[no-any-return]

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
        """Explain a label: which bins of the log-mel, and which seconds, speak for it.

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
            >>> model = dcasenet.load()
            >>> audio = 0.1 * np.random.default_rng(0).standard_normal(24_000)
            >>> model.explain(audio, "rain", 24_000).saliency.shape
            (128, 50)
        """
        # Gradients are needed in the caller's inference mode, too, and autocast would change them.
        with torch.inference_mode(mode=False), torch.autocast(self.device.type, enabled=False):
            return explain(
                self,
                audio,
                label,
                sample_rate,
                task=task,
                steps=steps,
                channels_last=channels_last,
            )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        stage: str = "joint",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> SoundModel:
        """Load a model by the name that other libraries' users know; see `dcasenet.load`.

        Args:
            pretrained_model_name_or_path: A Hugging Face repository ``"org/name"``, a model
                directory or weights file, or a released name such as ``"v3"``.
            stage: Which checkpoint of a released name.
            revision: Branch, tag or commit of a repository; by default its main branch.
            token: Access token; by default the one that ``hf auth login`` stored.
            cache_dir: Cache folder; by default ``$DCASENET_HOME``, else the platform's.
            local_files_only: Never to download.
            force_download: Download a repository again although it is in the cache.

        Returns:
            The model, on the CPU, in evaluation mode.

        Raises:
            UnknownModelError, WeightsError: See `dcasenet.load`.

        Example:
            >>> SoundModel.from_pretrained("v3", stage="distilled").spec.tasks
            ('scene', 'tag', 'event')
        """
        name = pretrained_model_name_or_path
        if revision is not None and isinstance(name, str) and not Path(name).expanduser().exists():
            name = f"{name}@{revision}"
        offline = is_offline(local_files_only)
        access = Access(cache_dir, offline, token=token, again=force_download)
        return cls(*read_model(name, stage, None, access))

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        *,
        overwrite: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push: Unpack[PushOptions],
    ) -> Path:
        """Write the model as a folder that `dcasenet.load` reads back; see `dcasenet.weights.hub`.

        Args:
            save_directory: The folder; made if it does not exist. Files that this wrote before
                are replaced.
            overwrite: Whether other files of the same names are replaced as well.
            push_to_hub: Also upload the model, as the method of that name does.
            repo_id: Where to; by default the folder's name, in the user's own account.
            **push: Options of the method `push_to_hub`.

        Returns:
            The folder: ``config.json``, the weights as safetensors, a model card.

        Raises:
            WeightsError: The folder holds other files of these names, or cannot be written, or
                the Hub refuses.
        """
        check_flags(push_to_hub=push_to_hub)
        folder = hub.save_pretrained(self, save_directory, overwrite=overwrite)
        if push_to_hub:
            hub.push_to_hub(self, hub.Push(repo_id or folder.resolve().name, **push))
        return folder

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload the model to the Hugging Face Hub, in one commit; see `dcasenet.weights.hub`.

        Args:
            repo_id: ``"org/name"``; made if it does not exist.
            commit_message: What the commit says; by default which model it is.
            private: Whether a new repository is private; by default as the organization has it.
            token: Access token; by default the one that ``hf auth login`` stored.
            revision: Branch to commit to, made if it does not exist; by default the main one.
            create_pr: Open a pull request instead.

        Returns:
            What `dcasenet.load` takes to get exactly this upload: ``"org/name@<commit>"``.

        Raises:
            WeightsError: The Hub refuses or cannot be reached.
        """
        push = hub.Push(repo_id, commit_message, private, token, revision, create_pr)
        return hub.push_to_hub(self, push)

    def __repr__(self) -> str:
        counts = {"scene": "scenes", "tag": "tags", "event": "events"}
        answers = ", ".join(f"{len(self.spec.labels(t))} {counts[t]}" for t in self.spec.tasks)
        return f"SoundModel({self.spec.name} {self.spec.stage!r}: {answers}; {self.device})"


def _outputs(network: Any, log_mel: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Run one network for some outputs."""
    tasks = [task for task in TASKS if task in names]
    values: dict[str, Tensor] = {}
    if tasks or "embedding" in names:
        outputs: Outputs = network(log_mel, tasks=tasks)
        if "embedding" in names and outputs.embedding is None:  # of a scene alone
            embedding = network(log_mel, tasks=()).embedding
            outputs = dataclasses.replace(outputs, embedding=embedding)
        values = {name: getattr(outputs, name) for name in names if name != "fine_event"}
    if "fine_event" in names:
        values["fine_event"] = network.fine_events(log_mel)
    return values


@cache
def _first_process() -> int:
    """Return the process that called this first: this one, or the one that it was forked from."""
    return os.getpid()


def _refuse_fork() -> None:
    """Refuse to wait for threads that only the process has that this one was forked from."""
    if _first_process() != os.getpid():
        raise DcasenetError(
            "This process was forked from one that had loaded a model, and the threads that "
            "compute stayed there: the call would never end. Start processes with "
            "multiprocessing.get_context('spawn'), or type torch.set_num_threads(1) in each first."
        )
