"""A command that is called as a user calls it, on a small model in a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dcasenet import SoundModel
from dcasenet.cli import commands


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def folder(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(path)
    return str(path)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str
) -> Callable[..., Done]:
    def call(command: str, *arguments: object, model: bool = True) -> Done:
        words = [command, *map(str, arguments), *(("--model", folder) if model else ())]
        monkeypatch.setattr(sys, "argv", ["dcasenet", *words])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as exit_:
            commands.main()
        captured = capsys.readouterr()
        return Done(int(exit_.value.code or 0), captured.out, captured.err)

    call.folder = folder  # type: ignore[attr-defined]
    return call


@pytest.fixture
def wav(write_wav: Callable[..., Path]) -> Path:
    rng = np.random.default_rng(0)
    return write_wav("street.wav", rng.standard_normal(72_000).astype(np.float32) * 0.1)
