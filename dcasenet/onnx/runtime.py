"""The model in ONNX Runtime: the verbs on an exported file, without torch.

::

    import dcasenet.onnx

    model = dcasenet.onnx.load("open.onnx")
    model.analyze("recording.wav")

`dcasenet.onnx.export` or ``dcasenet export`` writes the file. `dcasenet.load` with
``runtime="auto"`` or ``"onnx"`` does without torch, too, where a file ships or is cached.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from dcasenet.cpus import usable_cpus
from dcasenet.errors import TaskNotAvailableError, WeightsError
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.inference.windowing import repeated
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, Task, with_measured

# Names in the file: the graph's input, its embedding, and the metadata's entry for the spec.
WAVEFORM, EMBEDDING, SPEC = "waveform", "embedding", "dcasenet"
# Number of the field of an ONNX file that holds its metadata (onnx.proto, ModelProto).
METADATA_PROPS = 14
# The metadata's entries for the digest of the published weights file, in files that ship, and for
# the digest of the weights and what the file computes in.
SOURCE, WEIGHTS, PRECISION = "dcasenet_source", "dcasenet_weights", "dcasenet_precision"
# What ONNX Runtime asks, while it is imported, whether to collect telemetry.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
# Methods that only a model in torch has.
TORCH_ONLY = ("explain", "save_pretrained", "push_to_hub", "refresh")


def embedding_of(task: Task) -> str:
    """Name the embedding of one task's own network, in a model of several."""
    return f"{task}_{EMBEDDING}"


class _Loaded(NamedTuple):
    """What a session is made from: the arguments of `model_of`."""

    source: Path | bytes
    name: str
    threads: int | None


class OnnxSoundModel(SoundVerbs[Floats]):
    """An exported model, ready to use; `load` makes it.

    Its verbs are those of `SoundVerbs`, with the results of the model that was exported;
    embeddings are arrays. Threads may share it; it can be copied and pickled.

    Attributes:
        spec: Labels, front-end settings, thresholds, license and source, as in the file.
        session: The ONNX Runtime session: ``waveform`` (batch, samples) to logits.
        source: Digest of the published weights file that it was exported from, where it says so.
        precision: What it computes in: ``"float32"`` or ``"int8"``, where it says so.
    """

    runtime: ClassVar[str] = "onnx"

    def __init__(self, spec: ModelSpec, session: Any, loaded: _Loaded) -> None:
        self.spec = spec
        self.session = session
        self._loaded = loaded
        described = session.get_modelmeta().custom_metadata_map
        self.source = described.get(SOURCE)
        self.precision = described.get(PRECISION, "unknown")
        self._weights: str = described.get(WEIGHTS, self.source or "unknown")
        self._outputs = {output.name for output in session.get_outputs()}
        self._options = _only_requested()

    @property
    def weights_digest(self) -> str:
        """``"sha256:…"`` of the weights that were exported, as the exported model has it."""
        return self._weights

    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Run the graph on a batch, for the requested outputs alone; see `SoundVerbs.infer`.

        Raises:
            TaskNotAvailableError: The file was exported without what is requested.
        """
        names = {name: self._embedding(backbone) if name == EMBEDDING else name for name in outputs}
        missing = set(names.values()) - self._outputs
        if missing:
            raise TaskNotAvailableError(
                f"This file has no {', '.join(sorted(missing))}; it was exported with "
                f"{', '.join(sorted(self._outputs))}. Export it again with more tasks."
            )
        given = {WAVEFORM: long_enough(waveforms, self.spec)}
        arrays = self.session.run(list(names.values()), given, self._options)
        return dict(zip(names, arrays, strict=True))

    def as_array(self, values: Floats) -> Floats:
        """Return an embedding as it is: an array."""
        return values

    def tag_head(self, embeddings: Floats) -> Floats:
        """Return the tags' logits of embeddings; see `SoundVerbs.tag_head`.

        Raises:
            ImportError: onnx, which cuts the head out of the graph, is not installed.
            TaskNotAvailableError: The file was exported without the tags or the embedding.
        """
        name = self._embedding("tag")
        if missing := {name, "tag"} - self._outputs:
            raise TaskNotAvailableError(
                f"This file has no {', '.join(sorted(missing))}; it was exported with "
                f"{', '.join(sorted(self._outputs))}. Export it again with more tasks."
            )
        try:
            import onnx
            from onnx.utils import Extractor
        except ImportError as error:
            raise ImportError(
                "Reading the tag head of an ONNX file needs onnx. Type: pip install onnx"
            ) from error
        proto = onnx.load_model_from_string(self.content())
        head = session(Extractor(proto).extract_model([name], ["tag"]).SerializeToString())
        # The mean over the one step that an embedding of a clip is.
        logits: Floats = head.run(["tag"], {name: embeddings[:, None].astype(np.float32)})[0]
        return logits

    def content(self) -> bytes:
        """Return the exported file, for other runtimes, with the spec that describes it now."""
        content, described = self._content(), self.session.get_modelmeta().custom_metadata_map
        spec = json.dumps(self.spec.to_dict(), ensure_ascii=False)
        if json.loads(described[SPEC]) == json.loads(spec):
            return content
        # Two encoded messages one after the other are one, in which the later entry counts.
        return content + _field(METADATA_PROPS, _field(1, SPEC.encode()) + _field(2, spec.encode()))

    def _content(self) -> bytes:
        source = self._loaded.source
        return source.read_bytes() if isinstance(source, Path) else source

    def _embedding(self, backbone: Task) -> str:
        return embedding_of(backbone) if self.spec.members else EMBEDDING

    def __reduce__(self) -> tuple[Any, ...]:
        # A session can be neither copied nor sent.
        arguments = (self._content(), self._loaded.name, self._loaded.threads)
        return partial(model_of, spec=self.spec), arguments

    if not TYPE_CHECKING:  # which takes a class with this method to have any attribute

        def __getattr__(self, name: str) -> NoReturn:
            needs_torch = (
                f"; {name} needs the network in torch: dcasenet.load(..., runtime='torch')"
            )
            raise AttributeError(
                f"An OnnxSoundModel has no attribute {name!r}"
                f"{needs_torch if name in TORCH_ONLY else ''}.",
                name=name,
                obj=self,
            )

    def __repr__(self) -> str:
        answers = ", ".join(f"{len(self.spec.labels(t))} {t} labels" for t in self.spec.tasks)
        return f"OnnxSoundModel({self.spec.name} {self.spec.stage!r}: {answers})"


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> OnnxSoundModel:
    """Load an exported model, to run on the CPU.

    Args:
        path: A file that ``dcasenet export`` or `dcasenet.onnx.export.to_onnx` wrote.
        threads: How many threads one call uses; by default one for each core that may be used.

    Returns:
        The model.

    Raises:
        ImportError: onnxruntime is not installed.
        WeightsError: The file is missing, damaged, or was not exported by this package.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet.onnx.export
        >>> with TemporaryDirectory() as folder:
        ...     model = dcasenet.load()
        ...     path = dcasenet.onnx.export.to_onnx(model, folder + "/model.onnx")
        ...     len(load(path).classify_scene(np.zeros(24_000), 24_000).probabilities)
        17
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"There is no file {path} (in {Path.cwd()}). Type: dcasenet export {path}"
        )
    return model_of(path, str(path), threads)


