"""What the tests of the page share: a served page, and headless Chromium looking at it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import dcasenet.onnx
from dcasenet import ModelSpec, SoundModel, create
from dcasenet.inference.familiarity import fit
from dcasenet.models.frontend import LogMel
from dcasenet.onnx.export import to_onnx
from dcasenet.spec import Context, Task

ROOT = Path(__file__).parents[2]
DOG = ROOT / "examples" / "dog_barking.ogg"
# Runs a file through a worker of its own and gives all that it found out, as numbers.
ANSWER = """
const done = arguments[arguments.length - 1];
const worker = new Worker("worker.js", { type: "module" });
const windows = { scene: [], tag: [] };
worker.onmessage = ({ data }) => {
  for (const task of ["scene", "tag"]) windows[task].push(...(data[task] ?? []));
  if (data.kind === "ready") worker.postMessage({ kind: "file", file: window.chosen.files[0] });
  if (data.kind !== "done" && data.kind !== "failed") return;
  worker.terminate();
  const plain = (values) => values && [...values];
  const times = (list) => list.map(({ onset, offset }) => [onset, offset]);
  done({
    ...data.result,
    message: data.message,
    scene: plain(data.result?.scene),
    tag: plain(data.result?.tag),
    times: { scene: times(windows.scene), tag: times(windows.tag) },
  });
};
worker.postMessage({ kind: "load", model: "/model.onnx" });
"""
CHOOSER = """
window.chosen = document.createElement("input");
window.chosen.type = "file";
window.chosen.id = "chosen";
document.body.append(window.chosen);
"""


class Page:
    """The page in a browser.

    Args:
        driver: Selenium's.
        url: Where the page is served.
    """

    def __init__(self, driver: Any, url: str) -> None:
        self.driver, self.url = driver, url
        driver.get(url)
        driver.execute_script(CHOOSER)

    def find(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def text(self, name: str) -> str:
        return str(self.find(name).text)

    def wait(self, for_what: Callable[[], Any], seconds: float = 120.0) -> Any:
        end = time.monotonic() + seconds
        while not (value := for_what()):
            assert time.monotonic() < end, self.text("status") + self.text("problem")
            time.sleep(0.05)
        return value

    def ready(self) -> Page:
        self.wait(lambda: self.text("status") == "Ready.")
        return self

    def choose(self, file: Path) -> None:
        self.find("file").send_keys(str(file))

    def show(self, file: Path) -> None:
        """Choose a file and wait for the whole answer, or for what is wrong."""
        self.choose(file)
        self.wait(lambda: self.text("status").endswith("done.") or self.text("problem"))

    def answer(self, file: Path) -> dict[str, Any]:
        self.find("chosen").send_keys(str(file))
        answer: dict[str, Any] = self.driver.execute_async_script(ANSWER)
        return answer

    def complaints(self) -> list[str]:
        """What the browser's console holds, such as what its security policy has stopped."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Serve a model as a person would; a context that gives the address."""

    @contextmanager
    def run(model: Path, *options: str) -> Iterator[str]:
        command = [sys.executable, "-m", "dcasenet", "web", str(model), "--no-browser"]
        with subprocess.Popen(
            [*command, "--port", "0", *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout
                address = re.search(r"http://\S+", process.stdout.readline())
                assert address
                yield address.group()
            finally:
                process.terminate()

    return run


@pytest.fixture(scope="session")
def tiny_file(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small exported model; one of its labels is HTML, as labels from elsewhere may be."""
    spec = tiny_model.spec
    labels = ("<img src=x onerror=alert(1)>", *spec.tags[1:])
    model = SoundModel(
        dataclasses.replace(spec, tags=labels), tiny_model.frontend, tiny_model.network
    )
    return to_onnx(model, tmp_path_factory.mktemp("web") / "tiny.onnx")


@pytest.fixture(scope="session")
def one_grid_file(tiny_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small exported model whose tasks share their windows, with steps of 0.16 s."""
    windows = {"window": 7.0, "hop": 3.5, "shortest": 4.0}
    context: dict[Task, Context] = {
        "scene": Context(pooling="mean", **windows),
        "tag": Context(pooling="max", **windows),
        "event": Context(pooling="overlap", **windows),
    }
    settings = dataclasses.replace(tiny_spec.frontend, normalization="level")
    spec = dataclasses.replace(
        tiny_spec, stage="one-grid", time_pooling=1, context=context, frontend=settings
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = create(
            "v3", n_scenes=4, n_tags=5, n_events=3, width=spec.width, time_pooling=1
        ).eval()
    frontend = LogMel(spec.frontend)
    probabilities = SoundModel(spec, frontend, network).detect_events(DOG).probabilities
    probabilities = probabilities[probabilities.any(axis=1)]  # where it is not silent
    limits = dict(zip(spec.events, np.median(probabilities, axis=0).tolist(), strict=True))
    # So that most events that are active somewhere last beyond what exceeds the threshold.
    low = np.quantile(probabilities, 0.3, axis=0) / np.median(probabilities, axis=0)
    spec = dataclasses.replace(spec, thresholds=limits, hysteresis=float(low.mean()))
    model = SoundModel(spec, frontend, network)
    return to_onnx(model, tmp_path_factory.mktemp("web") / "one_grid.onnx")


@pytest.fixture(scope="session")
def unsure_file(one_grid_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a model that is sure of barking and of little else."""
    model = dcasenet.onnx.load(one_grid_file)
    samples, rate = soundfile.read(DOG, dtype="float32")
    rng = np.random.default_rng(0)
    barking = [
        model.embed(np.roll(samples, 997 * i) * rng.uniform(0.5, 1), rate) for i in range(24)
    ]
    hiss = [model.embed(rng.standard_normal(rate) * rng.uniform(0.1, 1), rate) for _ in range(8)]
    statistics = fit(np.array(barking[:16]), np.array(barking[16:]), np.array(hiss), rank=6)
    # As wide as those of a trained network, beside which noise and barking lie far apart.
    statistics = dataclasses.replace(
        statistics,
        distances=(0.0, *(8 * value for value in statistics.distances[1:])),
        scores=tuple(np.linspace(-2.0, 0.0, 21).tolist()),
        limit=0.3,
    )
    model.spec = dataclasses.replace(model.spec, familiarity=statistics)
    path = tmp_path_factory.mktemp("web") / "unsure.onnx"
    path.write_bytes(model.content())
    return path


@pytest.fixture(scope="session")
def address(serve: Callable[..., Any], tiny_file: Path) -> Iterator[str]:
    with serve(tiny_file) as url:
        yield url


@pytest.fixture(scope="session")
def browser(open_browser: Callable[..., Any]) -> Any:
    return open_browser()


@pytest.fixture
def page(browser: Any, address: str) -> Page:
    return Page(browser, address).ready()
