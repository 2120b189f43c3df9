from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dcasenet
from dcasenet.errors import ChecksumError, OfflineError, WeightsError
from dcasenet.weights import cache, checkpoint, metadata
from dcasenet.weights.manifest import find
from dcasenet.weights.sources import Access


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_a_download_becomes_one_converted_file(published):
    model = dcasenet.load("v3", stage="joint")
    assert published.is_right(model)
    assert published.requested == [published.address]
    assert published.leftovers() == []
    (file,) = cache.cached_files()
    assert file.checkpoint == "v3-joint-tag"
    assert cache.is_intact(file.path)
    spec = metadata.read_spec(file.path)
    assert spec.stage == "joint-tag"
    assert spec.license == "MIT"
    assert spec.file == find("v3", "joint").file
    assert spec == find("v3", "joint")


def test_the_second_load_touches_no_network(published, request):
    dcasenet.load("v3")
    request.getfixturevalue("no_sockets")
    assert published.is_right(dcasenet.load("v3"))
    assert published.is_right(dcasenet.load("v3", local_files_only=True))
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
    assert published.is_right(dcasenet.load("v3"))


def test_a_file_put_there_by_hand_is_verified_and_converted(published, no_sockets):
    published.folder.mkdir(parents=True)
    by_hand = published.folder / "best.pt"
    by_hand.write_bytes(published.content)
    assert published.is_right(dcasenet.load("v3", local_files_only=True))
    by_hand.unlink()  # what counts now is the converted file
    assert published.is_right(dcasenet.load("v3", local_files_only=True))


@pytest.mark.parametrize("offline", [True, False])
def test_a_wrong_file_put_there_by_hand_is_refused(published, offline):
    published.folder.mkdir(parents=True)
    (published.folder / "best.pt").write_bytes(published.content[:-1] + b"x")
    with pytest.raises(ChecksumError, match=r"stage joint-tag: .*best\.pt is not the published"):
        dcasenet.load("v3", local_files_only=offline)
    assert cache.cached_files() == []


def test_a_damaged_file_in_the_cache_is_replaced(published, caplog):
    dcasenet.load("v3")
    (file,) = cache.cached_files()
    content = bytearray(file.path.read_bytes())
    content[-1] ^= 1
    file.path.write_bytes(content)
    with pytest.raises(ChecksumError, match=r"stage joint-tag: the cached file .* is damaged"):
        dcasenet.load("v3", local_files_only=True)
    with caplog.at_level(logging.WARNING, logger="dcasenet"):
        assert published.is_right(dcasenet.load("v3"))
    assert "has been replaced" in caplog.text
    (file,) = cache.cached_files()
    assert cache.is_intact(file.path)


def test_a_truncated_file_in_the_cache_is_replaced(published):
    dcasenet.load("v3")
    (file,) = cache.cached_files()
    os.truncate(file.path, 1000)
    assert published.is_right(dcasenet.load("v3"))


def test_another_checkpoints_file_is_not_taken(published):
    dcasenet.load("v3", stage="finetuned-asc")
    (file,) = cache.cached_files()
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
    assert published.is_right(dcasenet.load("v3"))
    assert published.leftovers() == []


def test_the_hub_is_tried_first_and_github_if_it_fails(published, monkeypatch):
    text = published.manifest.read_text()
    hub = f'"github": "{published.address[1:]}", "hub": "org/name@main/best.pt"'
    published.manifest.write_text(text.replace(f'"github": "{published.address[1:]}"', hub))
    monkeypatch.setenv("HF_ENDPOINT", published.server.url)
    assert published.is_right(dcasenet.load("v3"))
    assert published.requested == ["/org/name/resolve/main/best.pt", published.address]
    cache.clear()
    published.server.files["/org/name/resolve/main/best.pt"] = published.content
    assert published.is_right(dcasenet.load("v3"))
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


def test_others_can_read_the_cache(published):
    dcasenet.load("v3")
    (file,) = cache.cached_files()
    ordinary = published.cache / "ordinary"
    ordinary.touch()
    assert file.path.stat().st_mode == ordinary.stat().st_mode


def test_the_package_is_the_first_source(published, monkeypatch, tmp_path, no_sockets):
    file = tmp_path / "package" / "data" / "model.safetensors"
    spec = find("v3", "joint")
    raw = tmp_path / "raw.pt"
    raw.write_bytes(published.content)
    checkpoint.convert(raw, file, spec)
    monkeypatch.setattr("dcasenet.weights.sources.PACKAGE", tmp_path / "package")
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
    assert cache.cached_files() == []
    assert len(cache.cached_files(tmp_path / "mine")) == 1


def test_clear_deletes_what_is_ours_and_nothing_else(published):
    dcasenet.load("v3")
    theirs = published.cache / "thesis.txt"
    theirs.write_text("precious")
    assert cache.clear() > 500_000  # bytes
    assert cache.cached_files() == []
    assert theirs.read_text() == "precious"
    assert cache.clear() == 0
    assert published.is_right(dcasenet.load("v3"))


def test_clear_does_not_disturb_a_download(published):
    published.server.faults = [published.server.stall(1000)]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(dcasenet.load, "v3")
        while not published.requested:
            time.sleep(0.01)
        with pytest.raises(WeightsError, match="held by another process"):
            cache.clear()
        published.server.released.set()
        assert published.is_right(load.result())
