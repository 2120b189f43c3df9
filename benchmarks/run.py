"""Speed and memory beside the plain network and a peer: python benchmarks/run.py [--quick].

Every ratio is between medians of interleaved runs, so that a busy machine slows both sides. The
network has the shape of the default checkpoint (``--width 0.5``, steps of 0.16 s, 527 tags) and
random weights: speed does not depend on them. The peer is EfficientAT (see ``efficientat.py``).
The whole table takes hours, for recordings of up to a day (``long.py``); ``--quick`` makes do with
two runs and leaves those out, ``--only`` picks parts, and ``--tiny`` tries the program itself. A
processor on which bfloat16 is hopeless, by a small product, is spared its rows.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from re import match
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import soundfile
import soxr
import torch
from ceilings import (
    TRIED,
    Ceilings,
    Row,
    ceiling_rows,
    interleaved,
    measured_ceilings,
    row,
    slowdown_of_bfloat16,
)
from efficientat import WIDTHS, noise_for, peers
from shape import RATE, new_model, operations, values_moved

import dcasenet
import dcasenet.onnx
from dcasenet.audio.io import read
from dcasenet.audio.preprocess import prepare
from dcasenet.inference.model import SoundModel
from dcasenet.onnx.export import to_onnx
from dcasenet.spec import TASKS
from dcasenet.weights import manifest
from dcasenet.weights.cache import checkpoint_folder
from dcasenet.weights.checksum import file_digest

Models = dict[str, Any]  # name, ending in the precision → a model of either runtime

RECORDING = Path(__file__).parents[1] / "examples" / "dog_barking.ogg"
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a value
# bfloat16 is left out where a small product takes more than so many times as long as in float32.
HOPELESS = 5.0
TOP_OPERATIONS = 8  # of the profile
PROFILED_RUNS = 5
# What a machine needs not have where an exported file answers.
LEFT_OUT = {"torch", "safetensors", "huggingface_hub"}


@dataclass(frozen=True)
class Sizes:
    """How large everything is that is measured."""

    product: int = 2048  # rows and columns
    copied: int = 2**26  # values of 32 bits: more than any cache
    batches: tuple[tuple[int, int], ...] = ((8, 10), (1, 10), (1, 5))  # clips, seconds
    file: int = 60  # seconds
    released_width: float = 1.0
    minutes: tuple[float, ...] = (1, 60, 600)
    silent: tuple[float, ...] = (1440,)  # minutes
    files: int = 10_000


TINY = Sizes(256, 2**18, ((2, 1), (1, 1)), 12, 0.125, (0.1,), (0.2,), 3)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--width", type=float, default=0.5, help="of the network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=PARTS, nargs="+", help="these parts; by default all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="two runs, and no long recordings")
    size.add_argument("--tiny", action="store_true", help="sizes whose figures mean nothing")
    options = parser.parse_args(arguments)
    runs = options.runs or (1 if options.tiny else 2 if options.quick else 5)
    chosen = options.only or [name for name in PARTS if not (options.quick and name == "growth")]
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as name:
        bench = Bench(runs, TINY if options.tiny else Sizes(), options.width, Path(name))
        print(
            f"{platform.machine()}, width {options.width:g}, {torch.get_num_threads()} threads, "
            f"{capability()}, torch {torch.__version__}, onnxruntime "
            f"{onnxruntime.__version__}, median of {runs} interleaved runs; int8 file "
            f"{bench.int8_megabytes:.1f} MB\n"
        )
        if "bfloat16" not in bench.precisions:
            print(
                f"bfloat16 is left out: on this processor a product of {TRIED}³ takes "
                f"{bench.slowdown:,.0f} × as long as in float32, more than {HOPELESS:g} ×.\n"
            )
        print("| what | time | × real time | beside |\n|--|--:|--:|--|")
        for part in chosen:
            for cells in PARTS[part](bench):
                print("| " + " | ".join(cells) + " |", flush=True)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"\nPeak memory of these: {memory:,.0f} MiB")
        if "growth" in chosen:
            print_growth(bench.sizes, options.width)


def capability() -> str:
    """Return what the processor multiplies by, of what makes 8 and 16 bits fast."""
    flags = Path("/proc/cpuinfo")
    known = set(flags.read_text("utf-8").split()) if flags.is_file() else set()
    names = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8")
    return " ".join(name for name in names if name in known) or "unknown vector units"


class Bench:
    """What the parts of the table share: the models and the machine's ceilings.

    Args:
        runs: How often each candidate runs, after one that warms up.
        sizes: Of what is measured.
        width: Of the network.
        folder: For files.
    """

    def __init__(self, runs: int, sizes: Sizes, width: float, folder: Path) -> None:
        self.runs, self.sizes, self.folder = runs, sizes, folder
        self.slowdown = slowdown_of_bfloat16()
        self.precisions = [
            name for name in BYTES if name != "bfloat16" or self.slowdown <= HOPELESS
        ]
        self.models = new_models(folder, width, self.precisions)
        self.int8_megabytes = (folder / "int8.onnx").stat().st_size / 1e6
        self.ceilings: Ceilings = measured_ceilings(
            runs, sizes.product, sizes.copied, self.precisions
        )


def new_models(folder: Path, width: float, precisions: Sequence[str]) -> Models:
    """The same random network in each precision, by either runtime that has it."""
    model = new_model(width)
    noise = np.random.default_rng(0).standard_normal(5 * RATE) * 0.1
    exact = to_onnx(model, folder / "float32.onnx")
    int8 = to_onnx(model, folder / "int8.onnx", precision="int8", calibrate=[(noise, RATE)])
    threads = torch.get_num_threads()
    models: Models = {"float32": model}
    if "bfloat16" in precisions:
        models["bfloat16"] = SoundModel(
            model.spec, model.frontend, model.network, precision="bfloat16"
        )
    models["onnx float32"] = dcasenet.onnx.load(exact, threads=threads)
    models["onnx int8"] = dcasenet.onnx.load(int8, threads=threads)
    return models


def waveforms_of(batch: int, seconds: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((batch, seconds * RATE)) * 0.1
    return noise.astype(np.float32)


def peer_rows(bench: Bench) -> list[Row]:
    """Ours from the waveform to all answers, beside the peer's tags, in the same rounds."""
    sessions = peers(bench.folder, torch.get_num_threads())
    ours = {name: model for name, model in bench.models.items() if name.startswith("onnx")}
    rows = []
    rates: dict[str, float] = {}  # of the first, largest batch: seconds of audio a second
    for batch, seconds in bench.sizes.batches:
        waveforms, audio = waveforms_of(batch, seconds), batch * seconds
        inputs = {name: noise_for(name, batch, seconds) for name in sessions}
        took = interleaved(
            bench.runs,
            **{name: partial(model.infer, waveforms, TASKS) for name, model in ours.items()},
            **{
                name: partial(each.run, None, {"input": inputs[name]})
                for name, each in sessions.items()
            },
        )
        best = {peer: min(v for k, v in took.items() if k.startswith(peer)) for peer in WIDTHS}
        for name, one in took.items():
            beside = ", ".join(f"{best[peer] / one:.2f} × {peer}'s best" for peer in WIDTHS)
            if rates.setdefault(name, audio / one) != audio / one:
                beside += f"; {audio / one / rates[name]:.2f} × the batch's rate"
            what = f"{name}: waveform to all three answers" if name in ours else name
            rows.append(row(f"{what}, {batch} × {seconds} s", one, audio, beside))
    return rows


