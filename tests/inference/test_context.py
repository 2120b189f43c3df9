"""A checkpoint with one grid for all tasks; its context; steps of 0.16 s; fine resolution."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
import torch

import dcasenet
from dcasenet import ModelSpec, SoundModel, WeightsError
from dcasenet.inference.postprocess import WindowPool
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.inference.windowing import TimeAxis, grid_of
from dcasenet.models.frontend import LogMel
from dcasenet.results import Floats
from dcasenet.spec import RELEASED_CONTEXT, Context, Task

RATE = 24_000
STEP = 3_840  # samples of 0.16 s
Noise = Callable[..., np.ndarray]
ONE_GRID = {
    "scene": Context(10.0, 9.0, "mean", shortest=5.0),
    "tag": Context(10.0, 9.0, "max", shortest=5.0),
    "event": Context(10.0, 9.0, "overlap", shortest=5.0),
}
SPEC = ModelSpec(
    "v3",
    "one grid",
    width=0.125,
    time_pooling=1,
    scenes=("quiet", "loud"),
    tags=("hum", "hiss"),
    events=("low", "high"),
    thresholds={"low": 0.5, "high": 0.5},
    context=ONE_GRID,
    frontend=dcasenet.FrontEndSettings(normalization="level"),
)


class Recorder(SoundVerbs[Floats]):
    """A runtime that answers with the window's relative loudness, and notes what it is given."""

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        self.spec = spec
        self.calls: list[tuple[int, int, tuple[str, ...]]] = []

    def infer(
        self, waveforms: Floats, outputs: Sequence[str], backbone: Task = "tag"
    ) -> Mapping[str, Floats]:
        n_steps = waveforms.shape[1] // STEP
        steps = waveforms[:, : n_steps * STEP].reshape(len(waveforms), n_steps, STEP)
        level = steps.std(axis=2) * 20 - 2
        self.calls.append((len(waveforms), waveforms.shape[1], tuple(outputs)))
        logits = np.stack((level, -level), axis=2).astype(np.float32)
        values = {"scene": logits.mean(axis=1), "tag": 2 * logits.mean(axis=1), "event": logits}
        values["embedding"] = logits
        return {name: values[name] for name in outputs}

    def as_array(self, values: Floats) -> Floats:
        return values


def test_released_context_is_the_default_and_is_kept_in_metadata() -> None:
    spec = ModelSpec("v3", "mine")
    assert dict(spec.context) == dict(RELEASED_CONTEXT)
    assert not spec.has_one_grid
    assert not dataclasses.replace(spec, tasks=("tag",)).has_one_grid
    assert ModelSpec.from_dict({"name": "v3", "stage": "old"}) == ModelSpec("v3", "old")
    assert ModelSpec.from_dict(SPEC.to_dict()) == SPEC
    assert SPEC.has_one_grid


@pytest.mark.parametrize(
    "change",
    [
        {"window": 0.1},
        {"hop": 0.05},
        {"hop": 11.0},
        {"shortest": 12.0},
        {"pooling": "median"},
        {"pooling": "overlap"},
        {"window": "long"},
        {"nothing": 1},
    ],
)
def test_a_context_that_does_not_work_is_refused(change: dict[str, Any]) -> None:
    values = SPEC.to_dict()
    values["context"]["scene"] |= change
    with pytest.raises(WeightsError, match=r"context|nothing"):
        ModelSpec.from_dict(values)


def test_an_unknown_task_is_refused() -> None:
    values = SPEC.to_dict()
    values["context"]["speaker"] = values["context"]["tag"]
    with pytest.raises(WeightsError, match="context"):
        ModelSpec.from_dict(values)


def test_one_grid_is_one_pass(noise: Noise) -> None:
    model = Recorder()
    analysis = model.analyze(noise(60 * RATE), RATE)
    assert {outputs for _, _, outputs in model.calls} == {("scene", "tag", "event")}
    # From 50.08 s on at most 10 s remain; 9 s are rounded down to 56 steps.
    starts = analysis.scene.times[:, 0]
    np.testing.assert_allclose(starts, [0, 8.96, 17.92, 26.88, 35.84, 44.80, 50.08])
    np.testing.assert_array_equal(starts, analysis.tags.times[:, 0])
    assert sum(n for n, _, _ in model.calls) == 7
    assert analysis.events.probabilities.shape == (375, 2)
    assert analysis.events.hop == analysis.events.resolution == 0.16


