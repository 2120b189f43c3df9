"""A local Hub that speaks what huggingface_hub expects of one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import textwrap

import pytest

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
        self.authorizations = []
        self.branches = []
        self.committed = []  # revision, message, whether as a pull request

    def add(self, repo, folder):
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return self.commit(repo, files)

    def commit(self, repo, files, revision="main"):
        oid = hashlib.sha1(repr((repo, files)).encode()).hexdigest()
        self.commits[repo, oid] = self.commits[repo, revision] = files
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
        self.authorizations.append(handler.headers.get("Authorization"))
        if self.refused:
            handler.status(self.refused[0], **{"X-Error-Code": self.refused[1]})
            return
        for pattern, answer in (
            (r"/(\w+/[\w-]+)/resolve/([\w-]+)/([\w.]+)", self.resolve),
            (r"/cdn/(\w+)", self.content),
            (r"/api/repos/(create)", self.create),
            (r"/api/(validate-yaml)", self.validate),
            (r"/api/models/(\w+/[\w-]+)/preupload/[\w-]+", self.preupload),
            (r"/api/models/(\w+/[\w-]+)/branch/([\w-]+)", self.branch),
            (r"/(\w+/[\w-]+)\.git/info/lfs/objects/batch", self.batch),
            (r"/upload/(\w+)", self.upload),
            (r"/api/models/(\w+/[\w-]+)/commit/([\w-]+)", self.take_commit),
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
                # Another host, as the Hub's own: who requests the headers does not follow there.
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

    def branch(self, handler, body, repo, name):
        self.branches.append(f"{repo} {name}")
        self.commits[repo, name] = self.commits[repo, "main"]
        self.answer(handler, {})

    def take_commit(self, handler, body, repo, revision):
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
        as_request = "create_pr=1" in handler.path
        self.committed.append((revision, self.message, as_request))
        oid = self.commit(repo, files, revision)
        found = {"commitUrl": f"{self.url}/{repo}/commit/{oid}", "commitOid": oid}
        if as_request:
            found["pullRequestUrl"] = f"{self.url}/{repo}/discussions/1"
        self.answer(handler, found)


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
