"""`dcasenet web`, called as a user calls it; its page is tested in `test_page`."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from dcasenet import SoundModel
from dcasenet.live.page import page_folder
from tests.fixtures.command import Done

ROOT = Path(__file__).parents[2]


@pytest.fixture
def exported(tiny_model: SoundModel, tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    from dcasenet.onnx.export import to_onnx

    return to_onnx(tiny_model, tmp_path / "tiny.onnx")


def test_the_page_is_served_with_its_model(exported: Path) -> None:
    command = [sys.executable, "-m", "dcasenet", "web", str(exported), "--no-browser"]
    with subprocess.Popen(
        [*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert address
        for path, kind, content in (
            ("", "text/html", (page_folder() / "index.html").read_bytes()),
            ("app.js", "text/javascript", (page_folder() / "app.js").read_bytes()),
            ("model.onnx?v=1", "application/octet-stream", exported.read_bytes()),
        ):
            with urllib.request.urlopen(address.group() + path) as response:
                assert response.headers["Content-Type"] == kind
                assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
                assert response.read() == content
        for path in ("../pyproject.toml", "%2e%2e/pyproject.toml", "nothing.js"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address.group() + path)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_the_page_can_be_written_for_another_server(
    call_command: Callable[..., Done], exported: Path, tmp_path: Path
) -> None:
    target = tmp_path / "site"
    assert call_command("web", exported, "--output", target).code == 0
    names = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    own = {path.relative_to(page_folder()) for path in page_folder().rglob("*") if path.is_file()}
    assert names == own | {Path("model.onnx")}
    assert (target / "model.onnx").read_bytes() == exported.read_bytes()
    done = call_command("web", exported, "--output", target)
    assert done.code == 1
    assert "is not empty" in done.err
    (target / "index.html").write_text("of an earlier version")
    (target / "mine.txt").write_text("mine")
    assert call_command("web", exported, "--output", target, "--overwrite").code == 0
    assert (target / "index.html").read_bytes() == (page_folder() / "index.html").read_bytes()
    assert (target / "mine.txt").read_text() == "mine"
    done = call_command("web", exported, "--output", exported, "--overwrite")
    assert done.code == 1
    assert "is not a folder. Give --output a folder" in done.err
    assert call_command("web", exported, "--overwrite", "--no-browser").code == 2


def test_a_busy_port_is_reported(call_command: Callable[..., Done], exported: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = call_command("web", exported, "--port", port, "--no-browser")
    assert done.code == 1
    assert f"port {port}: it is in use. Give another --port" in done.err


def test_what_is_no_model_is_not_served(call_command: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    done = call_command("web", tmp_path / "a.onnx", "--no-browser")
    assert done.code == 1
    assert "cannot be read as an ONNX file" in done.err


def test_an_installation_without_the_page_is_reported(
    call_command: Callable[..., Done],
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("dcasenet.__file__", str(tmp_path / "dcasenet" / "__init__.py"))
    done = call_command("web", exported, "--no-browser", "--port", 0)
    assert done.code == 1
    assert "Install the package again" in done.err
