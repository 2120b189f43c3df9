"""Repositories, against a local server that speaks the Hub's own protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import textwrap

import pytest

from dcasenet.hub import save_pretrained

SAME = """
    import torch
    def same(a, b):
        x = torch.randn(1, 24_000)
        left, right = (m.network(m.frontend(x)) for m in (a, b))
        pairs = ((getattr(left, task), getattr(right, task)) for task in a.spec.tasks)
        return all(torch.allclose(*pair, atol=1e-5) for pair in pairs)
"""


class LocalHub:
    """Repositories in memory: resolving, creating, large-file upload and commits."""

    def __init__(self, url):
        self.url = url
        self.commits = {}  # (repository, revision) → path → content
        self.large = {}  # sha256 → content
        self.refused = None  # status and error code for every request

    def add(self, repo, folder):
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return self.commit(repo, files)

    def commit(self, repo, files):
        oid = hashlib.sha1(repr((repo, files)).encode()).hexdigest()
        self.commits[repo, oid] = self.commits[repo, "main"] = files
        return oid

    def oid(self, repo, revision):
        files = self.commits[repo, revision]
        return next(
            r
            for (name, r), f in self.commits.items()
            if name == repo and f is files and r != "main"
        )

    def __call__(self, handler):
        size = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(size) if size else self.chunks(handler)
        if self.refused:
            handler.status(self.refused[0], **{"X-Error-Code": self.refused[1]})
            return
        for pattern, answer in (
            (r"/(\w+/[\w-]+)/resolve/([\w-]+)/([\w.]+)", self.resolve),
            (r"/cdn/(\w+)", self.content),
            (r"/api/repos/(create)", self.create),
            (r"/api/(validate-yaml)", self.validate),
            (r"/api/models/(\w+/[\w-]+)/preupload/main", self.preupload),
            (r"/(\w+/[\w-]+)\.git/info/lfs/objects/batch", self.batch),
            (r"/upload/(\w+)", self.upload),
            (r"/api/models/(\w+/[\w-]+)/commit/main", self.take_commit),
        ):
            found = re.fullmatch(pattern, handler.path.partition("?")[0])
            if found:
                answer(handler, body, *found.groups())
                return
        handler.status(404)

    def chunks(self, handler):
        body = b""
        if handler.headers.get("Transfer-Encoding") == "chunked":
            while size := int(handler.rfile.readline(), 16):
                body += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
        return body

    def resolve(self, handler, body, repo, revision, path):
        files = self.commits.get((repo, revision))
        if files is None:
            known = any(name == repo for name, _ in self.commits)
            code = "RevisionNotFound" if known else "RepoNotFound"
            handler.status(404, **{"X-Error-Code": code})
        elif path not in files:
            handler.status(404, **{"X-Error-Code": "EntryNotFound"})
        else:
            content = files[path]
            sha = hashlib.sha256(content).hexdigest()
            self.large.setdefault(sha, content)
            large = path.endswith(".safetensors")
            handler.send_response(302 if large else 200)
            handler.send_header("X-Repo-Commit", self.oid(repo, revision))
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if large:
                # Another host, as the Hub's own: who asks for the headers does not follow there.
                elsewhere = self.url.replace("127.0.0.1", "localhost")
                handler.send_header("Location", f"{elsewhere}/cdn/{sha}")
                handler.send_header("X-Linked-Etag", f'"{sha}"')
                handler.send_header("X-Linked-Size", str(len(content)))
            handler.send_header("ETag", f'"{blob}"')
            handler.send_header("Content-Length", "0" if large else str(len(content)))
            handler.end_headers()
            if handler.command == "GET" and not large:
                handler.wfile.write(content)

    def content(self, handler, body, sha):
        handler.give(self.large[sha])

    def answer(self, handler, values):
        content = json.dumps(values).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def create(self, handler, body, _):
        values = json.loads(body)
        repo = f"{values['organization']}/{values['name']}"
        self.private = values.get("private") or values.get("visibility") == "private"
        self.commit(repo, {})
        self.answer(handler, {"url": f"{self.url}/{repo}", "name": repo})

    def validate(self, handler, body, _):
        content = json.loads(body)["content"]
        errors = [] if content.startswith("---\n") else [{"message": "no header"}]
        self.answer(handler, {"errors": errors, "warnings": []})

    def preupload(self, handler, body, repo):
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self.answer(handler, {"files": files})

    def batch(self, handler, body, repo):
        objects = [
            {**o, "actions": {"upload": {"href": f"{self.url}/upload/{o['oid']}"}}}
            for o in json.loads(body)["objects"]
        ]
        self.answer(handler, {"transfer": "basic", "objects": objects})

    def upload(self, handler, body, sha):
        assert hashlib.sha256(body).hexdigest() == sha
        self.large[sha] = body
        handler.status(200)

    def take_commit(self, handler, body, repo):
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
            else:
                self.message = value["summary"]
        oid = self.commit(repo, files)
        self.answer(handler, {"commitUrl": f"{self.url}/{repo}/commit/{oid}", "commitOid": oid})


@pytest.fixture
def local_hub(server):
    server.hub = LocalHub(server.url)
    return server.hub


@pytest.fixture
def hub_python(python, local_hub, tmp_path):
    """Run code that knows no other Hub than the local one."""

    def run(code, **environment):
        return python.run(
            textwrap.dedent(SAME) + textwrap.dedent(code),
            HF_ENDPOINT=local_hub.url,
            HF_HOME=str(tmp_path / "hf"),
            HF_TOKEN="hf_token",
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            **environment,
        )

    return run


def test_a_repository_loads_and_is_cached(hub_python, local_hub, small_model, tmp_path, published):
    save_pretrained(small_model, tmp_path / "model")
    oid = local_hub.add("org/name", tmp_path / "model")
    hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    assert same(dcasenet.load("org/name"), local)
    assert same(dcasenet.load("org/name@main"), local)
    assert same(dcasenet.load("org/name@{oid}"), local)
    assert same(dcasenet.load("org/name", local_files_only=True), local)
    try:
        dcasenet.load("org/other", local_files_only=True)
    except dcasenet.OfflineError as error:
        assert "org/other: config.json is not on this machine" in str(error), error
        assert "/org/other/resolve/main/config.json" in str(error), error
    else:
        raise SystemExit("loaded")
    """)
    assert list((published.cache / "hub").glob("models--org--name"))
    downloads = [path for path in published.requested if path.startswith("/cdn/")]
    assert len(downloads) == 1
    before = len(published.requested)
    published.server.hub = lambda handler: handler.status(503)  # the Hub is down
    hub_python(
        f"""
    from dcasenet.housekeeping import hub_snapshots
    assert list(hub_snapshots()) == ["org/name@{oid}"]
    assert dcasenet.load("org/name@{oid}")
    assert dcasenet.load("org/name")
    os.environ["DCASENET_OFFLINE"] = "1"
    assert dcasenet.load("org/name")
    """,
        HF_HUB_VERBOSITY="error",
    )
    # A commit is never asked for again, a branch may have moved.
    assert set(published.requested[before:]) == {"/org/name/resolve/main/config.json"}


