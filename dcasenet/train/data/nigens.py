"""TAU-NIGENS Spatial Sound Events 2020: minutes of overlapping events, four microphones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from dcasenet.annotations.tables import read_text
from dcasenet.errors import DcasenetError
from dcasenet.text import SHOWN
from dcasenet.train.data.dataset import Example, LabeledEvent, SoundDataset, Split
from dcasenet.train.data.dataset_info import DatasetInfo
from dcasenet.types import check_flags
from dcasenet.weights.manifest import find

INFO = DatasetInfo(
    name="TAU-NIGENS Spatial Sound Events 2020, development",
    folders=("TAU-NIGENS-SSE-2020", "TAU-NIGENS Spatial Sound Events 2020"),
    layout="mic_dev/*.wav (or foa_dev/*.wav) and metadata_dev/*.csv",
    source="Zenodo, record 4064792, https://doi.org/10.5281/zenodo.4064792",
    license="CC BY-NC 4.0",
)
NAME = re.compile(r"fold([1-6])_room\d+_mix\d+_ov\d+")
SPLITS_OF_FOLDS: dict[int, Split] = {
    1: "test",
    2: "validation",
    **dict.fromkeys((3, 4, 5, 6), "train"),
}
FRAMES_PER_SECOND = 10
N_FRAMES = 600  # of a recording: one minute
# The microphones are alike; of the ambisonic channels only the first receives all directions alike.
CHANNELS = {"mic": (0, 1, 2, 3), "foa": (0,)}
ROW = "frame, class, track, azimuth, elevation"


class TAUNigens2020(SoundDataset):
    """The development set of DCASE 2020 task 3 with its own split.

    Folds 3 to 6 are for training, fold 2 for validation, fold 1 for testing. Each of the four
    microphones of a recording is an example; they share the recording and its events. What
    sounds in consecutive frames of 100 ms under one track is one event.

    Args:
        root: Folder that holds ``mic_dev`` or ``foa_dev``, and ``metadata_dev``.
        format: ``"mic"``: four microphones; ``"foa"``: ambisonics, of which the first channel,
            which receives all directions alike, is the one example.
        validation: Whether fold 2 is for validation; if not it is left out, as by the authors.

    Raises:
        DcasenetError: Recordings or their tables are missing, a fold has none, or a row is not
            five integers in range.
        ValueError: No format has this name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     for fold in range(1, 7):
        ...         for name in ("mic_dev/fold{}_room1_mix001_ov1.wav",
        ...                      "metadata_dev/fold{}_room1_mix001_ov1.csv"):
        ...             path = Path(root, name.format(fold))
        ...             path.parent.mkdir(exist_ok=True)
        ...             path.touch()
        ...     data = TAUNigens2020(root)
        >>> [len(data.split(split)) for split in ("train", "validation", "test")]
        [16, 4, 4]

    Source: Zenodo record 4064792, version 1.2.0.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        format: Literal["mic", "foa"] = "mic",
        validation: bool = True,
    ) -> None:
        check_flags(validation=validation)
        if format not in CHANNELS:
            raise ValueError(f"There is no format {format!r}. Accepted are 'mic' and 'foa'.")
        folder = INFO.locate(root)
        recordings, left_out = _recordings(folder, format)
        if not validation:
            n_rows = len(recordings)
            recordings = [name for name in recordings if _fold(name) != 2]
            left_out.append(f"{n_rows - len(recordings)} recordings of fold 2 are not used.")
        labels = find("v3", "joint").events
        examples = []
        for name in recordings:
            events = read_events(folder / "metadata_dev" / f"{name}.csv", labels)
            fold = _fold(name)
            examples += [
                Example(
                    folder / f"{format}_dev" / f"{name}.wav",
                    split=SPLITS_OF_FOLDS[fold],
                    events=events,
                    channel=channel,
                    recording=name,
                    fold=fold,
                )
                for channel in CHANNELS[format]
            ]
        super().__init__(INFO.name, "event", labels, examples, left_out)


def _fold(name: str) -> int:
    return int(name[len("fold")])


def _recordings(folder: Path, format: str) -> tuple[list[str], list[str]]:
    """Names of the recordings that have audio and a table, and of the files that are others'."""
    audio = {path.stem for path in (folder / f"{format}_dev").glob("*.wav")}
    tables = {path.stem for path in (folder / "metadata_dev").glob("*.csv")}
    strange = sorted(name for name in audio | tables if not NAME.fullmatch(name))
    audio, tables = audio - {*strange}, tables - {*strange}
    missing = [f"{format}_dev/{name}.wav" for name in sorted(tables - audio)]
    missing += [f"metadata_dev/{name}.csv" for name in sorted(audio - tables)]
    found = {_fold(name) for name in audio | tables}
    missing += [
        f"{format}_dev/fold{n}_*.wav with metadata_dev/fold{n}_*.csv"
        for n in SPLITS_OF_FOLDS
        if n not in found
    ]
    if missing:
        error = INFO.incomplete(folder, missing)
        other = "foa" if format == "mic" else "mic"
        if not audio and (folder / f"{other}_dev").is_dir():
            raise DcasenetError(f"{error} {other}_dev is there: say format={other!r}.")
        raise error
    return sorted(audio), [f"{name} is not named like a recording of the set." for name in strange]


def read_events(path: Path, labels: Sequence[str]) -> tuple[LabeledEvent, ...]:
    r"""Read the events of one recording.

    Args:
        path: A table without header: five integers a row, which are the frame (from 0, 100 ms
            each), the class, the track (which of several events), azimuth and elevation.
        labels: Label of each class.

    Returns:
        The events by onset; frames of one class and track that follow one another are one event.

    Raises:
        DcasenetError: A row is something else.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "fold1_room1_mix001_ov1.csv")
        ...     _ = path.write_text("7,3,0,10,20\n8,3,0,10,20\n")
        ...     read_events(path, find("v3", "joint").events)
        (LabeledEvent(label='dog', onset=0.7, offset=0.9),)
    """
    frames: dict[tuple[int, int], set[int]] = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        frame, label, track = _row(path, line, text, labels)
        frames.setdefault((label, track), set()).add(frame)
    events = [
        LabeledEvent(labels[label], start / FRAMES_PER_SECOND, stop / FRAMES_PER_SECOND)
        for (label, _), active in frames.items()
        for start, stop in _runs(active)
    ]
    return tuple(sorted(events, key=lambda event: (event.onset, event.offset, event.label)))


def _row(path: Path, line: int, text: str, labels: Sequence[str]) -> tuple[int, int, int]:
    fields = text.split(",")
    try:
        frame, label, track, _, _ = (int(field) for field in fields)
    except ValueError as error:
        raise DcasenetError(
            f"{path}, line {line}: {text.strip()[:60]!r}. Accepted are five integers: {ROW}."
        ) from error
    if not 0 <= frame < N_FRAMES:
        raise DcasenetError(
            f"{path}, line {line}: frame {frame} lies outside the recording. Accepted are 0 to "
            f"{N_FRAMES - 1}, of 100 ms each."
        )
    if not 0 <= label < len(labels):
        first = ", ".join(f"{i} {name}" for i, name in enumerate(labels[:SHOWN]))
        raise DcasenetError(
            f"{path}, line {line}: class {label} is unknown. Accepted are 0 to "
            f"{len(labels) - 1} ({first} …)."
        )
    return frame, label, track


def _runs(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Stretches of consecutive numbers as (first, after the last)."""
    runs: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if runs and runs[-1][1] == frame:
            runs[-1] = (runs[-1][0], frame + 1)
        else:
            runs.append((frame, frame + 1))
    return runs
