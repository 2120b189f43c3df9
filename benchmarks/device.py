"""One pass on an accelerator, from waveforms on the device: python benchmarks/device.py [--device].

What an accelerator's bfloat16 is worth beside the plain network, with `torch.compile` and with CUDA
graphs, and which share of a large product's rate is reached. Random weights in the shape of the
default checkpoint (steps of 0.16 s), full width unless told, all three tasks. ``--device cpu
--batch 2 --width 0.25 --size 512`` tries the program itself.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from shape import FRONT_END, RATE, new_network, operations
from torch import Tensor, nn

from dcasenet.models.frontend import LogMel
from dcasenet.models.fused import fuse
from dcasenet.spec import TASKS

SECONDS = 10
SIZE = 8192  # rows and columns of the product

Pass = Callable[[Tensor], object]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--width", type=float, default=1.0, help="of the network")
    parser.add_argument("--size", type=int, default=SIZE, help="of the product")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="torch.compile, too"
    )
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    rate = product_rate(device, options.size, options.runs)
    print(
        f"{name}, torch {torch.__version__}, median of {options.runs} interleaved runs; "
        f"a product of {options.size}³ in bfloat16: {rate / 1e12:,.2f} TFLOP/s\n\n"
        "| what | time | × real time | beside |\n|--|--:|--:|--|"
    )
    for batch in options.batch:
        report(device, batch, options, rate)


def report(device: torch.device, batch: int, options: argparse.Namespace, rate: float) -> None:
    waveforms = torch.randn(batch, SECONDS * RATE, device=device) * 0.1
    with torch.inference_mode():
        candidates = passes(device, waveforms, options)
        took = interleaved(options.runs, device, candidates, waveforms)
    work = operations(new_network(options.width), SECONDS) * batch
    for what, seconds in took.items():
        share = work / seconds / rate
        print(
            f"| {what}, {batch} × {SECONDS} s | {seconds * 1e3:,.2f} ms | "
            f"{batch * SECONDS / seconds:,.0f} | {took['plain'] / seconds:.2f} × as fast; "
            f"{share:.1%} of a product's rate |",
            flush=True,
        )


def passes(device: torch.device, waveforms: Tensor, options: argparse.Namespace) -> dict[str, Pass]:
    """Return the ways of one all-heads pass, each ready to be timed."""
    frontend = LogMel(FRONT_END).to(device)
    network = new_network(options.width).to(device)

    def by(network: nn.Module) -> Pass:
        return lambda sound: network(frontend(sound), TASKS)

    fast = fuse(network, torch.bfloat16)
    found = {
        "plain": by(network),
        "float32": by(fuse(network)),
        "bfloat16": by(fast),
    }
    if options.compile:
        found["bfloat16, compiled"] = by(torch.compile(copy.deepcopy(fast), dynamic=False))
    if device.type == "cuda":
        found["bfloat16, CUDA graph"] = captured(by(fast), waveforms)
    return found


def captured(run: Pass, waveforms: Tensor) -> Pass:
    """Record a pass once; to replay it costs no launches."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries choose their kernels before they are recorded
        for _ in range(3):
            run(waveforms)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(waveforms)
    return lambda sound: graph.replay()


def interleaved(
    runs: int, device: torch.device, candidates: dict[str, Pass], waveforms: Tensor
) -> dict[str, float]:
    """Median seconds of each, all of them once in every round; the first two rounds warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(runs + 2):
        for name, run in candidates.items():
            start = time.perf_counter()
            run(waveforms)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def product_rate(device: torch.device, size: int, runs: int) -> float:
    """Floating-point operations per second of a large product in bfloat16."""
    one, two = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    (seconds,) = interleaved(runs, device, {"": lambda _: one @ two}, one).values()
    return 2.0 * size**3 / seconds


if __name__ == "__main__":
    main()
