"""One verb put to recordings: printed, or written as a table, a file or a folder of files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dcasenet.audio.discovery import find_recordings
from dcasenet.cli.batch import interruptible, run_job, write_as_it_goes
from dcasenet.cli.options import STDIN, Engine, OutputOptions, audio_of, refusing_options
from dcasenet.cli.output import (
    Printer,
    ResultFormat,
    check_format,
    fail,
    progress,
    say,
    tell_passed_over,
    watching,
)
from dcasenet.errors import DcasenetError, JobError
from dcasenet.results import Result
from dcasenet.results.formats import ANY_RESULT, FORMATS, export, format_of, suffix_of
from dcasenet.text import count

if TYPE_CHECKING:
    from dcasenet.batch.progress import Summary

# Suffixes whose tables one recording fills line by line, however long it is.
STREAMED = (".csv", ".jsonl")


@dataclass(frozen=True)
class CommandQuery:
    """A verb with its options.

    Attributes:
        command: The command, a key of `dcasenet.batch.rows.ANSWER_COLUMNS`.
        answer: Function from one recording, a path or an open file, to a result, or the vector of a
            clip.
        job: Function that writes a table of many: paths, output and job options → summary.
        has_events: Whether the answers hold events.
        then: Further action on a printed result.
    """

    command: str
    answer: Callable[[Any], Any]
    job: Callable[..., Summary]
    has_events: bool = False
    then: Callable[[str, Any], None] | None = None


def respond(
    query: CommandQuery,
    paths: Sequence[Path],
    to: OutputOptions,
    streamed: Callable[[Path, Path], None] | None = None,
) -> None:
    """Answer, and print or write as the options say.

    Args:
        query: The query to compute.
        paths: Files and folders.
        to: Where the answers go.
        streamed: Function that writes a table of one recording incrementally, if supported.

    Raises:
        typer.BadParameter: Options do not go together, or are out of range.
        typer.Exit: A recording failed; the others are done.
    """
    with refusing_options():
        if to.output is None:
            _print(query, paths, to)
        elif _is_no_output(to.output):
            raise ValueError(
                f"--output {to.output} is neither a folder nor a file with a suffix. To print or "
                f"pipe the results, leave --output out; --format says how."
            )
        elif to.output.suffix == "" or to.output.is_dir():
            _write_folder(query, paths, to.output, to)
        else:
            _write_file(query, paths, to.output, to, streamed)


def list_files(paths: Sequence[Path]) -> list[str]:
    """List the recordings to process one by one; a file given twice is listed twice.

    Raises:
        typer.BadParameter: Standard input is there twice.
        AudioError: There is no recording in a folder.
    """
    files: list[str] = []
    passed_over: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            listing = find_recordings([path])
            files += listing.files
            passed_over += listing.passed_over
        else:
            files.append(str(path))
    tell_passed_over(passed_over)
    if files.count(STDIN) > 1:
        raise typer.BadParameter("Standard input, -, can be read once.")
    return files


def _print(query: CommandQuery, paths: Sequence[Path], to: OutputOptions) -> None:
    _refuse_job_options(to, restart=True)
    files = list_files(paths)
    check_format(to.form, len(files), has_events=query.has_events)
    printer = Printer(to.form)
    failed = False
    for file in progress(files, "Analyzing"):
        try:
            answer = query.answer(audio_of(file))
            if isinstance(answer, Result):
                printer.result(answer)
            else:
                printer.vector(file, answer)
            if query.then is not None:
                query.then(file, answer)
        except DcasenetError as error:
            fail(error)
            failed = True
    if failed:
        raise typer.Exit(1)


def _write_file(
    query: CommandQuery,
    paths: Sequence[Path],
    output: Path,
    to: OutputOptions,
    streamed: Callable[[Path, Path], None] | None,
) -> None:
    from dcasenet.batch.writers import SUFFIXES

    form = _form_of(output, to.form)
    one = len(paths) == 1 and not paths[0].is_dir()
    if output.suffix in SUFFIXES[query.command] and to.form in ("table", form):
        _refuse_standard_input(paths)
        if streamed and one and output.suffix in STREAMED and to.engine is Engine.local:
            write_as_it_goes(streamed, paths[0], output, restart=to.restart)
        else:
            run_job(query.job, paths, output, to)
        return
    if form is None or (form not in ANY_RESULT and not query.has_events):
        forms = FORMATS if query.has_events else ANY_RESULT
        known = dict.fromkeys((*SUFFIXES[query.command], *map(suffix_of, forms)))
        raise ValueError(
            f"{output} cannot be written by {query.command}: its name must end in "
            f"{', '.join(known)}, or be a folder."
        )
    if not one:
        raise ValueError(
            f"{output} holds one recording. Give a folder for a file for each recording, or a "
            f"name that ends in {', '.join(SUFFIXES[query.command])} for one table."
        )
    _refuse_job_options(to)
    _refuse_taken(output, restart=to.restart)
    with interruptible(f"Stopped. {output} was not written."):
        export(query.answer(audio_of(paths[0])), form, output)
    say(f"{output}: {paths[0]}")


def _write_folder(
    query: CommandQuery, paths: Sequence[Path], folder: Path, to: OutputOptions
) -> None:
    from dcasenet.batch.label_files import write_each

    _refuse_job_options(to)
    _refuse_standard_input(paths)
    forms = FORMATS if query.has_events else ANY_RESULT
    if to.form not in forms:
        raise ValueError(
            f"{folder} is a folder, and gets a file for each recording. Say which with --format: "
            f"{', '.join(forms)}."
        )
    stopped = f"Stopped. {folder} has the finished files: run the same command again to resume."
    with interruptible(stopped), watching("Analyzing") as show:

        def watch(done: int, total: int, error: str | None) -> None:
            show(done, total)
            if error is not None:
                fail(error)

        summary = write_each(
            query.answer, paths, folder, to.form, overwrite=to.restart, watch=watch
        )
    kept = f", {summary.n_kept:,} kept as they were" if summary.n_kept else ""
    failed = f", {len(summary.failures):,} failed" if summary.failures else ""
    say(f"{folder}: {count(summary.n_files, 'file')}{kept}{failed}")
    tell_passed_over(summary.passed_over)
    if summary.failures:
        raise typer.Exit(1)


def _is_no_output(path: Path) -> bool:
    """Return whether a path is there as what holds no results: a device, or a file of no kind."""
    return path.exists() and not path.is_dir() and not (path.suffix and path.is_file())


def _form_of(output: Path, requested: ResultFormat) -> str | None:
    """The format that an output's name ends in, or that was requested with such an ending."""
    if requested == "table":
        return format_of(output)
    if not output.name.lower().endswith(suffix_of(requested).lower()):
        raise ValueError(
            f"--format {requested} is written to a file that ends in {suffix_of(requested)}; "
            f"{output} does not."
        )
    return requested


def _refuse_job_options(to: OutputOptions, *, restart: bool = False) -> None:
    if to.workers is not None or to.engine is not Engine.local or (restart and to.restart):
        raise ValueError("--workers, --restart and --engine go with --output, the table to write.")


def _refuse_standard_input(paths: Sequence[Path]) -> None:
    if STDIN in map(str, paths):
        raise ValueError(
            "Standard input, -, is printed, or written to a file of one recording. Save it to a "
            "file first for a table or a folder."
        )


def _refuse_taken(output: Path, *, restart: bool) -> None:
    if os.path.lexists(output) and not restart:
        raise JobError(f"{output} exists already. Give another output, or --restart.")
    if not output.parent.is_dir():
        raise ValueError(f"{output} cannot be written: there is no folder {output.parent}.")
