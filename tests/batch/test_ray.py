"""The same jobs on a Ray of this machine: equal to the local ones."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dcasenet.batch.ray
from dcasenet import SoundModel
from dcasenet.batch import runner

# Ray's own, of its version 2.60: its Data context warns of its defaults, its sockets end late.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    module = pytest.importorskip("ray", reason="needs the extra 'ray'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        module.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
        yield module
        module.shutdown()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_engine_gives_what_the_local_one_gives(
    ray: Any, tiny_model: SoundModel, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GROUP", 4)
    runner.analyze(tiny_model, clips, tmp_path / "here.jsonl", threshold=0.1, workers=0)
    summary = runner.analyze(
        tiny_model, clips, tmp_path / "ray.jsonl", threshold=0.1, engine="ray", workers=2
    )
    assert (summary.n_files, summary.n_failed) == (10, 1)
    for here, there in zip(
        lines(tmp_path / "here.jsonl"), lines(tmp_path / "ray.jsonl"), strict=True
    ):
        assert [here[name] for name in ("filename", "status", "error", "duration")] == [
            there[name] for name in ("filename", "status", "error", "duration")
        ]
        if here["status"] == "ok":
            assert there["scene"]["probabilities"] == pytest.approx(
                here["scene"]["probabilities"], abs=1e-5
            )
            for ours, theirs in zip(
                here["tags"] + here["events"], there["tags"] + there["events"], strict=True
            ):
                assert theirs == pytest.approx(ours, abs=1e-5)


def test_datasets_of_paths_and_of_bytes(
    ray: Any, tiny_model: SoundModel, clips: Path, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path / "model")
    load = {"name": str(tmp_path / "model")}
    files = sorted(clips.glob("*.wav"))[:4]
    items = [
        {"path": str(path), "bytes": path.read_bytes(), "site": i} for i, path in enumerate(files)
    ]
    dataset = ray.data.from_items(items)
    rows = dcasenet.batch.ray.embed(dataset.drop_columns(["path"]), load).take_all()
    rows.sort(key=lambda row: row["site"])
    assert [row["filename"] for row in rows] == ["<bytes>"] * 4
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "ok"]
    assert rows[2]["embedding"] is None
    assert rows[3]["embedding"] == pytest.approx(tiny_model.embed(files[3]).tolist(), abs=1e-5)
    rows = dcasenet.batch.ray.analyze(dataset, tiny_model, top=2, concurrency=1).take_all()
    rows.sort(key=lambda row: row["site"])
    assert [row["filename"] for row in rows] == list(map(str, files))
    assert str(files[2]) in rows[2]["error"]
    expected = tiny_model.analyze(files[0])
    assert [tag["label"] for tag in rows[0]["tags"]] == [tag.label for tag in expected.tags[:2]]
    assert dict(rows[0]["scene"]["probabilities"]) == pytest.approx(
        expected.scene.probabilities, abs=1e-5
    )
    assert rows[0]["duration"] == expected.duration


def test_a_dataset_of_something_else(ray: Any, tiny_model: SoundModel) -> None:
    actor = dcasenet.batch.ray._Actor(
        tiny_model, dcasenet.batch.ray.partial(dcasenet.batch.ray.embedding_job)
    )
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"columns url\. Accepted are 'path'"):
        actor(pa.table({"url": ["a"]}))


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'dcasenet\[ray\]'"):
        dcasenet.batch.ray.analyze(None)


def test_a_model_that_cannot_be_sent(fake_model: Any) -> None:
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    fake_model.session = threading.Lock()
    with pytest.raises(ValueError, match=r"FakeModel cannot be sent .* runtime='torch'"):
        dcasenet.batch.ray._check_sendable(dcasenet.batch.ray.embedding_job(fake_model))
