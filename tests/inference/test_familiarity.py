"""What lies far from the training data is not sure, in every verb and runtime alike."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import dcasenet
from dcasenet import ModelSpec, SoundModel, WeightsError
from dcasenet.inference import familiarity
from dcasenet.spec import Context

ONE_GRID = {
    task: Context(window=8.0, hop=6.4, pooling=pooling)
    for task, pooling in (("scene", "mean"), ("tag", "max"), ("event", "overlap"))
}
Noise = Callable[..., np.ndarray]


def embeddings(model: SoundModel, sounds: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.asarray(model.embed(sound, 24_000)) for sound in sounds])


@pytest.fixture(scope="module")
def noise_clips() -> list[np.ndarray]:
    """Loud and quiet noise, each differently colored: what the model is taken to know."""
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(40):
        white = rng.standard_normal(8 * 24_000)
        smooth = np.convolve(white, np.ones(rng.integers(1, 6)), mode="same")
        clips.append((smooth * 10 ** rng.uniform(-2, -0.5)).astype(np.float32))
    return clips


@pytest.fixture(scope="module")
def knowing(tiny_model: SoundModel, noise_clips: list[np.ndarray]) -> SoundModel:
    """The small model with one grid, and statistics of the noise."""
    spec = dataclasses.replace(tiny_model.spec, context=ONE_GRID)
    network = copy.deepcopy(tiny_model.network)
    with torch.no_grad():
        network.event_head.bias.fill_(-2.0)  # type: ignore[union-attr,operator] # none is probable
    model = SoundModel(spec, tiny_model.frontend, network)
    known = embeddings(model, noise_clips)
    statistics = familiarity.fit(known[:30], known[30:], rank=6)
    spec = dataclasses.replace(
        spec, familiarity=statistics, thresholds=dict.fromkeys(spec.events, 0.0)
    )
    return SoundModel(spec, tiny_model.frontend, network)


def tone(seconds: float, hertz: float = 1_000.0) -> np.ndarray:
    time = np.arange(int(seconds * 24_000)) / 24_000
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def test_distance_is_mahalanobis() -> None:
    """With all components but one, against the full covariance of isotropic leftovers."""
    rng = np.random.default_rng(0)
    mixing = np.diag([5.0, 3.0, 1.0, 0.5, 0.5])
    train = (rng.standard_normal((20_000, 5)) @ mixing + 7).astype(np.float32)
    statistics = familiarity.fit(train, train[:500], rank=3)
    points = (rng.standard_normal((50, 5)) @ mixing + 7).astype(np.float32)
    centered = points - train.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", centered, np.linalg.inv(np.cov(train.T)), centered))
    np.testing.assert_allclose(familiarity.distance(statistics, points), expected, rtol=0.03)


def test_familiarity_is_the_share_that_lies_further() -> None:
    rng = np.random.default_rng(0)
    train = rng.standard_normal((400, 6)).astype(np.float32)
    held_out = rng.standard_normal((300, 6)).astype(np.float32)
    statistics = familiarity.fit(train, held_out, rank=4)
    distances = familiarity.distance(statistics, held_out)
    share = (distances[None] > distances[:, None]).mean(axis=1)
    np.testing.assert_allclose(familiarity.familiarity(statistics, held_out), share, atol=0.02)
    assert familiarity.familiarity(statistics, train.mean(axis=0)) == 1.0


def test_known_sounds_are_sure_and_others_are_not(
    knowing: SoundModel, noise_clips: list[np.ndarray]
) -> None:
    sure = [knowing.tag(clip, 24_000).is_sure for clip in noise_clips]
    assert np.mean(sure) > 0.8
    for strange in (tone(4.0), np.zeros(96_000, np.float32)):
        for result in (
            knowing.classify_scene(strange, 24_000),
            knowing.tag(strange, 24_000),
            knowing.detect_events(strange, 24_000),
            knowing.analyze(strange, 24_000),
        ):
            assert not result.is_sure
            assert result.familiarity == pytest.approx(0.0, abs=0.02)
            assert "not sure" in repr(result)
    assert knowing.classify_scene(tone(4.0), 24_000).label in knowing.spec.scenes


def test_an_analysis_is_as_sure_as_its_parts(
    knowing: SoundModel, noise_clips: list[np.ndarray]
) -> None:
    analysis = knowing.analyze(noise_clips[0], 24_000)
    alone = knowing.classify_scene(noise_clips[0], 24_000)
    parts = (analysis, analysis.scene, analysis.tags, analysis.events)
    assert {part.familiarity for part in parts} == {analysis.familiarity}
    assert alone.familiarity == pytest.approx(analysis.familiarity, abs=1e-5)


def test_there_are_no_improbable_events_where_the_model_is_not_sure(
    knowing: SoundModel, noise_clips: list[np.ndarray]
) -> None:
    sounds = np.concatenate([noise_clips[1], np.zeros(16 * 24_000)])
    events = knowing.detect_events(sounds, 24_000)
    assert events.is_sure  # somewhere in it
    assert len(events) > 0
    assert max(event.offset for event in events) <= 16.0  # no window of silence alone
    assert events.probabilities[-1].min() > 0  # they are there all the same
    everything = knowing.detect_events(sounds, 24_000, reject=False)
    assert max(event.offset for event in everything) == 24.0
    assert everything.familiarity is None
    assert everything.is_sure


def test_probable_events_are_reported_of_unfamiliar_windows(knowing: SoundModel) -> None:
    network = copy.deepcopy(knowing.network)
    with torch.no_grad():
        network.event_head.bias[1] = 9.0  # type: ignore[index]
    model = SoundModel(knowing.spec, knowing.frontend, network)
    events = model.detect_events(tone(4.0), 24_000)
    assert not events.is_sure
    assert [event.label for event in events] == [model.spec.events[1]]
    with model.stream(24_000) as stream:
        update = stream.push(tone(4.0))
    update += stream.rest
    assert [event.label for event in update.events] == [model.spec.events[1]]


def test_a_snippet_is_not_sure(knowing: SoundModel, noise_clips: list[np.ndarray]) -> None:
    statistics = dataclasses.replace(knowing.spec.familiarity, distances=(1e8, 1e9))
    spec = dataclasses.replace(knowing.spec, familiarity=statistics)
    easy = SoundModel(spec, knowing.frontend, knowing.network)
    for seconds, is_sure in ((0.19, False), (0.21, True)):
        snippet = noise_clips[1][: int(seconds * 24_000)]
        analysis, events = (v(snippet, 24_000) for v in (easy.analyze, easy.detect_events))
        assert analysis.is_sure == events.is_sure == is_sure
        assert (len(events) > 0) == (len(analysis.events or ()) > 0) == is_sure


def test_what_is_like_recordings_but_synthetic_is_not_familiar() -> None:
    """Near the middle of the recordings, off to one side: no distance from them tells it."""
    rng = np.random.default_rng(0)
    train, held_out = (
        np.concatenate([side * 2, rng.standard_normal((n, 6)) * 5], axis=1).astype(np.float32)
        for n in (400, 300)
        for side in [rng.standard_normal((n, 1)) * 0.2 - 0.5]
    )
    synthetic = rng.standard_normal((50, 7)).astype(np.float32) * 0.1
    synthetic[:, 0] = 0.5
    by_distance = familiarity.fit(train, held_out, rank=4)
    assert familiarity.familiarity(by_distance, synthetic).mean() > 0.5
    with_contrast = familiarity.fit(train, held_out, synthetic[:25], rank=4)
    assert familiarity.familiarity(with_contrast, synthetic[25:]).max() < 0.05
    assert (familiarity.familiarity(with_contrast, held_out) > 0.02).mean() > 0.9


def test_reject_turns_it_off(knowing: SoundModel) -> None:
    for verb in (
        knowing.classify_scene, knowing.tag, knowing.detect_events, knowing.analyze,
    ):  # fmt: skip
        result = verb(tone(4.0), 24_000, reject=False)
        assert result.is_sure
        assert result.familiarity is None
    assert len(knowing.detect_events(tone(4.0), 24_000)) == 0
    assert len(knowing.detect_events(tone(4.0), 24_000, reject=False)) > 0


def test_a_checkpoint_without_statistics_is_always_sure(tiny_model: SoundModel) -> None:
    analysis = tiny_model.analyze(np.zeros(48_000, np.float32), 24_000)
    assert analysis.is_sure
    assert analysis.familiarity is None


def test_streams_know_it_too(knowing: SoundModel, noise_clips: list[np.ndarray]) -> None:
    sounds = np.concatenate([noise_clips[1], np.zeros(16 * 24_000)])
    whole = knowing.detect_events(sounds.astype(np.float32), 24_000)
    with knowing.stream(24_000) as stream:
        found = [stream.push(block) for block in np.array_split(sounds.astype(np.float32), 30)]
    update = sum(found, start=type(found[0])()) + stream.rest
    assert [(e.label, e.onset, e.offset) for e in sorted(update.events, key=lambda e: e.label)] == [
        (e.label, e.onset, e.offset) for e in sorted(whole, key=lambda e: e.label)
    ]
    assert update.scenes[0].is_sure
    assert not update.scenes[-1].is_sure
    assert not update.tags[-1].is_sure


def test_it_travels_with_the_model(
    knowing: SoundModel, tmp_path: Path, noise_clips: list[np.ndarray]
) -> None:
    knowing.save_pretrained(tmp_path / "model")
    again = dcasenet.load(tmp_path / "model")
    assert again.spec.familiarity == knowing.spec.familiarity
    assert not again.tag(tone(4.0), 24_000).is_sure
    assert ModelSpec.from_dict(json.loads(json.dumps(knowing.spec.to_dict()))) == knowing.spec


def test_onnx_gives_the_same(
    knowing: SoundModel, tmp_path: Path, noise_clips: list[np.ndarray]
) -> None:
    pytest.importorskip("onnx")
    from dcasenet.onnx import load
    from dcasenet.onnx.export import to_onnx

    exported = load(to_onnx(knowing, tmp_path / "a.onnx"))
    for sound in (noise_clips[2], tone(4.0)):
        one, other = knowing.analyze(sound, 24_000), exported.analyze(sound, 24_000)
        assert one.is_sure == other.is_sure
        assert other.familiarity == pytest.approx(one.familiarity, abs=0.01)


def test_statistics_that_do_not_fit_are_refused(knowing: SoundModel) -> None:
    values = knowing.spec.to_dict()
    for change in (
        {"mean": "AAAA"},
        {"limit": 2.0},
        {"residual": 0.0},
        {"distances": [2.0, 1.0]},
        {"distances": []},
        {"size": "64"},
        {"scales": [1.0]},
        {"contrast": values["familiarity"]["mean"]},
        {"contrast": values["familiarity"]["mean"], "scores": [2.0, 1.0]},
        {"contrast": "AAAA", "scores": [1.0]},
        {"more": 1},
    ):
        changed = {**values, "familiarity": {**values["familiarity"], **change}}
        with pytest.raises(WeightsError):
            ModelSpec.from_dict(changed)
    with pytest.raises(ValueError, match="Give more embeddings than the rank"):
        familiarity.fit(np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32), rank=4)
