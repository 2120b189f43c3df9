"""Store the finished rows of a job on disk, so that it can resume after an interruption.

::

    out.parquet.parts/job.json                       the computation and its model
    out.parquet.parts/files.jsonl                    the files, as listed when the job began
    out.parquet.parts/passed_over.json               number of other files, by suffix
    out.parquet.parts/rows-000000000-000000032.jsonl the rows of files 0 to 31
    out.parquet.parts/.lock                          held by the running job

A file of rows gets its final name once it is complete and on disk, and begins where the one before
it ends. So a job that is killed loses only the rows that were not saved yet.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcasenet.audio.discovery import Listing
from dcasenet.batch.rows import Row, from_line, to_line
from dcasenet.errors import JobError
from dcasenet.text import shorten_list
from dcasenet.types import check_flags

JOB, FILES, LOCK, WORK = "job.json", "files.jsonl", ".lock", "incomplete"
PASSED_OVER = "passed_over.json"
# Names in a job's folder, including the output while it is written.
_OURS = re.compile(rf"{JOB}|{FILES}|{LOCK}|{WORK}|{PASSED_OVER}|rows-\d+-\d+\.jsonl|merged\.[\w.]+")


class ResultStore:
    """The finished rows of one job, beside its output.

    Args:
        output: The file that the job writes.

    Attributes:
        folder: Folder of the rows.
        n_done: Number of finished files.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     store = ResultStore(Path(folder, "out.jsonl"))
        ...     with store.locked():
        ...         found = Listing(["a.wav", "b.wav"], Counter({".txt": 3}))
        ...         store.begin({"top": 5}, lambda: found) == found
        ...         store.save([{"filename": "a.wav"}])
        ...         again = ResultStore(store.output)
        ...         again.begin({"top": 5}, lambda: found) == found, again.n_done
        True
        (True, 1)
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self.n_done = 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the output, so that no other job writes it.

        Raises:
            JobError: Another job is running on it, or the folder contains other files.
            OSError: The folder cannot be created.
        """
        from filelock import FileLock, Timeout

        self._check_ours()
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise JobError(
                f"Another job is writing {self.output}: it holds {self.folder / LOCK}. Wait until "
                f"it ends, or give another output."
            ) from error
        try:
            yield
        finally:
            if not (self.folder / JOB).exists():  # the job is finished, or never began
                shutil.rmtree(self.folder, ignore_errors=True)
            lock.release()

    def begin(
        self, job: Mapping[str, Any], list_files: Callable[[], Listing], *, restart: bool = False
    ) -> Listing:
        """Begin a job, or resume it.

        Args:
            job: The computation and its model, as plain values.
            list_files: Lists the files of a new job.
            restart: Whether to discard existing results.

        Returns:
            All files of the job, as listed when it began, and the number of other files.

        Raises:
            JobError: The output exists, or there are unfinished rows of another job.
            OSError: The disk is full.
            ValueError: `restart` is neither True nor False.
        """
        check_flags(restart=restart)
        if (self.folder / JOB).exists() and not restart:
            begun = json.loads((self.folder / JOB).read_text("utf-8"))
            self._check_same(begun, job)
            self.n_done = self._count()
            passed_over = json.loads((self.folder / PASSED_OVER).read_text("utf-8"))
            with (self.folder / FILES).open(encoding="utf-8") as lines:
                return Listing([json.loads(line) for line in lines], Counter(passed_over))
        if os.path.lexists(self.output) and not restart:
            raise JobError(
                f"{self.output} exists already. Give another output, or --restart "
                f"(restart=True) to replace it."
            )
        self._clear()
        listing = list_files()
        self._write(FILES, (json.dumps(file) for file in listing.files))
        self._write(PASSED_OVER, [json.dumps(listing.passed_over)])
        self._write(JOB, [json.dumps(job, indent=1)])
        return listing

    def save(self, rows: Sequence[Row]) -> None:
        """Save the rows of the next files.

        Raises:
            OSError: The disk is full; rows saved before are kept.
        """
        stop = self.n_done + len(rows)
        self._write(f"rows-{self.n_done:09d}-{stop:09d}.jsonl", map(to_line, rows))
        self.n_done = stop

    def rows(self) -> Iterator[Row]:
        """Yield the finished rows, one at a time, in the order of the files."""
        for path in self._saved():
            with path.open(encoding="utf-8") as lines:
                yield from map(from_line, lines)

    def finish(self, *outputs: tuple[Path, Path]) -> None:
        """Move files from the folder (first of each pair) to their final paths, and clear it."""
        for made, place in outputs:
            _to_disk(made)
            made.replace(place)
        self._clear()

    def _check_ours(self) -> None:
        """Check that the folder was made by a job, since all of it is deleted at the end."""
        if not os.path.lexists(self.folder):
            return
        is_folder = self.folder.is_dir() and not self.folder.is_symlink()
        names = sorted(path.name for path in self.folder.iterdir()) if is_folder else ["."]
        strange = [name for name in names if not _OURS.fullmatch(name)]
        if strange:
            raise JobError(
                f"{self.folder}, where a job for {self.output.name} keeps its finished rows, "
                f"contains other files: {shorten_list(strange)}. Move them, or give another output."
            )

    def _check_same(self, begun: Mapping[str, Any], job: Mapping[str, Any]) -> None:
        differences = [
            f"{name} was {_short(begun.get(name))} and is {_short(job.get(name))}"
            for name in dict.fromkeys([*begun, *job])
            if begun.get(name) != job.get(name)
        ]
        if differences:
            raise JobError(
                f"{self.folder} contains finished rows of another job: {'; '.join(differences)}. "
                f"Use the same options as before to continue, or give --restart (restart=True) to "
                f"discard them."
            )

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("rows-*.jsonl"))

    def _count(self) -> int:
        """Count the finished rows, and delete those after a gap."""
        done = 0
        for path in self._saved():
            first, stop = map(int, path.stem.split("-")[1:])
            if first == done:
                done = stop
            else:
                path.unlink()
        return done

    def _write(self, name: str, lines: Iterable[str]) -> None:
        work = self.folder / WORK
        try:
            with work.open("w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
            _to_disk(work)
            work.replace(self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                work.unlink()
            raise

    def _clear(self) -> None:
        # The job's description is deleted first: a folder without it counts as empty.
        for name in (JOB, FILES, PASSED_OVER):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
