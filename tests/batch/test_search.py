"""Search by embedding: exact, from every kind of table, and from folders that change."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet.batch import embed
from dcasenet.batch import search as module
from dcasenet.batch.search import Index, index_recordings
from dcasenet.errors import AudioError, DcasenetError, TaskNotAvailableError
from dcasenet.inference.model import SoundModel


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DCASENET_HOME", str(folder))
    return folder


@pytest.fixture
def fake_model(job_module: ModuleType) -> Any:
    """A model whose embedding is as long as its spec says, and depends on its weights."""

    class Model(job_module.FakeModel):  # type: ignore[name-defined,misc]
        def __init__(self, gain: float = 1.0) -> None:
            super().__init__(gain)
            self.spec = dataclasses.replace(self.spec, width=1 / 256)

        @property
        def weights_digest(self) -> str:
            return f"sha256:{self.gain}"

        def infer(self, waveforms: Any, outputs: Any, backbone: Any = "tag") -> Any:
            found = super().infer(waveforms, outputs, backbone)
            return {name: np.tile(values, 2) for name, values in found.items()}

    return Model()


def names(matches: Any) -> list[str]:
    return [Path(match.filename).name for match in matches]


def test_the_search_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((1_000, 16)).astype(np.float32)
    query = random.standard_normal(16)
    index = Index(tuple(str(i) for i in range(1_000)), vectors)
    monkeypatch.setattr(module, "BLOCK", 64)
    found = index.nearest(query, top=7)
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosines)[:7]
    assert [match.filename for match in found] == [str(i) for i in order]
    assert [match.score for match in found] == pytest.approx(cosines[order], abs=1e-6)
    assert index.nearest(17.0 * query, top=7)[3].score == pytest.approx(found[3].score)
    assert len(index.nearest(query, top=5_000)) == 1_000
    assert index.nearest(vectors[5], top=1)[0].score == pytest.approx(1.0)
    assert index.nearest(np.zeros(16), top=1)[0].score == 0.0


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".jsonl", ".csv"])
def test_every_table_that_embed_writes_is_read(
    fake_model: Any, clips: Path, tmp_path: Path, suffix: str
) -> None:
    table = tmp_path / f"table{suffix}"
    embed(fake_model, clips, table, workers=0)
    index = Index.read(table)
    assert len(index.filenames) == 9  # one of ten is no audio
    query = fake_model.embed(clips / "clip4.wav")
    found = index.nearest(query, top=3)
    assert names(found)[0] == "clip4.wav"
    assert found[0].score == pytest.approx(1.0, abs=1e-6)
    others = index.nearest(query, top=3, without=[clips / "inner" / ".." / "clip4.wav"])
    assert "clip4.wav" not in names(others)
    assert names(others)[:2] == names(found)[1:]


def test_a_folder_is_embedded_once_and_again_where_it_changed(
    fake_model: Any, clips: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job: list[int] = []

    def counting(model: Any, files: Any, *rest: Any, **options: Any) -> Any:
        job.append(len(files))
        return embed(model, files, *rest, **options)

    monkeypatch.setattr(module, "embed", counting)
    first = index_recordings(fake_model, clips, workers=0)
    assert job == [10]
    assert len(first.filenames) == 9
    (kept,) = (cache / "search").iterdir()
    again = index_recordings(fake_model, str(clips), workers=0)
    assert job == [10]
    np.testing.assert_array_equal(again.vectors, first.vectors)
    (clips / "clip1.wav").unlink()
    soundfile.write(clips / "clip2.wav", np.ones(4_800), 24_000)  # it was no audio
    soundfile.write(clips / "new.wav", np.zeros(4_800) + 0.1, 24_000)
    changed = index_recordings(fake_model, [clips], workers=0)
    assert job == [10, 2]
    assert "clip1.wav" not in {Path(name).name for name in changed.filenames}
    assert {"clip2.wav", "new.wav"} <= {Path(name).name for name in changed.filenames}
    assert [*changed.filenames] == sorted(changed.filenames)
    position = changed.filenames.index(str(clips / "clip4.wav"))
    np.testing.assert_allclose(
        changed.vectors[position], fake_model.embed(clips / "clip4.wav"), atol=1e-6
    )
    # The file is a table of embeddings like any other.
    assert Index.read(kept).filenames == changed.filenames


def test_another_model_has_an_index_of_its_own(fake_model: Any, clips: Path, cache: Path) -> None:
    louder = type(fake_model)(gain=2.0)
    index_recordings(fake_model, clips, workers=0)
    other = index_recordings(louder, clips, workers=0)
    assert len(list((cache / "search").iterdir())) == 2
    np.testing.assert_allclose(other.vectors[0], louder.embed(other.filenames[0]), atol=1e-6)
    # In a file that was said, the last model's stand.
    path = cache / "mine.npz"
    index_recordings(fake_model, clips, path, workers=0)
    again = index_recordings(louder, clips, path, workers=0)
    np.testing.assert_allclose(again.vectors, other.vectors)


def test_a_files_name_may_be_no_text(fake_model: Any, clips: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("names are text elsewhere")
    strange = os.fsencode(clips) + b"/\xff\n.wav"
    os.rename(clips / "clip3.wav", strange)  # noqa: PTH104 - a path of bytes
    query = fake_model.embed(os.fsdecode(strange))
    for _ in range(2):
        index = index_recordings(fake_model, clips, workers=0)
        assert index.nearest(query, top=1)[0].filename == os.fsdecode(strange)


def test_strangers_files_stay_as_they_are(fake_model: Any, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "somebodys.npz"
    np.savez(path, weights=np.zeros(3))
    content = path.read_bytes()
    with pytest.raises(DcasenetError, match=r"somebodys\.npz .* is not a search index"):
        index_recordings(fake_model, clips, path, workers=0)
    assert path.read_bytes() == content
    path.write_text("notes")
    with pytest.raises(DcasenetError, match=r"somebodys\.npz exists already and cannot be read"):
        index_recordings(fake_model, clips, path, workers=0)
    assert path.read_text() == "notes"
    with pytest.raises(DcasenetError, match="cannot be written to"):
        index_recordings(fake_model, clips, path / "below.npz", workers=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="There is no recording in"):
        index_recordings(fake_model, tmp_path / "empty", workers=0)


def test_by_label_the_tags_own_probabilities_decide(tiny_model: SoundModel, clips: Path) -> None:
    index = index_recordings(tiny_model, clips, workers=0)
    found = index.labeled(tiny_model, "siren", top=20)
    assert len(found) == 9
    for match in found:
        wanted = tiny_model.tag(match.filename).probabilities["siren"]
        assert match.score == pytest.approx(wanted, abs=1e-4)
    assert [match.score for match in found] == sorted((m.score for m in found), reverse=True)
    without = index.labeled(tiny_model, "siren", top=20, without=[found[0].filename])
    assert without == found[1:]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_by_label_in_onnx(tiny_model: SoundModel, clips: Path, precision: str) -> None:
    pytest.importorskip("onnx")
    from dcasenet.onnx.export import serialized
    from dcasenet.onnx.runtime import model_of

    sounds = None if precision == "float32" else sorted(clips.rglob("clip[3-6].wav"))
    content = serialized(tiny_model, precision=precision, calibrate=sounds)
    model = model_of(content, "tiny.onnx")
    found = index_recordings(model, clips, workers=0).labeled(model, "siren", top=3)
    assert len(found) == 3
    for match in found:
        wanted = model.tag(match.filename).probabilities["siren"]
        assert match.score == pytest.approx(wanted, abs=1e-4)
    scenes = model_of(serialized(tiny_model, ["scene", "event"]), "scenes.onnx")
    with pytest.raises(TaskNotAvailableError, match=r"This file has no tag; .*Export it again"):
        scenes.tag_head(np.zeros((1, tiny_model.spec.embedding_size), np.float32))


def test_by_label_a_linear_head_decides_where_there_is_one(
    tiny_model: SoundModel, clips: Path
) -> None:
    import copy

    spec = dataclasses.replace(tiny_model.spec, tags=("a", "b"), heads={"tag": "linear"})
    network = copy.deepcopy(tiny_model.network)
    network.give_linear_head("tag", 2, spec.embedding_size)
    model = SoundModel(spec, tiny_model.frontend, network)
    index = index_recordings(model, clips, workers=0)
    (best,) = index.labeled(model, "b", top=1)
    assert best.score == pytest.approx(model.tag(best.filename).probabilities["b"], abs=1e-4)
    assert list(index.labeled(model, "B", top=1)) == [best]  # capitals do not matter


def test_what_cannot_be_searched(
    fake_model: Any, tiny_model: SoundModel, clips: Path, tmp_path: Path
) -> None:
    index = Index(("a.wav",), np.ones((1, 4), np.float32), "table.npz")
    with pytest.raises(
        ValueError, match=r"shape \(3,\), and the embeddings of table\.npz have \(4,"
    ):
        index.nearest(np.ones(3))
    with pytest.raises(ValueError, match="top=0 is out of range"):
        index.nearest(np.ones(4), top=0)
    with pytest.raises(ValueError, match=r"no tag 'sirens'\. Did you mean 'siren'"):
        index.labeled(tiny_model, "sirens")
    with pytest.raises(DcasenetError, match="cannot run its tag head alone"):
        Index(("a.wav",), np.ones((1, 4), np.float32)).labeled(fake_model, "low")
    no_tags = dataclasses.replace(tiny_model.spec, tasks=("scene",))
    with pytest.raises(TaskNotAvailableError):
        index.labeled(SoundModel(no_tags, tiny_model.frontend, tiny_model.network), "siren")
    for name, content, says in (
        ("table.txt", b"", "not a table of embeddings"),
        ("table.npz", b"broken", "cannot be read as a table of embeddings"),
        ("table.csv", b"filename,task\na.wav,scene\n", "it has no columns filename, e0"),
        ("table.jsonl", b'{"filename": "a.wav"}\n', "cannot be read"),
        ("table.jsonl", b"[1, 2]\n", "cannot be read"),
        ("table.parquet", b"broken", "cannot be read"),
        ("table.csv", b"filename,e0\na.wav,1\nb.wav,1,2\n", "of different lengths"),
        ("table.csv", b"filename,e0\na.wav,inf\n", "not finite"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DcasenetError, match=says):
            Index.read(path)
    with pytest.raises(DcasenetError, match=r"There is no file .*none\.npz.*dcasenet embed"):
        Index.read(tmp_path / "none.npz")
