from __future__ import annotations

import email.utils
import hashlib
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcasenet.errors import ChecksumError, WeightsError
from dcasenet.models.dcasenet import create
from dcasenet.spec import ModelSpec, WeightsFile
from dcasenet.weights import download as module
from dcasenet.weights import transfer
from dcasenet.weights.download import Job, download
from dcasenet.weights.sources import largest_size

CONTENT = bytes(range(256)) * 1000
FILE = WeightsFile(f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
SIZED = WeightsFile(FILE.digest, size=len(CONTENT))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))


@pytest.fixture
def job(server, tmp_path):
    server.files["/file"] = CONTENT
    return Job(f"{server.url}/file", tmp_path / "file", SIZED, "v3, stage x", 10**7)


def test_a_file_arrives(job, capfd):
    download(job)
    assert job.path.read_bytes() == CONTENT
    assert capfd.readouterr() == ("", "")  # no bar: this is no terminal


def test_size_need_not_be_known(job):
    download(job._replace(file=FILE))
    assert job.path.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [404, 403, 401, 410])
def test_a_refusal_is_final(server, job, code):
    server.faults = [lambda handler: handler.status(code)]
    with pytest.raises(WeightsError, match=rf"v3, stage x: http.*/file was refused \(HTTP {code}"):
        download(job)
    assert len(server.requests) == 1
    assert not job.path.exists()


@pytest.mark.parametrize("code", [500, 502, 503, 429, 408])
def test_a_passing_error_is_tried_again(server, job, code):
    server.faults = [lambda handler: handler.status(code)] * 2
    download(job)
    assert len(server.requests) == 3


def test_attempts_end(server, job):
    server.faults = [lambda handler: handler.status(500)] * 9
    with pytest.raises(WeightsError, match=r"/file cannot be downloaded .*HTTP 500.*3 attempts"):
        download(job)
    assert len(server.requests) == 3


def test_redirects_are_followed(server, job):
    server.files["/elsewhere"] = CONTENT
    server.faults = [lambda handler: handler.status(302, Location="/elsewhere")]
    download(job)
    assert [path for path, _ in server.requests] == ["/file", "/elsewhere"]


def test_a_circle_of_redirects_ends(server, job):
    server.faults = [lambda handler: handler.status(302, Location="/file")] * 99
    with pytest.raises(WeightsError, match="cannot be used"):
        download(job)


@pytest.mark.parametrize("file", [FILE, SIZED])
def test_a_cut_connection_is_resumed(server, job, file):
    server.faults = [lambda handler: handler.give(CONTENT, stop=100_000)]
    download(job._replace(file=file))
    assert job.path.read_bytes() == CONTENT
    assert server.requests[1][1]["Range"] == "bytes=100000-"


def test_a_server_that_cannot_resume_starts_over(server, job):
    def whole(handler):
        del handler.headers["Range"]
        handler.give(CONTENT)

    server.faults = [lambda handler: handler.give(CONTENT, stop=100_000), whole]
    download(job)
    assert job.path.read_bytes() == CONTENT


def test_a_server_that_resumes_elsewhere_is_not_believed(server, job):
    def other_part(handler):
        handler.headers.replace_header("Range", "bytes=5-")
        handler.give(CONTENT)

    server.faults = [lambda handler: handler.give(CONTENT, stop=100_000), other_part]
    download(job)
    assert job.path.read_bytes() == CONTENT


def short(handler):
    """Send the beginning, or what is requested of it, without saying how long it will be."""
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if start else 200)
    handler.send_header("Connection", "close")
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    handler.end_headers()
    handler.wfile.write(CONTENT[start : start + 1000])
    handler.wfile.flush()
    handler.hang_up()


@pytest.mark.parametrize("file", [FILE, SIZED])
def test_a_body_without_a_length_that_ends_early_is_resumed(server, job, file):
    server.faults = [short, short]
    download(job._replace(file=file))
    assert job.path.read_bytes() == CONTENT
    assert server.requests[2][1]["Range"] == "bytes=2000-"


