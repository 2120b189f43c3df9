"""Run jobs on a Ray cluster: from a Ray Dataset of files or bytes to a Dataset of results.

::

    import ray
    import dcasenet.batch.ray

    clips = ray.data.read_binary_files("s3://bucket/clips/", include_paths=True)
    dcasenet.batch.ray.analyze(clips, concurrency=8).write_parquet("s3://bucket/results/")

Each actor holds one model. Without a cluster, Ray starts one on the cores of this machine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import ReadOptions, StreamedAudio
from dcasenet.batch.queries import JobSpec, analysis_job, embedding_job
from dcasenet.batch.rows import Row, from_line, to_line
from dcasenet.batch.workers import ReadResult, read_file
from dcasenet.batch.writers import schema, to_table
from dcasenet.errors import AudioError
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.spec import ModelSpec, Task
from dcasenet.types import MAX_DURATION, Channels, Threshold

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Unpack

# Arguments of `dcasenet.load`, which each actor calls.
Load = Mapping[str, Any]

DEFAULT: Load = {}  # the packaged checkpoint
BATCH = 32  # files that an actor processes together
THREADS = 4  # files that an actor reads at once
# One block per group of files returns rows early, but Ray is slow with very many blocks.
MAX_BLOCKS = 10_000


class ActorOptions(TypedDict, total=False):
    """Options of `ray.data.Dataset.map_batches`.

    Attributes:
        batch_size: Rows that an actor processes together, 32 by default.
        concurrency: Number of actors, or (fewest, most); by default 1.
        num_cpus: Cores of an actor.
        num_gpus: GPUs of an actor, such as 1 or 0.5; the model then runs there.
    """

    batch_size: int
    concurrency: int | tuple[int, int]
    num_cpus: float
    num_gpus: float


def analyze(
    dataset: Any,
    model: SoundVerbs[Any] | Load = DEFAULT,
    *,
    threshold: Threshold = None,
    top: int = 5,
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[ActorOptions],
) -> Any:
    """Analyze every recording of a Ray Dataset.

    Args:
        dataset: A Dataset with a column ``path`` of files that every node can open, or ``bytes`` of
            their content, or both. Other columns are kept.
        model: Arguments of `dcasenet.load`, which each actor calls; or a loaded model in torch,
            which is sent to the actors.
        threshold: As in `SoundVerbs.detect_events`.
        top: Number of tags in a row.
        channels: How several channels are handled; see `dcasenet.types.Options`.
        max_duration: Longest recording accepted, in seconds; None for any length.
        strict: Treat warnings as failures.
        **options: See `ActorOptions`.

    Returns:
        A Dataset with the columns of `dcasenet.batch.analyze`: ``filename``, ``status``,
        ``error``, ``duration``, ``warnings``, ``scene``, ``tags``, ``events``.

    Raises:
        ImportError: Ray is not installed.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    make_job = partial(analysis_job, threshold=threshold, top=top, reading=reading)
    return _map(dataset, model, make_job, options)


