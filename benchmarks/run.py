"""Speed and memory beside the plain network and a peer: python benchmarks/run.py [--runs 5].

Every ratio is between medians of interleaved runs, so that a busy machine slows both sides. The
network has the shape of the default checkpoint (``--width 0.5``, steps of 0.16 s, 527 tags) and
random weights: speed does not depend on them. The peer is EfficientAT (see ``efficientat.py``).
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
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import soundfile
import soxr
import torch
from ceilings import Ceilings, Row, ceiling_rows, interleaved, measured_ceilings, row
from efficientat import WIDTHS, given, peers
from torch.utils.flop_counter import FlopCounterMode

import dcasenet
import dcasenet.onnx
from dcasenet.audio.io import read
from dcasenet.audio.preprocess import prepare
from dcasenet.inference.model import SoundModel
from dcasenet.models.frontend import LogMel
from dcasenet.onnx.export import to_onnx
from dcasenet.onnx.runtime import has_vnni
from dcasenet.spec import TASKS, FrontEndSettings
from dcasenet.weights import manifest
from dcasenet.weights.cache import checkpoint_folder
from dcasenet.weights.checksum import file_digest

Models = dict[str, Any]  # name, ending in the precision → a model of either runtime

RATE = 24_000
RECORDING = Path(__file__).parents[1] / "examples" / "dog_barking.ogg"
LABELS = {
    "scenes": tuple(f"scene {i}" for i in range(17)),
    "tags": tuple(f"tag {i}" for i in range(527)),
    "events": tuple(f"event {i}" for i in range(47)),
}
TOP_OPERATIONS = 6  # of the profile
PROFILED_BATCH, PROFILED_RUNS = 8, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--width", type=float, default=0.5, help="of the network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--only",
        choices=["network", "peers", "profile", "files", "ceilings", "loading", "imports"],
        nargs="+",
        help="these parts of the table; by default all",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as name:
        folder, runs = Path(name), options.runs
        ceilings = measured_ceilings(runs)
        models = new_models(folder, options.width)
        size = (folder / "int8.onnx").stat().st_size / 1e6
        parts: dict[str, Callable[[], list[Row]]] = {
            "network": lambda: network_rows(runs, models, ceilings),
            "peers": lambda: peer_rows(runs, models, folder),
            "profile": lambda: profile_rows(folder),
            "files": lambda: file_rows(runs, models, folder),
            "ceilings": lambda: ceiling_rows(ceilings),
            "loading": lambda: loading_rows(runs, folder),
            "imports": lambda: [*import_rows(runs), *command_rows(runs, folder)],
        }
        rows = [row for name in options.only or parts for row in parts[name]()]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{platform.machine()}, width {options.width:g}, {torch.get_num_threads()} threads, "
        f"{'VNNI' if has_vnni() else 'no VNNI'}, torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, median of {runs} interleaved runs, peak memory "
        f"{memory:,.0f} MiB; int8 file {size:.1f} MB\n"
    )
    print("| what | time | × real time | beside |\n|--|--:|--:|--|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


def new_models(folder: Path, width: float) -> Models:
    """The same random network in every precision."""
    spec = dcasenet.ModelSpec(
        "v3",
        "random",
        width=width,
        time_pooling=1,
        frontend=FrontEndSettings(normalization="level"),
        **LABELS,
        thresholds=dict.fromkeys(LABELS["events"], 0.3),
    )
    network = dcasenet.create(
        "v3", n_scenes=17, n_tags=527, n_events=47, width=width, time_pooling=1
    )
    model = SoundModel(spec, LogMel(spec.frontend), network)
    noise = np.random.default_rng(0).standard_normal(5 * RATE) * 0.1
    exact = to_onnx(model, folder / "float32.onnx")
    int8 = to_onnx(model, folder / "int8.onnx", precision="int8", calibrate=[(noise, RATE)])
    threads = torch.get_num_threads()
    return {
        "float32": model,
        "bfloat16": SoundModel(spec, model.frontend, model.network, precision="bfloat16"),
        "onnx float32": dcasenet.onnx.load(exact, threads=threads),
        "onnx int8": dcasenet.onnx.load(int8, threads=threads),
    }


def peer_rows(runs: int, models: Models, folder: Path) -> list[Row]:
    """Ours from the waveform to all answers, beside the peer's tags, in the same rounds."""
    sessions = peers(folder, torch.get_num_threads())
    ours = {name: model for name, model in models.items() if name.startswith("onnx")}
    rows = []
    for batch, seconds in ((8, 10), (1, 10), (1, 5)):
        waveforms = np.random.default_rng(0).standard_normal((batch, seconds * RATE)) * 0.1
        waveforms = waveforms.astype(np.float32)
        inputs = {name: given(name, batch, seconds) for name in sessions}
        took = interleaved(
            runs,
            **{name: partial(model.infer, waveforms, TASKS) for name, model in ours.items()},
            **{
                name: partial(each.run, None, {"given": inputs[name]})
                for name, each in sessions.items()
            },
        )
        best = {peer: min(v for k, v in took.items() if k.startswith(peer)) for peer in WIDTHS}
        for name, one in took.items():
            beside = ", ".join(f"{best[peer] / one:.2f} × {peer}'s best" for peer in WIDTHS)
            what = f"{name}: waveform to all three answers" if name in ours else name
            rows.append(row(f"{what}, {batch} × {seconds} s", one, batch * seconds, beside))
    return rows