@pytest.mark.parametrize("seconds", [0.2, 3.0, 4.99, 7.0, 12.0, 31.0])
def test_the_verbs_agree_with_analyze(noise: Noise, seconds: float) -> None:
    model, waveform = Recorder(), noise(round(seconds * RATE))
    analysis = model.analyze(waveform, RATE)
    np.testing.assert_array_equal(
        analysis.scene.values, model.classify_scene(waveform, RATE).values
    )
    np.testing.assert_array_equal(analysis.tags.values, model.tag(waveform, RATE).values)
    events = model.detect_events(waveform, RATE)
    np.testing.assert_array_equal(analysis.events.probabilities, events.probabilities)
    n_rows = int(np.ceil(round(seconds, 6) / 0.16 - 1e-9))
    assert len(events.probabilities) == n_rows
    embedding = model.embed(waveform, RATE, level="frame")
    assert len(embedding.times) == len(embedding.values) <= n_rows
    assert embedding.times[-1] <= seconds


def test_a_short_clip_is_repeated_up_to_the_shortest(noise: Noise) -> None:
    model, waveform = Recorder(), noise(RATE)
    analysis = model.analyze(waveform, RATE)
    assert [(n, length) for n, length, _ in model.calls] == [(1, 5 * RATE)]
    assert analysis.scene.times.tolist() == [[0.0, 1.0]]
    assert len(analysis.events.probabilities) == 7
    repeated = model.analyze(np.tile(waveform, 5), RATE)
    np.testing.assert_array_equal(analysis.tags.values, repeated.tags.values)
    model.calls.clear()
    model.analyze(noise(7 * RATE), RATE)
    assert [(n, length) for n, length, _ in model.calls] == [(1, 7 * RATE)]


