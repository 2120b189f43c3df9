"""FSDKaggle2019, curated: 80 tags, short sounds from Freesound."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcasenet.annotations.tables import TableRow, check_label, read_table, without_repeats
from dcasenet.train.data.dataset import Example, SoundDataset
from dcasenet.train.data.dataset_info import DatasetInfo, absent
from dcasenet.train.data.splits import hold_out
from dcasenet.types import check_flags
from dcasenet.weights.manifest import find

INFO = DatasetInfo(
    name="FSDKaggle2019, curated",
    folders=("FSDKaggle2019", "freesound-audio-tagging-2019"),
    layout="train_curated.csv and train_curated/*.wav (as on Kaggle), or "
    "FSDKaggle2019.meta/train_curated_post_competition.csv and "
    "FSDKaggle2019.audio_train_curated/*.wav (as on Zenodo)",
    source="Zenodo, record 3612637, https://doi.org/10.5281/zenodo.3612637",
    license="CC BY 4.0; each clip CC0, CC BY, CC BY-NC or Sampling+",
)
# Table, folder of the audio.
LAYOUTS = (
    ("train_curated.csv", "train_curated"),
    (
        "FSDKaggle2019.meta/train_curated_post_competition.csv",
        "FSDKaggle2019.audio_train_curated",
    ),
)
COLUMNS = {"filename": ("fname",), "tags": ("labels",)}
# By the data set's README: clips with a wrong label, and the one without any signal.
MISLABELLED = frozenset(
    f"{name}.wav" for name in ("f76181c4", "77b925c2", "6a1f682a", "c7db12aa", "7752cc8a")
)
SILENT = frozenset({"1d44b0bd.wav"})
FOLDS = 5
SPLIT_SEED = 42


class FSDKaggle2019Curated(SoundDataset):
    r"""The curated clips of DCASE 2019 task 2, split in five folds as the authors did.

    Fold 0 is for testing, the others for training; for validation, 10 % of the training rows.
    The clips whose label is known to be wrong, and the silent one, do not train; in the test split
    they stay, since the published figures count them.

    Args:
        root: Folder that holds ``train_curated.csv``, or that of the Zenodo archives.
        validation: Share of the training rows to hold out; 0 for none, as the authors did.
        seed: Decides which.
        keep_known_bad: Train on those clips as well, as the authors did.

    Attributes:
        mislabeled: Those of this data, by name.
        silent: Likewise.

    Raises:
        DcasenetError: Files are missing, a tag is unknown, or two rows contradict each other.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     Path(root, "train_curated").mkdir()
        ...     Path(root, "train_curated/0006ae4e.wav").touch()
        ...     rows = 'fname,labels\n0006ae4e.wav,"Bark,Purr"\n'
        ...     _ = Path(root, "train_curated.csv").write_text(rows)
        ...     data = FSDKaggle2019Curated(root)
        >>> len(data.labels), data[0].tags
        (80, ('Bark', 'Purr'))

    Source: Zenodo record 3612637, and the files of the Kaggle competition.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        validation: float = 0.1,
        seed: int = 0,
        keep_known_bad: bool = False,
    ) -> None:
        check_flags(keep_known_bad=keep_known_bad)
        folder = INFO.locate(root)
        table, audio = _layout(folder)
        INFO.demand(folder, [table])
        read = read_table(table, COLUMNS, ("filename", "tags"))
        rows, left_out = without_repeats(read.rows, "filename")
        INFO.demand(folder, (audio / row["filename"] for row in rows))
        labels = find("v3", "joint").tags
        names = [row["filename"] for row in rows]
        self.mislabeled = tuple(name for name in names if name in MISLABELLED)
        self.silent = tuple(name for name in names if name in SILENT)
        examples = []
        for row, fold in zip(rows, folds(len(rows)).tolist(), strict=True):
            is_bad = row["filename"] in MISLABELLED | SILENT
            if fold != 0 and is_bad and not keep_known_bad:
                why = "is silent" if row["filename"] in SILENT else "has a wrong label"
                left_out.append(f"{row['filename']} {why} by the data set's README.")
                continue
            examples.append(
                Example(
                    audio / row["filename"],
                    split="test" if fold == 0 else "train",
                    tags=_tags(row, labels),
                    fold=fold,
                )
            )
        examples, single = hold_out(examples, validation, seed)
        super().__init__(INFO.name, "tag", labels, examples, [*left_out, *single])


def _layout(folder: Path) -> tuple[Path, Path]:
    """The table and the folder of the audio, of the layout that is there in the greater part."""
    pairs = [(folder / table, folder / audio) for table, audio in LAYOUTS]
    found = [pair for pair in pairs if not absent([pair[0]])]
    return found[0] if found else next((pair for pair in pairs if pair[1].is_dir()), pairs[0])


def _tags(row: TableRow, labels: Sequence[str]) -> tuple[str, ...]:
    found = [tag.strip() for tag in row["tags"].split(",")]
    return tuple(dict.fromkeys(check_label(row, tag, labels) for tag in found))


def folds(n_rows: int) -> NDArray[np.int64]:
    """Deal rows into five folds by the authors' permutation of the table's own order.

    Args:
        n_rows: Number of rows.

    Returns:
        The fold of each row, 0 to 4, (n_rows,); fold 0 is the authors' test split.

    Example:
        >>> np.flatnonzero(folds(4970) == 0)[:6].tolist()
        [8, 12, 17, 19, 23, 26]

    Source: Jungjee/DcaseNet, ``KFold(5, shuffle=True, random_state=42)`` of scikit-learn.
    """
    order = np.arange(n_rows)
    # The permutation is that of the legacy generator, which never changes.
    np.random.RandomState(SPLIT_SEED).shuffle(order)
    fold = np.empty(n_rows, np.int64)
    for number, rows in enumerate(np.array_split(order, FOLDS)):
        fold[rows] = number
    return fold
