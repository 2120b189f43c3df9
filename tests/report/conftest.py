"""A stand-in for a model that answers at once, and pages that it makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet import Analysis, AudioError, Event, Events, ModelSpec, Scene, Tags
from dcasenet.report import write_report

HOSTILE = "<img src=x onerror=document.title='hacked'>"


class Answering:
    """Answers every recording in time with its name, with labels that would do harm."""

    def __init__(self) -> None:
        self.spec = ModelSpec(
            "v3",
            "mine",
            scenes=("park", HOSTILE),
            tags=("dog", HOSTILE),
            events=("dog", HOSTILE),
            thresholds={"dog": 0.3, HOSTILE: 0.6},
        )

    def analyze(self, path: str, **_: Any) -> Analysis:
        number = int("".join(c for c in Path(path).stem if c.isdigit()) or 0)
        if number % 50 == 49:
            raise AudioError(f"{path} is empty: {HOSTILE}.")
        share = np.float32((number % 97) / 100)
        times = np.array([[0.0, 5.0], [2.5, 7.5], [5.0, 10.0]])
        values = np.array([1 - share, share], np.float32)
        windows = np.stack([values, values, values[::-1]])
        rows = np.zeros((100, 2), np.float32)
        rows[20:40, 0] = 0.9
        items = (Event("dog", 2.0, 4.0, 0.9), Event(HOSTILE, 5.0, 6.0, 0.7))[: 1 + number % 2]
        about: dict[str, Any] = {
            "source": path,
            "duration": 10.0,
            "warnings": (f"odd {HOSTILE}",) if number % 3 == 0 else (),
            "is_sure": number % 7 != 0,
            "familiarity": 0.5 if number % 7 else 0.001,
        }
        return Analysis(
            Scene(self.spec.scenes, values, windows, times, **about),
            Tags(self.spec.tags, values, values[None].copy(), times[:1], **about),
            Events(
                items, self.spec.events, rows, 0.1, 0.8, thresholds=self.spec.thresholds, **about
            ),
            **about,
        )


@pytest.fixture(scope="session")
def answering() -> Any:
    return Answering()


def write_tone(folder: Path) -> Path:
    """A folder with a recording of 10 s that falls by 20 dB in the middle."""
    tone = 0.5 * np.sin(np.arange(240_000) / 24_000 * 2 * np.pi * 440).astype(np.float32)
    tone[120_000:] *= 0.1
    folder.mkdir()
    soundfile.write(folder / "clip001.wav", tone, 24_000)
    return folder


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder with one recording: a test links to it as often as it needs."""
    return write_tone(tmp_path / "sounds")


@pytest.fixture(scope="session")
def many(answering: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 120 recordings, of which two fail."""
    folder = write_tone(tmp_path_factory.mktemp("many") / "sounds")
    for number in range(2, 121):
        os.link(folder / "clip001.wav", folder / f"clip{number:03d}.wav")
    page = folder.parent / "page.html"
    write_report(answering, folder, page, audio="link")
    return page
