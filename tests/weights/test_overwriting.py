"""What somebody else wrote is never replaced without being told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner, Result

import dcasenet
from dcasenet import SoundModel, WeightsError
from dcasenet.cli import app
from dcasenet.onnx.export import to_onnx
from dcasenet.train import untrained

REFUSED = r"exists, and dcasenet did not write it, or it has been changed since.*overwrite"


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, 24_000), 24_000)
    return path


def command(*given: object) -> Result:
    return CliRunner().invoke(app, list(map(str, given)))


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
@pytest.mark.parametrize("plant", ["file", "link", "folder"])
def test_a_folder_with_other_files(
    small_model: SoundModel, tmp_path: Path, name: str, plant: str
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "precious").write_text("precious")
    if plant == "file":
        (folder / name).write_text('{"architectures": ["Bert"]}')
    elif plant == "link":
        (folder / name).symlink_to(tmp_path / "precious")
    else:
        (folder / name).mkdir()
    with pytest.raises(WeightsError, match=REFUSED):
        small_model.save_pretrained(folder)
    assert [path.name for path in folder.iterdir()] == [name]
    if plant != "folder":
        small_model.save_pretrained(folder, overwrite=True)
        assert dcasenet.load(str(folder)).spec == small_model.spec
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_was_saved_before_is_replaced_until_somebody_changes_it(
    small_model: SoundModel, tmp_path: Path
) -> None:
    folder = small_model.save_pretrained(tmp_path / "model")
    (folder / "notes.txt").write_text("mine")
    small_model.save_pretrained(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    with (folder / "README.md").open("a") as card:
        card.write("My own words.\n")
    with pytest.raises(WeightsError, match=rf"README\.md {REFUSED}"):
        small_model.save_pretrained(folder)
    assert (folder / "README.md").read_text().endswith("My own words.\n")
    assert dcasenet.load(str(folder)).spec == small_model.spec
    small_model.save_pretrained(folder, overwrite=True)
    assert "My own words" not in (folder / "README.md").read_text()


def test_finetune_refuses_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = untrained("v3", width=1 / 16).save_pretrained(tmp_path / "base")
    output = tmp_path / "project"
    output.mkdir()
    (output / "README.md").write_text("# My project")
    begun: list[object] = []

    def finetune(*given: object, **_: object) -> SoundModel:
        begun.append(given)
        return dcasenet.load(str(base))

    monkeypatch.setattr("dcasenet.train.finetune", finetune)
    requested = ["finetune", tmp_path, "--task", "scene", "-o", output, "--model", base]
    done = command(*requested)
    assert isinstance(done.exception, WeightsError)
    assert not begun
    assert (output / "README.md").read_text() == "# My project"
    assert command(*requested, "--overwrite").exit_code == 0
    assert begun
    assert command(*requested).exit_code == 0  # its own


def test_export(small_model: SoundModel, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = to_onnx(small_model, tmp_path / "model.onnx")
    to_onnx(small_model, path)
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "theirs", ends[:1], ends[1:])
    for content in (onnx.helper.make_model(graph).SerializeToString(), b"", b"text", b"\xff" * 99):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=REFUSED):
            to_onnx(small_model, path)
        assert path.read_bytes() == content
    folder = small_model.save_pretrained(tmp_path / "model")
    done = command("export", path, "--model", folder)
    assert isinstance(done.exception, WeightsError)
    assert command("export", path, "--model", folder, "--overwrite").exit_code == 0
    assert dcasenet.onnx.load(path).spec == small_model.spec


def test_convert(small_model: SoundModel, tmp_path: Path) -> None:
    source = tmp_path / "state.pt"
    torch.save(untrained("v1", width=1 / 16).network.state_dict(), source)
    before = source.read_bytes()
    done = command("convert", source, source, "--model", "v1")
    assert isinstance(done.exception, WeightsError)
    assert source.read_bytes() == before
    target = tmp_path / "out.safetensors"
    for _ in range(2):
        assert command("convert", source, target, "--model", "v1").exit_code == 0
    target.write_text("precious")
    assert isinstance(command("convert", source, target, "--model", "v1").exception, WeightsError)
    assert target.read_text() == "precious"
    assert command("convert", source, target, "--model", "v1", "--overwrite").exit_code == 0


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plot(small_model: SoundModel, wav: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    folder = small_model.save_pretrained(tmp_path / "model")
    picture = tmp_path / f"picture{suffix}"

    def draw(*more: str) -> Callable[[], Result]:
        return lambda: command("analyze", wav, "--model", folder, "--plot", picture, *more)

    for _ in range(2):  # the second replaces its own
        assert draw()().exit_code == 0
    own = picture.read_bytes()
    picture.write_bytes(b"\x89PNG a photograph")
    done = draw()()
    assert done.exit_code == 2
    assert "--overwrite" in done.output
    assert picture.read_bytes() == b"\x89PNG a photograph"
    assert draw("--overwrite")().exit_code == 0
    assert len(picture.read_bytes()) > len(own) / 2
    picture.unlink()
    picture.symlink_to("/nowhere/at/all")
    assert draw()().exit_code == 2