def profile_rows(bench: Bench) -> list[Row]:
    """Where ONNX Runtime spends the time, by its own profile."""
    batch, seconds = bench.sizes.batches[0]
    waveforms = waveforms_of(batch, seconds)
    rows = []
    for precision in ("float32", "int8"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_profiling = True
        options.profile_file_prefix = str(bench.folder / "profile")
        runner = onnxruntime.InferenceSession(
            bench.folder / f"{precision}.onnx", options, providers=["CPUExecutionProvider"]
        )
        for _ in range(PROFILED_RUNS):
            runner.run(list(TASKS), {"waveform": waveforms})
        took: Counter[str] = Counter()
        for event in json.loads(Path(runner.end_profiling()).read_text("utf-8")):
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                took[_place(event)] += event["dur"] / 1e6 / PROFILED_RUNS
        total = sum(took.values())
        rows += [
            row(
                f"profile of {precision}, {batch} × {seconds} s: {what}",
                one,
                None,
                share(one, total),
            )
            for what, one in took.most_common(TOP_OPERATIONS)
        ]
    return rows


def share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}"


def _place(event: dict[str, Any]) -> str:
    """Which part of the network, and what it computes there."""
    names = event["name"].strip("/").split("/")
    part = names[1] if names[0] == "network" else names[0]
    block = [name for name in names if name.startswith("inner.") and part == "trunk"][:1]
    operation = event["args"]["op_name"]
    return " ".join(
        [part.split("_kernel")[0], *(b.replace("inner", "block") for b in block), operation]
    )


