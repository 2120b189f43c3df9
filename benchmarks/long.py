"""Memory and speed on long recordings: python benchmarks/long.py [--minutes 1 60 600].

Each length is analyzed to a table by a process of its own, from a file that repeats a real
recording. The network has random weights: neither figure depends on them. ``--width 0`` leaves it
out, for the road alone: reading, resampling, cutting, joining and writing.
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
import soundfile
import torch

import dcasenet
from dcasenet.batch.incremental import write_results
from dcasenet.inference.model import SoundModel
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.models.frontend import LogMel
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, Task

RECORDING = Path(__file__).parents[1] / "examples" / "dog_barking.ogg"
EVENTS = tuple(f"event {i}" for i in range(14))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60, 600])
    parser.add_argument("--width", type=float, default=0.25, help="of the network; 0 for none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(measure(asked.one, asked.width, asked.device)))
        return
    print("| recording | peak memory | beyond the first | time | × real time | lines |")
    print("|--|--:|--:|--:|--:|--:|")
    first = None
    for minutes in asked.minutes:
        with TemporaryDirectory() as folder:
            path = Path(folder, "long.wav")
            write_recording(path, minutes)
            options = ["--width", str(asked.width), "--device", asked.device, "--one", str(path)]
            command = [sys.executable, __file__, *options]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            found = json.loads(printed)
        first = first or found
        more = found["memory"] - first["memory"]
        speed = minutes * 60 / found["seconds"]
        print(
            f"| {minutes:,g} min | {found['memory']:,.0f} MB | {more:+,.0f} MB | "
            f"{found['seconds']:,.1f} s | {speed:,.0f} | {found['lines']:,} |",
            flush=True,
        )


def write_recording(path: Path, minutes: float) -> None:
    """Repeat the recording, as it is."""
    samples, rate = soundfile.read(RECORDING, dtype="int16", always_2d=True)
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
        self, waveforms: Floats, outputs: Sequence[str], trunk: Task = "tag"
    ) -> dict[str, Floats]:
        n_windows, n_samples = waveforms.shape
        n_steps = max(1, (n_samples - 2) // 480 // 40)
        return {
            name: np.zeros(
                (n_windows, *((n_steps,) if name == "event" else ()), len(self.spec.labels(name))),
                np.float32,
            )
            for name in outputs
        }

    def as_array(self, values: Floats) -> Floats:
        return values


def measure(path: Path, width: float, device: str) -> dict[str, float]:
    """Analyze a file to a table beside it: MB at the peak, seconds, lines."""
    spec = ModelSpec(
        "v3",
        "random",
        width=width,
        scenes=tuple(f"scene {i}" for i in range(10)),
        tags=tuple(f"tag {i}" for i in range(80)),
        events=EVENTS,
        thresholds=dict.fromkeys(EVENTS, 0.5),
    )
    if not width:
        return run(Nothing(spec), path)
    torch.manual_seed(0)
    network = dcasenet.create("v3", n_scenes=10, n_tags=80, n_events=14, width=width)
    return run(SoundModel(spec, LogMel(spec.frontend), network).to(device), path)


def run(model: SoundVerbs[Any], path: Path) -> dict[str, float]:
    output = path.with_suffix(".csv")
    start = time.perf_counter()
    write_results(model, path, output)
    return {
        "seconds": time.perf_counter() - start,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "lines": len(output.read_text("utf-8").splitlines()),
    }


if __name__ == "__main__":
    main()
