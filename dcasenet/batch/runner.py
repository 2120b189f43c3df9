"""Run a model on any number of files: from folders to one table, resumable after an interruption.

::

    import dcasenet.batch

    model = dcasenet.load()
    dcasenet.batch.analyze(model, ["recordings/"], "results.parquet")
    dcasenet.batch.embed(model, ["recordings/"], "embeddings.npz")

Separate processes read and resample files ahead of the model. A file that cannot be used gets a row
with its error. Finished rows are kept beside the output, in ``results.parquet.parts``, until the
job ends: one that was killed resumes when the same call is repeated, and has the same result as one
that was not interrupted. In a script, the call must be below ``if __name__ == "__main__":``, since
processes are spawned.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcasenet.audio.discovery import Listing, StrPath, find_recordings
from dcasenet.audio.preprocess import ReadOptions
from dcasenet.batch.progress import JobOptions, Progress, Summary
from dcasenet.batch.queries import (
    JobSpec,
    analysis_job,
    embedding_job,
    events_job,
    scene_job,
    tags_job,
)
from dcasenet.batch.resume import ResultStore
from dcasenet.batch.rows import OK, Row
from dcasenet.batch.workers import Workers, default_workers, read_file
from dcasenet.batch.writers import TableKind, check_count, check_output, companions, write_table
from dcasenet.errors import DcasenetError, JobError
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.spec import Task
from dcasenet.text import shorten_list
from dcasenet.types import MAX_DURATION, Channels, DecodingOptions, Threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Most files processed together. Finished rows are saved in whole groups, so that a resumed job
# computes in the same batches as one that was not interrupted.
GROUP = 32
SAVE_EVERY = 10.0  # seconds of work that may be lost


def analyze(  # noqa: PLR0913 - the options of `SoundVerbs.analyze`
    model: SoundVerbs[Any],
    paths: StrPath | Iterable[StrPath],
    output: StrPath,
    *,
    threshold: Threshold = None,
    top: int = 5,
    reject: bool = True,
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Write the scene, tags and events of every recording to one table.

    The table has one row per file: ``filename``, ``status`` (``ok`` or ``error``), ``error``,
    ``duration`` in seconds, ``warnings``, ``input`` (the file's SHA-256), ``familiarity``,
    ``is_sure``, ``scene``, ``tags`` and ``events``, the last three nested. CSV instead has the
    columns filename, task, label, onset, offset and probability, and ``<output>.status.csv`` the
    first six. Rows are in the order of the files. The provenance of the results is in the metadata
    of a Parquet file, or in ``<output>.provenance.json``.

    Args:
        model: A loaded model, of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        output: File to write: ``.parquet`` (extra ``pandas``), ``.jsonl`` or ``.csv``.
        threshold: As in `SoundVerbs.detect_events`.
        top: Number of tags in a row.
        reject: As in `SoundVerbs.classify_scene`.
        channels: How several channels are handled; see `dcasenet.types.Options`.
        max_duration: Longest file accepted, in seconds; None for any length.
        strict: Treat warnings as failures.
        **options: See `JobOptions`.

    Returns:
        The numbers of files and of failures.

    Raises:
        JobError: The output exists, another job is writing it, or the disk is full.
        AudioError: There is no recording in the folders.
        ValueError: An option is out of range, or the output's suffix is not known.
        ImportError: Parquet needs pyarrow.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet, numpy as np, soundfile
        >>> model = dcasenet.load()
        >>> with TemporaryDirectory() as folder:
        ...     soundfile.write(folder + "/a.wav", np.zeros(24_000), 24_000)
        ...     summary = analyze(model, [folder], folder + "/out.jsonl", workers=0)
        >>> summary.n_files, summary.n_failed
        (1, 0)
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(
        analysis_job(model, threshold, top, reading, reject=reject), paths, Path(output), **options
    )


def classify_scene(
    model: SoundVerbs[Any],
    paths: StrPath | Iterable[StrPath],
    output: StrPath,
    *,
    reject: bool = True,
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Write the scene of every recording to one table, otherwise as `analyze` does.

    Raises:
        TaskNotAvailableError: The model has no scenes.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(scene_job(model, reading, reject=reject), paths, Path(output), **options)


def tag(
    model: SoundVerbs[Any],
    paths: StrPath | Iterable[StrPath],
    output: StrPath,
    *,
    top: int = 5,
    reject: bool = True,
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Write the `top` best tags of every recording to one table, otherwise as `analyze` does.

    Raises:
        TaskNotAvailableError: The model has no tags.
        ValueError: `top` is less than 1.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(tags_job(model, top, reading, reject=reject), paths, Path(output), **options)


def detect_events(
    model: SoundVerbs[Any],
    paths: StrPath | Iterable[StrPath],
    output: StrPath,
    *,
    decoding: DecodingOptions | None = None,
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Write the events of every recording to one table, otherwise as `analyze` does.

    Args:
        model: A loaded model, of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        output: File to write: ``.parquet`` (extra ``pandas``), ``.jsonl`` or ``.csv``.
        decoding: Options of `SoundVerbs.detect_events`, such as ``{"threshold": 0.4}``.
        channels: How several channels are handled; see `dcasenet.types.Options`.
        max_duration: Longest file accepted, in seconds; None for any length.
        strict: Treat warnings as failures.
        **options: See `JobOptions`.

    Raises:
        TaskNotAvailableError: The model has no events.
        ValueError: An option is out of range.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(events_job(model, reading, **(decoding or {})), paths, Path(output), **options)


def embed(
    model: SoundVerbs[Any],
    paths: StrPath | Iterable[StrPath],
    output: StrPath,
    *,
    task: Task = "tag",
    channels: Channels = "mix",
    max_duration: float | None = MAX_DURATION,
    strict: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Write the embedding of every recording to one table.

    The table has one row per file: ``filename``, ``status``, ``error``, ``duration`` in seconds,
    ``warnings``, ``input`` and ``embedding``. An ``.npz`` has one array for each of these except
    the warnings, with NaN where a file failed, and holds up to 100,000 files. CSV has the columns
    filename, e0, e1, …, and the status of each file is in ``<output>.status.csv``.

    Args:
        model: A loaded model, of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        output: File to write: ``.parquet`` (extra ``pandas``), ``.npz``, ``.jsonl`` or ``.csv``.
        task: As in `SoundVerbs.embed`.
        channels: How several channels are handled; see `dcasenet.types.Options`.
        max_duration: Longest file accepted, in seconds; None for any length.
        strict: Treat warnings as failures.
        **options: See `JobOptions`.

    Returns:
        The numbers of files and of failures.

    Raises:
        JobError: The output exists, another job is writing it, or the disk is full.
        AudioError: There is no recording in the folders.
        ValueError: The task or the output's suffix is not known, or there are too many files.
        ImportError: Parquet needs pyarrow.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(embedding_job(model, task, reading), paths, Path(output), **options)


def _run(
    job: JobSpec,
    paths: StrPath | Iterable[StrPath],
    output: Path,
    **options: Unpack[JobOptions],
) -> Summary:
    if unknown := options.keys() - JobOptions.__annotations__.keys():
        raise TypeError(
            f"A job has no option {shorten_list(sorted(unknown))}. Beside the arguments of the "
            f"function there are {', '.join(JobOptions.__annotations__)}; how events are detected "
            "is given to detect_events as decoding={'threshold': 0.5}."
        )
    check_output(output, job.command)
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    described = {"inputs": [str(path) for path in given], **job.describe()}
    store = ResultStore(output)
    try:
        with store.locked():
            listing = store.begin(
                described, lambda: _list_files(given, output), restart=options.get("restart", False)
            )
            files, resumed = listing.files, store.n_done
            if resumed < len(files):
                _answer(job, files, store, **options)
            n_failed = _merge(store, job)
    except DcasenetError:
        raise
    except OSError as error:
        kept = (
            f" Finished rows are kept in {store.folder}: free some space and run the same command "
            "again to continue."
            if store.folder.is_dir()
            else ""
        )
        raise JobError(f"{output} cannot be written: {error.strerror or error}.{kept}") from error
    return Summary(output, len(files), n_failed, resumed, listing.passed_over)


def _list_files(paths: Sequence[StrPath], output: Path) -> Listing:
    listing = find_recordings(paths)
    check_count(output, len(listing.files))
    return listing


def _answer(
    job: JobSpec, files: Sequence[str], store: ResultStore, **options: Unpack[JobOptions]
) -> None:
    """Process the remaining files, and save their rows regularly and when interrupted."""
    watch = options.get("watch")
    save_every = options.get("save_every", SAVE_EVERY)
    progress = Progress(total=len(files), resumed=store.n_done, done=store.n_done)
    began = saved = time.monotonic()
    rows: list[Row] = []
    with contextlib.closing(_groups(job, files[store.n_done :], **options)) as groups:
        try:
            for group in groups:
                rows += group
                now = time.monotonic()
                progress.elapsed = now - began
                progress.done += len(group)
                progress.failed += sum(row["status"] != OK for row in group)
                progress.audio += sum(row["duration"] or 0.0 for row in group)
                if watch is not None:
                    watch(progress, group)
                if now - saved >= save_every:
                    saving, rows, saved = rows, [], now
                    store.save(saving)
        finally:
            if rows:
                store.save(rows)


def _groups(
    job: JobSpec, files: Sequence[str], **options: Unpack[JobOptions]
) -> Generator[list[Row]]:
    if options.get("engine", "local") == "ray":
        from dcasenet.batch.ray import answer_groups

        yield from answer_groups(job, files, GROUP, options.get("workers"))
        return
    n_workers = options.get("workers")
    n_workers = default_workers(len(files)) if n_workers is None else n_workers
    with Workers(
        n_workers, partial(read_file, spec=job.model.spec, options=job.reading)
    ) as workers:
        group = []
        for file in workers.read(files):
            group.append(file)
            if len(group) == GROUP or file.is_long:
                yield job.answer(group)
                group = []
        if group:
            yield job.answer(group)


def _merge(store: ResultStore, job: JobSpec) -> int:
    """Write the output from the finished rows, and move it to its path; count the failures."""
    n_failed = 0

    def counted() -> Iterator[Row]:
        nonlocal n_failed
        for row in store.rows():
            n_failed += row["status"] != OK
            yield row

    made = store.folder / f"merged{store.output.suffix}"
    # The output is moved last: once it exists, its companions do too.
    pairs = [(beside(made), beside(store.output)) for beside in companions(store.output)]
    pairs.append((made, store.output))
    kind = TableKind(job.command, job.size, job.provenance)
    try:
        write_table(counted(), made, store.output, kind)
        store.finish(*pairs)
    except BaseException:
        for path, _ in pairs:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return n_failed
