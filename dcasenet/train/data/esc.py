"""ESC-50 and ESC-10: environmental sounds of five seconds in five folds."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dcasenet.annotations.tables import TableRow, read_table, without_repeats
from dcasenet.audio.discovery import SUFFIXES
from dcasenet.spec import Task
from dcasenet.train.data.dataset import Example, SoundDataset, Split
from dcasenet.train.data.dataset_info import DatasetInfo, absent
from dcasenet.train.data.splits import keep_apart
from dcasenet.types import check_flags

N_FOLDS, N_CLASSES = 5, 50
FOLDS = tuple(range(1, N_FOLDS + 1))
ESC50_INFO = DatasetInfo(
    name="ESC-50",
    folders=("ESC-50-master", "ESC-50"),
    layout="meta/esc50.csv (or meta.csv) and the folder audio",
    source="https://github.com/karolpiczak/ESC-50 or https://doi.org/10.7910/DVN/YDEPUT",
    license="CC BY-NC 3.0; each clip its own",
)
TABLES = ("meta/esc50.csv", "meta.csv")
COLUMNS = {
    "filename": ("filename",),
    "fold": ("fold",),
    "target": ("target",),
    "category": ("category",),
    "source": ("src_file", "source_id"),
}
ESC10_CLASSES = (
    "001 - Dog bark",
    "002 - Rain",
    "003 - Sea waves",
    "004 - Baby cry",
    "005 - Clock tick",
    "006 - Person sneeze",
    "007 - Helicopter",
    "008 - Chainsaw",
    "009 - Rooster",
    "010 - Fire crackling",
)
ESC10_INFO = DatasetInfo(
    name="ESC-10",
    folders=("ESC-10-master", "ESC-10"),
    layout=f"a folder per class, {ESC10_CLASSES[0]!r} to {ESC10_CLASSES[-1]!r}, of files such as "
    "1-17092-A.ogg",
    source="https://github.com/karolpiczak/ESC-10 or https://doi.org/10.7910/DVN/YDEPUT",
    license="CC BY 3.0",
)
ESC10_NAME = re.compile(r"([1-5])-(\d+)-[A-Z](?:-\d+)?")


class ESC50(SoundDataset):
    r"""2,000 clips of 50 classes; folds, not files, are the splits.

    One fold is for testing, the one before it (5 before 1) for validation, three for training. A
    few recordings are in two folds: their clips stay in the later split and are left out of the
    earlier one, training first.

    Args:
        root: Folder that holds ``meta/esc50.csv`` or ``meta.csv``, and ``audio``.
        test_fold: 1 to 5.
        validation: Whether there is a fold for validation; if not, it is for training.
        task: ``"scene"``: one label of many. ``"tag"``: the same label as a tag.

    Raises:
        DcasenetError: Files are missing, or a row is none of the data set.
        ValueError: There is no such fold or task.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for name in ("meta/esc50.csv", "audio/5-203128-A-0.wav"):
        ...         Path(root, name).parent.mkdir()
        ...         Path(root, name).touch()
        ...     header = "filename,fold,target,category,esc10,src_file,take"
        ...     row = "5-203128-A-0.wav,5,0,dog,True,203128,A"
        ...     _ = Path(root, "meta/esc50.csv").write_text(f"{header}\n{row}\n")
        ...     data = ESC50(root)
        >>> data[0].scene, data[0].fold, data[0].split, data[0].recording
        ('dog', 5, 'test', '203128')

    Source: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 2015.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        test_fold: int = 5,
        validation: bool = True,
        task: Task = "scene",
    ) -> None:
        splits = _splits(test_fold, validation)
        folder = ESC50_INFO.locate(root)
        paths = [folder / name for name in TABLES]
        table = next((path for path in paths if not absent([path])), paths[0])
        ESC50_INFO.demand(folder, [table])
        rows, left_out = without_repeats(read_table(table, COLUMNS, [*COLUMNS]).rows, "filename")
        categories: dict[int, str] = {}
        examples = []
        for row in rows:
            fold = _number(row, "fold", 1, N_FOLDS)
            target = _number(row, "target", 0, N_CLASSES - 1)
            if categories.setdefault(target, row["category"]) != row["category"]:
                raise row.fault(
                    f"target {target} is {row['category']!r} here and {categories[target]!r} "
                    "above. Take the table as published."
                )
            path = folder / "audio" / row["filename"]
            examples.append(_example(path, row["category"], splits, fold, row["source"], task))
        ESC50_INFO.demand(folder, (example.path for example in examples))
        examples, torn = keep_apart(examples)
        labels = [categories[target] for target in sorted(categories)]
        super().__init__("ESC-50", task, labels, examples, [*left_out, *torn])


