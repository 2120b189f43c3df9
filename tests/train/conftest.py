"""What the training tests share: the open recordings, made-up clips, a small data set."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from dcasenet.spec import TASKS
from dcasenet.train import miniature
from dcasenet.train.clips import WaveformStore, decode
from dcasenet.train.open_data import OpenData, assemble
from dcasenet.train.open_split import PARTS, Clip, Part, read_clips

DATA = Path(__file__).parents[3] / "shared" / "data"
RATE = 24_000


def load(name: str) -> ModuleType:
    """Load a file that stands beside this one."""
    path = Path(__file__).with_name(f"{name}.py")
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec
    assert module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def data_folder() -> Path:
    if not (DATA / "esc50" / "meta.csv").is_file():
        pytest.skip("needs the open recordings in ../shared/data, not part of the project")
    return DATA


@pytest.fixture(scope="session")
def listed(data_folder: Path) -> list[Clip]:
    return read_clips(data_folder)


@pytest.fixture(scope="session")
def miniatures() -> ModuleType:
    """The builders of small data sets from real recordings."""
    return load("miniatures")


@pytest.fixture(scope="session")
def paper_sets(
    miniatures: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> miniature.Miniatures:
    """The paper's three data sets in miniature, of real recordings; not to be written to."""
    return miniature.build(tmp_path_factory.mktemp("paper"), sound=miniatures.real)


@pytest.fixture
def own_copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy whose files are links: they may be removed, and replaced after that."""
    return lambda folder: shutil.copytree(folder, tmp_path / folder.name, copy_function=os.link)


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
def make_store(tmp_path: Path) -> Callable[[dict[Clip, NDArray[np.float32]]], WaveformStore]:
    """Stores of made-up waveforms."""

    def make(waveforms: dict[Clip, NDArray[np.float32]]) -> WaveformStore:
        ends = np.cumsum([len(waveform) for waveform in waveforms.values()]).tolist()
        starts = [0, *ends[:-1]]
        keys = [clip.key for clip in waveforms]
        path = tmp_path / "clips.float32"
        np.concatenate([*waveforms.values()]).astype(np.float32).tofile(path)
        return WaveformStore(
            path, dict(zip(keys, zip(starts, ends, strict=True), strict=True)), RATE
        )

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


@pytest.fixture(scope="session")
def job() -> ModuleType:
    """The program ``paper_job.py`` as a module: small data sets of the paper's tasks, and runs."""
    return load("paper_job")


@pytest.fixture(scope="session")
def paper_folder(job: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of the small data sets, and their decoded audio once something was trained."""
    folder = tmp_path_factory.mktemp("paper")
    job.paper_sets(folder)
    return folder