@pytest.mark.parametrize("quiet", [0.0, 1e-5])
def test_very_quiet_windows_do_not_count(noise: Noise, quiet: float) -> None:
    loud = noise(10 * RATE)
    lonely = Recorder().analyze(loud, RATE)
    long = np.concatenate((loud, quiet * noise(290 * RATE, 1))).astype(np.float32)
    among = Recorder().analyze(long, RATE)
    # Only the two first windows have some of the loud part.
    assert len(among.scene.windows) > 30
    np.testing.assert_allclose(among.scene.values, among.scene.windows[:2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(among.tags.values, among.tags.windows[:2].max(axis=0), atol=1e-6)
    assert among.tags.values[0] >= lonely.tags.values[0] - 1e-6
    assert among.tags.values[1] < among.tags.windows[-1, 1]  # what silence would be taken for


def test_silence_alone_counts() -> None:
    analysis = Recorder().analyze(np.zeros(40 * RATE), RATE)
    np.testing.assert_allclose(analysis.scene.values, analysis.scene.windows[0], atol=1e-6)


def test_released_windows_count_however_quiet(noise: Noise) -> None:
    model = Recorder(dataclasses.replace(SPEC, context=dict(RELEASED_CONTEXT)))
    scene = model.classify_scene(np.concatenate((noise(10 * RATE), np.zeros(10 * RATE))), RATE)
    np.testing.assert_allclose(scene.values, scene.windows.mean(axis=0), atol=1e-6)


def test_levels_are_counted_in_whole_decibels() -> None:
    pool = WindowPool("max", by_level=True)
    for value, level in ((0.1, -np.inf), (0.9, -80.5), (0.2, -20.0), (0.3, -79.9)):
        pool.add(np.array([value]), level)
    assert pool.pooled().tolist() == [0.3]


def test_a_stream_answers_as_the_whole(noise: Noise) -> None:
    model, waveform = Recorder(), noise(61 * RATE)
    waveform[20 * RATE : 40 * RATE] *= 0.2
    with model.stream(RATE) as stream:
        updates = [stream.push(block) for block in np.array_split(waveform, 50)]
    scenes = [scene for update in (*updates, stream.rest) for scene in update.scenes]
    events = [event for update in (*updates, stream.rest) for event in update.events]
    whole = model.analyze(waveform, RATE)
    np.testing.assert_allclose([scene.values for scene in scenes], whole.scene.windows, atol=1e-5)
    assert [(e.label, e.onset, e.offset) for e in sorted(events, key=lambda e: e.onset)] == [
        (e.label, e.onset, e.offset) for e in whole.events
    ]
    assert len(whole.events) > 0


def test_steps_of_the_paper_have_rows_of_a_tenth() -> None:
    for tasks in (("event",), ("scene", "tag", "event")):
        axis = TimeAxis.of(ModelSpec("v3", "joint", tasks=tasks))
        assert (axis.step, axis.hop) == (0.8, 0.1)
    fine = TimeAxis.of(ModelSpec("v3", "joint"), fine=True)
    assert (fine.step, fine.hop, fine.n_rows(24_001, 24_000)) == (0.16, 0.16, 7)
    assert grid_of(SPEC, "tag").hop == 56 * STEP


@pytest.fixture(scope="module")
def one_grid() -> SoundModel:
    torch.manual_seed(0)
    network = dcasenet.create("v3", n_scenes=2, n_tags=2, n_events=2, width=0.125, time_pooling=1)
    return SoundModel(SPEC, LogMel(SPEC.frontend), network)


def test_a_network_with_one_grid(one_grid: SoundModel, noise: Noise) -> None:
    waveform = noise(25 * RATE)
    analysis = one_grid.analyze(waveform, RATE)
    assert analysis.events.probabilities.shape == (157, 2)
    assert len(analysis.scene.windows) == 3
    assert one_grid.embed(waveform, RATE, level="frame").values.shape[0] <= 157


def test_fine_resolution_of_a_fine_network_is_its_own(one_grid: SoundModel, noise: Noise) -> None:
    waveform = noise(3 * RATE)
    np.testing.assert_array_equal(
        one_grid.detect_events(waveform, RATE, resolution="fine").probabilities,
        one_grid.detect_events(waveform, RATE).probabilities,
    )


@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
@pytest.mark.parametrize("frames", [40, 44, 121])
def test_fine_steps_are_the_pooling_at_every_offset(name: str, frames: int) -> None:
    torch.manual_seed(1)
    network: Any = dcasenet.create(name, width=0.125).eval()
    log_mel = torch.randn(2, 128, frames)
    with torch.inference_mode():
        fine, coarse = network.fine_events(log_mel), network(log_mel).event
    assert fine.shape == (2, frames // 8, 14)
    # The pooling of step k begins at 5 k: it is centered on the fine step 5 k + 2.
    torch.testing.assert_close(fine[:, 2::5][:, : coarse.shape[1]], coarse)
    torch.testing.assert_close(fine[:, 0], fine[:, 2])
    torch.testing.assert_close(fine[:, -1], fine[:, -3])


def test_fine_resolution_on_a_paper_network(tiny_model: SoundModel, noise: Noise) -> None:
    waveform = noise(50 * RATE)
    coarse = tiny_model.detect_events(waveform, RATE)
    fine = tiny_model.detect_events(waveform, RATE, resolution="fine")
    assert fine.hop == fine.resolution == 0.16
    assert fine.probabilities.shape == (313, 3)
    inner = fine.probabilities[2:310:5]  # the centers of steps
    np.testing.assert_allclose(inner, coarse.probabilities[: 8 * len(inner) : 8], atol=1e-4)


def test_fine_resolution_needs_torch(loudness: Any) -> None:
    with pytest.raises(ValueError, match="resolution='fine' needs the network in torch"):
        loudness().detect_events(np.zeros(RATE), RATE, resolution="fine")
    with pytest.raises(ValueError, match="resolution='coarse' is not known"):
        loudness().detect_events(np.zeros(RATE), RATE, resolution="coarse")


def tagged(model: SoundModel) -> list[float]:
    return model.tag(np.linspace(-0.1, 0.1, RATE), RATE).values.tolist()  # type: ignore[no-any-return]


def test_a_model_is_a_module_that_goes_anywhere(one_grid: SoundModel) -> None:
    expected = tagged(one_grid)
    assert isinstance(one_grid, torch.nn.Module)
    assert not one_grid.training
    names = set(one_grid.state_dict())
    assert {name.partition(".")[0] for name in names} == {"frontend", "network"}
    for other in (copy.deepcopy(one_grid), pickle.loads(pickle.dumps(one_grid))):
        np.testing.assert_allclose(tagged(other), expected, atol=1e-6)
        assert set(other.state_dict()) == names
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        tags = pool.submit(one_grid.tag, np.linspace(-0.1, 0.1, RATE), RATE).result()
    np.testing.assert_allclose(tags.values, expected, atol=1e-6)


def test_a_module_in_half_precision(one_grid: SoundModel, noise: Noise) -> None:
    half = copy.deepcopy(one_grid).half()
    assert half.dtype == torch.float16
    assert half.frontend.mel_filters.dtype == torch.float32
    waveform = noise(3 * RATE)
    np.testing.assert_allclose(
        half.tag(waveform, RATE).values, one_grid.tag(waveform, RATE).values, atol=0.02
    )
    outputs = half(torch.from_numpy(waveform[None]))
    assert outputs.tag.dtype == torch.float16


def test_a_loaded_model_has_no_gradients_until_requested() -> None:
    model = dcasenet.load()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    model.requires_grad_(True)
    model(torch.zeros(1, 2 * RATE)).tag.sum().backward()
    assert model.network.tag_gru.weight_ih_l0.grad is not None
