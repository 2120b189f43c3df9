"""Every kind of input, every length, alone and in sequences."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dcasenet
from dcasenet import (
    Analysis,
    AudioError,
    Events,
    ModelSpec,
    Scene,
    SoundModel,
    Tags,
)
from dcasenet.models.frontend import LogMel

RATE = 24_000
Noise = Callable[..., np.ndarray]
WriteWav = Callable[..., Path]


def is_finite(analysis: Analysis) -> bool:
    return all(
        np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()
        for values in (analysis.scene.values, analysis.tags.values, analysis.events.probabilities)
    )


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
    truncated, silent = analysis.warnings
    assert "cut.wav: the header promises 24,000 frames" in truncated
    assert "cut.wav: it is silent" in silent
    for verb in ("classify_scene", "tag", "detect_events"):
        assert getattr(tiny_model, verb)(path).warnings == analysis.warnings


def test_warnings_are_about_the_chosen_channel(tiny_model: SoundModel, noise: Noise) -> None:
    one_dead = np.stack([noise(RATE), 0 * noise(RATE)])
    assert tiny_model.analyze(one_dead, RATE, channels=0).warnings == ()
    (silent,) = tiny_model.analyze(one_dead, RATE, channels=1).warnings
    assert "all samples are 0" in silent
    for channels in ("mix", "each"):
        (dead,) = tiny_model.analyze(one_dead, RATE, channels=channels).warnings
        assert "no sound in channel 1 of 2; " in dead
    one_clipped = np.stack([noise(RATE), np.clip(50 * noise(RATE), -1, 1)])
    assert tiny_model.analyze(one_clipped, RATE, channels=0).warnings == ()
    (clipped,) = tiny_model.analyze(one_clipped, RATE, channels=1).warnings
    assert "of the samples are clipped" in clipped
    with pytest.raises(AudioError, match="has 2 channel"):
        tiny_model.analyze(one_dead, RATE, channels=2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_every_verb_of_a_cast_model(
    tiny_model: SoundModel, noise: Noise, dtype: torch.dtype
) -> None:
    cast, sound = copy.deepcopy(tiny_model).to(dtype), noise(RATE)
    exact = tiny_model.analyze(sound, RATE)
    found = cast.analyze(sound, RATE)
    assert found.scene.values == pytest.approx(exact.scene.values, abs=0.05)
    assert cast.classify_scene(sound, RATE).provenance.weights == cast.weights_digest
    assert cast.weights_digest != tiny_model.weights_digest
    cast.tag(sound, RATE)
    cast.detect_events(sound, RATE)
    assert cast.embed(sound, RATE).shape == tiny_model.embed(sound, RATE).shape
    label = cast.spec.tags[0]
    explained = cast.explain(sound, label, RATE)
    assert explained.probability == pytest.approx(exact.tags.probabilities[label], abs=0.05)
    assert cast.dtype is dtype


def test_a_call_with_what_is_no_waveform(tiny_model: SoundModel) -> None:
    with pytest.raises(TypeError, match=r"is a ndarray; give a tensor .*model\.tag"):
        tiny_model(np.zeros((1, RATE), np.float32))
    with pytest.raises(ValueError, match=r"shape \(0, 24000\); .*at least one waveform"):
        tiny_model(torch.zeros(0, RATE))


@pytest.mark.parametrize("top", ["3", 1.5, True, 0, -1, float("nan")])
def test_a_number_of_tags_is_a_whole_number(tiny_model: SoundModel, noise: Noise, top: Any) -> None:
    with pytest.raises(ValueError, match=r"top=.* (is no number|is out of range); give 1 or more"):
        tiny_model.tag(noise(24_000), 24_000, top=top)


def test_the_callers_settings_of_torch_change_no_answer(
    tiny_model: SoundModel, noise: Noise
) -> None:
    expected = tiny_model.tag(noise(24_000), 24_000).values
    state = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(tiny_model.tag(noise(24_000), 24_000).values, expected)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(tiny_model.tag(noise(24_000), 24_000).values, expected)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.inference_mode():
        np.testing.assert_array_equal(tiny_model.tag(noise(24_000), 24_000).values, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_callers_settings_of_torch_break_no_explanation(
    tiny_model: SoundModel, noise: Noise
) -> None:
    def explained() -> Any:
        return tiny_model.explain(noise(24_000), tiny_model.spec.tags[0], 24_000, steps=2).saliency

    expected = explained()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(explained(), expected)
    for dtype in (torch.float64, torch.float16):
        torch.set_default_dtype(dtype)
        try:
            np.testing.assert_allclose(explained(), expected, atol=1e-6)
        finally:
            torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        np.testing.assert_array_equal(explained(), expected)


def test_a_model_that_is_loaded_in_any_world_is_the_same(
    tiny_model: SoundModel, noise: Noise, tmp_path: Path
) -> None:
    expected = tiny_model.tag(noise(24_000), 24_000).values
    folder = tiny_model.save_pretrained(tmp_path / "model")
    for world in (torch.inference_mode(), torch.device("meta"), torch.device("cpu")):
        with world:
            model = dcasenet.load(folder)
        np.testing.assert_allclose(model.tag(noise(24_000), 24_000).values, expected, atol=1e-6)
        model.requires_grad_(True)
        model(torch.zeros(1, 24_000)).tag.sum().backward()
        assert model.network.tag_head[-1].bias.grad is not None

    for dtype in (torch.float64, torch.float16):
        torch.set_default_dtype(dtype)
        try:
            model = dcasenet.load(folder)
            np.testing.assert_allclose(model.tag(noise(24_000), 24_000).values, expected, atol=1e-6)
        finally:
            torch.set_default_dtype(torch.float32)
        assert {tensor.dtype for tensor in model.frontend.buffers()} == {torch.float32}


@pytest.mark.parametrize("stage", [["open"], True, 3])
def test_a_stage_is_a_name(stage: Any) -> None:
    with pytest.raises(ValueError, match=r"stage=.* is no name; give one, such as stage='open'"):
        dcasenet.load("v3", stage=stage)


def test_an_array_of_paths_is_told_to_be_a_list(tiny_model: SoundModel) -> None:
    with pytest.raises(AudioError, match=r"An array of 2 paths .* Pass list\(paths\)"):
        tiny_model.tag(np.array(["a.wav", "b.wav"]))
