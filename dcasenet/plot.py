"""A picture of what a model heard: the log-mel and the detected events under it."""

from __future__ import annotations

import re
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dcasenet import __version__
from dcasenet.audio.io import read
from dcasenet.audio.preprocess import prepare
from dcasenet.models.frontend import LogMel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel
    from dcasenet.results import Analysis, Events

# Above this many seconds, frames are averaged before drawing: a picture has no room for more.
MAX_COLUMNS = 2000
FREQUENCY_TICKS = (100, 500, 1_000, 2_000, 4_000, 8_000)  # Hz


def save_plot(
    model: SoundModel | OnnxSoundModel, audio: str | Path, analysis: Analysis, path: str | Path
) -> None:
    """Draw the log-mel spectrogram of a recording and, under it, its detected events.

    Args:
        model: Whose front end draws it.
        audio: The recording.
        analysis: What the model answered for it.
        path: Picture to write; its ending says which kind (``.png``, ``.svg``, ``.pdf``).

    Raises:
        AudioError: The recording cannot be read.
        ImportError: matplotlib is not installed (extra ``plot``).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib. Type: pip install 'dcasenet[plot]'") from error

    labels = sorted({event.label for event in analysis.events or ()})
    height = 3.5 + 0.28 * max(1, len(labels))
    figure = Figure(figsize=(11, height), layout="constrained")
    upper, lower = figure.subplots(
        2, 1, sharex=True, height_ratios=[3.2, 0.28 * max(1, len(labels)) + 0.3]
    )
    _draw_log_mel(figure, upper, model, audio, analysis.duration)
    upper.set_title(_title(Path(audio).name, analysis), loc="left")
    if analysis.events is not None:
        _draw_events(lower, analysis.events, labels)
    lower.set_xlabel("seconds")
    lower.set_xlim(0, analysis.duration)
    key = "Software" if Path(path).suffix == ".png" else "Creator"
    figure.savefig(path, dpi=120, metadata={key: f"dcasenet {__version__}"})


def is_plot(path: Path) -> bool:
    """Tell whether a picture was drawn by `save_plot`: its metadata say so."""
    return path.is_file() and re.search(rb"dcasenet \d+\.\d+", path.read_bytes()) is not None


def _draw_log_mel(
    figure: Figure,
    axes: Axes,
    model: SoundModel | OnnxSoundModel,
    audio: str | Path,
    duration: float,
) -> None:
    waveform = torch.from_numpy(prepare(read(audio), model.spec).waveforms)
    with torch.inference_mode():
        log_mel = LogMel(model.spec.frontend).log_mel(waveform)[0]
    stride = -(-log_mel.shape[1] // MAX_COLUMNS)
    if stride > 1:
        log_mel = torch.nn.functional.avg_pool1d(log_mel, stride)
    decibels = log_mel * 4.342945  # 10 / ln 10: natural logarithm of power to dB
    loudest = float(decibels.max())
    image = axes.imshow(
        decibels.numpy(),
        origin="lower",
        aspect="auto",
        extent=(0, duration, 0, len(decibels)),
        vmin=loudest - 80,
        vmax=loudest,
        cmap="magma",
    )
    settings = model.spec.frontend
    top = _mel(settings.sample_rate / 2)
    axes.set_yticks([_mel(hertz) / top * settings.n_mels for hertz in FREQUENCY_TICKS])
    axes.set_yticklabels([f"{hertz:,}" for hertz in FREQUENCY_TICKS])
    axes.set_ylabel("Hz (mel scale)")
    figure.colorbar(image, ax=axes, label="dB", pad=0.01)


def _draw_events(axes: Axes, events: Events, labels: list[str]) -> None:
    for event in events:
        row = labels.index(event.label)
        length = event.offset - event.onset
        alpha = 0.3 + 0.7 * event.probability
        axes.barh(row, length, left=event.onset, height=0.7, color=f"C{row}", alpha=alpha)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    if not labels:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no event above its threshold", transform=axes.transAxes, ha="center")
    axes.grid(axis="x", alpha=0.3)


def _title(name: str, analysis: Analysis) -> str:
    parts = [name]
    if analysis.scene is not None:
        parts[0] += f"   scene: {analysis.scene.label} {analysis.scene.probability:.2f}"
    if analysis.tags is not None:
        best = ", ".join(f"{tag.label} {tag.probability:.2f}" for tag in analysis.tags[:3])
        parts.append(f"tags: {best}")
    return "\n".join(parts)


def _mel(hertz: float) -> float:
    return 2595.0 * log10(1.0 + hertz / 700.0)
