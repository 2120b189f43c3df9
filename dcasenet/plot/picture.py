"""A picture of a recording and what a model makes of it, on one time axis (extra ``plot``)."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcasenet.plot.overview import DYNAMIC_RANGE, Overview, mono_blocks, overview
from dcasenet.plot.saving import new_figure, save_figure
from dcasenet.plot.series import curves_of, scenes_over_time
from dcasenet.results import Analysis, Event, Events, Scene
from dcasenet.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dcasenet.spec import ModelSpec

MAX_COLUMNS = 2000
FREQUENCY_TICKS = (125, 250, 500, 1_000, 2_000, 4_000, 8_000)  # Hz
# Above so many seconds the time axis counts minutes.
MINUTES_FROM = 300.0
ROW = 0.28  # inches that an event's row takes


def save_plot(spec: ModelSpec, audio: str | Path, analysis: Analysis, path: str | Path) -> None:
    """Draw a recording's spectrogram, event probabilities, events and scenes over time.

    Args:
        spec: Of the model that answered; its rate is the picture's.
        audio: The recording.
        analysis: What the model answered for it.
        path: Picture to write; its suffix decides its kind (``.png``, ``.svg``, ``.pdf``). The
            analysis' provenance stands in its metadata.

    Raises:
        AudioError: The recording cannot be read.
        ImportError: matplotlib is not installed (extra ``plot``).
    """
    seen = overview(
        mono_blocks(str(audio), spec), spec.frontend.sample_rate, analysis.duration, MAX_COLUMNS
    )
    events, scene = analysis.events, analysis.scene
    labels = [] if events is None else list(dict.fromkeys(event.label for event in events))
    heights = {"mel": 2.4}
    if events is not None:
        heights |= {"curves": 1.7, "events": ROW * max(1, len(labels)) + 0.1}
    if scene is not None:
        heights["scenes"] = 0.4
    figure = new_figure(figsize=(11, sum(heights.values()) + 1.5), layout="constrained")
    axes = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=list(heights.values()), squeeze=False
    )[:, 0]
    place: dict[str, Axes] = dict(zip(heights, axes, strict=True))
    _draw_mel(figure, place["mel"], seen)
    place["mel"].set_title(_title(audio, analysis), loc="left", fontsize=11)
    if events is not None:
        colors = _draw_curves(place["curves"], events)
        _draw_events(place["events"], events, labels, colors)
    if scene is not None:
        _draw_scenes(place["scenes"], scene)
    _scale_time(axes[-1], analysis.duration)
    save_figure(figure, Path(path), analysis.provenance)


def _draw_mel(figure: Figure, axes: Axes, seen: Overview) -> None:
    bands = np.arange(len(seen.frequencies)) + 0.5
    image = axes.imshow(
        seen.mel_db,
        origin="lower",
        aspect="auto",
        extent=(0, seen.duration, 0, len(bands)),
        vmin=-DYNAMIC_RANGE,
        vmax=0,
        cmap="magma",
        interpolation="nearest",
    )
    ticks = [hertz for hertz in FREQUENCY_TICKS if hertz < seen.frequencies[-1]]
    axes.set_yticks(np.interp(ticks, seen.frequencies, bands), [f"{hertz:,}" for hertz in ticks])
    axes.set_ylabel("frequency (Hz)")
    beside = axes.inset_axes((1.012, 0.0, 0.014, 1.0))
    figure.colorbar(image, cax=beside, label="dB below the loudest")


def _draw_curves(axes: Axes, events: Events) -> dict[str, Any]:
    """Draw probabilities and thresholds, and return the color of each label."""
    labels, curves, step = curves_of(events, MAX_COLUMNS)
    edges = np.minimum(np.arange(curves.shape[1] + 1) * step, events.duration)
    colors: dict[str, Any] = {}
    for number, (label, curve) in enumerate(zip(labels, curves, strict=True)):
        colors[label] = color = f"C{number % 10}"
        axes.stairs(curve, edges, baseline=None, color=color, label=_name(label), linewidth=1.3)
        if label in events.thresholds:
            axes.axhline(events.thresholds[label], color=color, linestyle=":", linewidth=1)
    axes.plot([], [], color="gray", linestyle=":", label="thresholds")
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("probability")
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1.02), fontsize=8, frameon=False)
    return colors


def _draw_events(axes: Axes, events: Events, labels: list[str], colors: dict[str, Any]) -> None:
    for row, label in enumerate(labels):
        of_label: list[Event] = [event for event in events if event.label == label]
        for event in of_label:
            axes.barh(
                row,
                event.offset - event.onset,
                left=event.onset,
                height=0.7,
                color=colors.get(label, "gray"),
                alpha=0.35 + 0.65 * event.probability,
            )
    axes.set_yticks(range(len(labels)), [_name(label) for label in labels])
    axes.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    axes.set_ylabel("events")
    if not labels:
        axes.text(0.5, 0.5, "no event above its threshold", transform=axes.transAxes, ha="center")
    axes.grid(axis="x", alpha=0.3)


def _draw_scenes(axes: Axes, scene: Scene) -> None:
    from matplotlib.transforms import Bbox, TransformedBbox

    boxes = scenes_over_time(scene)
    for start, stop, label, probability in boxes:
        color = f"C{scene.labels.index(label) % 10}"
        axes.barh(0, stop - start, left=start, height=1, color=color, alpha=0.2 + 0.6 * probability)
    for label, run in groupby(boxes, key=itemgetter(2)):
        of_label = list(run)
        start, stop = of_label[0][0], of_label[-1][1]
        text = axes.text(start, 0, f" {_name(label)} {of_label[0][3]:.2f}", va="center", fontsize=8)
        text.set_clip_on(True)
        text.set_clip_box(TransformedBbox(Bbox([[start, -0.5], [stop, 0.5]]), axes.transData))
    axes.set_yticks([])
    axes.set_ylim(-0.5, 0.5)
    axes.set_ylabel("scene", rotation=0, ha="right", va="center")


def _scale_time(axes: Axes, duration: float) -> None:
    axes.set_xlim(0, duration)
    axes.set_xlabel("time (s)")
    if duration >= MINUTES_FROM:
        axes.set_xlabel("time (min:s)")
        axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _title(audio: str | Path, analysis: Analysis) -> str:
    parts = [_name(Path(audio).name)]
    if analysis.scene is not None:
        doubt = "" if analysis.is_sure else "not sure, "
        scene = analysis.scene
        parts[0] += f"   scene: {doubt}{_name(scene.label)} {scene.probability:.2f}"
    if analysis.tags is not None:
        best = ", ".join(f"{_name(t.label)} {t.probability:.2f}" for t in analysis.tags[:3])
        parts.append(f"tags: {best}")
    return "\n".join(parts)


def _name(text: str) -> str:
    """Text as it is: on one line, and dollars are no formulas."""
    return one_line(text).replace("$", r"\$")
