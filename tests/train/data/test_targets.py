import numpy as np
import pytest

from dcasenet.train.data.targets import TrueEvent, step_targets


def test_targets_are_shares_of_steps() -> None:
    events = [TrueEvent(0, 0.0, 0.8), TrueEvent(1, 1.2, 2.8), TrueEvent(2, 0.9, 1.0)]
    targets = step_targets(events, n_events=3, duration=4.0)
    expected = np.array([[1, 0, 0], [0, 0.5, 1], [0, 1, 0], [0, 0.5, 0], [0, 0, 0]])
    assert targets == pytest.approx(expected, abs=1e-6)
