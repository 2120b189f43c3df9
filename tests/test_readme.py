"""Every Python and `dcasenet` block of the documents runs, offline, and prints what it shows."""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import dcasenet
from dcasenet import cli
from dcasenet.weights import manifest
from dcasenet.weights.checksum import file_digest
from tests.parity import stand_in

ROOT = Path(__file__).parents[1]
README = "README.md"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
CLUSTER = "docs/guides/cluster.md"
# Marks of the pages with blocks that train, or start Ray, whose Data context warns of its defaults
# and whose sockets end late.
MARKS = {
    "docs/training.md": [pytest.mark.slow],
    "docs/guides/embeddings.md": [pytest.mark.slow],
    "docs/guides/finetuning.md": [pytest.mark.slow],
    CLUSTER: [
        pytest.mark.slow,
        pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
        pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    ],
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
# On a busy machine Ray remarks among the output that its workers are slow to start.
RAY_REMARK = re.compile(r"^.*\(raylet\b.*\n", re.MULTILINE)
CALL = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
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
    state = stand_in.state_dict(0)
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
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "hubconf.py", tmp_path)
    some_sounds(tmp_path / "my_sounds")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(elsewhere: Path, document: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray of this machine, for the page that needs one."""
    if document != CLUSTER:
        yield
        return
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
    yield
    ray.shutdown()


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


class CloseEnough(doctest.OutputChecker):
    """Text must be the same, numbers with a decimal point nearly so."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        got = RAY_REMARK.sub("", got)
        return super().check_output(
            NUMBER.sub("#.#", want), NUMBER.sub("#.#", got), optionflags
        ) and all(
            abs(float(wanted) - float(given)) < TOLERANCE
            for wanted, given in zip(NUMBER.findall(want), NUMBER.findall(got), strict=False)
        )


def blocks(document: str, kind: str) -> str:
    return "\n".join(content for name, content in all_blocks(document) if name == kind)


def all_blocks(document: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text("utf-8"))


def documents(kind: str | None = None) -> list[Any]:
    """The documents that have a block of a kind, as parameters of a test."""
    return [
        pytest.param(document, marks=MARKS.get(document, []))
        for document in (README, *PAGES)
        if kind is None or any(name == kind for name, _ in all_blocks(document))
    ]


@pytest.mark.parametrize("document", [README, *PAGES])
def test_there_are_only_blocks_that_are_tested(document: str) -> None:
    found = all_blocks(document)
    fences = (ROOT / document).read_text("utf-8").count("```")
    assert fences == 2 * len(found), "a block without a language is not tested"
    assert {name for name, _ in found} <= {"sh", "pycon", "console"}
    assert all("pip" in content for name, content in found if name == "sh")
    calls = [call for name, text in found if name == "console" for call, _ in CALL.findall(text)]
    assert all(call.startswith(("dcasenet ", "python ")) for call in calls)


def test_readme_is_short_and_names_its_field() -> None:
    text = (ROOT / README).read_text("utf-8")
    assert len(text.splitlines()) <= 170
    first = " ".join(text.split("![", 1)[0].split()).lower()
    for words in ("acoustic scene classification", "audio tagging", "sound event detection"):
        assert words in first


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in (README, *PAGES):
        text = (ROOT / document).read_text("utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target:
                assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_figures_of_the_readme_are_those_of_the_checkpoints() -> None:
    """What the table of checkpoints says of each is what its entry of the manifest says."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| .* \| (.+) \| (?:3 × )?([\d.]+) MB \| .*?(\w+) ([\d.]+)",
        (ROOT / README).read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 6
    entries = json.loads((ROOT / "weights_manifest.json").read_text("utf-8"))["models"]
    for stage, license_name, size, measure, figure in rows:
        stage = {"joint": "joint-tag"}.get(stage, stage)
        (entry,) = (e for e in entries if e["stage"] == stage)
        assert license_name == entry["license"]
        if "size" in entry.get("file", {}):  # the authors' files are known by their digest alone
            assert float(size) == pytest.approx(entry["file"]["size"] / 1e6, rel=0.01)
        names = {"accuracy": "accuracy_percent", "F1": "segment_f1_percent"}
        task = {"accuracy": "scene", "F1": "event"}.get(measure, "tag")
        wanted = {"test_lwlrap", "lwlrap_percent"} if measure == "lwlrap" else {names[measure]}
        (true,) = (v for k, v in entry["metrics"][task].items() if k in wanted)
        assert float(figure) == pytest.approx(true, abs=5e-4)


@pytest.mark.parametrize("document", documents("pycon"))
def test_python_blocks(elsewhere: Path, cluster: None, document: str) -> None:
    content = blocks(document, "pycon")
    test = doctest.DocTestParser().get_doctest(content, {}, document, document, 0)
    failures: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(CloseEnough(), verbose=False, optionflags=flags).run(
        test, out=failures.append
    )
    assert test.examples
    assert not failures, "".join(failures)


@pytest.mark.parametrize("document", documents("console"))
def test_command_blocks(
    elsewhere: Path,
    cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    document: str,
) -> None:
    calls = CALL.findall(blocks(document, "console"))
    assert calls
    for call, shown in calls:
        words = shlex.split(call, comments=True)
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True)
            continue
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        assert not exit_.value.code, captured.err
        if shown.strip():
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert CloseEnough().check_output(shown, captured.out, flags), captured.out


def test_the_shipped_recording_is_small_and_credited() -> None:
    path = dcasenet.example()
    assert path.is_relative_to(ROOT / "dcasenet")
    assert path.stat().st_size < 100_000
    assert soundfile.info(path).duration == pytest.approx(5, abs=0.01)
    assert f"dcasenet/data/{path.name}" in (ROOT / "NOTICE").read_text("utf-8")


def test_reference_names_everything_that_is_public() -> None:
    page = (ROOT / "docs/api.md").read_text("utf-8")
    named = set(re.findall(r"^::: dcasenet\.(\w+)$", page, re.MULTILINE))
    assert set(dcasenet.__all__) - {"__version__"} <= named


def test_architecture_is_drawn_from_the_code() -> None:
    spec = importlib.util.spec_from_file_location("drawing", ROOT / "tools/draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    graph = drawing.imports(ROOT / "dcasenet")
    assert "audio" in graph["inference"]
    assert "cli" not in set().union(*graph.values())
    shown = set(re.findall(r"<text[^>]*>(\w+)<", (ROOT / drawing.PICTURE).read_text("utf-8")))
    assert shown == set(graph), "Type: python tools/draw_architecture.py"
    with pytest.raises(ValueError, match="import each other"):
        drawing.rows({"a": frozenset("b"), "b": frozenset("a")})
