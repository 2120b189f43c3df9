"""Pictures: what is drawn where, looked up in the figure itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcasenet import SoundModel
from dcasenet.inference.calibration import calibration
from dcasenet.plot import is_plot, save_plot, save_reliability
from dcasenet.plot import picture as module
from dcasenet.verify import read_provenance

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture
def wav(write_wav: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    return write_wav("$a_b$ street.wav", noise(240_000))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved."""
    figures: list[Any] = []
    save = module.save_figure
    monkeypatch.setattr(
        module, "save_figure", lambda figure, *rest: (figures.append(figure), save(figure, *rest))
    )
    return figures


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_has_all_tracks(
    tiny_model: SoundModel, wav: Path, tmp_path: Path, drawn: list[Any], suffix: str
) -> None:
    analysis = tiny_model.analyze(wav, threshold={"dog": 0.0, "speech": 0.37})
    path = tmp_path / f"a{suffix}"
    save_plot(tiny_model.spec, wav, analysis, path)
    assert is_plot(path)
    if suffix == ".png":
        assert read_provenance(path).options["threshold"]["speech"] == 0.37
    mel, curves, events, scenes = drawn[0].axes[:4]
    assert mel.get_ylabel() == "frequency (Hz)"
    assert [axes.get_ylabel() for axes in drawn[0].axes[4:] + mel.child_axes] == [
        "dB below the loudest"
    ]
    assert [axes.get_xlim() for axes in (mel, curves, events, scenes)] == [(0.0, 10.0)] * 4
    assert scenes.get_xlabel() == "time (s)"
    legend = [text.get_text() for text in curves.get_legend().get_texts()]
    assert set(legend) == {"dog", "door knock", "speech", "thresholds"}
    assert {0.0, 0.37, 0.3} <= {
        float(line.get_ydata()[0]) for line in curves.get_lines() if len(line.get_ydata())
    }
    assert "dog" in [label.get_text() for label in events.get_yticklabels()]
    assert len(events.patches) == len(analysis.events)
    assert len(scenes.patches) == len(analysis.scene.times)
    assert mel.get_title(loc="left").startswith(r"\$a_b\$ street.wav   scene: ")


def test_no_events_are_reported(
    tiny_model: SoundModel, wav: Path, tmp_path: Path, drawn: list[Any]
) -> None:
    save_plot(tiny_model.spec, wav, tiny_model.analyze(wav, threshold=1.0), tmp_path / "a.png")
    texts = [text.get_text() for axes in drawn[0].axes for text in axes.texts]
    assert "no event above its threshold" in texts


def test_a_long_recording_counts_minutes(
    tiny_model: SoundModel, write_wav: Callable[..., Path], tmp_path: Path, drawn: list[Any]
) -> None:
    long = write_wav("long.wav", np.zeros(6 * 60 * 8_000, np.float32), 8_000)
    save_plot(tiny_model.spec, long, tiny_model.analyze(long), tmp_path / "a.png")
    axes = drawn[0].axes[3]
    assert axes.get_xlabel() == "time (min:s)"
    assert module._clock(3_725) == "1:02:05"
    assert module._clock(65) == "1:05"


def test_reliability(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((200, 2)) < 0.4
    values = np.clip(rng.normal(0.3, 0.2, truth.shape) + 0.4 * truth, 0, 1).astype(np.float32)
    measured = calibration(["dog", "$cat$"], truth, values, 3)
    save_reliability(measured, tmp_path / "a.png")
    assert is_plot(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        save_reliability(measured, tmp_path / "missing" / "a.png")
