"""A job of its own process, with a model that needs no torch, that may be told to die.

python job.py FOLDER OUTPUT WHERE
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dcasenet.batch import resume, runner
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Floats
from dcasenet.spec import ModelSpec, Task

SPEC = ModelSpec("v3", "fake", tasks=("tag",), tags=("low", "high"))


class FakeModel(SoundVerbs[Floats]):
    """Answers with the loudness and the rate of zero crossings."""

    def __init__(self, gain: float = 1.0) -> None:
        self.spec = SPEC
        self.gain = gain

    @property
    def weights_digest(self) -> str:
        return f"sha256:{self.gain}"

    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        loudness = waveforms.std(axis=1) * 10 * self.gain
        crossings = (np.diff(np.sign(waveforms), axis=1) != 0).mean(axis=1)
        values = np.stack([loudness, crossings], axis=1).astype(np.float32)
        return {"embedding": values[:, None]} if "embedding" in outputs else {"tag": values}

    def as_array(self, values: Floats) -> Floats:
        return values


def die() -> None:
    """Die as the kernel would have it, once one can tell the children's ends."""
    children = " ".join(str(child.pid) for child in multiprocessing.active_children())
    sys.stdout.write(f"{children}\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, output: str, where: str) -> None:
    runner.GROUP = 4
    calls: list[str] = []

    def count(what: str, most: int) -> None:
        calls.append(what)
        if what == where and calls.count(what) > most:
            die()

    to_disk, write_table = resume._to_disk, runner.write_table

    def saving(path: Path) -> None:
        to_disk(path)
        count("saving", 4)  # two lists, the job and one part; the second has no name yet

    def merging(*arguments: object) -> None:
        write_table(*arguments)  # type: ignore[arg-type]
        count("merging", 0)

    def watch(progress: object, rows: object) -> None:
        count("answering", 2)

    resume._to_disk, runner.write_table = saving, merging
    workers = 1 if where == "answering" else 0
    runner.analyze(FakeModel(), folder, output, save_every=0, workers=workers, watch=watch)


if __name__ == "__main__":
    main(*sys.argv[1:])
