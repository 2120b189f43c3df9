"""What the training tests share: the open recordings, made-up clips, a small data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dcasenet.spec import TASKS
from dcasenet.train.clips import ClipStore, decode
from dcasenet.train.open_data import OpenData, assemble
from dcasenet.train.open_split import PARTS, Clip, Part, read_clips

DATA = Path(__file__).parents[3] / "shared" / "data"
RATE = 24_000


@pytest.fixture(scope="session")
def data_folder() -> Path:
    if not (DATA / "esc50" / "meta.csv").is_file():
        pytest.skip("needs the open recordings in ../shared/data, not part of the project")
    return DATA


@pytest.fixture(scope="session")
def listed(data_folder: Path) -> list[Clip]:
    return read_clips(data_folder)


@pytest.fixture
def make_clip() -> Callable[..., Clip]:
    """Clips that exist on paper only."""

    def make(name: str, label: str, part: Part = "train") -> Clip:
        return Clip(
            folder=label.partition("/")[0],
            filename=name,
            label=label,
            source=f"source of {name}",
            part=part,
            licence="CC0",
            author="somebody",
            title=name,
        )

    return make


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[dict[Clip, NDArray[np.float32]]], ClipStore]:
    """Stores of made-up waveforms."""

    def make(waveforms: dict[Clip, NDArray[np.float32]]) -> ClipStore:
        ends = np.cumsum([len(waveform) for waveform in waveforms.values()]).tolist()
        starts = [0, *ends[:-1]]
        keys = [clip.key for clip in waveforms]
        path = tmp_path / "clips.npy"
        np.save(path, np.concatenate([*waveforms.values()]))
        return ClipStore(path, dict(zip(keys, zip(starts, ends, strict=True), strict=True)), RATE)

    return make


@pytest.fixture(scope="session")
def small(
    data_folder: Path, listed: list[Clip], tmp_path_factory: pytest.TempPathFactory
) -> OpenData:
    """A data set of real recordings: four of each of a few labels, on each side."""
    wanted = {
        "esc50/rain",
        "esc50/sea_waves",
        "esc50/dog",
        "esc50/sneezing",
        "esc50/glass_breaking",
        "ambience/wind",
    }
    chosen: list[Clip] = []
    for part in PARTS:
        for label in sorted(wanted):
            chosen += [c for c in listed if c.label == label and c.part == part][:4]
    store = decode(data_folder, chosen, tmp_path_factory.mktemp("cache"), RATE)
    return assemble(chosen, store, {task: dict.fromkeys(PARTS, 1) for task in TASKS})
