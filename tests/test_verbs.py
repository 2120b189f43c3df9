"""What a caller sees: context rules, batches, threads, every kind of input, every length."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcasenet import (
    Analysis,
    AudioError,
    Embedding,
    Events,
    ModelSpec,
    Scene,
    SoundModel,
    Tags,
    TaskNotAvailableError,
)
from dcasenet.frontend import LogMel

RATE = 24_000
Noise = Callable[..., np.ndarray]
WriteWav = Callable[..., Path]


def assert_same(one: Analysis, two: Analysis, atol: float = 1e-5) -> None:
    for mine, other in (
        (one.scene.windows, two.scene.windows),
        (one.scene.values, two.scene.values),
        (one.tags.values, two.tags.values),
        (one.events.probabilities, two.events.probabilities),
    ):
        np.testing.assert_allclose(mine, other, atol=atol)


def is_finite(analysis: Analysis) -> bool:
    return all(
        np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()
        for values in (analysis.scene.values, analysis.tags.values, analysis.events.probabilities)
    )


class Counting(SoundModel):
    """A model that notes what its network is asked."""

    def __init__(self, model: SoundModel) -> None:
        super().__init__(model.spec, model.frontend, model.network)
        self.calls: list[tuple[tuple[int, ...], tuple[str, ...]]] = []

    def infer(self, waveforms, tasks, trunk="tag"):  # type: ignore[no-untyped-def]
        self.calls.append((waveforms.shape, tuple(tasks)))
        return super().infer(waveforms, tasks, trunk)


# ---------------------------------------------------------------- context rules


def test_scene_is_the_mean_softmax_of_crops_normalised_each_by_itself(
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


def test_events_up_to_the_window_are_one_pass(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(61 * RATE)
    counting = Counting(tiny_model)
    counting.detect_events(waveform[: 60 * RATE], RATE)
    assert [shape for shape, _ in counting.calls] == [(1, 60 * RATE)]
    counting.calls.clear()
    events = counting.detect_events(waveform, RATE)
    lengths = sorted(shape[1] for shape, _ in counting.calls for _ in range(shape[0]))
    assert lengths == [round(59.4 * RATE), 60 * RATE]  # from 1.6 s on at most 60 s remain
    assert events.probabilities.shape == (610, 3)


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
    # Steps 9 to 11 are heard twice: 2.5 to 0.5 steps from one edge, 0.5 to 2.5 from the other.
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


@pytest.mark.parametrize("seconds", [0.01, 3, 12, 65])
def test_analyze_equals_the_verbs(tiny_model: SoundModel, noise: Noise, seconds: float) -> None:
    waveform = noise(round(seconds * RATE))
    together = tiny_model.analyze(waveform, RATE)
    apart = Analysis(
        tiny_model.classify_scene(waveform, RATE),
        tiny_model.tag(waveform, RATE),
        tiny_model.detect_events(waveform, RATE),
        duration=seconds,
    )
    assert_same(together, apart)
    assert together.events.items == pytest.approx(apart.events.items)
    assert together.duration == pytest.approx(seconds)


def test_passes_with_the_same_input_are_made_once(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    counting.analyze(noise(4 * RATE), RATE)
    assert counting.calls == [((1, 4 * RATE), ("scene", "tag", "event"))]
    counting.calls.clear()
    counting.analyze(noise(10 * RATE), RATE)
    assert sorted(counting.calls) == [
        ((1, 10 * RATE), ("tag", "event")),
        ((3, 120_001), ("scene",)),
    ]


# ---------------------------------------------------------------- hard input


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.integers(1, 40_000),
    sample_rate=st.sampled_from([8_000, 24_000, 44_100, 192_000]),
    seed=st.integers(0, 100),
)
def test_any_length_is_answered(
    tiny_model: SoundModel, noise: Noise, n_samples: int, sample_rate: int, seed: int
) -> None:
    waveform = noise(n_samples, seed)
    before = waveform.copy()
    analysis = tiny_model.analyze(waveform, sample_rate)
    assert is_finite(analysis)
    rows = -(-n_samples * 10 // sample_rate)
    assert analysis.events.probabilities.shape == (rows, 3)
    assert all(0 <= e.onset < e.offset <= analysis.duration for e in analysis.events)
    assert tiny_model.embed(waveform, sample_rate).isfinite().all()
    np.testing.assert_array_equal(waveform, before)


@pytest.mark.parametrize("n_samples", [1, 2, 1_025, 1_026, 19_200, 61 * RATE])
def test_edge_lengths(tiny_model: SoundModel, noise: Noise, n_samples: int) -> None:
    assert is_finite(tiny_model.analyze(noise(n_samples), RATE))


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(RATE),
        np.full(RATE, 0.5),
        np.sign(np.sin(np.arange(RATE) / 30)),
        np.eye(1, RATE)[0],
    ],
    ids=["silence", "DC", "full-scale square wave", "impulse"],
)
def test_degenerate_sounds_are_answered(tiny_model: SoundModel, waveform: np.ndarray) -> None:
    assert is_finite(tiny_model.analyze(waveform, RATE))


def test_fixed_normalization_answers_silence(tiny_spec: ModelSpec, tiny_model: SoundModel) -> None:
    settings = dataclasses.replace(tiny_spec.frontend, normalization="fixed", max_frequency=8e3)
    spec = dataclasses.replace(tiny_spec, frontend=settings)
    model = SoundModel(spec, LogMel(settings), tiny_model.network)
    assert is_finite(model.analyze(np.zeros(RATE), RATE))


@pytest.mark.parametrize("verb", ["classify_scene", "tag", "detect_events", "analyze", "embed"])
def test_every_verb_refuses_bad_audio(tiny_model: SoundModel, verb: str) -> None:
    with pytest.raises(AudioError, match="sample_rate"):
        getattr(tiny_model, verb)(np.zeros(10))
    with pytest.raises(AudioError, match=r"missing\.wav"):
        getattr(tiny_model, verb)("missing.wav")


# ---------------------------------------------------------------- kinds of input


def test_every_kind_of_input_gives_one_answer(
    tiny_model: SoundModel, noise: Noise, write_wav: WriteWav
) -> None:
    samples = noise(2 * RATE)
    path = write_wav("a.wav", samples, subtype="FLOAT")
    kinds = [
        path,
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        (samples, RATE),
        (torch.from_numpy(samples), RATE),
        (samples[None], RATE),
        (samples.astype(np.float64), RATE),
    ]
    expected = tiny_model.analyze(samples, sample_rate=RATE)
    for kind in kinds:
        assert_same(tiny_model.analyze(kind), expected)
    with path.open("rb") as file:
        assert_same(tiny_model.analyze(file), expected)
    assert_same(tiny_model.analyze(samples[:, None], RATE, channels_last=True), expected)


def test_a_sequence_gives_a_list(tiny_model: SoundModel, noise: Noise) -> None:
    waveforms = [noise(RATE), noise(2 * RATE, 1)]
    kinds: dict[str, type] = {
        "classify_scene": Scene,
        "tag": Tags,
        "detect_events": Events,
        "analyze": Analysis,
        "embed": torch.Tensor,
    }
    for verb, kind in kinds.items():
        one = getattr(tiny_model, verb)(waveforms[0], RATE)
        many = getattr(tiny_model, verb)(waveforms, RATE)
        assert isinstance(one, kind)
        assert isinstance(many, list)
        assert [isinstance(item, kind) for item in many] == [True, True]
        assert getattr(tiny_model, verb)([]) == []
    assert len(tiny_model.tag(tuple((waveform, RATE) for waveform in waveforms))) == 2


def test_an_error_in_a_sequence_says_where(tiny_model: SoundModel, noise: Noise) -> None:
    with pytest.raises(AudioError, match=r"Audio 2 of 2: .*missing\.wav"):
        tiny_model.tag([(noise(RATE), RATE), "missing.wav"])


def test_warnings_reach_every_result(tiny_model: SoundModel, write_wav: WriteWav) -> None:
    path = write_wav("cut.wav", np.zeros(RATE, dtype=np.float32))
    path.write_bytes(path.read_bytes()[: RATE // 2])
    analysis = tiny_model.analyze(path)
    (warning,) = analysis.warnings
    assert "cut.wav" in warning
    assert "24,000" in warning
    for verb in ("classify_scene", "tag", "detect_events"):
        assert getattr(tiny_model, verb)(path).warnings == analysis.warnings


# ---------------------------------------------------------------- batches, threads, state


def mixed_lengths(noise: Noise) -> list[np.ndarray]:
    seconds: Sequence[float] = (0.02, 1, 1, 4.9, 12, 12, 33, 62)
    return [noise(round(s * RATE), seed) for seed, s in enumerate(seconds)]


def test_batch_equals_singles(tiny_model: SoundModel, noise: Noise) -> None:
    waveforms = mixed_lengths(noise)
    for together, waveform in zip(tiny_model.analyze(waveforms, RATE), waveforms, strict=True):
        assert_same(together, tiny_model.analyze(waveform, RATE))


def test_equal_lengths_share_a_batch(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    counting.tag([noise(RATE, seed) for seed in range(5)], RATE)
    assert [shape for shape, _ in counting.calls] == [(5, RATE)]


def test_no_batch_is_longer_than_a_minute(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    counting.tag([noise(25 * RATE, seed) for seed in range(5)], RATE)
    assert sorted(shape[0] for shape, _ in counting.calls) == [1, 2, 2]


def test_many_channels_share_batches_of_a_minute(tiny_model: SoundModel, noise: Noise) -> None:
    counting = Counting(tiny_model)
    channels = np.stack([noise(20 * RATE, seed) for seed in range(7)])
    counting.detect_events(channels, RATE, channels="each")
    assert [shape[0] for shape, _ in counting.calls] == [3, 3, 1]


def test_sixteen_threads_get_the_serial_answers(tiny_model: SoundModel, noise: Noise) -> None:
    waveforms = [noise(3 * RATE + 1_000 * i, i) for i in range(16)]
    serial = [tiny_model.analyze(waveform, RATE) for waveform in waveforms]
    answers: dict[int, Analysis] = {}
    barrier = threading.Barrier(16)

    def ask(index: int) -> None:
        barrier.wait()
        answers[index] = tiny_model.analyze(waveforms[index], RATE)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(serial):
        assert_same(answers[index], expected)


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
        ({"channels": "left"}, "channels='left' is not known; give 'mix' or 'each'"),
        ({"hop": 1.0}, "hop=1.0"),
        ({"median": -1.0}, "median=-1.0"),
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
