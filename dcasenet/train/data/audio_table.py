"""A table of recordings: what occurs in each of them, or when."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dcasenet.annotations.events import events_of_file
from dcasenet.annotations.tables import (
    Table,
    TableRow,
    check_distinct,
    check_label,
    read_table,
    without_repeats,
)
from dcasenet.errors import DcasenetError
from dcasenet.labels import audioset_classes
from dcasenet.spec import TASKS, Task
from dcasenet.text import shorten_list
from dcasenet.train.data.dataset import SPLITS, Example, LabeledEvent, SoundDataset, Split
from dcasenet.train.data.dataset_info import absent
from dcasenet.train.data.splits import hold_out

# Column → the names that it may have. One called "label" is a scene, or a tag where tags are wanted
# for.
SHARED = {
    "filename": ("filename", "fname", "file", "path"),
    "split": ("split", "part"),
    "recording": ("recording", "recording_id", "source_id", "identifier"),
}
COLUMNS: dict[Task, dict[str, tuple[str, ...]]] = {
    "scene": {"scene": ("scene", "scene_label", "label")},
    "tag": {"tags": ("tags", "labels", "label")},
    "event": {"onset": ("onset",), "offset": ("offset",), "event_label": ("event_label",)},
}
HELP = (
    "Accepted are filename with one of: scene; tags (several in double quotes, separated by "
    "semicolons or commas); onset, offset (seconds) and event_label."
)


class AudioTable(SoundDataset):
    r"""A table with a row for each recording, or for each event.

    The columns are ``filename``, relative to the table, and ``scene``; or ``tags``, several of
    them separated by semicolons or commas; or ``onset``, ``offset`` (in seconds) and
    ``event_label``, all three empty for a recording in which nothing happens. Tabs, commas or
    semicolons separate the columns. A column ``split`` (train, validation or test) gives the
    split, and ``recording`` what a file was cut from. Without rows for validation, a share of
    each label's recordings is held out.

    Where tags have a semicolon, their commas are part of names. Where they have none, names that
    are known to contain commas are whole: those of `labels`, or else AudioSet's and those that
    semicolons separate elsewhere in the table (``Crowing, cock-a-doodle-doo`` is one tag).

    Args:
        csv: The table.
        task: What to read; by default what there are columns for.
        labels: The labels, in the order of a network's outputs; by default those found, sorted.
        validation: Share of each label's recordings to hold out, 0 for none.
        seed: Decides which.
        group: Gives the recording that a file was cut from, if no column does.

    Raises:
        DcasenetError: The table cannot be read or lacks a column, files are missing, or a row is
            faulty: named, with its line.
        ValueError: The task or the share is none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     table, _ = Path(folder, "a.csv"), Path(folder, "a.wav").touch()
        ...     _ = table.write_text('filename,tags\na.wav,"rain, wind"\n')
        ...     AudioTable(table)[0].tags
        ('rain', 'wind')
    """

    def __init__(
        self,
        csv: str | os.PathLike[str],
        task: Task | None = None,
        *,
        labels: Sequence[str] | None = None,
        validation: float = 0.2,
        seed: int = 0,
        group: Callable[[Path], str] | None = None,
    ) -> None:
        path = Path(csv)
        task = task or _task(path)
        if task not in TASKS:
            raise ValueError(f"There is no task {task!r}. Accepted are {', '.join(TASKS)}.")
        columns = {**SHARED, **COLUMNS[task]}
        table = read_table(path, columns, ["filename", *COLUMNS[task]], HELP)
        if not table.rows:
            raise DcasenetError(f"{path} has a header and no rows. {HELP}")
        reading = _Reading(path.parent, group, labels)
        {"scene": reading.scenes, "tag": reading.tags, "event": reading.events}[task](table)
        reading.check(path)
        examples, left_out = reading.examples, reading.left_out
        if not any(example.split == "validation" for example in examples):
            examples, single = hold_out(examples, validation, seed)
            left_out += single
        found = labels or sorted(reading.first_row)
        super().__init__(path.stem, task, found, examples, left_out)


def _task(path: Path) -> Task:
    """The task that a table has columns for."""
    columns = {name: titles for task in TASKS for name, titles in COLUMNS[task].items()}
    columns["tags"] = columns["tags"][:-1]  # "label" by itself is a scene
    found = read_table(path, {**SHARED, **columns}).columns
    tasks = [task for task in TASKS if found & set(COLUMNS[task])]
    if len(tasks) > 1:
        raise DcasenetError(
            f"{path} has columns for the tasks {' and '.join(tasks)}. Say which one is meant, "
            f"such as task={tasks[0]!r}."
        )
    return tasks[0] if tasks else "scene"  # whose missing column is then named


@dataclass
class _Reading:
    """What was read of a table so far."""

    folder: Path
    group: Callable[[Path], str] | None
    labels: Sequence[str] | None
    examples: list[Example] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    first_row: dict[str, TableRow] = field(default_factory=dict)  # of each label

    def scenes(self, table: Table) -> None:
        rows, self.left_out = without_repeats(table.rows, "filename")
        self.examples = [self._example(row, scene=self._label(row, row["scene"])) for row in rows]

    def tags(self, table: Table) -> None:
        rows, self.left_out = without_repeats(table.rows, "filename")
        known = self.labels or [
            *(one.name for one in audioset_classes()),
            *(name for row in rows if ";" in row["tags"] for name in split_tags(row["tags"])),
        ]
        whole = {name for name in known if "," in name}
        for row in rows:
            names = split_tags(row["tags"], whole)
            tags = tuple(dict.fromkeys(self._label(row, name) for name in names))
            self.examples.append(self._example(row, tags=tags))

    def events(self, table: Table) -> None:
        rows: dict[str, list[TableRow]] = {}
        for row in table.rows:
            first = rows.setdefault(row["filename"], [row])[0]
            if first is not row:
                rows[row["filename"]].append(row)
            if any(row[column] != first[column] for column in ("split", "recording")):
                raise row.fault(f"{row['filename']} has another split or recording above.")
        for name, of_file in rows.items():
            events, remarks = events_of_file(self.folder / name, of_file)
            self.left_out += remarks
            for row in of_file:
                if row["event_label"]:
                    self._label(row, row["event_label"])
            self.examples.append(self._example(of_file[0], events=tuple(events)))

    def check(self, path: Path) -> None:
        """Refuse labels that are nearly the same, and files that are not there."""
        check_distinct(sorted(self.first_row), path)
        missing = [os.path.relpath(p, self.folder) for p in absent(e.path for e in self.examples)]
        if missing:
            noun = "file" if len(missing) == 1 else "files"
            raise DcasenetError(
                f"{path} names {len(missing):,} {noun} that do not exist in {self.folder}: "
                f"{shorten_list(missing)}. File names are relative to the table."
            )

    def _example(
        self,
        row: TableRow,
        scene: str | None = None,
        tags: tuple[str, ...] | None = None,
        events: tuple[LabeledEvent, ...] | None = None,
    ) -> Example:
        if not row["filename"]:
            raise row.fault("the file name is empty.")
        path = self.folder / row["filename"]
        recording = row["recording"] or (self.group(path) if self.group else "")
        return Example(path, _split(row), scene, tags, events, recording=recording)

    def _label(self, row: TableRow, name: str) -> str:
        if not name:
            raise row.fault("the label is empty.")
        if self.labels is not None:
            check_label(row, name, self.labels)
        self.first_row.setdefault(name, row)
        return name


def split_tags(text: str, known: Iterable[str] = ()) -> list[str]:
    """Split tags at semicolons; where there are none, at the commas that are in no known name.

    Args:
        text: Several tags, or one, or none.
        known: Names, in any capitals, of which some contain commas.

    Example:
        >>> split_tags("Crowing, cock-a-doodle-doo;Dog")
        ['Crowing, cock-a-doodle-doo', 'Dog']
        >>> split_tags("Dog, Crowing, cock-a-doodle-doo", ["Crowing, cock-a-doodle-doo"])
        ['Dog', 'Crowing, cock-a-doodle-doo']
    """
    if ";" in text:
        return [name.strip() for name in text.split(";") if name.strip()]
    whole = {name.casefold() for name in known if "," in name}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    names = []
    while parts:
        lengths = range(len(parts), 1, -1)  # the longest name first
        n = next((n for n in lengths if ", ".join(parts[:n]).casefold() in whole), 1)
        names.append(", ".join(parts[:n]))
        del parts[:n]
    return names


def _split(row: TableRow) -> Split:
    name = row["split"] or "train"
    for split in SPLITS:
        if split == name:
            return split
    raise row.fault(f"the split is {name!r}. Accepted are {', '.join(SPLITS)}.")
