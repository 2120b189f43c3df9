"""Events in seconds become targets at the network's steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcasenet.spec import STEP


@dataclass(frozen=True)
class TrueEvent:
    """An event of a soundscape: index of its label, onset and offset in seconds."""

    label: int
    onset: float
    offset: float


def step_targets(
    events: Sequence[TrueEvent], n_events: int, duration: float, step: float = STEP
) -> NDArray[np.float32]:
    """Return the truth at the network's steps: overlap ÷ the most that the event could overlap.

    A step that an event fills, or that holds all of a short event, is 1; where an event spans two
    steps, each has its share.

    Args:
        events: Truth in seconds.
        n_events: Number of event labels.
        duration: Length of the soundscape, in seconds.
        step: Seconds of a step of the network.

    Returns:
        (steps, n_events), steps = duration // step.

    Example:
        >>> step_targets([TrueEvent(0, 0.7, 1.1)], n_events=1, duration=2.4)[:, 0].round(2).tolist()
        [0.25, 0.75, 0.0]
    """
    n_steps = int(duration / step + 1e-9)
    targets = np.zeros((n_steps, n_events), np.float32)
    starts = np.arange(n_steps) * step
    for event in events:
        overlap = np.minimum(starts + step, event.offset) - np.maximum(starts, event.onset)
        share = overlap / min(step, event.offset - event.onset)
        targets[:, event.label] = np.maximum(targets[:, event.label], share)
    return targets.clip(0.0, 1.0)
