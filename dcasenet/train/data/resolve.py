"""Whatever a user calls data, as a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from dcasenet.errors import DcasenetError
from dcasenet.spec import Task, check_tasks
from dcasenet.train.data.audio_folder import AudioFolder
from dcasenet.train.data.audio_table import AudioTable
from dcasenet.train.data.dataset import SoundDataset

Group: TypeAlias = "str | Callable[[Path], str]"

ACCEPTED = (
    "Accepted are a folder of class folders, a table (.csv, .tsv, .txt) and a data set of "
    "dcasenet.train."
)


def as_dataset(
    data: str | os.PathLike[str] | SoundDataset,
    task: Task,
    *,
    validation: float = 0.2,
    seed: int = 0,
    group: Group | None = None,
) -> SoundDataset:
    """Return data as a data set for a task.

    Args:
        data: A folder, which is read as `AudioFolder`; a file, read as `AudioTable`; or a data
            set, which is given back with the split that it has.
        task: What is to be learned.
        validation: Share held out for validation where the data does not say, 0 for none.
        seed: Decides what is held out.
        group: Gives the recording that a file was cut from, so that the files of one recording
            stay together: a function of the path, or a regular expression that is searched in the
            file's name (its first group counts, or without one all that matches).

    Raises:
        DcasenetError: There is nothing there, it cannot be read, or it is labeled for another
            task.
        ValueError: There is no such task, `group` is no regular expression, matches nothing in a
            file's name, or is given for a data set, whose examples have their recordings.
        TypeError: It is none of the three.

    Example:
        >>> from dcasenet.train.data.dataset import Example
        >>> data = SoundDataset("mine", "tag", ("a",), [Example(Path("a.wav"), tags=("a",))])
        >>> as_dataset(data, "tag") is data
        True
    """
    check_tasks([task])
    if not isinstance(data, SoundDataset):
        by = _by_pattern(group) if isinstance(group, str) else group
        data = _read(data, task, validation, seed, by)
    elif group is not None:
        raise ValueError(
            f"group={group!r} is for a folder or a table; the examples of a data set say by "
            "themselves which recording they are from. Leave group out."
        )
    if data.task != task:
        raise DcasenetError(
            f"{data.name} is labeled for {data.task}, and the task is {task}. Say "
            f"task={data.task!r}, or give data with {task} labels."
        )
    return data


def _read(
    data: str | os.PathLike[str],
    task: Task,
    validation: float,
    seed: int,
    group: Callable[[Path], str] | None,
) -> SoundDataset:
    if not isinstance(data, str | os.PathLike):
        raise TypeError(f"{type(data).__name__} is not data. {ACCEPTED}")
    path = Path(data)
    if path.is_dir():
        return AudioFolder(path, task, validation=validation, seed=seed, group=group)
    if path.is_file():
        return AudioTable(path, task, validation=validation, seed=seed, group=group)
    raise DcasenetError(f"There is neither a folder nor a table {path}. {ACCEPTED}")


def _by_pattern(pattern: str) -> Callable[[Path], str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"group={pattern!r} is not a regular expression: {error}.") from error

    def recording(path: Path) -> str:
        found = compiled.search(path.name)
        name = found and (found[1] if compiled.groups else found[0])
        if not name:
            raise ValueError(
                f"group={pattern!r} finds nothing in the name of {path}; it has to match every "
                "file, such as '^[^_]+' for all that comes before an underscore."
            )
        return name

    return recording
