"""Jobs on any number of files: folders in, one table out, and nothing lost on the way.

::

    import dcasenet.batch

    model = dcasenet.load("v3", stage="open")
    dcasenet.batch.analyze(model, ["recordings/"], "results.parquet")
    dcasenet.batch.embed(model, ["recordings/"], "embeddings.npz")

Processes of their own read and resample ahead of the model. A file that cannot be used costs a row
that says why. Finished rows lie beside the output, in ``results.parquet.parts``, until all are
there: a job that was killed goes on where it stopped when the same call is made again, and gives
what it would have given at once. In a script, the call belongs below ``if __name__ ==
"__main__":``, as always where processes are spawned.
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
    Asked,
    ask_analysis,
    ask_embedding,
    ask_events,
    ask_scene,
    ask_tags,
)
from dcasenet.batch.resume import Parts
from dcasenet.batch.rows import OK, Row
from dcasenet.batch.workers import Workers, default_workers, hear
from dcasenet.batch.writers import TableKind, check_count, check_output, companions, write_table
from dcasenet.errors import DcasenetError, JobError
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.spec import Task
from dcasenet.types import MAX_DURATION, Channels, DecodingOptions, Threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Files that are answered together at most. Finished rows are saved in whole groups, so that a job
# that was resumed computes in the same batches as one that was not.
GROUP = 32
SAVE_EVERY = 10.0  # seconds of work that a kill may cost


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
    """Write scene, tags and events of every recording to one table.

    A row for each file: ``filename``, ``status`` (``ok`` or ``error``), ``error``, ``duration`` in
    seconds, ``warnings``, ``input`` (the file's SHA-256), ``familiarity``, ``is_sure``, ``scene``,
    ``tags`` and ``events``, the last three nested. CSV instead has the columns filename, task,
    label, onset, offset and probability, and ``<output>.status.csv`` the first six. Rows are in
    the order of the files. What the answers were made with is in the Parquet file's metadata, or
    for the others in ``<output>.provenance.json``.

    Args:
        model: A loaded model, of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        output: A file to write: ``.parquet`` (extra ``pandas``), ``.jsonl`` or ``.csv``.
        threshold: As in `SoundVerbs.detect_events`.
        top: How many tags a row holds.
        reject: As in `SoundVerbs.classify_scene`.
        channels: What becomes of several channels; see `dcasenet.types.Options`.
        max_duration: How long a file may be, in seconds; None for any length.
        strict: A file of which anything is doubtful fails.
        **options: See `JobOptions`.

    Returns:
        How many files there were, and how many failed.

    Raises:
        JobError: The output exists, another job works on it, or the disk is full.
        AudioError: There is no recording in the folders.
        ValueError: An option is out of range, or the output's suffix is not known.
        ImportError: Parquet needs pyarrow.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet, numpy as np, soundfile
        >>> model = dcasenet.load("v3", stage="open")
        >>> with TemporaryDirectory() as folder:
        ...     soundfile.write(folder + "/a.wav", np.zeros(24_000), 24_000)
        ...     summary = analyze(model, [folder], folder + "/out.jsonl", workers=0)
        >>> summary.n_files, summary.n_failed
        (1, 0)
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(
        ask_analysis(model, threshold, top, reading, reject=reject), paths, Path(output), **options
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
    return _run(ask_scene(model, reading, reject=reject), paths, Path(output), **options)


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
    return _run(ask_tags(model, top, reading, reject=reject), paths, Path(output), **options)


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
        output: A file to write: ``.parquet`` (extra ``pandas``), ``.jsonl`` or ``.csv``.
        decoding: Options of `SoundVerbs.detect_events`, such as ``{"threshold": 0.4}``.
        channels: What becomes of several channels; see `dcasenet.types.Options`.
        max_duration: How long a file may be, in seconds; None for any length.
        strict: A file of which anything is doubtful fails.
        **options: See `JobOptions`.

    Raises:
        TaskNotAvailableError: The model has no events.
        ValueError: An option is out of range.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(ask_events(model, reading, **(decoding or {})), paths, Path(output), **options)


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

    A row for each file: ``filename``, ``status``, ``error``, ``duration`` in seconds,
    ``warnings``, ``input`` and ``embedding``. An ``.npz`` holds these as arrays but for the
    warnings, NaN where a file failed, and up to 100,000 files. CSV has the columns filename, e0,
    e1, …, and ``<output>.status.csv`` how each file fared.

    Args:
        model: A loaded model, of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        output: A file to write: ``.parquet`` (extra ``pandas``), ``.npz``, ``.jsonl`` or ``.csv``.
        task: As in `SoundVerbs.embed`.
        channels: What becomes of several channels; see `dcasenet.types.Options`.
        max_duration: How long a file may be, in seconds; None for any length.
        strict: A file of which anything is doubtful fails.
        **options: See `JobOptions`.

    Returns:
        How many files there were, and how many failed.

    Raises:
        JobError: The output exists, another job works on it, or the disk is full.
        AudioError: There is no recording in the folders.
        ValueError: The task or the output's suffix is not known, or there are too many files.
        ImportError: Parquet needs pyarrow.
    """
    reading = ReadOptions(channels, max_duration=max_duration, strict=strict)
    return _run(ask_embedding(model, task, reading), paths, Path(output), **options)


def _run(
    asked: Asked,
    paths: StrPath | Iterable[StrPath],
    output: Path,
    **options: Unpack[JobOptions],
) -> Summary:
    check_output(output, asked.command)
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    job = {"inputs": [str(path) for path in given], **asked.describe()}
    parts = Parts(output)
    try:
        with parts.locked():
            listing = parts.begin(
                job, lambda: _listed(given, output), restart=options.get("restart", False)
            )
            files, resumed = listing.files, parts.n_done
            if resumed < len(files):
                _answer(asked, files, parts, **options)
            n_failed = _merge(parts, asked)
    except DcasenetError:
        raise
    except OSError as error:
        raise JobError(
            f"{output} cannot be written: {error.strerror or error}. What is finished is kept in "
            f"{parts.folder}: make room and give the same command again to go on."
        ) from error
    return Summary(output, len(files), n_failed, resumed, listing.passed_over)


def _listed(paths: Sequence[StrPath], output: Path) -> Listing:
    listing = find_recordings(paths)
    check_count(output, len(listing.files))
    return listing


def _answer(
    asked: Asked, files: Sequence[str], parts: Parts, **options: Unpack[JobOptions]
) -> None:
    """Answer the files that are left, and save their rows now and then, and when stopped."""
    watch = options.get("watch")
    save_every = options.get("save_every", SAVE_EVERY)
    progress = Progress(total=len(files), resumed=parts.n_done, done=parts.n_done)
    began = saved = time.monotonic()
    rows: list[Row] = []
    with contextlib.closing(_groups(asked, files[parts.n_done :], **options)) as groups:
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
                    parts.save(saving)
        finally:
            if rows:
                parts.save(rows)


def _groups(
    asked: Asked, files: Sequence[str], **options: Unpack[JobOptions]
) -> Generator[list[Row]]:
    if options.get("engine", "local") == "ray":
        from dcasenet.batch.ray import answer_groups

        yield from answer_groups(asked, files, GROUP, options.get("workers"))
        return
    n_workers = options.get("workers")
    n_workers = default_workers(len(files)) if n_workers is None else n_workers
    with Workers(n_workers, partial(hear, spec=asked.model.spec, options=asked.reading)) as workers:
        group = []
        for heard in workers.read(files):
            group.append(heard)
            if len(group) == GROUP or heard.is_long:
                yield asked.answer(group)
                group = []
        if group:
            yield asked.answer(group)


def _merge(parts: Parts, asked: Asked) -> int:
    """Make the output of the finished rows, and put it in its place; count what failed."""
    n_failed = 0

    def counted() -> Iterator[Row]:
        nonlocal n_failed
        for row in parts.rows():
            n_failed += row["status"] != OK
            yield row

    made = parts.folder / f"merged{parts.output.suffix}"
    # The output comes last: where it is, all of it is.
    pairs = [(beside(made), beside(parts.output)) for beside in companions(parts.output)]
    pairs.append((made, parts.output))
    kind = TableKind(asked.command, asked.size, asked.provenance)
    try:
        write_table(counted(), made, parts.output, kind)
        parts.finish(*pairs)
    except BaseException:
        for path, _ in pairs:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return n_failed
