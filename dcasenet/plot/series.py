"""What is drawn over time, in few enough values for a picture."""

from __future__ import annotations

import numpy as np

from dcasenet.results import Events, Floats, Scene

MOST_CURVES, MOST_SCENES = 8, 400


def curves_of(events: Events, max_columns: int) -> tuple[list[str], Floats, float]:
    """Return the curves that are worth drawing: those of the events, then the highest.

    Args:
        events: The events and their framewise probabilities.
        max_columns: How many values a curve has at most; rows share a column by their highest.

    Returns:
        Labels, probabilities (labels, columns), and the seconds from one column to the next.
    """
    highest = events.probabilities.max(axis=0, initial=0.0)
    detected = list(dict.fromkeys(event.label for event in events))
    ranked = [events.labels[i] for i in np.argsort(-highest, kind="stable")]
    labels = [*detected, *(label for label in ranked if label not in detected)][:MOST_CURVES]
    rows = events.probabilities[:, [events.labels.index(label) for label in labels]]
    stride = max(1, -(-len(rows) // max_columns))
    padded = np.pad(rows, ((0, -len(rows) % stride), (0, 0)))
    columns = padded.reshape(-1, stride, len(labels)).max(axis=1, initial=0.0)
    return labels, columns.T, events.hop * stride


def scenes_over_time(scene: Scene) -> list[tuple[float, float, str, float]]:
    """Return the best scene of each window: from, to, label, probability, for one row of boxes.

    Windows that overlap meet in the middle of what they share.
    """
    times, best = scene.times, scene.windows.argmax(axis=1)
    inner = (times[1:, 0] + times[:-1, 1]) / 2
    edges = np.concatenate((times[:1, 0], inner, times[-1:, 1]))
    stride = max(1, -(-len(best) // MOST_SCENES))
    return [
        (
            float(edges[i]),
            float(edges[min(i + stride, len(best))]),
            scene.labels[best[i]],
            float(scene.windows[i, best[i]]),
        )
        for i in range(0, len(best), stride)
    ]
