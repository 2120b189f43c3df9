"""Results made by hand, with names that would do harm if anything passed them on as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcasenet import Analysis, Event, Events, Scene, Tags
from dcasenet.results import Provenance

HOSTILE = '=cmd|"<script>alert(1)</script>\x1b[2J\nrow,two'


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a b.wav"
    path.write_bytes(b"not read, but hashed")
    return path


@pytest.fixture
def provenance(recording: Path) -> Provenance:
    status = recording.stat()
    return Provenance(
        version="0.0",
        model="v3 tiny",
        weights="sha256:00",
        runtime="torch",
        precision="float32",
        verb="analyze",
        options={"threshold": {"dog": 0.3}},
        context={"event": {"window": 60.0, "hop": 48.0}},
        source=str(recording),
        read=(status.st_size, status.st_mtime_ns),
    )


@pytest.fixture
def scene() -> Scene:
    windows = np.array([[0.2, 0.8], [0.4, 0.6]], dtype=np.float32)
    times = np.array([[0.0, 5.0], [2.5, 7.5]])
    return Scene(
        ("park", "tram"), windows.mean(axis=0), windows, times, source="a b.wav", duration=7.5
    )


@pytest.fixture
def tags() -> Tags:
    values = np.array([0.1, 0.9, 0.5, 0.9], dtype=np.float32)
    times = np.array([[0.0, 1.0]])
    return Tags(("a", "b", "c", "d"), values, values[None].copy(), times, 3, source="a b.wav")


@pytest.fixture
def events() -> Events:
    items = (Event("dog, small", 0.1, 0.9, 0.75), Event("knock", 0.5, 1.3, 0.5))
    probabilities = np.linspace(0, 1, 40, dtype=np.float32).reshape(20, 2)
    return Events(
        items,
        ("dog, small", "knock"),
        probabilities,
        hop=0.1,
        resolution=0.8,
        source="a b.wav",
        duration=1.95,
    )


@pytest.fixture
def hostile(provenance: Provenance) -> Events:
    items = (Event(HOSTILE, 0.0, 1.0, 0.5), Event('qu"ote', 1.0, 2.0, 0.5))
    return Events(
        items,
        (HOSTILE, 'qu"ote'),
        np.zeros((20, 2), dtype=np.float32),
        hop=0.1,
        resolution=0.8,
        source=f"{HOSTILE}.wav",
        duration=2.0,
        warnings=(HOSTILE,),
        provenance=provenance,
    )


@pytest.fixture
def analysis(scene: Scene, tags: Tags, events: Events, provenance: Provenance) -> Analysis:
    return Analysis(
        scene,
        tags,
        events,
        duration=7.5,
        source=provenance.source,
        warnings=("odd",),
        provenance=provenance,
    )
