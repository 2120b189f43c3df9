"""The programs in ``benchmarks/``, at sizes whose figures mean nothing."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
NUMBER = r"[\d,.]+"


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They import one another as they do when they are run."""
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name)
    before = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield
    torch.set_num_threads(before)
    for name in ("ceilings", "device", "efficientat", "long", "run", "shape"):
        sys.modules.pop(name, None)


def printed(program: ModuleType, capfd: Any, *words: str) -> str:
    program.main(words)
    return str(capfd.readouterr().out)


def rows_of(text: str) -> dict[str, list[str]]:
    """The first cell of each row of tables → the other cells."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.slow
def test_the_table_of_speed(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = importlib.import_module("run")
    monkeypatch.setattr(run, "slowdown_of_bfloat16", lambda: run.HOPELESS)
    parts = ("network", "profile", "files", "ceilings", "loading", "installed")
    text = printed(run, capfd, "--tiny", "--width", "0.125", "--threads", "1", "--only", *parts)
    rows = rows_of(text)
    for name in ("float32", "bfloat16", "onnx float32", "onnx int8"):
        for what in ("2 × 1 s", "1 × 1 s"):
            time, speed, beside = rows[f"{name}, {what}"]
            assert re.fullmatch(f"{NUMBER} ms", time)
            assert re.fullmatch(NUMBER, speed)
            assert re.search(r"arithmetic \d+%, memory \d+% of the time", beside)
        assert "× one pass" in rows[f"analyze(file), 12 s stereo at 44.1 kHz, {name}"][2]
    assert rows["a product of 256³ in bfloat16"][2].endswith(" GOP/s")
    assert rows["a copy of 1 MiB"][2].endswith(" GB/s")
    assert any(name.startswith("profile of int8, 2 × 1 s: ") for name in rows)
    whole, light = (
        float(rows[f"installed: {what}"][2].removesuffix(" MB").replace(",", ""))
        for what in ("everything", "what answers without torch")
    )
    assert 20 < light < whole / 2
    assert "growth" in run.PARTS


def test_bfloat16_is_left_out_where_it_is_hopeless(
    capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = importlib.import_module("run")
    monkeypatch.setattr(run, "slowdown_of_bfloat16", lambda: 138.2)
    words = ("--tiny", "--width", "0.125", "--threads", "1", "--only", "network", "ceilings")
    text = printed(run, capfd, *words)
    assert "bfloat16 is left out: on this processor a product of 256³ takes 138 × as long" in text
    rows = rows_of(text)
    assert {"float32, 2 × 1 s", "onnx int8, 2 × 1 s", "a product of 256³ in int8"} < rows.keys()
    assert not any("bfloat16" in name for name in rows)


def test_the_slowdown_of_bfloat16_is_that_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings = importlib.import_module("ceilings")
    clock = [0.0]

    def product(size: int, dtype: torch.dtype) -> Any:
        assert size == ceilings.TRIED
        return lambda: clock.append(clock[-1] + (6.0 if dtype is torch.bfloat16 else 0.5))

    monkeypatch.setattr(ceilings, "product", product)
    monkeypatch.setattr(ceilings.time, "perf_counter", lambda: clock[-1])
    assert ceilings.slowdown_of_bfloat16() == 12.0


@pytest.mark.slow
def test_the_rows_of_the_peer(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime.quantization")
    efficientat = importlib.import_module("efficientat")
    monkeypatch.setattr(efficientat, "WIDTHS", dict.fromkeys(efficientat.WIDTHS, 0.1))
    run = importlib.import_module("run")
    words = ("--tiny", "--width", "0.125", "--threads", "1", "--only", "peers")
    rows = rows_of(printed(run, capfd, *words))
    ours = rows["onnx int8: waveform to all three answers, 2 × 1 s"]
    assert re.fullmatch(f"{NUMBER} × mn04's best, {NUMBER} × mn10's best", ours[2])
    single = rows["onnx int8: waveform to all three answers, 1 × 1 s"]
    assert single[2].endswith("× the batch's rate")
    assert sum(name.startswith(("mn04", "mn10")) for name in rows) == 16


@pytest.mark.slow
def test_the_tables_of_growth(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    long = importlib.import_module("long")

    def here(options: Any, path: Path, workers: int = 0) -> dict[str, float]:
        found: dict[str, float] = long.measure(path, long.chosen_model(options), workers)
        return found

    monkeypatch.setattr(long, "by_itself", here)
    words = ("--minutes", "0.1", "--silent", "0.2", "--files", "2", "--workers", "1")
    rows = rows_of(printed(long, capfd, *words, "--width", "0"))
    assert re.fullmatch(f"{NUMBER} MB", rows["0.2 min of silence"][0])
    assert rows["2"][0] == "1"  # two files, one worker
    for name in ("0.1 min", "0.2 min of silence", "2"):  # there is no network
        assert re.fullmatch(r"reading and writing, (9\d|100)%", rows[name][-1])


def test_each_length_is_measured_in_a_process_of_its_own(capfd: Any) -> None:
    long = importlib.import_module("long")
    words = ("--minutes", "0.1", "--width", "0")
    memory, more, *_ = rows_of(printed(long, capfd, *words))["0.1 min"]
    assert more == "+0 MB"
    assert re.fullmatch(f"{NUMBER} MB", memory)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(9.0, "network, 90%"), (1.0, "reading and writing, 90%")]
)
def test_the_limit_is_where_most_of_the_time_goes(seconds: float, expected: str) -> None:
    long = importlib.import_module("long")
    assert long.limit({"network": seconds, "seconds": 10.0}) == expected


def test_the_time_of_the_network_is_measured(tmp_path: Path, monkeypatch: Any) -> None:
    long = importlib.import_module("long")
    shape = importlib.import_module("shape")
    clock = [0.0]
    monkeypatch.setattr(long.time, "perf_counter", lambda: clock[-1])

    class Slow(long.Nothing):  # type: ignore[misc, name-defined]
        def infer(self, *given: Any) -> Any:
            clock.append(clock[-1] + 3.0)
            return super().infer(*given)

    long.write_recording(tmp_path / "long.wav", 0.25, True)
    found = long.measure(tmp_path / "long.wav", Slow(shape.new_spec(0.25)), 0)
    assert found["network"] == found["seconds"] > 0


def test_the_table_of_a_device(capfd: Any) -> None:
    device = importlib.import_module("device")
    words = ("--device", "cpu", "--batch", "1", "--width", "0.125", "--size", "64", "--runs", "1")
    rows = rows_of(printed(device, capfd, *words, "--no-compile"))
    for name in ("plain", "float32", "bfloat16"):
        assert re.search(r"of a product's rate$", rows[f"{name}, 1 × 10 s"][2])
