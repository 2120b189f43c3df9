"""The picture of a calibration: how far probabilities can be believed (extra ``plot``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcasenet.plot.saving import new_figure, save_figure
from dcasenet.spec import CURVE_THRESHOLDS
from dcasenet.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dcasenet.inference.calibration import Calibration

MOST_LABELS = 8  # curves that can be told apart


def save_reliability(calibration: Calibration, path: str | os.PathLike[str]) -> None:
    """Draw the reliability diagram of a calibration, and precision and recall by threshold.

    Args:
        calibration: What `SoundVerbs.calibrate` returned.
        path: Picture to write; its suffix decides its kind (``.png``, ``.svg``, ``.pdf``).

    Raises:
        ImportError: matplotlib is not installed (extra ``plot``).
    """
    figure = new_figure(figsize=(11, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    _draw_reliability(left, calibration)
    by_count = sorted(calibration.labels, key=lambda label: -calibration.n_positive[label])
    shown = by_count[:MOST_LABELS]
    for axes, figure_name in ((middle, "precision"), (right, "recall")):
        for number, label in enumerate(shown):
            values = getattr(calibration.curves[label], figure_name)
            axes.plot(CURVE_THRESHOLDS, values, color=f"C{number}", label=_name(label))
        axes.set(xlabel="threshold", ylabel=figure_name, xlim=(0, 1), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)
    save_figure(figure, Path(path))


def _draw_reliability(axes: Axes, calibration: Calibration) -> None:
    used = calibration.counts > 0
    n_bins = len(calibration.counts)
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":", label="as probable as said")
    axes.bar(
        (np.arange(n_bins) + 0.5)[used] / n_bins,
        calibration.observed[used],
        width=0.92 / n_bins,
        alpha=0.35,
        label="observed share",
    )
    axes.plot(calibration.predicted[used], calibration.observed[used], marker="o", color="C0")
    places = (calibration.predicted[used], calibration.observed[used], calibration.counts[used])
    for x, y, count in zip(*places, strict=True):
        axes.annotate(
            f"{count:,}", (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=7
        )
    axes.set(
        xlabel="predicted probability",
        ylabel="share of segments in which it sounds",
        xlim=(0, 1),
        ylim=(-0.02, 1.06),
        title=f"expected calibration error {calibration.expected_calibration_error:.3f}, "
        f"{calibration.n_segments:,} segments of 1 s",
    )
    axes.title.set_fontsize(10)
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)


def _name(label: str) -> str:
    return one_line(label).replace("$", r"\$")