def test_a_body_without_a_length_that_always_ends_early_is_given_up(server, job):
    server.faults = [short] * 9
    with pytest.raises(ChecksumError, match="not the published file"):
        download(job._replace(file=FILE))
    assert len(server.requests) == 3
    assert not job.path.exists()


def drip(pieces, headers=b""):
    """Make a fault: send piece after piece, each long before a read would time out."""

    def fault(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + headers)
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            if handler.server.released.wait(0.05):
                break
        handler.hang_up()

    return fault


@pytest.mark.parametrize(
    "fault",
    [
        drip([b"x"] * 1000, b"Content-Length: 256000\r\n\r\n"),
        drip([b"X-Slow: 1\r\n"] * 1000),
    ],
    ids=["content", "headers"],
)
def test_a_drip_is_given_up_whatever_it_drips(server, job, monkeypatch, fault):
    monkeypatch.setattr(transfer, "GRACE", 0.4)
    server.faults = [fault] * 9
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"too slow: \d+ bytes in \d s; 3 attempts"):
        download(job)
    assert time.monotonic() - began < 20  # in full it takes 50 s
    server.faults = []
    download(job)
    assert job.path.read_bytes() == CONTENT


def busy(wait):
    return lambda handler: handler.status(503, **{"Retry-After": wait})


def test_retry_after_is_obeyed(server, job):
    server.faults = [busy("1")]
    began = time.monotonic()
    download(job)
    assert time.monotonic() - began >= 1
    server.faults = [busy("soon"), busy("-5")]
    job.path.unlink()
    download(job)


@pytest.mark.parametrize(
    "wait",
    ["61", "86400", "9" * 400, email.utils.formatdate(time.time() + 7200, usegmt=True)],
    ids=["61", "a day", "no float", "a date"],
)
def test_a_server_that_wants_more_than_a_minute_is_left_alone(server, job, wait):
    server.faults = [busy(wait)]
    with pytest.raises(WeightsError, match=r"is busy \(HTTP 503.* requests a wait of \d+ s"):
        download(job)
    assert len(server.requests) == 1


