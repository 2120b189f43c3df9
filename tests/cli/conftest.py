"""A command that is called as a user calls it, on a small model in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet import SoundModel
from tests.fixtures.command import Done


@pytest.fixture(scope="session")
def folder(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(path)
    return str(path)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, call_command: Callable[..., Done], folder: str
) -> Callable[..., Done]:
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: object, model: bool = True) -> Done:
        return call_command(*words, *(("--model", folder) if model else ()))

    call.folder = folder  # type: ignore[attr-defined]
    return call


@pytest.fixture
def wav(write_wav: Callable[..., Path]) -> Path:
    rng = np.random.default_rng(0)
    return write_wav("street.wav", rng.standard_normal(72_000).astype(np.float32) * 0.1)