def network_rows(bench: Bench) -> list[Row]:
    model = bench.models["float32"]
    rows = []
    for batch, seconds in bench.sizes.batches:
        array = waveforms_of(batch, seconds)
        waveforms = torch.from_numpy(array)

        def plain(waveforms: torch.Tensor = waveforms) -> object:
            with torch.no_grad():
                return model.network(model.frontend(waveforms))

        took = interleaved(
            bench.runs,
            plain=plain,
            frontend=lambda waveforms=waveforms: model.frontend(waveforms),
            **{name: partial(each.infer, array, TASKS) for name, each in bench.models.items()},
        )
        audio, what = seconds * batch, f"{batch} × {seconds} s"
        of_network = share(took["frontend"], took["plain"] - took["frontend"])
        rows += [
            row(f"plain PyTorch, {what}", took["plain"], audio, "the baseline"),
            row(
                f"front end alone, {what}", took["frontend"], audio, f"{of_network} of the network"
            ),
        ]
        for name in bench.models:
            ratio = took["plain"] / took[name]
            limits = what_limits(bench, name, batch, seconds, took[name])
            rows.append(
                row(f"{name}, {what}", took[name], audio, f"{ratio:.2f} × as fast; {limits}")
            )
    return rows


def what_limits(bench: Bench, name: str, batch: int, seconds: int, took: float) -> str:
    """Return the shares of its arithmetic at a product's rate, and of its memory at a copy's."""
    precision, network = name.split()[-1], bench.models["float32"].network
    arithmetic = operations(network, seconds) * batch / bench.ceilings[precision].rate
    moved = values_moved(network, seconds) * batch * BYTES[precision]
    memory = moved / bench.ceilings["copy"].rate
    return f"arithmetic {share(arithmetic, took)}, memory {share(memory, took)} of the time"