@pytest.mark.parametrize("file", [FILE, SIZED])
def test_an_endless_body_is_stopped(server, job, file):
    sent = []

    def endless(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not handler.server.released.is_set():
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent.append(0x10000)

    server.faults = [endless]
    with pytest.raises(ChecksumError, match=r"sends more than the \d+ bytes"):
        download(job._replace(file=file, largest=300_000))
    assert sum(sent) < 20_000_000
    assert not job.path.exists()


@pytest.mark.parametrize("width", [1 / 8, 1 / 2, 1.0, 1.5])
@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_a_file_of_unknown_size_has_room_and_an_end(name, width):
    network = create(name, n_scenes=10, n_tags=80, n_events=14, width=width)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    largest = largest_size(ModelSpec(name, "x", width=width))
    assert 1.2 * size < largest < 2.1 * size / min(width, 1) + 2e6


def test_huggingface_hub_offline_from_its_import(server, job):
    code = (
        "import os\n"
        "os.environ['HF_HUB_OFFLINE'] = '1'\n"
        "import huggingface_hub\n"
        "from pathlib import Path\n"
        "from dcasenet.weights.download import Job, download\n"
        "from dcasenet.errors import OfflineError\n"
        "from dcasenet.spec import WeightsFile\n"
        "try:\n"
        f"    download(Job({job.url!r}, Path({str(job.path)!r}), "
        f"WeightsFile({FILE.digest!r}), 'x', 10**7))\n"
        "except OfflineError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "HF_HUB_OFFLINE=1" in run.stdout


def test_a_stall_times_out_and_is_resumed(server, job, monkeypatch):
    monkeypatch.setattr(transfer, "READ_TIMEOUT", 0.2)
    server.faults = [server.stall(1000)]
    download(job)
    assert job.path.read_bytes() == CONTENT
    assert server.requests[1][1]["Range"] == "bytes=1000-"


def test_a_trickle_that_never_stalls_arrives(server, job, monkeypatch):
    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        for start in range(0, len(CONTENT), 40_000):
            handler.wfile.write(CONTENT[start : start + 40_000])
            handler.wfile.flush()
            time.sleep(0.1)

    monkeypatch.setattr(transfer, "READ_TIMEOUT", 0.4)
    server.faults = [trickle]
    download(job)
    assert job.path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_server_that_only_stalls_is_given_up(server, job, monkeypatch):
    monkeypatch.setattr(transfer, "READ_TIMEOUT", 0.1)
    server.faults = [server.stall(0)] * 9
    with pytest.raises(WeightsError, match="timed out"):
        download(job)


@pytest.mark.parametrize("file", [FILE, SIZED])
def test_wrong_content_of_the_right_length_is_refused(server, job, file):
    server.files["/file"] = CONTENT[:-1] + b"x"
    with pytest.raises(ChecksumError, match=r"v3, stage x: http.*not the published file.*deleted"):
        download(job._replace(file=file))
    assert not job.path.exists()


def test_content_that_is_too_long_is_stopped(server, job):
    server.files["/file"] = CONTENT + b"x"
    with pytest.raises(ChecksumError, match=f"more than the {len(CONTENT)} bytes"):
        download(job)
    assert not job.path.exists()
    with pytest.raises(ChecksumError, match="more than the 1000 bytes"):
        download(job._replace(file=FILE, largest=1000))
    assert not job.path.exists()


def test_a_web_page_is_not_a_file(server, job):
    page = b"<!DOCTYPE html><p>Please sign in"
    server.faults = [lambda handler: handler.give(page, kind="text/html; charset=utf-8")]
    with pytest.raises(WeightsError, match="web page"):
        download(job)
    server.faults = [lambda handler: handler.give(page)]
    with pytest.raises(ChecksumError, match="proxy or a login page"):
        download(job._replace(file=FILE))
    assert not job.path.exists()


def test_connection_refused(job):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(WeightsError, match=rf"http://127.0.0.1:{port}/file cannot be downloaded"):
        download(job._replace(url=f"http://127.0.0.1:{port}/file"))


def test_unknown_host(job):
    with pytest.raises(WeightsError, match=r"http://host\.invalid/file cannot be downloaded"):
        download(job._replace(url="http://host.invalid/file"))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://host:port/file", "not an address"])
def test_an_address_that_is_none(job, url):
    with pytest.raises(WeightsError, match="cannot be used"):
        download(job._replace(url=url))


def test_a_part_of_an_earlier_run_is_used(server, job):
    job.path.write_bytes(CONTENT[:5000])
    download(job)
    assert job.path.read_bytes() == CONTENT
    assert server.requests[0][1]["Range"] == "bytes=5000-"


def test_a_complete_file_of_an_earlier_run_is_used(server, job):
    job.path.write_bytes(CONTENT)
    download(job)
    assert server.requests == []


@pytest.mark.parametrize("junk", [b"x" * 5000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 9)])
def test_junk_of_an_earlier_run_is_thrown_away(server, job, junk, caplog):
    job.path.write_bytes(junk)
    with caplog.at_level(logging.INFO, logger="dcasenet"):
        download(job)
    assert job.path.read_bytes() == CONTENT
    assert caplog.records


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX resource limits")
def test_a_full_disk(server, job):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from dcasenet.weights.download import Job, download\n"
        "from dcasenet.spec import WeightsFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        f"    file = WeightsFile({FILE.digest!r})\n"
        f"    download(Job({job.url!r}, Path({str(job.path)!r}), file, 'x', 10**7))\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error.errno)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout.startswith("OSError 27")  # EFBIG


def test_the_bar_shows_on_a_terminal_only(server, job, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    monkeypatch.setenv("TERM", "xterm")
    download(job)
    assert "v3, stage x" in capfd.readouterr().err
    job.path.unlink()
    download(job._replace(progress=False))
    assert "v3, stage x" not in capfd.readouterr().err
