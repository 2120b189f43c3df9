"""The public names, and what importing and using the package leaves untouched."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import dcasenet

PUBLIC = {
    "Analysis", "AudioError", "AudioReport", "ChecksumError", "DcasenetError", "Embedding",
    "Event", "Events",
    "FrontEndSettings", "JobError", "ModelSpec", "OfflineError", "Outputs", "Scene", "ScoredLabel",
    "SoundModel", "Tags", "TaskNotAvailableError", "UnknownLabelError", "UnknownModelError",
    "WeightsError", "__version__", "available_models", "check", "create", "decode_events",
    "example", "load",
}  # fmt: skip
# What `import dcasenet` alone makes usable.
SUBMODULES = {
    "annotations", "batch", "errors", "hear", "inference", "labels", "live", "onnx", "plot",
    "report", "results", "sklearn", "spec", "train", "verify", "xares",
}  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_public_names() -> None:
    assert set(dcasenet.__all__) == PUBLIC
    assert set(dir(dcasenet)) == PUBLIC - {"__version__"} | SUBMODULES
    for name in PUBLIC:
        assert getattr(dcasenet, name) is not None
    with pytest.raises(AttributeError, match="laod"):
        dcasenet.laod  # type: ignore[attr-defined]  # noqa: B018


def test_submodules_need_no_import_of_their_own() -> None:
    code = "import dcasenet; print([getattr(dcasenet, name).__name__ for name in {}])"
    names = sorted(SUBMODULES)
    assert run(code.format(names)) == str([f"dcasenet.{name}" for name in names])
    code = "import dcasenet; print(dcasenet.labels.to_audioset('dog')[0].name)"
    assert run(code) == "Dog"


def test_a_star_import_imports_no_submodule() -> None:
    code = (
        "from dcasenet import *; import sys; print(load.__name__, 'dcasenet.hear' in sys.modules)"
    )
    assert run(code) == "load False"


def test_errors_are_what_callers_expect_to_catch() -> None:
    assert issubclass(dcasenet.AudioError, ValueError)
    assert issubclass(dcasenet.UnknownModelError, ValueError)
    assert issubclass(dcasenet.WeightsError, OSError)
    for name in ("ChecksumError", "OfflineError"):
        assert issubclass(getattr(dcasenet, name), dcasenet.WeightsError)
    for name in PUBLIC:
        if name.endswith("Error"):
            assert issubclass(getattr(dcasenet, name), dcasenet.DcasenetError)


def test_errors_cross_process_borders() -> None:
    error = dcasenet.UnknownModelError("model", "V3", ["v3"])
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (type(error), str(error))


def test_import_is_light() -> None:
    heavy = {"torch", "numpy", "soundfile", "huggingface_hub", "typer", "rich", "httpx2"}
    code = f"import sys, dcasenet; print(sorted({heavy!r} & set(sys.modules)))"
    assert run(code) == "[]"


def test_use_changes_no_global_state() -> None:
    code = """
import logging, os, random, sys, warnings
import numpy as np
import torch

def state():
    return (
        torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
        torch.get_rng_state().tolist(), torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        str(np.random.get_state()), random.getstate(), np.geterr(), list(warnings.filters),
        logging.root.level, list(logging.root.handlers), logging.raiseExceptions,
        dict(os.environ), os.getcwd(), sys.excepthook,
    )

before = state()
import dcasenet
from dcasenet.models.frontend import LogMel
from dcasenet.inference.model import SoundModel
spec = dcasenet.ModelSpec("v3", "x", width=0.125, scenes=("a", "b"), tags=("c", "d"),
                          events=("e", "f"), thresholds={"e": 0.3, "f": 0.3})
with torch.random.fork_rng():
    network = dcasenet.create("v3", n_scenes=2, n_tags=2, n_events=2, width=0.125)
    model = SoundModel(spec, LogMel(spec.frontend), network)
model.analyze(np.ones(40_000, np.float32), 44_100)
model.embed(np.ones(40_000, np.float32), 44_100)
after = state()
print([i for i, (a, b) in enumerate(zip(before, after)) if a != b])
"""
    assert run(code) == "[]"
