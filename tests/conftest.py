"""What the tests share: a tiny model, a released-format stand-in, real recordings."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import dcasenet
from dcasenet.inference.model import SoundModel
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import ModelSpec
from tests.parity import golden as parity_golden
from tests.parity import stand_in

ROOT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is in a shell's background, and in every process that a test starts to interrupt it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.command",
    "tests.fixtures.lightning_noise",
    "tests.fixtures.loudness",
    "tests.fixtures.training",
]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference numbers and real recordings, which lie beside a checkout and in no release."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the reference material in ../shared, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """Outputs of the authors' code; see `tests.parity.golden`."""
    return parity_golden.read()


@pytest.fixture(scope="session")
def recordings() -> tuple[Path, ...]:
    """The real recordings that the repository holds."""
    return dcasenet.example(), ROOT / "examples" / "dog_barking.ogg"


@pytest.fixture(scope="session")
def released_state() -> dict[str, torch.Tensor]:
    """A state dict of the released format, seed 0."""
    return stand_in.state_dict(0)


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """A spec with few labels and a narrow network."""
    events = ("dog", "door knock", "speech")
    return ModelSpec(
        name="v3",
        stage="tiny",
        width=0.125,
        scenes=("park", "street", "tram", "office"),
        tags=("bark", "bell", "rain", "siren", "wind"),
        events=events,
        thresholds=dict.fromkeys(events, 0.3),
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_spec: ModelSpec) -> SoundModel:
    """A model with random weights whose probabilities depend on what it reads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create("v3", n_scenes=4, n_tags=5, n_events=3, width=tiny_spec.width)
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(layer.running_var, 0.2, 1.0)
    return SoundModel(tiny_spec, LogMel(tiny_spec.frontend), network)


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Seeded noise whose loudness rises and falls: noise(n_samples, seed) float32."""

    def make(n_samples: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        swell = 0.1 + 0.1 * np.sin(np.arange(n_samples) / 7_000 + seed)
        return (rng.standard_normal(n_samples) * swell).astype(np.float32)

    return make


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Path]:
    """write_wav(name, samples, sample_rate, **soundfile options) → the path."""

    def write(name: str, samples: np.ndarray, sample_rate: int = 24_000, **options: Any) -> Path:
        path = tmp_path / name
        soundfile.write(path, samples.T, sample_rate, **options)
        return path

    return write


def _browser(*options: str) -> Any:
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = chromium
    for option in ("--headless=new", "--disable-gpu", "--window-size=1100,1300", *options):
        chosen.add_argument(option)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        chosen.add_argument("--no-sandbox")  # Chromium has none for root
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    started = webdriver.Chrome(options=chosen, service=service)
    started.set_script_timeout(300)
    return started


@pytest.fixture(scope="session")
def open_browser() -> Iterator[Callable[..., Any]]:
    """Start a browser with more options; it ends with the session."""
    started = []

    def start(*options: str) -> Any:
        started.append(_browser(*options))
        return started[-1]

    yield start
    for driver in started:
        driver.quit()
