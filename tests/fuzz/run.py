"""Put hostile audio to a model, and count what goes wrong.

::

    python tests/fuzz/run.py                  # 2,000 cases
    python tests/fuzz/run.py --cases 50000 --seed 1 --processes 2

Each case must give an answer whose numbers are finite and in range, or an `AudioError`; within 20 s
of processor time and 1 GiB; without a word on a standard stream; and the process must live. The
table is Markdown. The exit code is 1 if a case failed; ``--only SEED:NUMBER`` runs that case again,
with its traceback. Ctrl-C ends it with the table of the cases so far.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
SECONDS, MEBIBYTES = 20.0, 1024  # of processor time; of memory
PATIENCE = 120.0  # seconds without an answer, however busy the machine is
BATCH = 2_000  # cases of a process, after which another one takes over
PROGRESS = 5_000  # cases after which a line says how far it is


@dataclass
class Tally:
    """What became of the cases of a kind."""

    cases: int = 0
    answered: int = 0
    warned: int = 0
    refused: int = 0
    failed: int = 0
    slowest: float = 0.0
    largest: int = 0

    def add(self, result: dict[str, Any]) -> None:
        self.cases += 1
        self.answered += result["outcome"] == "answered"
        self.warned += result["outcome"] == "answered" and bool(result["warnings"])
        self.refused += result["outcome"] == "refused"
        self.failed += result["outcome"] == "failed"
        self.slowest = max(self.slowest, result["seconds"])
        self.largest = max(self.largest, result["mebibytes"])


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """No more cases are wanted."""


@dataclass
class Report:
    """The table, and the failures; threads may add to it."""

    by_kind: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[str] = field(default_factory=list)
    n_cases: int = 0
    is_stopped: bool = False
    lock: Any = field(default_factory=threading.Lock)

    def add(self, result: dict[str, Any]) -> None:
        with self.lock:
            if self.is_stopped:
                raise Stopped
            self.n_cases += 1
            self.by_kind[result["kind"]].add(result)
            if result["outcome"] == "failed":
                self.failures.append(f"{result['number']} ({result['what']}): {result['message']}")
            if self.n_cases % PROGRESS == 0:
                n_failed = len(self.failures)
                print(f"{self.n_cases:,} cases, {n_failed:,} failed", file=sys.stderr, flush=True)

    def stop(self) -> None:
        with self.lock:
            self.is_stopped = True

    def table(self) -> str:
        total = Tally()
        for tally in self.by_kind.values():
            for name in ("cases", "answered", "warned", "refused", "failed"):
                setattr(total, name, getattr(total, name) + getattr(tally, name))
            total.slowest = max(total.slowest, tally.slowest)
            total.largest = max(total.largest, tally.largest)
        lines = [
            "| kind | cases | answered | of them with a warning | refused | failed | slowest, s "
            "| most memory, MiB |",
            "|--|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for kind, tally in [*sorted(self.by_kind.items()), ("all", total)]:
            numbers = (tally.cases, tally.answered, tally.warned, tally.refused, tally.failed)
            cells = " | ".join(f"{number:,}" for number in numbers)
            lines.append(f"| {kind} | {cells} | {tally.slowest:.2f} | {tally.largest:,} |")
        return "\n".join(lines)


# The process that runs cases


def work(seed: int, first: int, stop: int) -> None:
    """Run cases, and write a line before and after each."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library writes to standard output is no better
    errors = os.dup(2)
    answer = _model()
    for number in range(first, stop):
        _say(lines, {"number": number})
        began = time.process_time()
        before = os.fstat(errors).st_size
        _reset_peak()
        result = _try(answer, seed, number)
        result["seconds"], result["mebibytes"] = time.process_time() - began, _peak()
        printed = os.fstat(errors).st_size - before
        if printed and result["outcome"] != "failed":
            result |= {"outcome": "failed", "message": f"{printed} bytes on a standard stream"}
        if result["seconds"] > SECONDS:
            result |= {"outcome": "failed", "message": f"{result['seconds']:.0f} s"}
        if result["mebibytes"] > MEBIBYTES:
            result |= {"outcome": "failed", "message": f"{result['mebibytes']} MiB"}
        _say(lines, result)