def file_rows(bench: Bench) -> list[Row]:
    model, seconds = bench.models["float32"], bench.sizes.file
    path = bench.folder / "stereo.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.standard_normal((seconds * 44_100, 2)) * 0.1, 44_100)
    window = round(model.spec.context["event"].window * RATE)

    def decoded() -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        resampled: np.ndarray = soxr.resample(samples.mean(axis=1), rate, RATE)
        return resampled

    def one_pass(each: Any) -> None:
        """What any way has to do: decode, resample, and run everything once."""
        samples = decoded()
        whole = samples[: len(samples) // window * window].reshape(-1, window)
        each.infer(whole, TASKS)

    took = interleaved(
        bench.runs,
        decoding=decoded,
        before=lambda: prepare(read(path), model.spec),
        **{f"one pass, {name}": partial(one_pass, each) for name, each in bench.models.items()},
        **{name: partial(each.analyze, path) for name, each in bench.models.items()},
    )
    what = f"{seconds} s stereo at 44.1 kHz"
    rows = []
    for name in bench.models:
        one = took[f"one pass, {name}"]
        of_decoding = share(took["decoding"], took[name])
        beside = f"{took[name] / one:.2f} × one pass; decoding and resampling are {of_decoding}"
        rows.append(row(f"one pass over {what}, {name}", one, seconds, "decoding included"))
        rows.append(row(f"analyze(file), {what}, {name}", took[name], seconds, beside))
    return [
        *rows,
        row(f"decoding and resampling alone, {what}", took["decoding"], seconds, "the ceiling"),
        row("the same with all checks", took["before"], seconds, ""),
    ]


def loading_rows(bench: Bench) -> list[Row]:
    """Time warm loads of a full-size checkpoint from the cache, as of a released one."""
    folder = bench.folder
    address = "owner/repository/commit/standin.pt"
    original = folder / "standin.pt"
    torch.save(dcasenet.create("v3", width=bench.sizes.released_width).state_dict(), original)
    entries = manifest.read_manifest()
    joint = next(entry for entry in entries["models"] if entry["stage"] == "joint-tag")
    joint["file"] = {"digest": file_digest(original, "git_blob_sha1"), "github": address}
    joint["width"] = bench.sizes.released_width
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

        took = interleaved(bench.runs, hash=read_and_hash, load=load)
    size = file.stat().st_size / 1e6
    ratio = took["load"] / took["hash"]
    return [
        row(f"read and hash {size:.0f} MB", took["hash"], None, "the baseline"),
        row("warm load from the cache", took["load"], None, f"{ratio:.1f} × the baseline"),
    ]


def command_rows(bench: Bench) -> list[Row]:
    """The import, and the whole command on one short file, from cold processes."""
    environment = {**os.environ, "DCASENET_HOME": str(bench.folder / "home")}

    def python(*words: str) -> Callable[[], object]:
        command = [sys.executable, *words]
        return lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)

    analyze = ("-m", "dcasenet", "analyze", str(RECORDING), "--runtime")
    took = interleaved(  # the first round, which warms up, exports what does not ship
        bench.runs,
        nothing=python("-c", "pass"),
        package=python("-c", "import dcasenet"),
        onnx=python(*analyze, "onnx"),
        torch=python(*analyze, "torch"),
    )
    return [
        row("import dcasenet", took["package"] - took["nothing"], None, "beyond python itself"),
        row(
            "dcasenet analyze FILE, cold, onnx",
            took["onnx"],
            None,
            f"{took['torch'] / took['onnx']:.2f} × as fast as with torch; "
            f"{took['onnx'] / took['nothing']:.0f} × python itself",
        ),
        row("dcasenet analyze FILE, cold, torch", took["torch"], None, ""),
    ]


def installed_rows(bench: Bench) -> list[Row]:
    """What the package and all that it needs take on disk, with torch and without."""
    sizes = {
        "everything": installed_megabytes(set()),
        "what answers without torch": installed_megabytes(LEFT_OUT),
    }
    return [(f"installed: {what}", "", "", f"{size:,.0f} MB") for what, size in sizes.items()]


def installed_megabytes(without: set[str]) -> float:
    """Size of the files of the core's requirements and of theirs."""
    found: dict[str, float] = {}
    waiting = ["dcasenet"]
    while waiting:
        name = waiting.pop()
        if name in found or name.replace("-", "_") in without:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # needed on other systems alone
            continue
        files = [Path(str(file.locate())) for file in distribution.files or ()]
        found[name] = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
        for requirement in distribution.requires or ():
            needed = match(r"[\w.-]+", requirement)
            if needed and "extra ==" not in requirement:
                waiting.append(needed.group().lower())
    return sum(found.values())


def print_growth(sizes: Sizes, width: float) -> None:
    """Time and memory by the length of a recording, and of many short ones by workers."""
    program = Path(__file__).with_name("long.py")
    for runtime in ("onnx", "torch"):
        print(f"\n{runtime}:\n", flush=True)
        options = ["--runtime", runtime, "--width", str(width), "--files", str(sizes.files)]
        options += ["--minutes", *map(str, sizes.minutes), "--silent", *map(str, sizes.silent)]
        subprocess.run([sys.executable, str(program), *options], check=True)


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "network": network_rows,
    "peers": peer_rows,
    "profile": profile_rows,
    "files": file_rows,
    "ceilings": lambda bench: ceiling_rows(bench.ceilings),
    "loading": loading_rows,
    "commands": command_rows,
    "installed": installed_rows,
    "growth": lambda _: [],  # tables of their own, after this one
}


if __name__ == "__main__":
    main()
