"""Speed and memory beside the plain network, in one run: python benchmarks/run.py [--runs 5].

Every ratio is between medians of interleaved runs, so that a busy machine slows both sides. The
network has v3's full width and random weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import soundfile
import soxr
import torch

import dcasenet
import dcasenet.onnx
from dcasenet import manifest
from dcasenet.audio import read
from dcasenet.cache import checkpoint_folder
from dcasenet.digest import file_digest
from dcasenet.export import to_onnx
from dcasenet.frontend import LogMel
from dcasenet.model import SoundModel
from dcasenet.prepare import prepare
from dcasenet.spec import Task

RATE = 24_000
LABELS = {
    "scenes": tuple(f"scene {i}" for i in range(10)),
    "tags": tuple(f"tag {i}" for i in range(80)),
    "events": tuple(f"event {i}" for i in range(14)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with TemporaryDirectory() as folder:
        rows = [*network_rows(runs, Path(folder)), *file_rows(runs, Path(folder))]
        rows += [*loading_rows(runs, Path(folder)), *import_rows(runs)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"median of {runs} interleaved runs, peak memory {memory:,.0f} MiB\n"
    )
    print("| what | time | × real time | beside |\n|--|--:|--:|--|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def new_model() -> SoundModel:
    spec = dcasenet.ModelSpec(
        "v3", "random", **LABELS, thresholds=dict.fromkeys(LABELS["events"], 0.3)
    )
    return SoundModel(spec, LogMel(spec.frontend), dcasenet.create("v3"))


def interleaved(runs: int, **candidates: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each candidate, all of them once in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for run in range(runs + 1):  # the first round warms up
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if run:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def network_rows(runs: int, folder: Path) -> list[tuple[str, str, str, str]]:
    model = new_model()
    brief = SoundModel(model.spec, model.frontend, model.network, precision="bfloat16")
    exported = dcasenet.onnx.load(to_onnx(model, folder / "model.onnx"))
    tasks: tuple[Task, ...] = ("scene", "tag", "event")
    rows = []
    for batch in (1, 8):
        waveforms = torch.randn(batch, 10 * RATE)
        array = waveforms.numpy()

        def plain(waveforms: torch.Tensor = waveforms) -> object:
            with torch.no_grad():
                return model.network(model.frontend(waveforms))

        took = interleaved(
            runs,
            plain=plain,
            frontend=lambda waveforms=waveforms: model.frontend(waveforms),
            float32=lambda array=array: model.infer(array, tasks),
            bfloat16=lambda array=array: brief.infer(array, tasks),
            onnx=lambda array=array: exported.infer(array, tasks),
        )
        audio, what = 10 * batch, f"{batch} × 10 s"
        share = took["frontend"] / (took["plain"] - took["frontend"])
        rows += [
            row(f"plain PyTorch, {what}", took["plain"], audio, "the baseline"),
            row(f"front end alone, {what}", took["frontend"], audio, f"{share:.0%} of the network"),
        ]
        for name in ("float32", "bfloat16", "onnx"):
            ratio = took["plain"] / took[name]
            rows.append(row(f"{name}, {what}", took[name], audio, f"{ratio:.2f} × as fast"))
    return rows


def file_rows(runs: int, folder: Path) -> list[tuple[str, str, str, str]]:
    model = new_model()
    path = folder / "minute.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.standard_normal((60 * 44_100, 2)) * 0.1, 44_100)

    def plain() -> None:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        waveform = torch.from_numpy(soxr.resample(samples.mean(axis=1), rate, RATE))[None]
        with torch.no_grad():
            for start in range(0, 60 * RATE - 120_000, 60_000):
                model.network(model.frontend(waveform[:, start : start + 120_001]), ("scene",))
            for start in (0, 30 * RATE):
                model.network(model.frontend(waveform[:, start : start + 30 * RATE]), ("tag",))
            model.network(model.frontend(waveform), ("event",))

    def until_infer() -> None:
        recording = read(path)
        model.frontend(torch.from_numpy(prepare(recording, model.spec).waveforms))

    took = interleaved(runs, plain=plain, analyze=lambda: model.analyze(path), before=until_infer)
    ratio = took["plain"] / took["analyze"]
    share = took["before"] / took["analyze"]
    return [
        row("plain path, 60 s stereo file, the same passes", took["plain"], 60, "the baseline"),
        row(
            "analyze(file), 60 s stereo at 44.1 kHz", took["analyze"], 60, f"{ratio:.2f} × as fast"
        ),
        row("decoding + resampling + one log-mel", took["before"], 60, f"{share:.0%} of analyze"),
    ]


def loading_rows(runs: int, folder: Path) -> list[tuple[str, str, str, str]]:
    """Time warm loads of a full-size checkpoint from the cache, as of a released one."""
    address = "owner/repository/commit/standin.pt"
    original = folder / "standin.pt"
    torch.save(dcasenet.create("v3").state_dict(), original)
    entries = manifest.read_manifest()
    joint = next(entry for entry in entries["models"] if entry["stage"] == "joint-tag")
    joint["file"] = {"digest": file_digest(original, "git_blob_sha1"), "github": address}
    path = folder / "manifest.json"
    path.write_text(json.dumps({**entries, "models": [joint]}))
    with patch.object(manifest, "manifest_path", lambda: path):
        spec = manifest.find("v3", "joint")
        by_hand = checkpoint_folder(spec, folder) / original.name
        by_hand.parent.mkdir(parents=True)
        original.rename(by_hand)
        dcasenet.load("v3", stage="joint", cache_dir=folder)  # verified, converted, kept
        (file,) = by_hand.parent.glob("*.safetensors")

        def read_and_hash() -> None:
            hashlib.sha256(file.read_bytes()).hexdigest()

        def load() -> None:
            dcasenet.load("v3", stage="joint", cache_dir=folder, local_files_only=True)

        took = interleaved(runs, hash=read_and_hash, load=load)
    size = file.stat().st_size / 1e6
    share = took["load"] / took["hash"]
    return [
        row(f"read and hash {size:.0f} MB", took["hash"], None, "the baseline"),
        row("warm load from the cache", took["load"], None, f"{share:.1f} × the baseline"),
    ]


def import_rows(runs: int) -> list[tuple[str, str, str, str]]:
    def python(code: str) -> Callable[[], object]:
        command = [sys.executable, "-c", code]
        return lambda: subprocess.run(command, check=True, env=os.environ)

    took = interleaved(runs, nothing=python("pass"), package=python("import dcasenet"))
    return [row("import dcasenet", took["package"] - took["nothing"], None, "beyond python itself")]


def row(what: str, seconds: float, audio: float | None, beside: str) -> tuple[str, str, str, str]:
    speed = "" if audio is None else f"{audio / seconds:,.0f}"
    return what, f"{seconds * 1e3:,.0f} ms", speed, beside


if __name__ == "__main__":
    main()