def model_of(
    source: Path | bytes, name: str, threads: int | None = None, *, spec: ModelSpec | None = None
) -> OnnxSoundModel:
    """Make the model of an exported file, or of its content.

    Args:
        source: The file, or what is in it.
        name: What to call it in messages.
        threads: As for `load`.
        spec: What describes it now; by default what the file says.

    Raises:
        ImportError: onnxruntime is not installed.
        WeightsError: It is damaged, or was not exported by this package.
    """
    # ONNX Runtime's exceptions have no common base but this one.
    try:
        runner = session(source, threads)
    except ImportError:
        raise
    except Exception as error:
        raise WeightsError(f"{name} cannot be read as an ONNX file: {error}") from error
    described = runner.get_modelmeta().custom_metadata_map
    if SPEC not in described:
        raise WeightsError(
            f"{name} is an ONNX file, but says nothing about its labels. Give one that "
            f"'dcasenet export' wrote."
        )
    try:
        stored = ModelSpec.from_dict(json.loads(described[SPEC]))
        spec = with_measured(spec, stored) if spec else stored
    except (ValueError, RecursionError, WeightsError) as error:
        raise WeightsError(f"{name} carries a damaged description of itself: {error}") from error
    return OnnxSoundModel(spec, runner, _Loaded(source, name, threads))


def session(source: Path | bytes, threads: int | None = None) -> Any:
    """Make an ONNX Runtime session on the CPU.

    Args:
        source: A file, or what is in it.
        threads: How many threads one call uses; by default one for each core that may be used.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    # By itself it starts one for each core of the machine and binds it there, which a process that
    # is kept to fewer must not ask for: its threads would wait for one another.
    usable = usable_cpus()
    options.intra_op_num_threads = threads or (usable if usable < (os.cpu_count() or 1) else 0)
    return runtime.InferenceSession(
        source, sess_options=options, providers=["CPUExecutionProvider"]
    )


def long_enough(waveforms: Floats, spec: ModelSpec) -> Floats:
    """Repeat waveforms up to the shortest that the graph's reflection has samples for."""
    shortest = spec.frontend.n_fft // 2 + 2
    return np.ascontiguousarray(repeated(waveforms, shortest), dtype=np.float32)


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes as protobuf has it: key, length, content."""
    encoded = bytearray()
    for value in (number << 3 | 2, len(content)):
        while value > 127:
            encoded.append(value & 127 | 128)
            value >>= 7
        encoded.append(value)
    return bytes(encoded) + content


def _only_requested() -> Any:
    """Have a run leave out what its outputs do not need: by itself it computes the whole graph."""
    options = _runtime().RunOptions()
    options.only_execute_path_to_fetches = True
    return options


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Have ONNX Runtime, if it is imported in here first, collect nothing and write nothing.

    It decides so once, while it is imported, by `NO_TELEMETRY` alone: its own
    ``disable_telemetry_events`` comes after its first files. A value of the user's is kept, and
    none is left behind.
    """
    if NO_TELEMETRY in os.environ or "onnxruntime" in sys.modules:
        yield
        return
    os.environ[NO_TELEMETRY] = "1"
    try:
        yield
    finally:
        os.environ.pop(NO_TELEMETRY, None)


def _runtime() -> Any:
    try:
        with without_telemetry():
            import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "Running an ONNX file needs onnxruntime. Type: pip install onnxruntime"
        ) from error
    return onnxruntime
