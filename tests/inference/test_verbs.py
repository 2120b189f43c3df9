"""What a caller sees: context rules and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcasenet import (
    Embedding,
    ModelSpec,
    SoundModel,
    TaskNotAvailableError,
)

RATE = 24_000
Noise = Callable[..., np.ndarray]
WriteWav = Callable[..., Path]


# ---------------------------------------------------------------- context rules


def test_scene_is_the_mean_softmax_of_crops_normalized_each_by_itself(
    tiny_model: SoundModel, noise: Noise
) -> None:
    waveform = noise(10 * RATE)
    emphasised = torch.from_numpy(waveform)[None]
    crops = [emphasised[:, a:b] for a, b in ((0, 120_001), (60_000, 180_001), (119_999, 240_000))]
    with torch.inference_mode():
        logits = [tiny_model.network(tiny_model.frontend(crop)).scene[0] for crop in crops]
    expected = torch.stack(logits).softmax(dim=1)
    scene = tiny_model.classify_scene(waveform, RATE)
    np.testing.assert_allclose(scene.windows, expected, atol=1e-5)
    np.testing.assert_allclose(scene.values, expected.mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(scene.times, [[0, 5], [2.5, 7.5], [5, 10]], atol=1e-4)
    assert sum(scene.probabilities.values()) == pytest.approx(1)


def test_long_tags_are_the_highest_of_their_windows(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(70 * RATE)
    tags = tiny_model.tag(waveform, RATE, top=2)
    parts = [tiny_model.tag(waveform[a * RATE : b * RATE], RATE) for a, b in
             ((0, 30), (30, 60), (40, 70))]  # fmt: skip
    expected = np.stack([part.values for part in parts])
    np.testing.assert_allclose(tags.windows, expected, atol=1e-5)
    np.testing.assert_allclose(tags.values, expected.max(axis=0), atol=1e-5)
    assert len(tags) == 2
    assert tags.times.tolist() == [[0, 30], [30, 60], [40, 70]]


def test_long_events_join_their_windows(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(23 * RATE)
    events = tiny_model.detect_events(waveform, RATE, window=10.0, hop=7.2)
    with torch.inference_mode():
        steps = [
            tiny_model.network(
                tiny_model.frontend(torch.from_numpy(waveform[None, start : start + 240_000]))
            ).event[0].sigmoid()
            for start in (0, 172_800, 326_400)  # 0, 7.2 and 13.6 s: 9.4 s remain
        ]  # fmt: skip
    assert [len(part) for part in steps] == [12, 12, 11]
    np.testing.assert_allclose(events.probabilities[: 8 * 9 : 8], steps[0][:9], atol=1e-5)
    # Steps 9 to 11 are read twice: 2.5 to 0.5 steps from one edge, 0.5 to 2.5 from the other.
    weights = torch.tensor([[2.5], [1.5], [0.5]])
    both = (weights * steps[0][9:] + weights.flip(0) * steps[1][:3]) / 3
    np.testing.assert_allclose(events.probabilities[72:96:8], both, atol=1e-5)
    np.testing.assert_allclose(events.probabilities[-6:], steps[2][-1:].expand(6, 3), atol=1e-5)
    assert events.probabilities.shape == (230, 3)
    assert (events.hop, events.resolution) == (0.1, 0.8)


def test_each_channel_averages_probabilities(tiny_model: SoundModel, noise: Noise) -> None:
    channels = np.stack([noise(5 * RATE, seed) for seed in range(4)])
    each = tiny_model.detect_events(channels, RATE, channels="each")
    singles = [tiny_model.detect_events(channel, RATE).probabilities for channel in channels]
    np.testing.assert_allclose(each.probabilities, np.mean(singles, axis=0), atol=1e-5)
    mixed = tiny_model.detect_events(channels, RATE)
    alone = tiny_model.detect_events(channels.mean(axis=0), RATE)
    np.testing.assert_allclose(mixed.probabilities, alone.probabilities, atol=1e-5)


def test_embeddings(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(9 * RATE)
    frames = tiny_model.embed(waveform, RATE, level="frame")
    assert isinstance(frames, Embedding)
    assert frames.values.shape == (11, 64)
    np.testing.assert_allclose(frames.times, 0.4 + 0.8 * np.arange(11))
    vector = tiny_model.embed(waveform, RATE)
    assert isinstance(vector, torch.Tensor)
    assert vector.shape == (tiny_model.spec.embedding_size,) == (64,)
    torch.testing.assert_close(vector, frames.values.mean(dim=0), atol=1e-5, rtol=0)


def test_embedding_of_a_long_clip_is_the_mean_over_the_tags_windows(
    tiny_model: SoundModel, noise: Noise
) -> None:
    waveform = noise(45 * RATE)
    halves = [
        tiny_model.embed(part, RATE, level="frame").values
        for part in (waveform[: 30 * RATE], waveform[15 * RATE :])
    ]
    torch.testing.assert_close(
        tiny_model.embed(waveform, RATE), torch.cat(halves).mean(dim=0), atol=1e-5, rtol=0
    )


# ---------------------------------------------------------------- options


def test_thresholds(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(5 * RATE)
    assert len(tiny_model.detect_events(waveform, RATE, threshold=1.0)) == 0
    everything = tiny_model.detect_events(waveform, RATE, threshold=0.0)
    assert {event.label for event in everything} == {"dog", "door knock", "speech"}
    only = tiny_model.detect_events(
        waveform, RATE, threshold={"dog": 0.0, "speech": 1.0, "door knock": 1.0}
    )
    assert {event.label for event in only} == {"dog"}
    assert len(tiny_model.analyze(waveform, RATE, threshold=1.0).events) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2.0}, "threshold=2.0"),
        ({"threshold": {"dgo": 0.5}}, "Did you mean 'dog'"),
        ({"channels": "left"}, "channels='left' is not known. Accepted are 'mix', 'each', and the"),
        ({"channels": -1}, "channels=-1 is not known"),
        ({"channels": True}, "channels=True is not known"),
        ({"channels": 1.0}, "channels=1.0 is not known"),
        ({"hop": 1.0}, "hop=1.0"),
        ({"hop": float("nan")}, "hop=nan is out of range"),
        ({"hop": "0.8"}, "hop='0.8' is no number"),
        ({"window": "10"}, "window='10' is no number"),
        ({"window": float("inf")}, "window=inf is out of range"),
        ({"median": -1.0}, "median=-1.0"),
        ({"median": "1"}, "median='1' is no number"),
        ({"min_gap": float("nan")}, "min_gap=nan is out of range"),
        ({"threshold": True}, "threshold=True is no number"),
        ({"threshold": "0.5"}, "threshold='0.5' is no operating point"),
        ({"threshold": [0.5]}, r"threshold=\[0.5\] is no number"),
        ({"threshold": {"dog": None}}, "threshold=None is no number"),
        ({"threshold": float("nan")}, "threshold=nan is out of range"),
        ({"max_duration": "60"}, "max_duration='60' is no number; give seconds, or None"),
        ({"max_duration": -1}, "max_duration=-1 is out of range"),
        ({"max_duration": float("nan")}, "max_duration=nan is out of range"),
    ],
)
def test_options_that_make_no_sense(
    tiny_model: SoundModel, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_model.detect_events(np.ones(100), RATE, **options)


def test_other_options_that_make_no_sense(tiny_model: SoundModel) -> None:
    with pytest.raises(ValueError, match="top=0"):
        tiny_model.tag(np.ones(100), RATE, top=0)
    with pytest.raises(ValueError, match="level='word'"):
        tiny_model.embed(np.ones(100), RATE, level="word")
    with pytest.raises(ValueError, match="no task 'sed'"):
        tiny_model.embed(np.ones(100), RATE, task="sed")


def test_events_of_a_model_without_events_need_no_threshold(
    tiny_spec: ModelSpec, tiny_model: SoundModel
) -> None:
    spec = dataclasses.replace(tiny_spec, tasks=("scene",), thresholds={})
    model = SoundModel(spec, tiny_model.frontend, tiny_model.network)
    assert model.analyze(np.ones(100), RATE).events is None


def test_the_times_of_results_stay_within_the_recording(
    tiny_model: SoundModel, noise: Noise
) -> None:
    duration = 13_231 / 44_100
    waveform = noise(13_231)
    assert tiny_model.classify_scene(waveform, 44_100).times.max() <= duration
    (centre,) = tiny_model.embed(waveform, 44_100, level="frame").times
    assert centre == pytest.approx(duration / 2)


def test_a_task_that_is_not_there(tiny_spec: ModelSpec, tiny_model: SoundModel) -> None:
    spec = dataclasses.replace(tiny_spec, stage="finetuned-sed", tasks=("event",))
    model = SoundModel(spec, tiny_model.frontend, tiny_model.network)
    with pytest.raises(TaskNotAvailableError, match=r"no scene head; it answers event.*joint"):
        model.classify_scene(np.ones(100), RATE)
    with pytest.raises(TaskNotAvailableError, match="no tag head"):
        model.tag(np.ones(100), RATE)
    analysis = model.analyze(np.ones(100), RATE)
    assert analysis.scene is None
    assert analysis.tags is None
    assert analysis.events is not None
