"""Fine-tuning on ESC-50's folds begins where the probe ends."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dcasenet
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from recipes.esc.folds import (
    CLIP_SAMPLES,
    EscClips,
    FineTuning,
    _augmented,
    _Classifier,
    fine_tune,
    fit_probe,
    main,
    probe,
    read,
)

NOISE_FOLD = 5
MEAN_AND_FOLDS = r"([01]\.\d{3}) \(((?: ?[01]\.\d{3}){5})\)"
TONES = (300.0, 900.0, 2_700.0)


@pytest.fixture(scope="module")
def clips() -> EscClips:
    """Two clips of each of three tones in each fold, at levels of their own; fold 5 is noise."""
    random = np.random.default_rng(0)
    time = np.arange(CLIP_SAMPLES) / 24_000
    waveforms, targets, folds = [], [], []
    for fold in range(1, 6):
        for target in range(len(TONES)):
            for _ in range(2):
                tone = np.sin(2 * np.pi * TONES[target] * random.uniform(0.9, 1.1) * time)
                noise = random.standard_normal(CLIP_SAMPLES)
                sound = 0.3 * noise + (tone if fold < NOISE_FOLD else 0.0)
                waveforms.append(random.uniform(0.01, 0.2) * sound)
                targets.append(target)
                folds.append(fold)
    pcm = np.round(np.clip(np.stack(waveforms), -1, 1) * 32_767).astype(np.int16)
    return EscClips(torch.from_numpy(pcm), torch.tensor(targets), torch.tensor(folds))


@pytest.fixture(scope="module")
def frontend(clips: EscClips) -> LogMel:
    frontend = LogMel(FrontEndSettings(normalization="level"))
    bins = frontend.log_mel(clips.waveform.float() / 32_768.0).transpose(0, 1).flatten(1)
    frontend.mean.copy_(bins.mean(dim=1))
    frontend.deviation.copy_(bins.std(dim=1))
    return frontend


@pytest.fixture(scope="module")
def network(frontend: LogMel, clips: EscClips) -> nn.Module:
    """A network of random weights whose normalizations have the statistics of the clips."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = create("v3", n_scenes=2, n_tags=3, n_events=2, width=1 / 16).train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network(frontend(clips.waveform.float() / 32_768.0))
    return network.eval()


@pytest.fixture(scope="module")
def of_clips(frontend: LogMel, network: nn.Module, clips: EscClips) -> Tensor:
    return read(frontend, network, clips)[0]


def test_the_embedding_comes_first_as_the_network_returns_it(
    frontend: LogMel, network: nn.Module, clips: EscClips
) -> None:
    of_clips, n_embedding = read(frontend, network, clips)
    with torch.no_grad():
        expected = network(frontend(clips.waveform.float() / 32_768.0), ()).embedding.mean(dim=1)
    torch.testing.assert_close(of_clips[:, :n_embedding], expected, rtol=1e-4, atol=1e-5)
    assert of_clips.shape[1] > n_embedding


def test_one_command_prints_the_probe_of_a_checkpoint(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = Path(dcasenet.__file__).parent / "data" / "distilled" / "model.safetensors"
    main([str(open_folder), "--checkpoint", str(weights)])
    printed = capsys.readouterr().out
    found = re.fullmatch(
        rf"probe {MEAN_AND_FOLDS}, probe of all features {MEAN_AND_FOLDS}\n", printed
    )
    assert found is not None
    for mean, folds in (found.groups()[:2], found.groups()[2:]):
        accuracies = [float(text) for text in folds.split()]
        assert float(mean) == pytest.approx(np.mean(accuracies), abs=1e-3)


def test_without_epochs_it_is_the_probe(
    frontend: LogMel, network: nn.Module, of_clips: Tensor, clips: EscClips
) -> None:
    probed = probe(of_clips, clips)
    assert probed[0] > 0.5 > probed[NOISE_FOLD - 1]  # of three classes
    for held_out in (1, NOISE_FOLD):
        settings = FineTuning(epochs=0)
        tuned = fine_tune(frontend, network, of_clips, clips, held_out, settings)
        assert tuned.accuracy == pytest.approx(probed[held_out - 1])
        assert tuned.losses == ()


def test_the_loss_falls_from_where_the_probe_is_and_the_network_stays(
    frontend: LogMel, network: nn.Module, of_clips: Tensor, clips: EscClips
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = FineTuning(epochs=8, batch=8, learning_rate=3e-4, mixup=0.0)
    tuned = fine_tune(frontend, network, of_clips, clips, NOISE_FOLD, settings)
    assert len(tuned.losses) == 8 * 3
    assert tuned.losses[0] < 3  # a layer that knows nothing begins at log 50, 3.9
    assert np.mean(tuned.losses[-8:]) < np.mean(tuned.losses[:8]) - 0.2
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_training_normalizes_as_the_probe_was_fitted(
    frontend: LogMel, network: nn.Module, of_clips: Tensor, clips: EscClips
) -> None:
    layer = fit_probe(of_clips, clips, NOISE_FOLD)
    model = _Classifier(copy.deepcopy(network), layer, half=None)
    log_mel = frontend(clips.waveform[:4].float() / 32_768.0)
    expected = model.eval()(log_mel)
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    torch.testing.assert_close(model.train()(log_mel), expected)
    assert model.training
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, statistics[name], rtol=0, atol=0)


def test_the_probe_does_not_look_at_the_fold_that_is_held_out(
    of_clips: Tensor, clips: EscClips
) -> None:
    held_out = clips.fold == NOISE_FOLD
    other = dataclasses.replace(clips, target=torch.where(held_out, 7, clips.target))
    changed = torch.where(held_out[:, None], torch.zeros_like(of_clips), of_clips)
    layer, same = fit_probe(of_clips, clips, NOISE_FOLD), fit_probe(changed, other, NOISE_FOLD)
    np.testing.assert_array_equal(layer.weight, same.weight)
    np.testing.assert_array_equal(layer.mean, same.mean)


def test_training_reads_the_levels_that_evaluation_reads(clips: EscClips) -> None:
    seen: list[Tensor] = []

    def frontend(waveform: Tensor) -> Tensor:
        seen.append(waveform)
        return torch.ones(len(waveform), 128, 250)

    chosen, settings = torch.tensor([3, 0, 7, 20]), FineTuning(mixup=0.0)
    given: Any = frontend
    log_mel, truth = _augmented(given, clips, chosen, settings, torch.Generator().manual_seed(0))
    played = clips.waveform[chosen].float() / 32_768.0
    torch.testing.assert_close(seen[0].square().mean(dim=1), played.square().mean(dim=1))
    assert truth.argmax(dim=1).tolist() == clips.target[chosen].tolist()
    assert set(log_mel.unique().tolist()) == {0.0, 1.0}
    _augmented(given, clips, chosen, FineTuning(mixup=1.0), torch.Generator().manual_seed(0))
    # The second clip has at most half of a mixture.
    ratio = seen[1].square().mean(dim=1) / played.square().mean(dim=1)
    assert float(ratio.min()) > 0.2
    assert float(ratio.max()) < 1.05


def test_the_rate_rises_and_falls() -> None:
    rates = [FineTuning(learning_rate=1.0).rate_at(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert np.argmax(rates) == 9
    assert rates[100] == pytest.approx(0.0)
    assert FineTuning(learning_rate=1.0).rate_at(0, 1) == 1.0
