"""A web server that misbehaves on request, small checkpoints, and a manifest that names them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from dcasenet.inference.model import SoundModel
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings, ModelSpec
from dcasenet.weights import download, manifest
from dcasenet.weights.checksum import file_digest

LABELS = {
    "scene": ["park", "tram"],
    "tag": ["bark", "bell", "rain"],
    "event": ["dog", "door", "siren", "speech"],
}
WIDTH = 0.125
SIZES = {"n_scenes": 2, "n_tags": 3, "n_events": 4}


class Handler(BaseHTTPRequestHandler):
    """Serve ``server.files``; the first of ``server.faults`` decides how, when there is one."""

    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.requests.append((self.path, dict(self.headers)))
            fault = server.faults.pop(0) if server.faults else None
        time.sleep(server.delay)
        if server.hub is not None:
            server.hub(self)
        elif fault is not None:
            fault(self)
        elif self.path in server.files:
            self.give(server.files[self.path])
        else:
            self.status(404)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server calls

    def give(self, content: bytes, stop: int | None = None, kind: str = "") -> None:
        """Send a file, or the part that was requested; ``stop`` cuts it after so many bytes."""
        requested = self.headers.get("Range")
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        if start >= len(content):
            self.status(416)
            return
        self.send_response(206 if requested else 200)
        if requested:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:stop])
        self.wfile.flush()
        if stop is not None:
            self.hang_up()

    def status(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


class WebServer(ThreadingHTTPServer):
    """Files by path, faults for the next requests, and what was requested."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[Callable[[Handler], None]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.delay = 0.0
        self.hub: Callable[[Handler], None] | None = None  # answers everything when there is one
        self.released = threading.Event()  # lets stalled answers go at the end of a test

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: clients that hang up are the point of these tests."""

    def stall(self, sent: int) -> Callable[[Handler], None]:
        """Make a fault: send the first bytes, then nothing more."""

        def fault(handler: Handler) -> None:
            content = self.files[handler.path]
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content[:sent])
            handler.wfile.flush()
            self.released.wait(60)
            handler.hang_up()

        return fault


@pytest.fixture
def server() -> Iterator[WebServer]:
    web = WebServer()
    thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield web
    web.released.set()
    web.shutdown()
    web.server_close()
    thread.join()


class Published(NamedTuple):
    """A checkpoint that is published by a server, as the authors' are."""

    server: WebServer
    content: bytes  # a state dict in the format of torch before 1.6
    address: str  # path on the server
    manifest: Path
    cache: Path
    state: dict[str, torch.Tensor]  # what the content holds

    @property
    def folder(self) -> Path:
        return self.cache / "v3-joint-tag"

    @property
    def requested(self) -> list[str]:
        return [path for path, _ in self.server.requests]

    def is_right(self, model: SoundModel) -> bool:
        """Whether a model has the published weights."""
        ours = model.network.state_dict()
        return all(torch.equal(ours[name], tensor) for name, tensor in self.state.items())

    def leftovers(self) -> list[str]:
        """What is in the checkpoint's folder besides its lock and the one converted file."""
        return sorted(
            path.name
            for path in self.folder.glob("*")
            if path.name != ".lock" and not path.name.endswith(".safetensors")
        )


@pytest.fixture(scope="session")
def small_states() -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of narrow networks, by stage."""
    states = {}
    for seed, stage in enumerate(("joint-tag", "finetuned-asc", "finetuned-sed", "finetuned-tag")):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            states[stage] = create("v3", **SIZES, width=WIDTH).state_dict()
    return states


@pytest.fixture
def published(
    server: WebServer,
    small_states: dict[str, dict[str, torch.Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Published:
    """Publish small checkpoints, and make the package use their manifest, server and cache."""
    joint = {"tasks": ["scene", "tag", "event"]}
    models: list[dict[str, Any]] = []
    for stage, state in small_states.items():
        path = tmp_path / f"{stage}.pt"
        torch.save(state, path, _use_new_zipfile_serialization=False)
        address = f"owner/repository/commit/{stage}/best.pt"
        server.files[f"/{address}"] = path.read_bytes()
        task = {"asc": ["scene"], "sed": ["event"], "tag": ["tag"]}[stage.rsplit("-", 1)[-1]]
        file = {"digest": file_digest(path, "git_blob_sha1"), "github": address}
        models.append(entry(stage, file=file, **joint if stage == "joint-tag" else {"tasks": task}))
    members = {"scene": "finetuned-asc", "tag": "finetuned-tag", "event": "finetuned-sed"}
    models.append(entry("finetuned", members=members, **joint))
    path = tmp_path / "manifest" / "weights_manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"aliases": {"joint": "joint-tag"}, "models": models}))
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    monkeypatch.setenv("DCASENET_GITHUB_BASE", server.url)
    monkeypatch.setenv("DCASENET_HOME", str(tmp_path / "cache"))
    for name in ("DCASENET_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    address = "/owner/repository/commit/joint-tag/best.pt"
    content, state = server.files[address], small_states["joint-tag"]
    return Published(server, content, address, path, tmp_path / "cache", state)


def entry(stage: str, **fields: Any) -> dict[str, Any]:
    """Make a manifest entry for a narrow v3."""
    common = {"name": "v3", "width": WIDTH, "labels": LABELS, "thresholds": 0.3}
    return {**common, "stage": stage, "license": "MIT", **fields}


# A process that has imported what takes long, and forks for each piece of code that is to run.
TEMPLATE = """
import json, os, sys, traceback
import dcasenet
from dcasenet import SoundModel, create

