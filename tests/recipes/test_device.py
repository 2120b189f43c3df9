"""The run on a bare machine, on a CPU: pack a small set of recordings, train, examine."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import dcasenet
from dcasenet.errors import DcasenetError
from recipes import device, labels, pack
from recipes.recordings import FOLDERS, read_recordings, split_of

TEACHER = Path(__file__).parents[3] / "shared" / "teacher"
RATE = 24_000


def sound(seed: int, label: str) -> NDArray[np.float32]:
    """A burst between silences for events, noise for the others."""
    random = np.random.default_rng(seed)
    waveform = 0.1 * random.standard_normal(2 * RATE).astype(np.float32)
    if label in ("dog", "cough"):
        waveform[: RATE // 2] = 0
        waveform[RATE:] = 0
    return waveform


def write_table(folder: Path, rows: list[dict[str, object]]) -> None:
    (folder / "audio").mkdir(parents=True)
    with (folder / "meta.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    esc = [
        {
            "filename": f"{fold}-{fold}{take}-A-{target}.ogg", "fold": fold, "target": target,
            "category": category, "esc10": 0, "source_id": f"{fold}{take}{target}", "take": "A",
            "license": "CC0", "title": "", "author": "a", "url": "", "open": int(take < 2),
        }
        for fold in range(1, 6)
        for take in range(3)
        for target, category in enumerate(("dog", "rain", "sea_waves"))
    ]  # fmt: skip
    write_table(root / "esc50", esc)
    for row in esc:
        path = root / "esc50" / "audio" / str(row["filename"])
        waveform = sound(
            len(str(row["filename"])) + int(str(row["source_id"])), str(row["category"])
        )
        soundfile.write(path, np.pad(waveform, (0, 3 * RATE)), RATE)
    common = {"license": "CC0", "author": "b"}
    for folder, label in (("ambience", "rain"), ("events_extra", "footsteps")):
        rows = [
            {"filename": f"{label}{i}.ogg", "label": label, "recording_id": f"{folder}{i}",
             "source_repository": "r", "original_path": "p", **common, "minutes": 0.1}
            for i in range(6)
        ]  # fmt: skip
        write_table(root / folder, rows)
        for i in range(6):
            soundfile.write(root / folder / "audio" / f"{label}{i}.ogg", sound(i, label), RATE)
    write_table(
        root / "dcase2016_task2",
        [{"filename": f"cough{i}.ogg", "event_label": "cough", "source": "s"} for i in range(6)],
    )
    for i in range(6):
        path = root / "dcase2016_task2" / "audio" / f"cough{i}.ogg"
        soundfile.write(path, sound(i, "cough"), RATE)
    library = [
        {"filename": f"bark{i}.opus", "kind": "event", "label": "dog_bark",
         "recording_id": f"l{i}", "source": "s", "original_path": "p", **common,
         "seconds": 2, "source_rate": RATE}
        for i in range(6)
    ]  # fmt: skip
    write_table(root / "library", library)
    for i in range(6):
        path = root / "library" / "audio" / f"bark{i}.opus"
        soundfile.write(path, sound(i, "dog"), RATE, format="OGG", subtype="OPUS")
    (root / "library" / "audio" / "bark0.opus").write_bytes(b"OggS, but nothing else")
    return root


def test_every_recording_is_listed_with_its_side(data: Path) -> None:
    recordings = read_recordings(data)
    assert len(recordings) == 45 + 6 + 6 + 6 + 6
    assert {r.folder for r in recordings} == set(FOLDERS)
    splits = {r.fold: r.split for r in recordings if r.folder == "esc50"}
    assert splits == {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}
    assert all(r.split == split_of(r.source) for r in recordings if r.folder == "ambience")
    assert sum(not r.open for r in recordings) == 15


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"esc50.meta\.csv.*docs/recipes\.md"):
        read_recordings(tmp_path)


@pytest.mark.skipif(not TEACHER.is_dir(), reason="needs the teacher's weights")
def test_packs_trains_and_examines(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(labels, "FEWEST_EVENTS", 3)
    monkeypatch.setattr(labels, "FEWEST_SOURCES", {"train": 1, "validation": 1, "test": 1})
    packed, output = tmp_path / "pack", tmp_path / "out"
    work = tmp_path / "work"
    pack.main([str(data), str(TEACHER), "--output", str(packed), "--work", str(work)])
    assert sum(file.stat().st_size for file in packed.iterdir()) < 60 * 2**20
    device.main(["--pack", str(packed), "--output", str(output), "--smoke"])
    results = json.loads((output / "results.json").read_text())
    assert results["main"]["steps"] > 0
    assert 0.0 <= results["esc50"]["distilled-esc50"]["probe"][0] <= 1.0
    files = [file for file in output.iterdir() if file.is_file()]
    assert len(files) <= 8
    assert max(file.stat().st_size for file in files) <= 16 * 2**20
    model = dcasenet.load("v3", weights=next(output.glob("distilled*.safetensors")))
    assert len(model.spec.tags) == 527
    assert "dog" in model.spec.events
    assert model.spec.scenes == ("sea shore", "rain")
    assert len(model.tag(np.zeros(RATE, np.float32), RATE, top=3)) == 3