class ESC10(SoundDataset):
    """400 clips of ten of ESC-50's classes, as published by themselves; splits as for `ESC50`.

    Args:
        root: Folder that holds the ten class folders.
        test_fold: 1 to 5, the first digit of a file's name.
        validation: Whether there is a fold for validation; if not, it is for training.
        task: ``"scene"``: one label of many. ``"tag"``: the same label as a tag.

    Raises:
        DcasenetError: A class is missing.
        ValueError: There is no such fold or task.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for name in ESC10_CLASSES:
        ...         Path(root, name).mkdir()
        ...         Path(root, name, "4-17092-A.ogg").touch()
        ...     data = ESC10(root, task="tag")
        >>> data[0].tags, data[0].fold, data[0].split
        (('Dog bark',), 4, 'validation')

    Source: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 2015.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        test_fold: int = 5,
        validation: bool = True,
        task: Task = "scene",
    ) -> None:
        splits = _splits(test_fold, validation)
        folder = ESC10_INFO.locate(root)
        examples: list[Example] = []
        left_out: list[str] = []
        missing = []
        for name in ESC10_CLASSES:
            found = [p for p in (folder / name).glob("*") if p.suffix.lower() in SUFFIXES]
            if not found:
                missing.append(f"{name}/*.ogg")
            for path in sorted(found):
                match = ESC10_NAME.fullmatch(path.stem)
                if match is None:
                    left_out.append(f"{path.name} does not say its fold, as 1-17092-A.ogg does.")
                    continue
                fold, source = int(match[1]), match[2]
                examples.append(_example(path, _label(name), splits, fold, source, task))
        if missing:
            raise ESC10_INFO.incomplete(folder, missing)
        examples, torn = keep_apart(examples)
        labels = [_label(name) for name in ESC10_CLASSES]
        super().__init__("ESC-10", task, labels, examples, [*left_out, *torn])


def _label(folder: str) -> str:
    return folder.partition(" - ")[2]


def _splits(test_fold: int, validation: bool) -> dict[int, Split]:
    """Fold → split."""
    check_flags(validation=validation)
    if test_fold not in range(1, N_FOLDS + 1):
        raise ValueError(f"There is no fold {test_fold!r}. Accepted are 1 to {N_FOLDS}.")
    splits: dict[int, Split] = dict.fromkeys(range(1, N_FOLDS + 1), "train")
    splits[test_fold] = "test"
    if validation:
        splits[(test_fold - 2) % N_FOLDS + 1] = "validation"
    return splits


def _example(
    path: Path, label: str, splits: dict[int, Split], fold: int, source: str, task: Task
) -> Example:
    if task not in ("scene", "tag"):
        raise ValueError(f"Its clips have no {task!r} labels. Accepted are 'scene' and 'tag'.")
    return Example(
        path,
        split=splits[fold],
        scene=label if task == "scene" else None,
        tags=(label,) if task == "tag" else None,
        recording=source,
        fold=fold,
    )


def _number(row: TableRow, column: str, lowest: int, highest: int) -> int:
    text = row[column]
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise row.fault(f"the {column} is {text!r}. Accepted are {lowest} to {highest}.")
    return int(text)