def _model() -> Any:
    """The default checkpoint's front end and a narrow network: what is read is the question."""
    import torch

    import dcasenet

    torch.set_num_threads(1)
    shipped = dcasenet.load()
    labels = {"scenes": ("park", "tram"), "tags": ("bark", "bell"), "events": ("dog", "speech")}
    context = {
        task: replace(own, shortest=1.0)  # 5 s would only take longer
        for task, own in shipped.spec.context.items()
    }
    spec = dcasenet.ModelSpec(
        "v3",
        "narrow",
        width=1 / 16,
        time_pooling=shipped.spec.time_pooling,
        frontend=shipped.spec.frontend,
        thresholds=dict.fromkeys(labels["events"], 0.3),
        context=context,
        **labels,
    )
    network = dcasenet.create(
        spec.name,
        n_scenes=2,
        n_tags=2,
        n_events=2,
        width=spec.width,
        time_pooling=spec.time_pooling,
    )
    model = dcasenet.SoundModel(spec, shipped.frontend, network)
    model.analyze(np.zeros(24_000), 24_000)
    return model


def _try(model: Any, seed: int, number: int) -> dict[str, Any]:
    import cases

    from dcasenet import AudioError

    case = cases.make(seed, number)
    result: dict[str, Any] = {"number": number, "kind": case.kind, "what": case.what}
    result |= {"warnings": [], "message": ""}
    try:
        analysis = model.analyze(case.audio, case.sample_rate, **case.options)
        faults = list(_faults(analysis))
    except AudioError as error:
        is_short = str(error) and "\n" not in str(error)
        outcome = "refused" if is_short else "failed"
        return result | {"outcome": outcome, "message": str(error)}
    except Exception as error:
        return result | {"outcome": "failed", "message": f"{type(error).__name__}: {error}"}
    outcome = "failed" if faults else "answered"
    return result | {
        "outcome": outcome,
        "message": "; ".join(faults),
        "warnings": list(analysis.warnings),
    }


def _faults(analysis: Any) -> Iterator[str]:
    """Return what no answer may be."""
    scene, tags, events = analysis.scene, analysis.tags, analysis.events
    for name, values in (
        ("scene", scene.values), ("scene windows", scene.windows), ("tags", tags.values),
        ("tag windows", tags.windows), ("events", events.probabilities),
    ):  # fmt: skip
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            yield f"{name} are not probabilities"
    if abs(float(scene.values.sum()) - 1) > 1e-4:
        yield "the scene's probabilities do not sum up to 1"
    if not 0 < analysis.duration < float("inf"):
        yield f"the duration is {analysis.duration}"
    for event in events:
        if not 0 <= event.onset < event.offset <= analysis.duration + 1e-9:
            yield f"{event} is out of time"
    if any("\n" in warning for warning in analysis.warnings):
        yield "a warning has two lines"


def _say(lines: TextIO, line: dict[str, Any]) -> None:
    lines.write(json.dumps(line) + "\n")
    lines.flush()


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # then the peak is that of all cases so far
        return


def _peak() -> int:
    """The most memory of this process, in MiB; 0 where nobody tells."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


# The process that watches


def watch(seed: int, first: int, stop: int, add: Any) -> None:
    """Have cases run, and start another process where one hangs or dies."""
    while first < stop:
        end = min(first + BATCH, stop)
        first = _watch_one(seed, first, end, add)


def _watch_one(seed: int, first: int, stop: int, add: Any) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, "--work", str(seed), str(first), str(stop)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        )
        lines: queue.Queue[str] = queue.Queue()
        thread = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
        thread.start()
        number, message = first, ""
        try:
            while number < stop and not message:
                try:
                    line = lines.get(timeout=PATIENCE)
                except queue.Empty:
                    message = f"no answer in {PATIENCE:.0f} s"
                    break
                if not line:
                    message = f"the process died, with {process.wait()}"
                    break
                result = json.loads(line)
                if "outcome" in result:
                    add(result)
                    number = result["number"] + 1
        finally:
            process.kill()
            process.wait()
        if message:
            errors.seek(0)
            printed = errors.read()[-500:].decode(errors="replace").strip()
            import cases

            case = cases.make(seed, number)
            add(
                {"number": number, "kind": case.kind, "what": case.what, "outcome": "failed",
                 "message": f"{message}. {printed}", "seconds": PATIENCE, "mebibytes": 0,
                 "warnings": []}
            )  # fmt: skip
            number += 1
    return number


def _pass_on(stream: Any, lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", metavar="SEED:NUMBER", help="one case, in this process")
    parser.add_argument("--work", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return 0
    if options.only:
        import cases

        case = cases.make(*map(int, options.only.split(":")))
        print(case.kind, case.what)
        print(_model().analyze(case.audio, case.sample_rate, **case.options))
        return 0
    report = Report()
    bounds = np.linspace(0, options.cases, options.processes + 1).astype(int).tolist()
    with ThreadPoolExecutor(options.processes) as pool:
        running = [pool.submit(watch, options.seed, *pair, report.add) for pair in pairwise(bounds)]
        try:
            for future in running:
                future.result()
        except KeyboardInterrupt:
            report.stop()
    print(report.table())
    for failure in report.failures:
        print(failure)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
