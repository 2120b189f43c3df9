"""Whatever a user calls data, as a data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dcasenet.errors import DcasenetError
from dcasenet.spec import Task, check_tasks
from dcasenet.train.data.audio_folder import AudioFolder
from dcasenet.train.data.audio_table import AudioTable
from dcasenet.train.data.dataset import SoundDataset

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
    group: Callable[[Path], str] | None = None,
) -> SoundDataset:
    """Return data as a data set for a task.

    Args:
        data: A folder, which is read as `AudioFolder`; a file, read as `AudioTable`; or a data
            set, which is given back with the split that it has.
        task: What is to be learned.
        validation: Share held out for validation where the data does not say, 0 for none.
        seed: Decides what is held out.
        group: Gives the recording that a file was cut from; those of one stay together.

    Raises:
        DcasenetError: There is nothing there, it cannot be read, or it is labeled for another
            task.
        ValueError: There is no such task.
        TypeError: It is none of the three.

    Example:
        >>> from dcasenet.train.data.dataset import Example
        >>> data = SoundDataset("mine", "tag", ("a",), [Example(Path("a.wav"), tags=("a",))])
        >>> as_dataset(data, "tag") is data
        True
    """
    check_tasks([task])
    if not isinstance(data, SoundDataset):
        data = _read(data, task, validation, seed, group)
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
