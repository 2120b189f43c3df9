"""Run exported models in ONNX Runtime, without torch.

::

    import dcasenet.onnx

    model = dcasenet.onnx.load("open.onnx")
    model.analyze("recording.wav")

`dcasenet.onnx.export` or ``dcasenet export`` writes the file. `dcasenet.load` with
``runtime="auto"`` or ``"onnx"`` needs no torch either if the file is in the package or the cache.
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
# Metadata entries: the digest of the published weights file (in packaged files), the digest of the
# weights, and the precision.
SOURCE, WEIGHTS, PRECISION = "dcasenet_source", "dcasenet_weights", "dcasenet_precision"
# Environment variable that ONNX Runtime reads, when it is imported, to disable telemetry.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
# Methods that only a model in torch has.
TORCH_ONLY = ("explain", "save_pretrained", "push_to_hub", "refresh")


def embedding_of(task: Task) -> str:
    """Return the name of the embedding of one task's network, in a model with several networks."""
    return f"{task}_{EMBEDDING}"


class _Loaded(NamedTuple):
    """Arguments of `model_of` from which a session is made."""

    source: Path | bytes
    name: str
    threads: int | None


class OnnxSoundModel(SoundVerbs[Floats]):
    """An exported model, created by `load`.

    It has the methods of `SoundVerbs`, with the results of the model that was exported; embeddings
    are arrays. It can be shared by threads, copied and pickled.

    Attributes:
        spec: Labels, front-end settings, thresholds, license and source, as in the file.
        session: The ONNX Runtime session: ``waveform`` (batch, samples) to logits.
        source: Digest of the published weights file from which it was exported, if stated.
        precision: Precision of the convolutions, ``"float32"`` or ``"int8"``, if stated.
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
        """Digest (``"sha256:…"``) of the exported weights, equal to that of the exported model."""
        return self._weights

    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        """Run the graph on a batch and return the requested outputs; see `SoundVerbs.infer`.

        Raises:
            TaskNotAvailableError: The file was exported without a requested output.
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
        """Return an embedding unchanged, as an array."""
        return values

    def tag_head(self, embeddings: Floats) -> Floats:
        """Return the tags' logits for embeddings; see `SoundVerbs.tag_head`.

        Raises:
            ImportError: onnx, which extracts the head from the graph, is not installed.
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
        # The head averages over steps; the embedding of a clip is a single step.
        logits: Floats = head.run(["tag"], {name: embeddings[:, None].astype(np.float32)})[0]
        return logits

    def content(self) -> bytes:
        """Return the exported file, for other runtimes, with the current spec."""
        content, described = self._content(), self.session.get_modelmeta().custom_metadata_map
        spec = json.dumps(self.spec.to_dict(), ensure_ascii=False)
        if json.loads(described[SPEC]) == json.loads(spec):
            return content
        # In protobuf, concatenated messages are merged, and the later entry wins.
        return content + _field(METADATA_PROPS, _field(1, SPEC.encode()) + _field(2, spec.encode()))

    def _content(self) -> bytes:
        source = self._loaded.source
        return source.read_bytes() if isinstance(source, Path) else source

    def _embedding(self, backbone: Task) -> str:
        return embedding_of(backbone) if self.spec.members else EMBEDDING

    def __reduce__(self) -> tuple[Any, ...]:
        # A session can be neither copied nor pickled.
        arguments = (self._content(), self._loaded.name, self._loaded.threads)
        return partial(model_of, spec=self.spec), arguments

    if not TYPE_CHECKING:  # a type checker would accept any attribute

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
    """Load an exported model for the CPU.

    Args:
        path: A file that ``dcasenet export`` or `dcasenet.onnx.export.to_onnx` wrote.
        threads: Number of threads of one call; by default one per available core.

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
    """Return the model of an exported file or of its content.

    Args:
        source: The file, or its content.
        name: Name in messages.
        threads: As for `load`.
        spec: The model's specification; by default the one in the file.

    Raises:
        ImportError: onnxruntime is not installed.
        WeightsError: The file is damaged, or was not exported by this package.
    """
    # ONNX Runtime's exceptions have no more specific common base class.
    try:
        runner = session(source, threads)
    except ImportError:
        raise
    except Exception as error:
        raise WeightsError(f"{name} cannot be read as an ONNX file: {error}") from error
    described = runner.get_modelmeta().custom_metadata_map
    if SPEC not in described:
        raise WeightsError(
            f"{name} is an ONNX file, but its metadata has no labels. Give a file that "
            f"'dcasenet export' wrote."
        )
    try:
        stored = ModelSpec.from_dict(json.loads(described[SPEC]))
        spec = with_measured(spec, stored) if spec else stored
    except (ValueError, RecursionError, WeightsError) as error:
        raise WeightsError(f"{name} has a damaged description in its metadata: {error}") from error
    return OnnxSoundModel(spec, runner, _Loaded(source, name, threads))


def session(source: Path | bytes, threads: int | None = None) -> Any:
    """Return an ONNX Runtime session on the CPU.

    Args:
        source: A file, or its content.
        threads: Number of threads of one call; by default one per available core.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    # By default it starts one thread per core of the machine and pins it there. In a process that
    # is limited to fewer cores, these threads would wait for one another.
    usable = usable_cpus()
    options.intra_op_num_threads = threads or (usable if usable < (os.cpu_count() or 1) else 0)
    return runtime.InferenceSession(
        source, sess_options=options, providers=["CPUExecutionProvider"]
    )


def long_enough(waveforms: Floats, spec: ModelSpec) -> Floats:
    """Repeat waveforms up to the shortest length that the graph's reflection padding accepts."""
    shortest = spec.frontend.n_fft // 2 + 2
    return np.ascontiguousarray(repeated(waveforms, shortest), dtype=np.float32)


def _field(number: int, content: bytes) -> bytes:
    """Encode a bytes field in protobuf's format: key, length, content."""
    encoded = bytearray()
    for value in (number << 3 | 2, len(content)):
        while value > 127:
            encoded.append(value & 127 | 128)
            value >>= 7
        encoded.append(value)
    return bytes(encoded) + content


def _only_requested() -> Any:
    """Return run options that skip nodes not needed for the outputs; the default runs all."""
    options = _runtime().RunOptions()
    options.only_execute_path_to_fetches = True
    return options


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Disable the telemetry of ONNX Runtime if it is first imported inside this context.

    It reads only `NO_TELEMETRY`, once, when it is imported: its own ``disable_telemetry_events``
    comes after it has written its first files. A value that the user has set is kept, and the
    variable is removed afterwards if it was not set.
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
