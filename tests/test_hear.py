"""HEAR and X-ARES: what their own checkers demand, and that embeddings lie where they are said to.

The first tests check what ``hearvalidator.validate`` and ``xares.audio_encoder_checker`` check.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from dcasenet import hear, xares
from dcasenet.errors import AudioError
from dcasenet.inference import fine as _fine
from dcasenet.inference.fine import FineEmbedding
from dcasenet.inference.model import SoundModel
from dcasenet.inference.windowing import Grid
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import FrontEndSettings, ModelSpec

ACCEPTED_RATES = (16_000, 22_050, 44_100, 48_000)


@pytest.fixture(scope="module")
def saved(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory."""
    return tiny_model.save_pretrained(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def model(saved: Path) -> hear.HearModel:
    return hear.load_model(str(saved))


def white_noise(n_audio: int, seconds: float, rate: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n_audio, int(seconds * rate), generator=generator) - 1


def test_the_model_has_what_hear_requires(model: hear.HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.to("cpu") is model
    assert model.sample_rate in ACCEPTED_RATES
    assert isinstance(model.scene_embedding_size, int)
    assert isinstance(model.timestamp_embedding_size, int)


@pytest.mark.parametrize("seconds", [0.005, 0.05, 1.07, 1.98, 2.0, 4.0])
def test_timestamp_embeddings_are_as_hear_requires(model: hear.HearModel, seconds: float) -> None:
    audio = white_noise(2, seconds, model.sample_rate)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (*timestamps.shape, model.timestamp_embedding_size)
    assert len(embeddings) == 2
    assert embeddings.isfinite().all()
    milliseconds = 1_000 * seconds
    assert timestamps.max() <= milliseconds
    if timestamps.shape[1] > 1:
        steps = timestamps.diff()
        assert steps.max() <= 50.0
        assert (steps - steps.mean()).abs().max() < 1.0
        assert timestamps.min() <= steps.mean()
        # The last embedding hears the end.
        assert timestamps.max() > milliseconds - min(50.0, float(steps.mean()))


def test_scene_embeddings_are_those_of_embed(model: hear.HearModel, tiny_model: SoundModel) -> None:
    audio = white_noise(4, 2.74, model.sample_rate)
    embeddings = hear.get_scene_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (4, model.scene_embedding_size)
    wanted = tiny_model.embed(audio[2].numpy(), 48_000)
    torch.testing.assert_close(embeddings[2], wanted, atol=1e-5, rtol=0)


def test_a_probe_can_be_trained_on_embeddings(model: hear.HearModel) -> None:
    audio = white_noise(2, 1.0, model.sample_rate)
    fine, _ = hear.get_timestamp_embeddings(audio, model)
    for embeddings in (hear.get_scene_embeddings(audio, model), fine):
        probe = torch.nn.Linear(embeddings.shape[-1], 3)
        probe(embeddings).sum().backward()  # inference tensors would refuse
        assert probe.weight.grad is not None


def test_an_embedding_lies_where_its_timestamp_says(model: hear.HearModel) -> None:
    rate, at = model.sample_rate, 1.5
    audio = 1e-3 * white_noise(1, 3.0, rate)
    still, timestamps = hear.get_timestamp_embeddings(audio, model)
    audio[:, round(at * rate) : round((at + 0.01) * rate)] += white_noise(1, 0.01, rate, seed=1)
    seen, _ = hear.get_timestamp_embeddings(audio, model)
    n_bands = _fine.BANDS * model.fine.network.trunk[1].conv2.out_channels
    change = (seen - still)[0, :, :n_bands].abs().sum(dim=1)
    assert abs(float(timestamps[0, change.argmax()]) / 1_000 - at) <= 0.04
    # So does the embedding of the network's own steps: it changes around the click.
    change = (seen - still)[0, :, n_bands:].abs().sum(dim=1)
    assert change.isfinite().all()
    assert change.max() > 0


@pytest.fixture
def fixed() -> FineEmbedding:
    """A model whose normalization does not depend on what else is in a window."""
    settings = FrontEndSettings(normalization="fixed")
    spec = ModelSpec("v3", "fixed", width=1 / 16, frontend=settings)
    frontend = LogMel(settings)
    frontend.mean -= 8.0
    frontend.deviation *= 4.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create("v3", n_scenes=2, n_tags=2, n_events=2, width=1 / 16)
    return FineEmbedding(SoundModel(spec, frontend, network))


def test_windows_of_long_audio_join_without_drift(
    fixed: FineEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_samples = round(13.7 * 24_000)
    audio = white_noise(2, 13.7, 24_000) * torch.linspace(0.01, 1.0, n_samples)
    with torch.no_grad():
        whole = fixed(audio)
        monkeypatch.setattr(fixed, "grid", Grid(4 * 24_000, 4 * 24_000, 19_200))
        monkeypatch.setattr(_fine, "BATCH_SECONDS", 4.0)
        parts = fixed(audio)
    assert whole.shape == parts.shape == (2, 343, fixed.size)
    n_bands = fixed.size - 32
    # But for the frames beside the seams, the second block's map is the same.
    far = [k for k in range(343) if min(abs(k - seam) for seam in (100, 200, 300, 343)) > 8]
    torch.testing.assert_close(whole[:, far, :n_bands], parts[:, far, :n_bands])
    # The GRUs begin anew in each window, and still say nearly the same of the same moment.
    one, two = whole[:, :, n_bands:], parts[:, :, n_bands:]
    distance = (one - two).norm(dim=2).mean()
    shifted = (one[:, 40:] - two[:, :-40]).norm(dim=2).mean()
    assert distance < shifted
    assert float(fixed.centers(n_samples)[-1]) == pytest.approx(342 * 0.04 + 0.01)


def test_between_two_steps_embeddings_are_interpolated(fixed: FineEmbedding) -> None:
    audio = white_noise(1, 3.2, 24_000)
    with torch.no_grad():
        coarse = fixed.network(fixed.frontend(audio), tasks=()).embedding[0]
        values = fixed(audio)[0, :, fixed.size - 32 :]
    torch.testing.assert_close(values[0], coarse[0])  # before the first center
    torch.testing.assert_close(values[9], coarse[0] * 39 / 40 + coarse[0] / 40, atol=0.1, rtol=0)
    between = coarse[0] + (coarse[1] - coarse[0]) * (19.5 - 9.5) / 20
    exact = values[19] + (values[20] - values[19]) / 2
    torch.testing.assert_close(exact, between)
    torch.testing.assert_close(values[-1], coarse[-1])


def test_of_a_composed_model_the_tags_network_is_taken() -> None:
    def member(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return create("v3", n_scenes=2, n_tags=3, n_events=2, width=1 / 16)

    spec = ModelSpec(
        "v3",
        "several",
        width=1 / 16,
        scenes=("in", "out"),
        tags=("a", "b", "c"),
        members={"scene": "for-scene", "tag": "for-tag"},
        tasks=("scene", "tag"),
    )
    networks = {"scene": member(1), "tag": member(2)}
    composed = ComposedNetwork({"scene": lambda: networks["scene"], "tag": lambda: networks["tag"]})
    fine = FineEmbedding(SoundModel(spec, LogMel(spec.frontend), composed))
    assert fine.network is networks["tag"]
    assert not fine.network.training


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (torch.zeros(100), r"shape \(100,\)"),
        (torch.zeros(0, 100), r"shape \(0, 100\)"),
        (torch.zeros(2, 0), r"shape \(2, 0\)"),
        (torch.full((2, 100), torch.nan), "NaN or infinite"),
    ],
)
def test_audio_that_cannot_be_used(model: hear.HearModel, audio: torch.Tensor, says: str) -> None:
    for embed in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.raises(AudioError, match=says):
            embed(audio, model)


def test_the_encoder_passes_the_checks_of_xares(saved: Path) -> None:
    class MyEncoder(xares.DcasenetEncoder):
        name = saved

    # `xares.run` takes the one name of the module that ends so.
    assert [name for name in dir(xares) if name.endswith("Encoder")] == ["DcasenetEncoder"]
    encoder = MyEncoder()
    assert isinstance(encoder, torch.nn.Module)
    assert encoder.sampling_rate == 24_000
    assert encoder.hop_size_in_ms == 40.0
    encoded = encoder(torch.randn(2, 50_000))
    n_steps = 50_000 / 24_000 / (encoder.hop_size_in_ms / 1_000)
    assert encoded.shape == (2, round(n_steps), encoder.output_dim)
    assert encoder(torch.randn(50_000)).shape == (1, round(n_steps), encoder.output_dim)
    with pytest.raises(AudioError, match=r"shape \(2, 2, 10\)"):
        encoder(torch.zeros(2, 2, 10))


def test_the_default_encoder_goes_to_other_processes() -> None:
    encoder = xares.DcasenetEncoder()
    again = pickle.loads(pickle.dumps(encoder))
    audio = white_noise(1, 1.0, encoder.sampling_rate)
    np.testing.assert_allclose(encoder(audio), again(audio), atol=1e-6)
