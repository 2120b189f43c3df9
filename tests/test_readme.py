"""Every Python and `dcasenet` block of the documents runs, offline, and prints what it shows."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dcasenet import cli, create
from dcasenet.weights import manifest
from dcasenet.weights.checksum import file_digest
from dcasenet.weights.key_map import NAMES

ROOT = Path(__file__).parents[1]
README = "README.md"
DOCUMENTS = (README, "docs/training.md")
NUMBER = re.compile(r"\d+\.\d+")
# Probabilities may differ in the last digit that is shown from one processor to the next.
TOLERANCE = 0.011


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve a full-size file of the released format, and a manifest that names it.

    Yields:
        The server's address and the manifest.
    """
    folder = tmp_path_factory.mktemp("github")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = {_authors_name(name): t for name, t in create("v3").state_dict().items()}
    torch.save(state, folder / "standin.pt", _use_new_zipfile_serialization=False)
    content = json.loads((ROOT / "weights_manifest.json").read_text("utf-8"))
    for entry in content["models"]:
        if "github" in entry.get("file", {}):
            digest = file_digest(folder / "standin.pt", "git_blob_sha1")
            entry["file"] = {"digest": digest, "github": "standin.pt"}
    path = folder / "manifest.json"
    path.write_text(json.dumps(content))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", path
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def elsewhere(standin: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, where nothing but the local server can be reached."""
    url, path = standin
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    monkeypatch.setenv("DCASENET_GITHUB_BASE", url)
    monkeypatch.setenv("DCASENET_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DCASENET_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "hubconf.py", tmp_path)
    some_sounds(tmp_path / "my_sounds")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def some_sounds(folder: Path) -> None:
    """Write a folder of two class folders."""
    random = np.random.default_rng(0)
    times = np.arange(24_000) / 24_000
    for label in ("hiss", "whistle"):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            tone = np.sin(2 * np.pi * random.uniform(1_000, 3_000) * times)
            sound = tone if label == "whistle" else random.standard_normal(24_000)
            soundfile.write(folder / label / f"{number}.wav", 0.1 * sound, 24_000)


def _authors_name(name: str) -> str:
    for pattern, replacement in reversed(NAMES):
        theirs = pattern.replace("^", "").replace("\\.", ".")
        if "[12]" in pattern:
            name = re.sub(r"\.norm([12])\.", r".bn\1.", name)
        elif pattern.startswith("^"):
            if name.startswith(replacement):
                name = theirs + name.removeprefix(replacement)
        else:
            name = name.replace(replacement, theirs)
    return name


class CloseEnough(doctest.OutputChecker):
    """Text must be the same, numbers with a decimal point nearly so."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(
            NUMBER.sub("#.#", want), NUMBER.sub("#.#", got), optionflags
        ) and all(
            abs(float(wanted) - float(given)) < TOLERANCE
            for wanted, given in zip(NUMBER.findall(want), NUMBER.findall(got), strict=False)
        )


def all_blocks(document: str) -> list[tuple[str, str]]:
    text = (ROOT / document).read_text("utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def blocks(document: str, kind: str) -> str:
    return "\n".join(content for name, content in all_blocks(document) if name == kind)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_there_are_only_blocks_that_are_tested(document: str) -> None:
    found = all_blocks(document)
    assert {name for name, _ in found} <= {"sh", "pycon", "console"}
    assert all("pip" in content for name, content in found if name == "sh")
    assert "import dcasenet" in blocks(document, "pycon")
    assert document != README or "$ dcasenet analyze" in blocks(document, "console")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks(elsewhere: Path, document: str) -> None:
    test = doctest.DocTestParser().get_doctest(blocks(document, "pycon"), {}, document, document, 0)
    failures: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(CloseEnough(), verbose=False, optionflags=flags).run(
        test, out=failures.append
    )
    assert not failures, "".join(failures)


def test_command_blocks(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = blocks(README, "console")
    calls = re.findall(r"^\$ (dcasenet .*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE)
    assert len(calls) >= 3
    for call, shown in calls:
        monkeypatch.setattr(sys, "argv", shlex.split(call, comments=True))
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        assert not exit_.value.code, captured.err
        if shown.strip():
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert CloseEnough().check_output(shown, captured.out, flags), captured.out
