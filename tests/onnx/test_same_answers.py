"""The exported file gives the same answers as torch, for every length."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet import (
    Embedding,
    FrontEndSettings,
    SoundModel,
)
from dcasenet.models.dcasenet import NETWORKS
from dcasenet.onnx import runtime
from dcasenet.onnx.export import to_onnx

RATE = 24_000
Noise = Callable[..., np.ndarray]
Small = Callable[..., SoundModel]
Alike = Callable[..., None]


# Around each change: the repetition up to 1,026 samples, each doubling of frames, a whole frame.
LENGTHS = (33, 700, 1025, 1026, 1027, 1441, 2400, 4800, 9600, 9601, 19_200, 19_201, 24_000, 120_001)


@pytest.mark.parametrize("n_samples", LENGTHS)
def test_every_length(
    tiny_model: SoundModel,
    exported: runtime.OnnxSoundModel,
    noise: Noise,
    n_samples: int,
    assert_alike: Alike,
) -> None:
    batch = np.stack([noise(n_samples, seed) for seed in range(2)])
    assert_alike(tiny_model, exported, batch)
    assert_alike(tiny_model, exported, batch[:1])


def test_the_graph_alone_takes_any_length_from_the_shortest(
    tiny_model: SoundModel, exported: runtime.OnnxSoundModel, noise: Noise
) -> None:
    for n_samples in (1026, 1441, 50_000):
        waveforms = noise(n_samples)[None]
        (tags,) = exported.session.run(["tag"], {"waveform": waveforms})
        np.testing.assert_allclose(tags, tiny_model.infer(waveforms, ("tag",))["tag"], atol=1e-4)


def test_silence_tones_and_single_samples(
    tiny_model: SoundModel, exported: runtime.OnnxSoundModel, assert_alike: Alike
) -> None:
    assert_alike(tiny_model, exported, np.zeros((1, RATE), dtype=np.float32))
    assert_alike(tiny_model, exported, np.eye(1, RATE, 5_000, dtype=np.float32))
    # What never changes is divided by the least deviation, 1/1000: rounding shows 1,000 times.
    assert_alike(tiny_model, exported, np.ones((1, 1), dtype=np.float32), atol=0.02)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture(
    name: str, tmp_path: Path, noise: Noise, assert_alike: Alike, small_model: Small
) -> None:
    model = small_model(name)
    file = to_onnx(model, tmp_path / "model.onnx")
    for seconds in (0.1, 1, 6.3):
        assert_alike(model, runtime.load(file), noise(round(seconds * RATE))[None])


def test_a_fixed_normalization(
    tmp_path: Path, noise: Noise, assert_alike: Alike, small_model: Small
) -> None:
    settings = FrontEndSettings(normalization="fixed", max_frequency=6_000.0)
    model = small_model("v3", frontend=settings)
    model.frontend.mean.fill_(-4.0)
    model.frontend.deviation.uniform_(1.0, 3.0)
    file = to_onnx(model, tmp_path / "model.onnx")
    assert_alike(model, runtime.load(file), noise(RATE)[None])


@pytest.mark.parametrize("name", NETWORKS)
def test_level_normalization_and_short_steps(
    name: str, tmp_path: Path, noise: Noise, assert_alike: Alike, small_model: Small
) -> None:
    model = small_model(name, time_pooling=1, frontend=FrontEndSettings(normalization="level"))
    model.frontend.mean.fill_(-6.0)
    model.frontend.deviation.uniform_(1.0, 3.0)
    loaded = runtime.load(to_onnx(model, tmp_path / "model.onnx"))
    assert loaded.spec.step == pytest.approx(0.16)
    for n_samples in (33, 1026, 4800, 19_201, 120_001):
        waveforms = np.stack([noise(n_samples), 0.05 * noise(n_samples, 1) + 0.01])
        assert_alike(model, loaded, waveforms)
    steps = loaded.infer(noise(120_001)[None], ("event",))["event"].shape[1]
    assert steps == 251 // 8
    assert_alike(model, loaded, np.zeros((1, RATE), np.float32))


def test_a_copy_and_a_pickle_answer_alike(exported: runtime.OnnxSoundModel, noise: Noise) -> None:
    waveforms = noise(RATE)[None]
    expected = exported.infer(waveforms, ("tag",))["tag"]
    for other in (copy.deepcopy(exported), pickle.loads(pickle.dumps(exported))):
        assert other.spec == exported.spec
        np.testing.assert_array_equal(other.infer(waveforms, ("tag",))["tag"], expected)


def test_real_recordings(
    recordings: tuple[Path, ...], tiny_model: SoundModel, exported: runtime.OnnxSoundModel
) -> None:
    for path in recordings:
        one, two = tiny_model.analyze(path), exported.analyze(path)
        np.testing.assert_allclose(two.scene.values, one.scene.values, atol=1e-4)
        np.testing.assert_allclose(two.tags.values, one.tags.values, atol=1e-4)
        np.testing.assert_allclose(two.events.probabilities, one.events.probabilities, atol=1e-4)


def test_the_verbs(tiny_model: SoundModel, exported: runtime.OnnxSoundModel, noise: Noise) -> None:
    waveform = noise(12 * RATE)
    one, two = tiny_model.analyze(waveform, RATE), exported.analyze(waveform, RATE)
    assert two.scene.label == one.scene.label
    assert two.tags.probabilities == pytest.approx(one.tags.probabilities, abs=1e-4)
    assert [event.label for event in two.events] == [event.label for event in one.events]
    vector = exported.embed(waveform, RATE)
    assert isinstance(vector, np.ndarray)
    np.testing.assert_allclose(vector, tiny_model.embed(waveform, RATE), atol=1e-4)
    steps = exported.embed(waveform, RATE, level="frame")
    assert isinstance(steps, Embedding)
    assert steps.values.shape == (15, 64)
    assert repr(exported) == (
        "OnnxSoundModel(v3 'tiny': 4 scene labels, 5 tag labels, 3 event labels)"
    )


def test_threads_share_a_model(exported: runtime.OnnxSoundModel, noise: Noise) -> None:
    waveforms = [noise(RATE + 500 * i, i) for i in range(8)]
    serial = [exported.tag(waveform, RATE).values for waveform in waveforms]
    got: dict[int, np.ndarray] = {}

    def infer(index: int) -> None:
        got[index] = exported.tag(waveforms[index], RATE).values

    threads = [threading.Thread(target=infer, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(serial):
        np.testing.assert_allclose(got[index], expected, atol=1e-6)