assert "huggingface_hub" not in sys.modules, "it reads the environment when it is imported"
for line in sys.stdin:
    job = json.loads(line)
    process = os.fork()
    if process == 0:
        code = 1
        for place, path in ((1, job["out"]), (2, job["err"])):
            os.dup2(os.open(path, os.O_WRONLY), place)
        try:
            os.environ.clear()
            os.environ.update(job["environment"])
            exec(compile(job["code"], "<code>", "exec"), {"__name__": "__main__"})
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    sys.stdout.write(f"{status}\\n")
    sys.stdout.flush()
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def template() -> Iterator[subprocess.Popen[str] | None]:
    """The process of `TEMPLATE`; None where there is no fork."""
    if not hasattr(os, "fork"):
        yield None
        return
    command = [sys.executable, "-c", TEMPLATE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        yield process


class Python:
    """Start Python with a test's manifest and cache; the code is what is left to say."""

    def __init__(
        self, manifest_path: Path, template: subprocess.Popen[str] | None, folder: Path
    ) -> None:
        self.template, self.folder = template, folder
        self.prelude = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import dcasenet\n"
            "from dcasenet.weights import manifest\n"
            f"manifest.manifest_path = lambda: Path({str(manifest_path)!r})\n"
        )

    def start(self, code: str, **environment: str) -> subprocess.Popen[str]:
        """Start a process of its own, which may be killed."""
        return subprocess.Popen(
            [sys.executable, "-c", self.prelude + textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for a process and give what it printed."""
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert err == ""  # no warnings, and no progress bars, which are for terminals
        return out

    def run(self, code: str, *, status: int = 0, **environment: str) -> str:
        """Run code in a process that was forked for it, and return what it printed."""
        if self.template is None:
            return self.finish(self.start(code, **environment))
        assert self.template.stdin is not None
        assert self.template.stdout is not None
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        out.write_text("")
        err.write_text("")
        job = {
            "code": self.prelude + textwrap.dedent(code),
            "environment": {**os.environ, **environment},
            "out": str(out),
            "err": str(err),
        }
        self.template.stdin.write(f"{json.dumps(job)}\n")
        self.template.stdin.flush()
        ended = int(self.template.stdout.readline())
        messages = err.read_text("utf-8")
        assert ended == status, messages
        assert messages == ""  # no warnings, and no progress bars, which are for terminals
        return out.read_text("utf-8")


@pytest.fixture
def python(
    published: Published,
    template: subprocess.Popen[str] | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Python:
    return Python(published.manifest, template, tmp_path_factory.mktemp("python"))


@pytest.fixture
def small_model() -> SoundModel:
    """A narrow model with labels of its own and a front end that stores its normalization."""
    spec = ModelSpec(
        name="v2",
        stage="mine",
        width=WIDTH,
        scenes=tuple(LABELS["scene"]),
        tags=tuple(LABELS["tag"]),
        events=tuple(LABELS["event"]),
        frontend=FrontEndSettings(max_frequency=8000.0, normalization="fixed"),
        thresholds={"dog": 0.2, "door": 0.3, "siren": 0.4, "speech": 0.5},
        license="CC-BY-4.0",
        training_data="Recordings of a park (CC0)",
        datasets=("A walk in the park",),
        metrics={"scene": {"accuracy_percent": 61.5}},
        protocol="Four recordings.",
        source="A test",
    )
    frontend = LogMel(spec.frontend)
    frontend.mean += torch.linspace(-8.0, -2.0, 128)
    frontend.deviation *= 2.5
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return SoundModel(spec, frontend, create("v2", **SIZES, width=WIDTH))


@pytest.fixture
def same() -> Callable[[SoundModel, SoundModel], bool]:
    """Whether two models answer alike."""

    def compare(one: SoundModel, other: SoundModel) -> bool:
        log_mel = torch.randn(1, 128, 80)
        left, right = one.network(log_mel), other.network(log_mel)
        pairs = ((getattr(left, task), getattr(right, task)) for task in one.spec.tasks)
        return all(torch.allclose(*pair, atol=1e-5) for pair in pairs)

    return compare
