"""TAU Urban Acoustic Scenes 2020 Mobile: ten scenes of European cities, several devices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from dcasenet.annotations.tables import check_label, read_table, without_repeats
from dcasenet.errors import DcasenetError
from dcasenet.text import shorten_list
from dcasenet.train.data.dataset import Example, SoundDataset, Split
from dcasenet.train.data.dataset_info import DatasetInfo
from dcasenet.train.data.splits import hold_out
from dcasenet.weights.manifest import find

INFO = DatasetInfo(
    name="TAU Urban Acoustic Scenes 2020 Mobile, development",
    folders=("TAU-urban-acoustic-scenes-2020-mobile-development",),
    layout="meta.csv, evaluation_setup/fold1_train.csv, evaluation_setup/fold1_evaluate.csv and "
    "audio/*.wav",
    source="Zenodo, record 3819968 (version 2), https://doi.org/10.5281/zenodo.3819968",
    license="free for non-commercial, academic use only",
)
SPLIT_OF_LIST: dict[str, Split] = {"fold1_train.csv": "train", "fold1_evaluate.csv": "test"}
COLUMNS = {
    "filename": ("filename",),
    "scene": ("scene_label",),
    "identifier": ("identifier",),
}
# Rows for training and for evaluation. Version 2 (Zenodo 3819968) dropped broken recordings of
# version 1 (Zenodo 3670167).
SIZES: dict[tuple[int, int], Literal["v1", "v2"]] = {(13_965, 2_970): "v1", (13_962, 2_968): "v2"}


class TAUUrban2020Mobile(SoundDataset):
    r"""The development set of DCASE 2020 task 1A, in either version, with its own split.

    ``fold1_train.csv`` is for training, ``fold1_evaluate.csv`` for testing; for validation, 10 %
    of the training split's places (`identifier`), scene by scene.

    Args:
        root: Folder that holds ``meta.csv``, or the one above.
        validation: Share of each scene's places to hold out; 0 for none, as the authors did.
        seed: Decides which.

    Attributes:
        version: ``"v1"`` or ``"v2"`` by the number of rows; None if it is neither in full.

    Raises:
        DcasenetError: Files are missing, a scene is unknown, or the tables contradict each other.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> places = [("train", "park-lisbon-1004"), ("evaluate", "park-milan-1104")]
        >>> meta = ["filename\tscene_label\tidentifier\tsource_label"]
        >>> with TemporaryDirectory() as root:
        ...     Path(root, "audio").mkdir()
        ...     Path(root, "evaluation_setup").mkdir()
        ...     for split, place in places:
        ...         name = f"audio/{place}-40000-a.wav"
        ...         Path(root, name).touch()
        ...         meta.append(f"{name}\tpark\t{place[5:]}\ta")
        ...         rows = f"filename\tscene_label\n{name}\tpark\n"
        ...         _ = Path(root, f"evaluation_setup/fold1_{split}.csv").write_text(rows)
        ...     _ = Path(root, "meta.csv").write_text("\n".join(meta))
        ...     data = TAUUrban2020Mobile(root)
        >>> [(example.split, example.scene, example.recording) for example in data]
        [('train', 'park', 'lisbon-1004'), ('test', 'park', 'milan-1104')]

    Source: Zenodo records 3670167 and 3819968.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, validation: float = 0.1, seed: int = 0
    ) -> None:
        folder = INFO.locate(root)
        lists = {folder / "evaluation_setup" / name: split for name, split in SPLIT_OF_LIST.items()}
        INFO.demand(folder, [folder / "meta.csv", *lists])
        meta = read_table(folder / "meta.csv", COLUMNS, ("filename", "scene", "identifier"))
        places, left_out = without_repeats(meta.rows, "filename")
        scene_and_place = {row["filename"]: (row["scene"], row["identifier"]) for row in places}
        labels = find("v3", "joint").scenes
        examples: list[Example] = []
        for path, split in lists.items():
            found, repeated = _split(path, split, scene_and_place, labels)
            examples += found
            left_out += repeated
        INFO.demand(folder, (example.path for example in examples))
        _check_splits(folder, examples)
        n_train = sum(example.split == "train" for example in examples)
        self.version = SIZES.get((n_train, len(examples) - n_train))
        n_unused = len(scene_and_place) - len(examples)
        if n_unused:
            left_out.append(
                f"{n_unused:,} recordings of meta.csv are in neither list of the official split."
            )
        examples, single = hold_out(examples, validation, seed)
        super().__init__(INFO.name, "scene", labels, examples, [*left_out, *single])


def _split(
    path: Path,
    split: Split,
    scene_and_place: dict[str, tuple[str, str]],
    labels: tuple[str, ...],
) -> tuple[list[Example], list[str]]:
    """Examples of one list, and what was dropped from it."""
    table = read_table(path, COLUMNS, ("filename", "scene"))
    rows, dropped = without_repeats(table.rows, "filename")
    examples = []
    for row in rows:
        scene = check_label(row, row["scene"], labels)
        if row["filename"] not in scene_and_place:
            raise row.fault(
                f"{row['filename']} is not in meta.csv. Take all tables from one version of the "
                "data set."
            )
        in_meta, place = scene_and_place[row["filename"]]
        if in_meta != scene:
            raise row.fault(f"{row['filename']} is {scene!r} here and {in_meta!r} in meta.csv.")
        audio = path.parents[1] / row["filename"]
        examples.append(Example(audio, split=split, scene=scene, recording=place))
    return examples, dropped


def _check_splits(folder: Path, examples: list[Example]) -> None:
    train = {example.path for example in examples if example.split == "train"}
    both = [e.path.name for e in examples if e.split == "test" and e.path in train]
    if both:
        raise DcasenetError(
            f"{folder}: {len(both)} recordings are both in fold1_train.csv and in "
            f"fold1_evaluate.csv: {shorten_list(both)}. Leave each in one list."
        )
