from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import dcasenet
from dcasenet import cache, checkpoint, housekeeping
from dcasenet.errors import ChecksumError, OfflineError, WeightsError
from dcasenet.manifest import find
from dcasenet.sources import Access

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


def is_right(model, published):
    ours = model.network.state_dict()
    return all(torch.equal(ours[name], tensor) for name, tensor in published.state.items())


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_a_download_becomes_one_converted_file(published):
    model = dcasenet.load("v3", stage="joint")
    assert is_right(model, published)
    assert published.requested == [published.address]
    assert published.leftovers() == []
    (file,) = housekeeping.cached_files()
    assert file.checkpoint == "v3-joint-tag"
    assert cache.is_intact(file.path)
    spec = checkpoint.read_spec(file.path)
    assert spec.stage == "joint-tag"
    assert spec.licence == "MIT"
    assert spec.file == find("v3", "joint").file
    assert spec == find("v3", "joint")


def test_the_second_load_touches_no_network(published, request):
    dcasenet.load("v3")
    request.getfixturevalue("no_sockets")
    assert is_right(dcasenet.load("v3"), published)
    assert is_right(dcasenet.load("v3", local_files_only=True), published)
    assert len(published.requested) == 1


@pytest.mark.parametrize("switch", ["argument", "DCASENET_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_says_what_is_missing_and_what_to_do(published, no_sockets, monkeypatch, switch):
    if switch != "argument":
        monkeypatch.setenv(switch, "1")
    with pytest.raises(OfflineError) as caught:
        dcasenet.load("v3", local_files_only=switch == "argument")
    message = str(caught.value)
    assert "v3, stage joint-tag" in message
    assert "best.pt" in message
    assert f"Looked in {published.folder}" in message
    assert published.server.url + published.address in message
    assert f"put it at {published.folder / 'best.pt'}" in message
    assert ("local_files_only" if switch == "argument" else switch) in message


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_offline_can_be_switched_on_again(published, monkeypatch, value):
    monkeypatch.setenv("DCASENET_OFFLINE", value)
    assert is_right(dcasenet.load("v3"), published)


def test_a_file_put_there_by_hand_is_verified_and_converted(published, no_sockets):
    published.folder.mkdir(parents=True)
    by_hand = published.folder / "best.pt"
    by_hand.write_bytes(published.content)
    assert is_right(dcasenet.load("v3", local_files_only=True), published)
    by_hand.unlink()  # what counts now is the converted file
    assert is_right(dcasenet.load("v3", local_files_only=True), published)


@pytest.mark.parametrize("offline", [True, False])
def test_a_wrong_file_put_there_by_hand_is_refused(published, offline):
    published.folder.mkdir(parents=True)
    (published.folder / "best.pt").write_bytes(published.content[:-1] + b"x")
    with pytest.raises(ChecksumError, match=r"stage joint-tag: .*best\.pt is not the published"):
        dcasenet.load("v3", local_files_only=offline)
    assert housekeeping.cached_files() == []


def test_a_damaged_file_in_the_cache_is_replaced(published, caplog):
    dcasenet.load("v3")
    (file,) = housekeeping.cached_files()
    content = bytearray(file.path.read_bytes())
    content[-1] ^= 1
    file.path.write_bytes(content)
    with pytest.raises(ChecksumError, match=r"stage joint-tag: the cached file .* is damaged"):
        dcasenet.load("v3", local_files_only=True)
    with caplog.at_level(logging.WARNING, logger="dcasenet"):
        assert is_right(dcasenet.load("v3"), published)
    assert "has been replaced" in caplog.text
    (file,) = housekeeping.cached_files()
    assert cache.is_intact(file.path)


def test_a_truncated_file_in_the_cache_is_replaced(published):
    dcasenet.load("v3")
    (file,) = housekeeping.cached_files()
    os.truncate(file.path, 1000)
    assert is_right(dcasenet.load("v3"), published)


def test_another_checkpoints_file_is_not_taken(published):
    dcasenet.load("v3", stage="finetuned-asc")
    (file,) = housekeeping.cached_files()
    published.folder.mkdir()
    shutil.copy(file.path, published.folder)
    with pytest.raises(OfflineError):
        dcasenet.load("v3", local_files_only=True)


def test_a_refused_download_leaves_nothing(published):
    published.server.files[published.address] = published.content[:-1] + b"x"
    with pytest.raises(ChecksumError) as caught:
        dcasenet.load("v3")
    message = str(caught.value)
    assert "v3, stage joint-tag" in message
    assert published.server.url + published.address in message
    assert f"By hand: put best.pt at {published.folder / 'best.pt'}" in message
    assert not [path for path in published.folder.rglob("*") if path.name != ".lock"] or (
        list((published.folder / "incomplete").iterdir()) == []
    )
    published.server.files[published.address] = published.content
    assert is_right(dcasenet.load("v3"), published)
    assert published.leftovers() == []


def test_the_hub_is_asked_first_and_github_if_it_fails(published, monkeypatch):
    text = published.manifest.read_text()
    hub = f'"github": "{published.address[1:]}", "hub": "org/name@main/best.pt"'
    published.manifest.write_text(text.replace(f'"github": "{published.address[1:]}"', hub))
    monkeypatch.setenv("HF_ENDPOINT", published.server.url)
    assert is_right(dcasenet.load("v3"), published)
    assert published.requested == ["/org/name/resolve/main/best.pt", published.address]
    housekeeping.clear()
    published.server.files["/org/name/resolve/main/best.pt"] = published.content
    assert is_right(dcasenet.load("v3"), published)
    assert published.requested[2:] == ["/org/name/resolve/main/best.pt"]


def test_every_address_is_in_the_error(published, monkeypatch):
    published.server.files.clear()
    text = published.manifest.read_text()
    hub = f'"github": "{published.address[1:]}", "hub": "org/name@main/best.pt"'
    published.manifest.write_text(text.replace(f'"github": "{published.address[1:]}"', hub))
    monkeypatch.setenv("HF_ENDPOINT", published.server.url)
    with pytest.raises(WeightsError) as caught:
        dcasenet.load("v3")
    assert f"{published.server.url}/org/name/resolve/main/best.pt" in str(caught.value)
    assert published.server.url + published.address in str(caught.value)


def test_eight_threads_download_once(published):
    published.server.delay = 0.2
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        return is_right(dcasenet.load("v3"), published)

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
    assert housekeeping.cached_files() == []
    assert is_right(dcasenet.load("v3"), published)
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
    assert housekeeping.cached_files() == []
    assert len(list((published.folder / "incomplete").iterdir())) == 2
    assert is_right(dcasenet.load("v3"), published)
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
    assert housekeeping.cached_files() == []
    assert "incomplete" not in published.leftovers()  # a full disk is not kept full
    assert is_right(dcasenet.load("v3"), published)


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


def test_others_can_read_the_cache(published):
    dcasenet.load("v3")
    (file,) = housekeeping.cached_files()
    ordinary = published.cache / "ordinary"
    ordinary.touch()
    assert file.path.stat().st_mode == ordinary.stat().st_mode


def test_the_package_is_the_first_source(published, monkeypatch, tmp_path, no_sockets):
    file = tmp_path / "package" / "data" / "model.safetensors"
    spec = find("v3", "joint")
    raw = tmp_path / "raw.pt"
    raw.write_bytes(published.content)
    checkpoint.convert(raw, file, spec)
    monkeypatch.setattr("dcasenet.sources.PACKAGE", tmp_path / "package")
    entry = {"digest": cache.file_digest(file), "package": "data/model.safetensors"}
    packaged = dcasenet.ModelSpec.from_dict({**spec.to_dict(), "file": entry})
    assert cache.obtain(packaged, Access()) == file
    file.write_bytes(b"damaged")
    with pytest.raises(ChecksumError, match="stage joint-tag"):
        cache.obtain(packaged, Access())


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DCASENET_HOME", "~/models")
    assert cache.cache_folder() == Path("~/models").expanduser()
    assert cache.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv("DCASENET_HOME")
    assert "dcasenet" in str(cache.cache_folder()).lower()


def test_cache_dir_is_used(published, tmp_path):
    dcasenet.load("v3", cache_dir=tmp_path / "mine")
    assert housekeeping.cached_files() == []
    assert len(housekeeping.cached_files(tmp_path / "mine")) == 1


def test_clear_deletes_what_is_ours_and_nothing_else(published):
    dcasenet.load("v3")
    theirs = published.cache / "thesis.txt"
    theirs.write_text("precious")
    assert housekeeping.clear() > 500_000  # bytes
    assert housekeeping.cached_files() == []
    assert theirs.read_text() == "precious"
    assert housekeeping.clear() == 0
    assert is_right(dcasenet.load("v3"), published)


def test_clear_does_not_disturb_a_download(published):
    published.server.faults = [published.server.stall(1000)]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(dcasenet.load, "v3")
        while not published.requested:
            time.sleep(0.01)
        with pytest.raises(WeightsError, match="held by another process"):
            housekeeping.clear()
        published.server.released.set()
        assert is_right(load.result(), published)
