"""A model becomes one ONNX file: waveform in, answers out, and all that it knows about itself.

`dcasenet.onnx.load` reads the file without torch; any other ONNX runtime can run its graph.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from dcasenet.answers import require
from dcasenet.checkpoint import write_bytes
from dcasenet.composed import ComposedNetwork
from dcasenet.errors import WeightsError
from dcasenet.frontend import MIN_FRAMES, SILENCE, LogMel
from dcasenet.fused import FusedPart, Twins
from dcasenet.onnx import EMBEDDING, SPEC, WAVEFORM, embedding_of
from dcasenet.spec import TASKS, Task

if TYPE_CHECKING:
    from dcasenet.model import SoundModel

# The first opset with a stable reflecting Pad for any length; runtimes have read it since 2022.
OPSET = 17
# Samples and clips that the graph is traced with; it takes any other number of both.
TRACED = (2, 48_000)


class GraphLogMel(nn.Module):
    """`LogMel` in operations that an ONNX graph has: the Fourier transform is a convolution.

    Its kernels are computed in the graph, since they would be two thirds of a small model's file.

    Args:
        frontend: The front end to do the same as.

    Shape:
        - Input: (batch, samples), at least ``n_fft // 2 + 2`` samples.
        - Output: (batch, n_mels, frames), at least 40 frames.
    """

    bins: Tensor
    samples: Tensor

    def __init__(self, frontend: LogMel) -> None:
        super().__init__()
        self.frontend = frontend
        # Buffers, since what is made of plain numbers is worked out while tracing and stored.
        self.register_buffer("bins", torch.arange(frontend.settings.n_fft // 2 + 1))
        self.register_buffer("samples", torch.arange(frontend.settings.win_length))
        self.to(frontend.window.device)

    def forward(self, waveform: Tensor) -> Tensor:
        """Give the normalised log-mel of each waveform of a batch."""
        s = self.frontend.settings
        emphasised = waveform[:, 1:] - s.pre_emphasis * waveform[:, :-1]
        # The window is shorter than the transform: what it leaves out need not be padded.
        before = (s.n_fft - s.win_length) // 2
        after = s.n_fft - s.win_length - before
        edges = (s.n_fft // 2 - before, s.n_fft // 2 - after)
        padded = nnf.pad(emphasised[:, None], edges, mode="reflect")
        real, imaginary = (
            nnf.conv1d(padded, kernels[:, None], stride=s.hop_length) for kernels in self._kernels()
        )
        mel = self.frontend.mel_filters @ (real.square() + imaginary.square())
        mel = _doubled(mel)
        return self.frontend.normalize(torch.where(mel == 0, SILENCE, mel).log())

    def _kernels(self) -> tuple[Tensor, Tensor]:
        """Give the windowed cosines and sines, each (n_fft // 2 + 1, win_length)."""
        s = self.frontend.settings
        # Whole turns are taken off while the phase is a whole number, so that none is rounded.
        turns = (self.bins[:, None] * self.samples) % s.n_fft
        phase = turns.float() * (2 * torch.pi / s.n_fft)
        return phase.cos() * self.frontend.window, phase.sin() * self.frontend.window


class Graph(nn.Module):
    """Waveform in; the logits of each task and the embeddings out, in the order of `names`.

    Args:
        model: The model; it is not changed, and most of its parameters are not copied.
        tasks: Whose logits to give.
    """

    def __init__(self, model: SoundModel, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.log_mel = GraphLogMel(model.frontend)
        self.tasks = tuple(tasks)
        self.names: list[str] = []
        network = model.network
        members: list[nn.Module] = []
        self.whole: nn.Module | None = None
        if isinstance(network, ComposedNetwork):
            members = [_whole(network.member(task)) for task in tasks]
        else:
            self.whole = _whole(network)
        self.members = nn.ModuleList(members)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Answer a batch of waveforms."""
        log_mel = self.log_mel(waveform)
        answers: dict[str, Tensor] = {}
        if self.whole is not None:
            outputs = self.whole(log_mel, tasks=self.tasks)
            answers |= {task: getattr(outputs, task) for task in self.tasks}
            if outputs.embedding is not None:
                answers[EMBEDDING] = outputs.embedding
        for task, member in zip(self.tasks, self.members, strict=False):
            answers[task] = getattr(member(log_mel, tasks=(task,)), task)
            answers[embedding_of(task)] = member(log_mel, tasks=()).embedding
        self.names = list(answers)
        return list(answers.values())


def to_onnx(
    model: SoundModel, path: str | os.PathLike[str], tasks: Sequence[Task] | None = None
) -> Path:
    """Write a model as an ONNX file that holds the front end, the network and the spec.

    The graph (opset 17, float32) takes ``waveform``, (batch, samples) at the spec's rate, any
    batch and any length from 1,026 samples on, and gives ``scene``, ``tag``, ``event`` (logits)
    and ``embedding`` as in `Outputs`. A model of several networks gives each one's embedding, as
    ``tag_embedding`` and so on. The spec lies as JSON in the metadata, under ``dcasenet``.

    Args:
        model: What to export.
        path: The file to write; one that is there is replaced.
        tasks: Whose logits the graph gives; by default all that the model answers. With
            ``("scene",)`` alone v2 and v3 leave out the GRUs, and the embedding with them.

    Returns:
        The path.

    Raises:
        ImportError: The package onnx is not installed.
        TaskNotAvailableError: The model does not answer a task.
        ValueError: `tasks` is empty, or names what is no task.
        WeightsError: The file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet
        >>> model = dcasenet.load("v3", stage="open")
        >>> with TemporaryDirectory() as folder:
        ...     to_onnx(model, folder + "/scenes.onnx", tasks=("scene",)).name
        'scenes.onnx'
    """
    path = Path(path)
    wanted = _checked(model, tasks)
    content = _graph(model, wanted)
    try:
        write_bytes(path, content)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def _checked(model: SoundModel, tasks: Sequence[Task] | None) -> tuple[Task, ...]:
    if tasks is None:
        return model.spec.tasks
    if isinstance(tasks, str) or not tasks or not set(tasks) <= set(TASKS):
        raise ValueError(f"tasks={tasks!r} cannot be exported; give some of {TASKS}, or None.")
    for task in tasks:
        require(model.spec, task)
    return tuple(task for task in TASKS if task in tasks)


def _graph(model: SoundModel, tasks: tuple[Task, ...]) -> bytes:
    """Trace the model and give the file's content."""
    onnx = _onnx()
    graph = Graph(model, tasks).eval()
    waveform = torch.zeros(TRACED, device=model.device)
    with torch.no_grad():
        graph(waveform)  # says which outputs there are
    written = io.BytesIO()
    axes: dict[str, dict[int, str]] = {
        name: {0: "batch", 1: "steps"} if name not in ("scene", "tag") else {0: "batch"}
        for name in graph.names
    }
    with warnings.catch_warnings():
        # This exporter is the one that keeps GRUs whole, for any length; torch warns of its age,
        # and that Python numbers become part of the graph, as those of the settings are to.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (waveform,),
            written,  # type: ignore[arg-type]  # a file object is taken all the same
            dynamo=False,
            do_constant_folding=False,  # it would store the kernels; runtimes fold as they load
            opset_version=OPSET,
            input_names=[WAVEFORM],
            output_names=graph.names,
            dynamic_axes={WAVEFORM: {0: "batch", 1: "samples"}, **axes},
        )
    proto = onnx.load_from_string(written.getvalue())
    spec = dataclasses.replace(model.spec, tasks=tasks)
    onnx.helper.set_model_props(proto, {SPEC: json.dumps(spec.to_dict(), ensure_ascii=False)})
    content: bytes = proto.SerializeToString()
    return content


def _whole(network: nn.Module) -> nn.Module:
    """Give a network as a graph has it: batch norm folded, a batch never cut in pieces."""
    twin = Twins().of(network)
    if twin is network:
        shared = {id(t): t for t in (*network.parameters(), *network.buffers())}
        return copy.deepcopy(network, shared).eval()
    for part in twin.modules():
        if isinstance(part, FusedPart):
            part.in_pieces = False
    return twin


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "Exporting needs the package onnx. Type: pip install 'dcasenet[onnx]'"
        ) from error
    return onnx


def _doubled(mel: Tensor) -> Tensor:
    """Double the frames until there are 40, in a graph that was traced with any number of them."""
    frames = mel.shape[-1]
    repeats = 1
    for times in (1, 2, 4, 8, 16, 32):
        repeats = repeats + times * (times * frames < MIN_FRAMES)
    return mel[..., torch.arange(frames * repeats, device=mel.device) % frames]