def test_a_composed_repository_loads(hub_python, local_hub, published, tmp_path):
    published.server.hub = None
    hub_python(f"""
    model = dcasenet.load("v3", stage="finetuned")
    from dcasenet.hub import save_pretrained
    save_pretrained(model, {str(tmp_path / "model")!r})
    """)
    published.server.hub = local_hub
    local_hub.add("org/composed", tmp_path / "model")
    hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    assert same(dcasenet.load("org/composed"), local)
    assert same(dcasenet.load("org/composed", local_files_only=True), local)
    """)


def test_what_cannot_be_loaded_says_why(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    local_hub.add("org/name", tmp_path / "model")
    local_hub.commit("org/empty", {"notes.txt": b"nothing"})
    local_hub.commit("org/bert", {"config.json": b'{"model_type": "bert"}'})
    out = hub_python("""
    for name in ("org/missing", "org/name@v9", "org/empty", "org/bert", "org/na--me..x"):
        try:
            dcasenet.load(name)
        except dcasenet.WeightsError as error:
            print(" ".join(str(error).split()))
    """)
    missing, revision, empty, bert, invalid = out.splitlines()
    assert missing.startswith("org/missing: ")
    assert f"{local_hub.url}/org/missing/resolve/main/config.json cannot be downloaded" in missing
    assert "Nor is there a file or folder named 'org/missing'" in missing
    assert "org/name/resolve/v9/config.json" in revision
    assert "org/empty/resolve/main/config.json" in empty
    assert "is not the configuration of a dcasenet model" in bert
    assert "org/na--me..x" in invalid


def test_wrong_weights_are_fetched_again_then_refused(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    local_hub.add("org/name", tmp_path / "model")
    code = """
    try:
        print(dcasenet.load("org/name").spec.stage)
    except dcasenet.ChecksumError as error:
        print(error)
    """
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    sha = hashlib.sha256(weights).hexdigest()
    local_hub.large[sha] = weights[:-1] + b"x"
    assert "model.safetensors is not the published file" in hub_python(code)
    local_hub.large[sha] = weights  # what is in the cache is still the wrong file
    assert hub_python(code) == "mine\n"


def test_an_unreachable_hub(python, tmp_path):
    out = python.run(
        """
        import time
        time.sleep = lambda seconds: None  # huggingface_hub tries again for half a minute
        try:
            dcasenet.load("org/name")
        except dcasenet.WeightsError as error:
            print(type(error).__name__, error)
        """,
        HF_ENDPOINT="http://host.invalid",
        HF_HUB_VERBOSITY="error",
        HF_HOME=str(tmp_path / "hf"),
    )
    assert out.startswith("WeightsError org/name: http://host.invalid/org/name/resolve/main/config")


def test_push_and_load_back(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    out = hub_python(f"""
    from dcasenet.hub import push_to_hub
    local = dcasenet.load({str(tmp_path / "model")!r})
    address = push_to_hub(local, "org/pushed", private=True)
    print(address)
    assert same(dcasenet.load(address), local)
    assert dcasenet.load("org/pushed").spec == local.spec
    """)
    address = out.strip()
    assert re.fullmatch(r"org/pushed@[0-9a-f]{40}", address)
    files = local_hub.commits["org/pushed", "main"]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert local_hub.private is True
    assert local_hub.message == "DcaseNet v2, mine"
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: dcasenet\nlicense: cc-by-4.0\n")
    assert 'dcasenet.load("org/pushed")' in card
    config = json.loads(files["config.json"])
    assert config["digests"]["model.safetensors"] == (
        "sha256:" + hashlib.sha256(files["model.safetensors"]).hexdigest()
    )


def test_a_refused_push_says_why(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    local_hub.refused = (403, "Forbidden")
    out = hub_python(f"""
    from dcasenet.hub import push_to_hub
    try:
        push_to_hub(dcasenet.load({str(tmp_path / "model")!r}), "org/pushed")
    except dcasenet.WeightsError as error:
        print(error)
    """)
    assert out.startswith(f"org/pushed cannot be uploaded to {local_hub.url}")
    assert "hf auth login" in out
