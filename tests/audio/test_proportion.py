"""What small files, and small numbers in headers, may cost: time and memory stay in proportion."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dcasenet.audio.io import Reader, read
from dcasenet.batch.workers import read_file
from dcasenet.errors import AudioError, WeightsError
from dcasenet.inference.model import SoundModel
from dcasenet.spec import ModelSpec
from tests.fixtures.bombs import flac_of_constants, wav_without_size
from tests.fixtures.recordings import encode

SPEC = ModelSpec("v3", "mine")
DAYS = 8 * 86_400 * 1_000 // 65_535  # blocks of 1 kHz

# Runs a statement in a process of its own; prints by how many MiB its memory grew at most.
GROWTH = """
import sys, numpy as np
from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import StreamedAudio
from dcasenet.batch.workers import read_file
from dcasenet.spec import ModelSpec
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
spec = ModelSpec("v3", "mine")
list(StreamedAudio(Reader(np.zeros(100), 1_000), spec).blocks())  # all that is imported
before = peak()
{}
print(peak() - before)
"""

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def growth(statement: str) -> int:
    script = GROWTH.format(statement)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr == ""
    return int(done.stdout)


def test_a_small_file_of_days_is_refused_at_once(tmp_path: Path, tiny_model: SoundModel) -> None:
    path = tmp_path / "days.flac"
    path.write_bytes(flac_of_constants(DAYS, 1_000))
    assert path.stat().st_size < 200_000
    began = time.process_time()
    message = r"days\.flac is 192\.\d h long or longer, and the limit is 24\.0 h\. Accept longer"
    for verb in ("classify_scene", "tag", "detect_events", "analyze", "embed"):
        with pytest.raises(AudioError, match=message):
            getattr(tiny_model, verb)(path)
    read = read_file(str(path), SPEC)
    assert read.error is not None
    assert "the limit is 24.0 h" in read.error
    assert time.process_time() - began < 10


def test_a_file_that_hides_its_length_is_stopped_at_the_limit() -> None:
    data = flac_of_constants(100, 1_000, n_stated=1)
    assert read(data).duration == pytest.approx(6_553.5)
    with pytest.raises(AudioError, match=r"the limit is 60\.0 s"):
        read(data, max_duration=60)
    with pytest.raises(AudioError, match=r"the limit is 1\.0 s"):
        read(encode("OGG", "VORBIS") * 3, max_duration=1)


@only_linux
def test_a_wav_without_a_size_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "killed.wav"
    wav_without_size(path, 2**28)
    statement = f"file = read_file({str(path)!r}, spec); assert file.is_long, file"
    assert growth(statement) < 100
    statement = (
        f"with Reader({str(path)!r}) as reader:\n    for number, _ in zip(range(50), reader): pass"
    )
    assert growth(statement) < 100


@only_linux
def test_low_rates_take_no_more_memory_than_others(tmp_path: Path) -> None:
    path = tmp_path / "hour.flac"
    path.write_bytes(flac_of_constants(55, 1_000))
    statement = (
        f"with Reader({str(path)!r}) as reader:\n"
        "    for _ in StreamedAudio(reader, spec).blocks(): pass"
    )
    assert growth(statement) < 200


@only_linux
def test_a_header_sets_no_memory_aside() -> None:
    statement = (
        "import struct\n"
        "head = b'RIFF\\xff\\xff\\xff\\x7fWAVEfmt \\x10\\0\\0\\0'\n"
        "head += struct.pack('<HHIIHH', 1, 64, 1000, 256000, 256, 32)\n"
        "with Reader(head + b'data' + struct.pack('<I', 2**30) + bytes(2560)) as reader:\n"
        "    list(reader)"
    )
    assert growth(statement) < 50


@pytest.mark.parametrize("hop_length", [1, 100])
def test_a_hop_that_makes_frames_without_end_is_refused(hop_length: int) -> None:
    values = SPEC.to_dict()
    values["frontend"]["hop_length"] = hop_length
    with pytest.raises(WeightsError, match=rf"unusable hop_length: {hop_length}\. Accepted"):
        ModelSpec.from_dict(values)
    values["frontend"]["hop_length"] = 240
    assert ModelSpec.from_dict(values).frontend.hop_length == 240


def test_a_window_without_end_is_refused() -> None:
    values = SPEC.to_dict()
    values["context"]["event"]["window"] = 600.0
    with pytest.raises(WeightsError, match="unusable context"):
        ModelSpec.from_dict(values)


def test_many_channels_are_read_in_blocks_of_one_size() -> None:
    samples = np.zeros((64, 200_000), np.int8)
    with Reader(samples, 8_000) as reader:
        assert max(block.size for block in reader) <= 2**20
