"""The cache when processes compete, are killed, or find no room."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dcasenet
from dcasenet.weights import cache

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


def test_eight_threads_download_once(published):
    published.server.delay = 0.2
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        return published.is_right(dcasenet.load("v3"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8
    assert len(published.requested) == 1
    assert published.leftovers() == []


def test_two_processes_download_once(published, python):
    published.server.delay = 1.0
    code = "print(dcasenet.load('v3').spec.stage)"
    processes = [python.start(code) for _ in range(2)]
    assert [python.finish(process) for process in processes] == ["joint-tag\n"] * 2
    assert len(published.requested) == 1
    assert published.leftovers() == []


@posix
def test_killed_while_downloading(published, python):
    published.server.faults = [published.server.stall(200_000)]
    process = python.start("dcasenet.load('v3')")
    part = published.folder / "incomplete" / "best.pt"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    size = part.stat().st_size
    assert 0 < size < len(published.content)
    assert cache.cached_files() == []
    assert published.is_right(dcasenet.load("v3"))
    assert published.server.requests[-1][1]["Range"] == f"bytes={size}-"
    assert published.leftovers() == []


@posix
@pytest.mark.parametrize(
    "moment",
    [
        # Half of the converted file is written.
        """
        def write(self, content, whole=Path.write_bytes):
            whole(self, content[:len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        Path.write_bytes = write
        """,
        # It is complete, and on the point of getting the name that it is trusted by.
        """
        def rename(self, target, really=Path.replace):
            if str(target).endswith(".safetensors"):
                os.kill(os.getpid(), signal.SIGKILL)
            return really(self, target)
        Path.replace = rename
        """,
    ],
    ids=["while writing", "before the rename"],
)
def test_killed_while_converting(published, python, moment):
    process = python.start(f"{moment}\n        dcasenet.load('v3')")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert cache.cached_files() == []
    assert len(list((published.folder / "incomplete").iterdir())) == 2
    assert published.is_right(dcasenet.load("v3"))
    assert len(published.requested) == 1  # the verified download was still there
    assert published.leftovers() == []


@posix
@pytest.mark.parametrize("step", ["download", "conversion"])
def test_a_full_disk(published, python, step):
    if step == "conversion":
        published.folder.mkdir(parents=True)
        (published.folder / "best.pt").write_bytes(published.content)
    limit = len(published.content) // 2
    out = python.run(f"""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            dcasenet.load("v3")
        except dcasenet.WeightsError as error:
            print(error)
    """)
    assert f"v3, stage joint-tag: the cache folder {published.folder} cannot be used" in out
    assert os.strerror(errno.EFBIG) in out
    assert "cache_dir=" in out
    assert cache.cached_files() == []
    assert "incomplete" not in published.leftovers()  # a full disk is not kept full
    assert published.is_right(dcasenet.load("v3"))


@posix
def test_a_read_only_cache(published, python):
    """One that holds the checkpoint works; one that does not says so."""
    folder = Path(tempfile.mkdtemp(prefix="dcasenet-test-"))  # not in a folder of root's own
    try:
        folder.chmod(0o755)
        out = python.run(f"""
            cache = Path({str(folder)!r})
            dcasenet.load("v3", cache_dir=cache)
            try:
                dcasenet.load("v3", stage="finetuned-asc", cache_dir="/no/such/address")
            except dcasenet.WeightsError:
                pass
            for path in [*cache.rglob("*"), cache]:
                path.chmod(0o555 if path.is_dir() else 0o444)
            text = manifest.manifest_path().read_text()
            manifest.Path.read_text = lambda self, encoding: text  # its folder is root's own
            if os.getuid() == 0:
                os.setuid(65534)  # permissions do not bind root
            print(dcasenet.load("v3", cache_dir=cache).spec.stage)
            try:
                dcasenet.load("v3", stage="finetuned-asc", cache_dir=cache)
            except dcasenet.WeightsError as error:
                print(error)
        """)
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(folder)
    stage, error = out.splitlines()
    assert stage == "joint-tag"
    assert "finetuned-asc" in error
    assert "cannot be used: Permission denied" in error
