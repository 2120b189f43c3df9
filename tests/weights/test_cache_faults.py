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
from dcasenet import WeightsError
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


@pytest.mark.slow
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
        def open_(self, mode="r", *more, really=Path.open, **options):
            stream = really(self, mode, *more, **options)
            if mode == "xb":
                stream.write(bytes(1000))
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return stream
        Path.open = open_
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
    python.run(f"{moment}\n        dcasenet.load('v3')", status=-signal.SIGKILL)
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


@posix
@pytest.mark.parametrize("name", ["", ".lock", "incomplete", "best.pt"])
def test_a_planted_link_is_refused(published, tmp_path, name):
    """In a cache that others can write to, a link may point to anything of the user's."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("precious")
    link = published.folder / name if name else published.folder
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(mine / "notes.txt" if name in (".lock", "best.pt") else mine)
    with pytest.raises(WeightsError, match=r"links inside the cache folder are not followed"):
        dcasenet.load("v3")
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert (mine / "notes.txt").read_text() == "precious"
    assert cache.clear() == 0  # deletes the link
    assert not link.is_symlink()
    assert (mine / "notes.txt").read_text() == "precious"


@posix
@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_a_link_planted_for_the_download_is_not_written_through(published, tmp_path, plant):
    mine = tmp_path / "notes.txt"
    mine.write_text("precious")
    (published.folder / "incomplete").mkdir(parents=True)
    plant(mine, published.folder / "incomplete" / "best.pt")
    assert published.is_right(dcasenet.load("v3"))
    assert mine.read_text() == "precious"


@posix
def test_a_link_in_place_of_a_converted_file_is_replaced(published, tmp_path):
    dcasenet.load("v3")
    (converted,) = cache.cached_files()
    elsewhere = converted.path.rename(tmp_path / "elsewhere")
    converted.path.symlink_to(elsewhere)
    assert cache.cached_files() == []
    assert published.is_right(dcasenet.load("v3"))
    assert not converted.path.is_symlink()
    assert elsewhere.is_file()


@posix
def test_a_linked_cache_folder_is_fine(published, tmp_path):
    (tmp_path / "big disk").mkdir()
    published.cache.symlink_to(tmp_path / "big disk")
    assert published.is_right(dcasenet.load("v3"))


@posix
@pytest.mark.parametrize(
    ("umask", "folder", "file"), [(0o077, 0o700, 0o600), (0o002, 0o775, 0o664)]
)
def test_the_umask_decides_who_can_use_the_cache(published, umask, folder, file):
    before = os.umask(umask)
    try:
        dcasenet.load("v3")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in published.folder.iterdir()}
    assert published.folder.stat().st_mode & 0o777 == folder
    assert modes.pop(".lock") == file
    assert list(modes.values()) == [file]