def embed(
    dataset: Any,
    model: SoundVerbs[Any] | Load = DEFAULT,
    *,
    task: Task = "tag",
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[ActorOptions],
) -> Any:
    """Embed every recording of a Ray Dataset.

    Args:
        dataset: As for `analyze`.
        model: As for `analyze`.
        task: As in `SoundVerbs.embed`.
        channels: How several channels are handled; see `dcasenet.types.Options`.
        max_duration: Longest recording accepted, in seconds; None for any length.
        strict: Treat warnings as failures.
        **options: See `ActorOptions`.

    Returns:
        A Dataset with the columns of `dcasenet.batch.embed`: ``filename``, ``status``,
        ``error``, ``duration``, ``warnings``, ``embedding``.

    Raises:
        ImportError: Ray is not installed.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _map(dataset, model, partial(embedding_job, task=task, reading=reading), options)


def answer_groups(
    job: JobSpec, files: Sequence[str], size: int, n_actors: int | None = None
) -> Iterator[list[Row]]:
    """Process files on a cluster; called by `dcasenet.batch`.

    Args:
        job: The computation and its model, which is sent to the actors.
        files: Paths that every node can open.
        size: Number of files that an actor processes together.
        n_actors: Number of actors; by default one for each core, or GPU, of the cluster.

    Yields:
        The rows of each `size` files, in their order.

    Raises:
        ImportError: Ray is not installed.
    """
    ray = _ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING)
    _check_sendable(job)
    groups = [
        {"index": index, "files": files[first : first + size]}
        for index, first in enumerate(range(0, len(files), size))
    ]
    on_gpu = str(getattr(job.model, "device", "cpu")) != "cpu"
    most = n_actors or int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1))
    dataset = ray.data.from_items(groups, override_num_blocks=min(len(groups), MAX_BLOCKS))
    dataset.context.enable_progress_bars = False
    answered = dataset.map_batches(
        _Groups,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=_pool(max(1, min(most, len(groups)))),
        num_gpus=1 if on_gpu else 0,
    )
    early: dict[int, list[str]] = {}
    expected = 0
    for row in answered.iter_rows():
        early[row["index"]] = list(row["lines"])
        while expected in early:
            yield list(map(from_line, early.pop(expected)))
            expected += 1


class _Groups:
    """An actor that processes groups of files."""

    def __init__(self, job: JobSpec) -> None:
        self.job = job

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        read_one = partial(read_file, spec=self.job.model.spec, options=self.job.reading)
        lines = []
        for files in batch["files"]:
            rows = self.job.answer(_in_threads(read_one, list(files)))
            lines.append(list(map(to_line, rows)))
        return {"index": batch["index"], "lines": lines}


class _Actor:
    """An actor that processes rows of a dataset."""

    def __init__(self, model: SoundVerbs[Any] | Load, make_job: partial[JobSpec]) -> None:
        device = "cuda" if _ray().get_gpu_ids() else "cpu"
        if isinstance(model, Mapping):
            from dcasenet.loading import load

            model = load(**{"device": device, **model})
        elif hasattr(model, "to"):
            model = model.to(device)
        self.job = make_job(model)
        self.columns = schema(self.job.command, self.job.size)

    def __call__(self, batch: pa.Table) -> pa.Table:
        names = _names(batch)
        contents = (
            batch["bytes"].to_pylist() if "bytes" in batch.column_names else [None] * len(names)
        )
        read_one = partial(_read_row, spec=self.job.model.spec, options=self.job.reading)
        read = _in_threads(read_one, list(zip(names, contents, strict=True)))
        answered = to_table(self.job.answer(read), self.columns)
        for name in batch.column_names:
            if name not in ("path", "bytes", *answered.column_names):
                answered = answered.append_column(batch.schema.field(name), batch[name])
        return answered


def _read_row(row: tuple[str, bytes | None], spec: ModelSpec, options: ReadOptions) -> ReadResult:
    name, content = row
    if content is None:
        return read_file(name, spec, options)
    audio = {"bytes": content, "path": name}
    try:
        with Reader(audio, max_duration=options.max_duration) as reader:
            stream = StreamedAudio(reader, spec, options.channels, strict=options.strict)
            return ReadResult(name, stream.load())
    except AudioError as error:
        return ReadResult(name, error=str(error))


def _names(batch: pa.Table) -> list[str]:
    if "path" in batch.column_names:
        names: list[str] = batch["path"].to_pylist()
        return names
    if "bytes" in batch.column_names:
        return ["<bytes>"] * batch.num_rows
    raise ValueError(
        f"The dataset has the columns {', '.join(batch.column_names)}. Accepted are 'path', the "
        f"path of a file, and 'bytes', its content."
    )


def _map(
    dataset: Any, model: SoundVerbs[Any] | Load, make_job: partial[JobSpec], options: ActorOptions
) -> Any:
    _ray()
    given: dict[str, Any] = {"batch_size": BATCH, **options}
    return dataset.map_batches(
        _Actor,
        fn_constructor_args=(model, make_job),
        batch_format="pyarrow",
        compute=_pool(given.pop("concurrency", 1)),
        **given,
    )


def _pool(concurrency: int | tuple[int, int]) -> Any:
    strategy = _ray().data.ActorPoolStrategy
    if isinstance(concurrency, int):
        return strategy(size=concurrency)
    return strategy(min_size=concurrency[0], max_size=concurrency[1])


def _check_sendable(job: JobSpec) -> None:
    try:
        _ray().cloudpickle.dumps(job)
    except TypeError as error:
        raise ValueError(
            f"Ray sends the model to its actors, and {type(job.model).__name__} cannot be sent "
            f"({error}). Load it with runtime='torch'."
        ) from error


def _in_threads(read_one: Any, items: list[Any]) -> list[ReadResult]:
    # Decoding and resampling release the GIL.
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read_one, items))


def _ray() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise ImportError("This needs Ray. Type: pip install 'dcasenet[ray]'") from error
    return ray
