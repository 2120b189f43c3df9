"""Memory and speed on long recordings: python benchmarks/long.py [--minutes 1 60 600].

Each length is analyzed to a table by a process of its own, from a file that repeats a real
recording; ``--silent 1440`` adds lengths of digital silence. The network has random weights and the
shape of the default checkpoint: neither figure depends on them. ``--width 0`` leaves it out, for
everything around it: reading, resampling, windows, joining and writing. ``--runtime onnx`` runs it
as exported. ``--files 10000`` adds jobs of so many files of 1 s, by ``--workers 1 2``. "Limit" is
where most of the time goes, and how much of it: the network, or everything around it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shape
import soundfile

from dcasenet.batch.incremental import write_results
from dcasenet.batch.runner import analyze
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.onnx.export import serialized
from dcasenet.onnx.runtime import model_of
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, Task

RECORDING = Path(__file__).parents[1] / "examples" / "dog_barking.ogg"
SILENT_RATE = 8_000
SHORT_RATE = 44_100  # samples of a short file


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60, 600])
    parser.add_argument("--width", type=float, default=0.25, help="of the network; 0 for none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--silent", type=float, nargs="+", default=[], help="minutes of digital silence at 8 kHz"
    )
    parser.add_argument("--runtime", choices=["torch", "onnx"], default="torch")
    parser.add_argument("--files", type=int, nargs="+", default=[], help="short ones, a job each")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(json.dumps(measure(options.one, chosen_model(options), options.workers[0])))
        return
    print("| recording | peak memory | beyond the first | time | × real time | lines | limit |")
    print("|--|--:|--:|--:|--:|--:|--|")
    first = None
    lengths = [(minutes, False) for minutes in options.minutes]
    for minutes, is_silent in (*lengths, *((minutes, True) for minutes in options.silent)):
        with TemporaryDirectory() as folder:
            path = Path(folder, "long.wav")
            write_recording(path, minutes, is_silent)
            found = by_itself(options, path)
        first = first or found
        more = found["memory"] - first["memory"]
        speed = minutes * 60 / found["seconds"]
        what = f"{minutes:,g} min{' of silence' if is_silent else ''}"
        print(
            f"| {what} | {found['memory']:,.0f} MB | {more:+,.0f} MB | "
            f"{found['seconds']:,.1f} s | {speed:,.0f} | {found['lines']:,} | {limit(found)} |",
            flush=True,
        )

    for n_files in options.files:
        print_files(options, n_files)


def print_files(options: argparse.Namespace, n_files: int) -> None:
    """A job over short files, by each number of workers."""
    print("\n| files | workers | peak memory | time | files a second | × real time | limit |")
    print("|--|--:|--:|--:|--:|--:|--|")
    with TemporaryDirectory() as name:
        folder = Path(name, "files")
        folder.mkdir()
        samples, rate = soundfile.read(RECORDING, dtype="int16", frames=SHORT_RATE)
        for index in range(n_files):
            soundfile.write(folder / f"{index}.wav", samples, rate)
        for workers in options.workers:
            found = by_itself(options, folder, workers)
            audio = n_files * len(samples) / rate
            print(
                f"| {n_files:,} | {workers} | {found['memory']:,.0f} MB | "
                f"{found['seconds']:,.1f} s | {n_files / found['seconds']:,.0f} | "
                f"{audio / found['seconds']:,.0f} | {limit(found)} |",
                flush=True,
            )


def limit(found: dict[str, float]) -> str:
    """What takes most of the time, and its share."""
    share = found["network"] / found["seconds"]
    if share > 0.5:
        return f"network, {share:.0%}"
    return f"reading and writing, {1 - share:.0%}"


def by_itself(options: argparse.Namespace, path: Path, workers: int = 0) -> dict[str, float]:
    """Measure in a process of its own."""
    given = ["--width", str(options.width), "--device", options.device]
    given += ["--runtime", options.runtime, "--workers", str(workers), "--one", str(path)]
    command = [sys.executable, __file__, *given]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, float] = json.loads(printed)
    return found


def write_recording(path: Path, minutes: float, silent: bool) -> None:
    """Repeat the recording as it is, or silence."""
    samples, rate = soundfile.read(RECORDING, dtype="int16", always_2d=True)
    if silent:
        samples, rate = np.zeros((SILENT_RATE * 60, 1), np.int16), SILENT_RATE
    n_left = round(minutes * 60 * rate)
    channels = samples.shape[1]
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16", format="RF64") as file:
        while n_left > 0:
            file.write(samples[:n_left])
            n_left -= len(samples)


class Nothing(SoundVerbs[Floats]):
    """A model without a network: zeros of the right shapes."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> dict[str, Floats]:
        n_windows, n_samples = waveforms.shape
        n_steps = max(1, (n_samples - 2) // 480 // 8)
        return {
            name: np.zeros(
                (n_windows, *((n_steps,) if name == "event" else ()), len(self.spec.labels(name))),
                np.float32,
            )
            for name in outputs
        }

    def as_array(self, values: Floats) -> Floats:
        return values


def chosen_model(options: argparse.Namespace) -> SoundVerbs[Any]:
    if not options.width:
        return Nothing(shape.new_spec(0.25))
    model = shape.new_model(options.width)
    if options.runtime == "onnx":
        return model_of(serialized(model), "random")
    return model.to(options.device)


def measure(path: Path, model: SoundVerbs[Any], workers: int) -> dict[str, float]:
    """Analyze a file, or a folder of them, to a table beside it: MB at the peak, seconds of all and
    of the network, lines.
    """
    output = path.with_suffix(".csv")
    network, took = model.infer, []

    def infer(*given: Any) -> Any:
        start = time.perf_counter()
        outputs = network(*given)
        took.append(time.perf_counter() - start)
        return outputs

    model.infer = infer  # type: ignore[method-assign]
    start = time.perf_counter()
    if path.is_dir():
        analyze(model, [path], output, workers=workers, restart=True)
    else:
        write_results(model, path, output)
    return {
        "seconds": time.perf_counter() - start,
        "network": sum(took),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "lines": len(output.read_text("utf-8").splitlines()),
    }


if __name__ == "__main__":
    main()
