"""Processes that read: order, deaths, ends."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dcasenet.audio.discovery import list_recordings
from dcasenet.batch import workers as module
from dcasenet.batch.workers import ReadResult, Workers, read_file
from dcasenet.errors import DcasenetError
from dcasenet.spec import ModelSpec

READ = partial(read_file, spec=ModelSpec("v3", "fake"))


@pytest.fixture
def read_pipes(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ReadResult]:
    """A reader that waits at named pipes, from where spawned processes find it, too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "fixtures"))
    reader: Callable[[str], ReadResult] = importlib.import_module("pipe_reader").read_pipes
    return reader


pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


def when_read(fifo: Path, do: Callable[[], object], times: int) -> threading.Thread:
    """Do something each time that a process waits for a named pipe."""

    def watch() -> None:
        for _ in range(times):
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads it yet
                    time.sleep(0.01)
                    continue
                do()
                os.close(writer)
                break

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill_readers() -> None:
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()


def test_order_and_a_worker_that_is_killed_at_every_try(
    clips: Path, monkeypatch: pytest.MonkeyPatch, read_pipes: Callable[[str], ReadResult]
) -> None:
    monkeypatch.setattr(module, "AHEAD", 6)
    fifo = clips / "clip3b.wav"
    os.mkfifo(fifo)
    files = list_recordings([clips])
    with Workers(1, read_pipes) as workers:
        thread = when_read(fifo, kill_readers, times=2)
        read = list(workers.read(files))
        thread.join()
    assert [item.source for item in read] == files
    failed = {Path(item.source).name: str(item.error) for item in read if item.error}
    assert set(failed) == {"clip2.wav", "clip3b.wav"}
    assert "was killed, 2 times" in failed["clip3b.wav"]


def test_a_file_whose_process_was_killed_once_is_read_again(
    clips: Path, read_pipes: Callable[[str], ReadResult]
) -> None:
    fifo = clips / "clip3.wav"
    whole = fifo.rename(clips / "whole")
    os.mkfifo(fifo)

    def kill() -> None:
        whole.replace(fifo)
        kill_readers()

    with Workers(1, read_pipes) as workers:
        thread = when_read(fifo, kill, times=1)
        read = list(workers.read([str(clips / "clip1.wav"), str(fifo), str(clips / "clip4.wav")]))
        thread.join()
        assert [item.error for item in read] == [None] * 3
        kill_readers()  # with nothing to do
        assert [item.error for item in workers.read([str(fifo)])] == [None]


def test_ctrl_c_does_not_wait_for_a_file_that_never_comes(
    clips: Path, read_pipes: Callable[[str], ReadResult]
) -> None:
    fifo = clips / "never.wav"
    os.mkfifo(fifo)
    ended = []

    def interrupt() -> None:
        (child,) = multiprocessing.active_children()
        os.kill(os.getpid(), signal.SIGINT)
        child.join(30)
        ended.append(child)

    thread = when_read(fifo, interrupt, times=1)
    with pytest.raises(KeyboardInterrupt), Workers(1, read_pipes) as workers:
        list(workers.read([str(fifo)]))
    thread.join()
    # Read here, since the pool's own thread may be the one that learned of its end, a moment later.
    deadline = time.monotonic() + 10
    while any(child.exitcode is None for child in ended) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [child.exitcode for child in ended] == [-signal.SIGTERM]


def test_what_reading_raises_is_the_files_error(clips: Path) -> None:
    with Workers(1, partial(read_file, spec=None)) as workers:  # type: ignore[arg-type]
        (read,) = workers.read([str(clips / "clip1.wav")])
    assert "AttributeError" in str(read.error)


def test_a_script_without_a_guard_is_told_what_to_do(clips: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\n"
        "from dcasenet.batch.workers import read_file\n"
        "from dcasenet.batch.workers import Workers\n"
        "Workers(1, read_file).__enter__()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "if __name__ == '__main__':, or give workers=0" in done.stderr
    assert issubclass(DcasenetError, Exception)