def profile_rows(folder: Path) -> list[Row]:
    """Where ONNX Runtime spends the time of int8, by its own profile."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    if not has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    runner = onnxruntime.InferenceSession(
        folder / "int8.onnx", options, providers=["CPUExecutionProvider"]
    )
    waveforms = np.random.default_rng(0).standard_normal((PROFILED_BATCH, 10 * RATE)) * 0.1
    for _ in range(PROFILED_RUNS):
        runner.run(list(TASKS), {"waveform": waveforms.astype(np.float32)})
    took: Counter[str] = Counter()
    for event in json.loads(Path(runner.end_profiling()).read_text("utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            took[_place(event)] += event["dur"] / 1e6 / PROFILED_RUNS
    total = sum(took.values())
    return [
        row(f"profile of int8, 8 × 10 s: {what}", one, None, f"{one / total:.0%}")
        for what, one in took.most_common(TOP_OPERATIONS)
    ]


def _place(event: dict[str, Any]) -> str:
    """Which part of the network, and what it computes there."""
    names = event["name"].strip("/").split("/")
    part = names[1] if names[0] == "network" else names[0]
    block = [name for name in names if name.startswith("inner.") and part == "trunk"][:1]
    operation = event["args"]["op_name"]
    return " ".join(
        [part.split("_kernel")[0], *(b.replace("inner", "block") for b in block), operation]
    )


def network_rows(runs: int, models: Models, ceilings: Ceilings) -> list[Row]:
    model = models["float32"]
    work = flop_per_clip(model)
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
            **{name: partial(each.infer, array, TASKS) for name, each in models.items()},
        )
        audio, what = 10 * batch, f"{batch} × 10 s"
        share = took["frontend"] / (took["plain"] - took["frontend"])
        rows += [
            row(f"plain PyTorch, {what}", took["plain"], audio, "the baseline"),
            row(f"front end alone, {what}", took["frontend"], audio, f"{share:.0%} of the network"),
        ]
        for name in models:
            ratio = took["plain"] / took[name]
            of_ceiling = work * batch / took[name] / ceilings[name.split()[-1]].rate
            beside = f"{ratio:.2f} × as fast; {of_ceiling:.0%} of a product's rate"
            rows.append(row(f"{name}, {what}", took[name], audio, beside))
    return rows


def flop_per_clip(model: SoundModel) -> float:
    """Count the multiplications and additions of a clip of 10 s, but for the GRUs'."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.network(model.frontend(torch.zeros(1, 10 * RATE)))
    return float(counter.get_total_flops())


def file_rows(runs: int, models: Models, folder: Path) -> list[Row]:
    model = models["float32"]
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

    took = interleaved(
        runs,
        plain=plain,
        before=until_infer,
        **{name: partial(each.analyze, path) for name, each in models.items()},
    )
    rows = [row("plain path, 60 s stereo file, the same passes", took["plain"], 60, "the baseline")]
    for name in models:
        ratio = took["plain"] / took[name]
        what = f"analyze(file), 60 s stereo at 44.1 kHz, {name}"
        rows.append(row(what, took[name], 60, f"{ratio:.2f} × as fast"))
    shares = ", ".join(
        f"{took['before'] / took[name]:.0%} of {name}" for name in ("bfloat16", "onnx int8")
    )
    return [*rows, row("decoding + resampling + one log-mel", took["before"], 60, shares)]


def loading_rows(runs: int, folder: Path) -> list[Row]:
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


def import_rows(runs: int) -> list[Row]:
    def python(code: str) -> Callable[[], object]:
        command = [sys.executable, "-c", code]
        return lambda: subprocess.run(command, check=True, env=os.environ)

    took = interleaved(runs, nothing=python("pass"), package=python("import dcasenet"))
    return [row("import dcasenet", took["package"] - took["nothing"], None, "beyond python itself")]


def command_rows(runs: int, folder: Path) -> list[Row]:
    """The whole command on one short file, from a cold process, by each runtime."""
    environment = {**os.environ, "DCASENET_HOME": str(folder / "home")}
    dcasenet.load("v3", stage="open", runtime="onnx", cache_dir=folder / "home")

    def command(*options: str) -> Callable[[], object]:
        call = [sys.executable, "-m", "dcasenet", *options]
        return lambda: subprocess.run(call, check=True, env=environment, stdout=subprocess.PIPE)

    asked = ("analyze", str(RECORDING), "--stage", "open", "--runtime")
    took = interleaved(
        runs,
        nothing=lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
        onnx=command(*asked, "onnx"),
        torch=command(*asked, "torch"),
    )
    return [
        row(
            "dcasenet analyze FILE, cold, onnx",
            took["onnx"],
            None,
            f"{took['torch'] / took['onnx']:.2f} × as fast as with torch; "
            f"{took['onnx'] / took['nothing']:.0f} × python itself",
        ),
        row("dcasenet analyze FILE, cold, torch", took["torch"], None, ""),
    ]


if __name__ == "__main__":
    main()
