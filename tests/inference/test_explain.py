"""Explanations: they add up, they point at what made the difference, for every task and length."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import dcasenet
from dcasenet.audio.io import read
from dcasenet.errors import AudioError, TaskNotAvailableError
from dcasenet.inference import explain as module
from dcasenet.inference.explain import QUIET, _Logit, mel_centers, spans_of
from dcasenet.inference.model import SoundModel
from dcasenet.models.base import Outputs
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel, mel_filterbank
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import FrontEndSettings, ModelSpec, Task

EXAMPLE = Path(__file__).parents[2] / "examples" / "dog_barking.ogg"
RATE = 24_000
LOUD_BINS = slice(60, 70)  # about 2,400 to 3,300 Hz


class Whistle(nn.Module):
    """Detects a tag in one band of the spectrogram, wherever it is loud, and nothing else."""

    def forward(self, log_mel: torch.Tensor, tasks: Sequence[Task] = ()) -> Outputs:
        loud = log_mel[:, LOUD_BINS].clamp(min=0).sum(dim=(1, 2))
        return Outputs(tag=torch.stack((loud / 100, -loud / 100), dim=1))


@pytest.fixture
def whistle() -> SoundModel:
    settings = FrontEndSettings(normalization="fixed")
    frontend = LogMel(settings)
    frontend.mean -= 8.0
    frontend.deviation *= 4.0
    spec = ModelSpec("v3", "whistle", tasks=("tag",), tags=("whistle", "calm"), frontend=settings)
    return SoundModel(spec, frontend, Whistle())


def with_tone(seconds: float, onset: float, offset: float, hertz: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    audio = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    loudness = np.interp(time, (onset, onset + 0.05, offset - 0.05, offset), (0.0, 0.3, 0.3, 0.0))
    return audio + loudness * np.sin(2 * np.pi * hertz * time)


def test_it_points_at_the_sound_in_time_and_frequency(whistle: SoundModel) -> None:
    found = whistle.explain(with_tone(3.0, 1.0, 1.5, 2_800.0), "whistle", RATE)
    assert found.task == "tag"
    assert found.saliency.shape == found.log_mel.shape == (128, 150)
    assert found.saliency.shape == (len(found.frequencies), len(found.times))
    mel, frame = np.unravel_index(found.saliency.argmax(), found.saliency.shape)
    assert found.frequencies[mel] == pytest.approx(2_800, rel=0.05)
    assert 1.0 <= found.times[frame] <= 1.5
    outside = np.delete(found.saliency, np.r_[LOUD_BINS], axis=0)
    np.testing.assert_array_equal(outside, 0.0)
    (span,) = found.spans
    assert (span.onset, span.offset) == pytest.approx((1.0, 1.5), abs=0.1)
    assert 0.8 <= span.share <= 1.0
    assert not whistle.explain(with_tone(3.0, 1.0, 1.5, 2_800.0), "calm", RATE).spans
    low = whistle.explain(with_tone(3.0, 1.0, 1.5, 500.0), "whistle", RATE)
    assert low.saliency.sum() < 0.2 * found.saliency.sum()  # side lobes


@pytest.mark.parametrize(("task", "label"), [("tag", "siren"), ("event", "dog"), ("scene", "tram")])
def test_the_saliency_adds_up_to_the_difference(
    tiny_model: SoundModel, task: Task, label: str
) -> None:
    audio = with_tone(2.0, 0.5, 1.2, 900.0).astype(np.float32)
    found = tiny_model.explain(audio, label, RATE, task=task, steps=128)
    requested = _Logit(tiny_model.network, task, tiny_model.spec.labels(task).index(label))
    with torch.no_grad():
        features = tiny_model.frontend(torch.from_numpy(audio)[None])
        quiet = features.quantile(QUIET, dim=2, keepdim=True).clamp(max=0).expand_as(features)
        weights = requested.weights(features)
        above, below = (float(requested.log_odds(x, weights)) for x in (features, quiet))
    assert abs(above - below) > 0.005
    assert float(found.saliency.sum()) == pytest.approx(above - below, rel=0.12)
    assert tiny_model.network.trunk[0].conv1.weight.grad is None  # nothing is left behind


def test_the_probability_is_the_verbs_own(tiny_model: SoundModel) -> None:
    audio = with_tone(4.0, 1.0, 2.0, 900.0)
    analysis = tiny_model.analyze(audio, RATE)
    of_tag = tiny_model.explain(audio, "bell", RATE, steps=1)
    assert of_tag.probability == pytest.approx(analysis.tags.probabilities["bell"], abs=1e-4)
    of_event = tiny_model.explain(audio, "door knock", RATE, steps=1)
    column = analysis.events.labels.index("door knock")
    highest = analysis.events.probabilities[:, column].max()
    assert of_event.probability == pytest.approx(highest, abs=1e-4)
    of_scene = tiny_model.explain(audio, "park", RATE, steps=1)
    assert of_scene.probability == pytest.approx(analysis.scene.probabilities["park"], abs=1e-4)


def test_a_long_recording_is_explained_window_by_window(
    whistle: SoundModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 2.0)
    audio = with_tone(7.3, 5.6, 6.4, 2_800.0)  # over a seam
    found = whistle.explain(audio, "whistle", RATE)
    assert found.saliency.shape == (128, 365)
    assert found.times[-1] == pytest.approx(7.28)
    (span,) = found.spans
    assert (span.onset, span.offset) == pytest.approx((5.6, 6.4), abs=0.15)
    assert found.duration == 7.3


@pytest.mark.parametrize("n_samples", [1, 100, 2_000])
def test_a_short_recording_has_the_frames_that_it_has(
    tiny_model: SoundModel, n_samples: int
) -> None:
    found = tiny_model.explain(0.1 * np.ones(n_samples), "rain", RATE, steps=1)
    assert found.saliency.shape == (128, (n_samples - 1) // 480 + 1)
    assert np.isfinite(found.saliency).all()


def test_silence_has_nothing_that_counts(tiny_model: SoundModel) -> None:
    found = tiny_model.explain(np.zeros(RATE), "rain", RATE)
    assert not found.spans
    assert found.to_dict()["spans"] == []


def test_of_a_composed_model_the_tasks_network_is_used(tiny_spec: ModelSpec) -> None:
    spec = dataclasses.replace(tiny_spec, members={"tag": "for-tags"}, tasks=("tag",))
    torch.manual_seed(0)
    network = create("v3", n_scenes=4, n_tags=5, n_events=3, width=tiny_spec.width).eval()
    composed = ComposedNetwork({"tag": lambda: network})
    model = SoundModel(spec, LogMel(spec.frontend), composed)
    audio = with_tone(1.0, 0.2, 0.6, 900.0)
    assert model.explain(audio, "bell", RATE, steps=1).probability == pytest.approx(
        model.tag(audio, RATE).probabilities["bell"], abs=1e-4
    )
    with pytest.raises(TaskNotAvailableError):
        model.explain(audio, "dog", RATE, task="event")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"label": "belt"},
            ValueError,
            r"no tag or event or scene 'belt'\. Did you mean 'bel",
        ),
        ({"label": "park", "task": "tag"}, ValueError, "no tag 'park'"),
        ({"label": "bell", "task": "speech"}, ValueError, "no task 'speech'"),
        ({"label": "bell", "steps": 0}, ValueError, "steps=0 is out of range"),
        ({"label": "bell", "sample_rate": None}, AudioError, "no sample rate of its own"),
    ],
)
def test_what_cannot_be_explained(
    tiny_model: SoundModel, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        tiny_model.explain(np.zeros(100), **{"sample_rate": RATE, **options})


def test_it_is_drawn_and_written(
    whistle: SoundModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = whistle.explain(with_tone(3.0, 1.0, 1.5, 2_800.0), "whistle", RATE)
    figure = found.plot(tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes()[1:4] == b"PNG"
    upper, lower = figure.axes[:2]
    assert "whistle" in upper.get_title(loc="left")
    shaded = [
        patch.get_extents().transformed(lower.transData.inverted()) for patch in lower.patches
    ]
    assert [patch.x0 for patch in shaded] == pytest.approx([span.onset for span in found.spans])
    values = json.loads(found.to_json())
    assert values["label"] == "whistle"
    assert values["spans"][0]["onset"] == found.spans[0].onset
    assert "whistle" in repr(found)
    shown = found._repr_png_()  # in a notebook
    assert shown is not None
    assert shown[1:4] == b"PNG"
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert found._repr_png_() is None
    with pytest.raises(ImportError, match=r"pip install 'dcasenet\[plot\]'"):
        found.plot()


def test_the_seconds_that_count_are_few() -> None:
    saliency = np.full((2, 500), 1e-4, np.float32)
    saliency[:, 100:150] = 1.0
    saliency[:, 154:160] = 1.0  # a gap that is closed
    saliency[:, 400:440] = 1.0
    saliency[:, 300:350] = -2.0
    spans = spans_of(saliency, 0.02, 10.0)
    assert [round(span.onset, 1) for span in spans] == [2.1, 8.1]
    assert sum(span.share for span in spans) > 0.8
    assert spans_of(np.zeros((2, 3), np.float32), 0.02, 0.05) == ()


def test_the_bins_centers_are_those_of_the_filters() -> None:
    filters = mel_filterbank(128, 2_048, RATE)[0].numpy()
    highest = np.linspace(0.0, RATE / 2, 1_025)[filters.argmax(axis=1)]
    np.testing.assert_allclose(mel_centers(128, RATE)[20:], highest[20:], atol=12)


def test_without_the_seconds_that_count_the_crow_is_gone() -> None:
    model = dcasenet.load()
    found = model.explain(dcasenet.example(), "rooster", steps=8)
    assert all(1.3 < span.onset < span.offset < 3.3 for span in found.spans)  # it crows there
    audio = read(dcasenet.example())
    counts = np.zeros(audio.n_samples, bool)
    for span in found.spans:
        counts[round(span.onset * audio.sample_rate) : round(span.offset * audio.sample_rate)] = (
            True
        )
    without, alone = (
        model.detect_events(np.where(kept, audio.samples, 0), audio.sample_rate)
        .probabilities[:, model.spec.events.index("rooster")]
        .max()
        for kept in (~counts, counts)
    )
    assert without < 0.5 * found.probability
    assert alone > 0.5 * found.probability
