"""Where a training step's time goes: python benchmarks/training.py [--batch 8,8,6] [--width 1].

The paper's joint training on made-up recordings: cutting a batch from disk, features, forward,
backward, optimizer. Then what one process can cut, which must be more than training takes, and an
epoch the size of ESC-50's (1,600 clips of 5 s) at half width.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.data import DataLoader

from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings, Task
from dcasenet.train.data.dataset import Example, LabeledEvent
from dcasenet.train.data.features import extract
from dcasenet.train.data.store import WaveformStore
from dcasenet.train.engine.precision import precision
from dcasenet.train.paper.batches import (
    ClipStream,
    EventStream,
    Labeled,
    PaperBatch,
    PaperBatches,
    Stream,
)
from dcasenet.train.paper.module import PaperTraining
from dcasenet.train.paper.recipe import PaperRecipe

RATE = 24_000
LABELS: dict[Task, tuple[str, ...]] = {
    "scene": tuple(f"scene {i}" for i in range(10)),
    "tag": tuple(f"tag {i}" for i in range(80)),
    "event": tuple(f"event {i}" for i in range(14)),
}
PARTS = ("data", "features", "forward", "backward", "optimizer")
ESC50_CLIPS = 1_600  # the training side of ESC-50, four of its five folds
CLOCKS = {"wall": time.perf_counter, "core": time.process_time}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch", default="8,8,6", help="scenes, tags, events (paper: 32,32,24)")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--model", default="v3")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="core: one core's own time, on a busy machine",
    )
    options = parser.parse_args()
    clock = CLOCKS[options.clock]
    if options.clock == "core":
        torch.set_num_threads(1)
    n_scene, n_tag, n_event = map(int, options.batch.split(","))
    recipe = PaperRecipe(
        architecture=options.model,
        width=options.width,
        n_scene=n_scene,
        n_tag=n_tag,
        n_event=n_event,
        steps=options.runs + 1,
        mixup_from=0,
    )
    esc = PaperRecipe(tasks=("scene",), width=0.5, steps=options.runs + 1, mixup_from=0)
    print(
        f"{platform.machine()}, {DEVICE}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, {precision(DEVICE)}, {options.clock} time, "
        f"median of {options.runs} steps\n"
    )
    print("| what | time | share of the step |\n|--|--:|--:|")
    with TemporaryDirectory() as folder:
        streams = made_up(Path(folder))
        took = split(recipe, streams, clock)
        title = f"{options.model}, width {options.width:g}, batch {options.batch}"
        for name in PARTS:
            row(f"{name} ({title})", took[name], took)
        row("the whole step", sum(took.values()), took)
        step = sum(took.values()) - took["data"]
        for workers in (1, 2):
            if options.clock == "wall":
                each = loading(recipe, streams, workers)
                print(
                    f"| a batch from {workers} loading process(es) | {each * 1e3:,.1f} ms | "
                    f"{step / each:,.1f} × as fast as training |"
                )
        took = split(esc, {"scene": streams["scene"]}, clock)
        each = sum(took.values())
        print(
            f"| step of 32 clips of 5 s, v3 at half width | {each * 1e3:,.0f} ms | |\n"
            f"| epoch of ESC-50 at that pace, {ESC50_CLIPS // 32} steps | "
            f"{each * ESC50_CLIPS / 32:,.0f} s | |"
        )


def row(name: str, seconds: float, took: dict[str, float]) -> None:
    print(f"| {name} | {seconds * 1e3:,.1f} ms | {seconds / sum(took.values()):.1%} |")


def made_up(folder: Path) -> dict[Task, Stream]:
    """Write noise to disk as training would find it: clips of 10 s, minutes for events."""
    random = np.random.default_rng(0)
    clips = [Example(Path(f"{i}.wav"), scene=f"scene {i % 10}", tags=("tag 1",)) for i in range(40)]
    events = (LabeledEvent("event 3", 1.0, 50.0),)
    minutes = [Example(Path(f"minute {i}.wav"), events=events) for i in range(12)]

    def store(name: str, examples: list[Example], seconds: int) -> WaveformStore:
        n = seconds * RATE
        samples = random.standard_normal((len(examples), n), dtype=np.float32)
        samples.tofile(folder / name)
        spans = {example.key: (i * n, (i + 1) * n) for i, example in enumerate(examples)}
        return WaveformStore(folder / name, spans, RATE)

    short = store("clips", clips, 10)
    frontend = LogMel(FrontEndSettings()).to(DEVICE)
    features = extract(minutes, store("minutes", minutes, 60), frontend, folder)
    recipe = PaperRecipe()
    return {
        "scene": ClipStream("scene", LABELS["scene"], clips, short, recipe.clip_seconds),
        "tag": ClipStream("tag", LABELS["tag"], clips, short, recipe.clip_seconds),
        "event": EventStream(LABELS["event"], minutes, features, recipe.event_seconds),
    }


def split(
    recipe: PaperRecipe, streams: dict[Task, Stream], clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of each part of a step, the first step left out."""
    module = PaperTraining(recipe, LABELS).to(DEVICE).train()
    optimizer = module.configure_optimizers()["optimizer"]
    batches = PaperBatches(streams, recipe, epoch=0)
    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in PARTS}

    def timed(name: str, work: Callable[[], object]) -> object:
        start = clock()
        result = work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        seconds[name].append(clock() - start)
        return result

    def cut(index: int) -> PaperBatch:
        batch = batches[index]
        return {task: Labeled(*(t.to(DEVICE) for t in labeled)) for task, labeled in batch.items()}

    def featurize(batch: PaperBatch) -> PaperBatch:
        return {
            task: Labeled(module.frontend(sound) if sound.dim() == 2 else sound, truth)
            for task, (sound, truth) in batch.items()
        }

    def forward(batch: PaperBatch) -> torch.Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=precision(DEVICE) == "bf16-mixed"):
            return torch.stack([*module.losses(batch, random).values()]).sum()

    for index in range(len(batches)):
        batch = timed("data", lambda index=index: cut(index))
        with torch.no_grad():
            features = timed("features", lambda batch=batch: featurize(batch))
        loss = timed("forward", lambda features=features: forward(features))
        timed("backward", loss.backward)
        timed("optimizer", optimizer.step)
        optimizer.zero_grad()
    return {name: median(values[1:]) for name, values in seconds.items()}


def loading(recipe: PaperRecipe, streams: dict[Task, Stream], workers: int) -> float:
    """Seconds from one batch to the next when nothing but loading is done."""
    n = 24
    batches = PaperBatches(streams, PaperRecipe(**{**recipe.__dict__, "steps": n}), epoch=0)
    start = 0.0
    for index, _ in enumerate(DataLoader(batches, batch_size=None, num_workers=workers)):
        if index == workers * 2:  # the processes have started
            start = time.perf_counter()
    return (time.perf_counter() - start) / (n - 1 - workers * 2)


if __name__ == "__main__":
    main()
