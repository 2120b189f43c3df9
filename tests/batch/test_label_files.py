"""A file for each recording, in a folder that mirrors theirs, and a job that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet import SoundModel
from dcasenet.batch.label_files import targets_of, write_each
from dcasenet.errors import JobError
from dcasenet.results import Result
from dcasenet.verify import read_provenance


@pytest.fixture
def folder(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    for name in ("a/one.wav", "a/deep/two.wav", "three.wav", "three.flac"):
        place = tmp_path / "sounds" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        write_wav(place.name, np.random.default_rng(0).normal(0, 0.1, 24_000)).rename(place)
    (tmp_path / "sounds" / "broken.wav").write_text("no sound")
    return tmp_path / "sounds"


def test_a_file_for_each(tiny_model: SoundModel, folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, bool]] = []
    done = write_each(
        tiny_model.detect_events,
        folder,
        tmp_path / "labels",
        "textgrid",
        watch=lambda n, total, error: told.append((n, total, error is not None)),
    )
    assert (done.n_files, done.n_kept, len(done.failures)) == (5, 0, 1)
    assert told == [(n, 5, n == 3) for n in range(1, 6)]
    written = {str(p.relative_to(done.folder)) for p in done.folder.rglob("*.TextGrid")}
    assert written == {
        "a/one.TextGrid", "a/deep/two.TextGrid", "three.wav.TextGrid", "three.flac.TextGrid",
    }  # fmt: skip
    assert read_provenance(done.folder / "a" / "one.TextGrid").source == str(folder / "a/one.wav")


def test_what_is_there_stays(tiny_model: SoundModel, folder: Path, tmp_path: Path) -> None:
    answered: list[str] = []

    def answer(path: str) -> Result:
        answered.append(path)
        return tiny_model.detect_events(path)

    write_each(answer, [folder / "a"], tmp_path / "out", "audacity")
    assert len(answered) == 2
    (tmp_path / "out" / "one.txt").write_text("corrected by hand")
    again = write_each(answer, [folder / "a", folder / "three.wav"], tmp_path / "out", "audacity")
    assert again.n_kept == 2
    assert len(answered) == 3
    assert (tmp_path / "out" / "one.txt").read_text() == "corrected by hand"
    anew = write_each(answer, [folder / "a"], tmp_path / "out", "audacity", overwrite=True)
    assert anew.n_kept == 0
    assert (tmp_path / "out" / "one.txt").read_text() != "corrected by hand"


def test_names(tmp_path: Path) -> None:
    targets, _ = targets_of(["x/a.wav", "x/a.flac", "b.tar.wav"], "raven")
    assert [str(path) for path in targets.values()] == [
        "a.wav.selections.txt", "a.flac.selections.txt", "b.tar.selections.txt",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written(
    tiny_model: SoundModel, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(JobError, match=r"two\.vtt cannot be written.*run the same command again"):
        write_each(tiny_model.detect_events, folder / "a", tmp_path / "out", "webvtt")


def test_a_format_for_events_alone(tiny_model: SoundModel, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Tags holds no events\. Accepted for it are json, csv"):
        write_each(tiny_model.tag, folder / "a", tmp_path / "out", "jams")
