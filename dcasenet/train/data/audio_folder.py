"""Folders of recordings, one for each class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from dcasenet.annotations.tables import check_distinct
from dcasenet.audio.discovery import (
    HIDDEN,
    SUFFIXES,
    describe_counts,
    find_recordings,
    list_entries,
)
from dcasenet.errors import AudioError, DcasenetError
from dcasenet.spec import Task
from dcasenet.text import shorten_list
from dcasenet.train.data.dataset import SPLITS, Example, SoundDataset, Split
from dcasenet.train.data.splits import hold_out

HELP = (
    "Give a folder with one folder of recordings for each class, such as my_sounds/dog/1.wav and "
    "my_sounds/rain/1.wav; or train, validation and test folders with those in them."
)


class AudioFolder(SoundDataset):
    """A folder with one folder of recordings for each class, in subfolders too if need be.

    Where the folders are called ``train``, ``validation`` and ``test`` (the last two may be
    missing) and hold the classes, they are the splits. Without ``validation``, a share of each
    class is held out; a class of one recording is for training.

    Args:
        root: The folder.
        task: ``"scene"``: one label of many. ``"tag"``: the same label as a tag.
        validation: Share of each class to hold out, 0 for none.
        seed: Decides which.
        group: Gives the recording that a file was cut from, so that the parts of one recording
            stay together; by default each file is a recording.

    Raises:
        DcasenetError: There are no class folders, no recordings, or two classes of one name; a
            class has no recording to learn from; or a split has a class that training has not.
        ValueError: The task or the share is none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for name in ("dog/1.wav", "dog/2.wav", "rain/1.wav", "rain/2.wav"):
        ...         Path(root, name).parent.mkdir(exist_ok=True)
        ...         Path(root, name).touch()
        ...     data = AudioFolder(root)
        >>> data.labels, len(data.split("train")), len(data.split("validation"))
        (('dog', 'rain'), 2, 2)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        task: Task = "scene",
        *,
        validation: float = 0.2,
        seed: int = 0,
        group: Callable[[Path], str] | None = None,
    ) -> None:
        if task not in ("scene", "tag"):
            raise ValueError(
                f"Class folders say nothing of when a sound occurs, and the task is {task!r}. "
                "Give a CSV with the columns filename, onset, offset and event_label."
            )
        folder = Path(root)
        if not folder.is_dir():
            raise DcasenetError(f"There is no folder {folder}. {HELP}")
        examples: list[Example] = []
        left_out: list[str] = []
        splits = _splits(folder)
        passed_over = Counter() if folder in splits.values() else _loose(folder, left_out)
        for split, split_folder in splits.items():
            examples += _classes(split_folder, split, task, group, left_out, passed_over)
        if passed_over:
            left_out.append(f"Passed over: {describe_counts(passed_over)}.")
        labels = _labels(folder, examples)
        if not any(example.split == "validation" for example in examples):
            examples, single = hold_out(examples, validation, seed)
            left_out += single
        super().__init__(folder.name, task, labels, examples, left_out)


def _splits(folder: Path) -> dict[Split, Path]:
    """Split → its folder; all is for training where the folders are not the splits."""
    names = {path.name for path in _folders(folder)}
    if "train" in names and names <= {*SPLITS} and _folders(folder / "train"):
        return {split: folder / split for split in SPLITS if split in names}
    return {"train": folder}


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder by name; what begins with a dot or two underscores is a system's own."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DcasenetError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [path for path in entries if path.is_dir() and not path.name.startswith((".", "__"))]


def _loose(folder: Path, left_out: list[str]) -> Counter[str]:
    """Note recordings that lie in no class folder, and count files that are no recordings."""
    entries, passed_over = list_entries(folder)
    loose = [Path(path).name for path, is_folder in entries if not is_folder]
    if loose:
        left_out.append(f"{len(loose)} recordings lie in no class folder: {shorten_list(loose)}.")
    names = [Path(path).name for path, is_folder in entries if is_folder]
    passed_over[HIDDEN] += sum(name.startswith("__") for name in names)
    return +passed_over


def _classes(
    folder: Path,
    split: Split,
    task: Task,
    group: Callable[[Path], str] | None,
    left_out: list[str],
    passed_over: Counter[str],
) -> list[Example]:
    """Return the examples of one split; note, and count, what lies about besides."""
    examples: list[Example] = []
    folders = _folders(folder)
    check_distinct((path.name for path in folders), folder)
    passed_over += _loose(folder, left_out)
    lost: list[Path] = []
    for path in folders:
        try:
            listing = find_recordings([path])
        except AudioError:
            lost.append(path)
            continue
        passed_over += listing.passed_over
        label = path.name.strip()
        examples += [
            Example(
                Path(name),
                split=split,
                scene=label if task == "scene" else None,
                tags=(label,) if task == "tag" else None,
                recording=group(Path(name)) if group else "",
            )
            for name in listing.files
        ]
    # Where no class has any, the folder is of another kind, which is said later.
    if lost and examples and split == "train":
        raise DcasenetError(_lost(lost[0]))
    left_out += [f"The class folder {path.name!r} holds no recording." for path in lost]
    return examples


def _lost(folder: Path) -> str:
    """Return the error that a class has no recording, and what its folder holds instead."""
    suffixes = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file())
    held = shorten_list(
        [f"{n} {suffix or 'without a suffix'}" for suffix, n in suffixes.most_common()]
    )
    return (
        f"The class {folder.name!r} has no recording to learn from: {folder} holds "
        f"{held or 'no files'}. Add recordings that end in {', '.join(sorted(SUFFIXES))}, or "
        f"remove the folder to do without the class."
    )


def _labels(folder: Path, examples: Iterable[Example]) -> list[str]:
    """Labels of the training split, if the other splits have no others."""
    of_split: dict[Split, set[str]] = {split: set() for split in SPLITS}
    folders: set[str] = set()
    for example in examples:
        label = example.scene or (example.tags or ("",))[0]
        of_split[example.split].add(label)
        folders.add(label)
    if not folders:
        tables = sorted(path.name for path in folder.glob("*.csv"))
        hint = f" Or give the table {folder / tables[0]}, if that is the data." if tables else ""
        raise DcasenetError(f"There is no recording in a class folder of {folder}. {HELP}{hint}")
    check_distinct(sorted(folders), folder)
    for split, found in of_split.items():
        unknown = sorted(found - of_split["train"])
        if unknown:
            raise DcasenetError(
                f"{folder / split} has classes that training has not: {shorten_list(unknown)}. Add "
                "recordings of them to train, or leave them out."
            )
    return sorted(folders)
