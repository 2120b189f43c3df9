"""The last layers follow labels and soundscapes, and stay as they are where that is no gain."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dcasenet.models.blocks import BiGru, tag_head
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from recipes import event_layers, heads
from recipes.bank import Bank
from recipes.event_layers import SETTINGS, EventLayers, Sequences
from recipes.heads import Examples
from recipes.mixtures import MixtureSampler
from recipes.students import LABEL_WEIGHT

N_TAGS, SIZE, N_SCENES = 12, 16, 3


def examples(n: int, seed: int, *, labeled: bool = True) -> Examples:
    """Embeddings in clusters, a tag and an environment each, and a teacher that knows nothing."""
    centers = torch.randn(6, SIZE, generator=torch.Generator().manual_seed(0)) * 2
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(6, (n,), generator=generator)
    embedding = centers[kind] + torch.randn(n, SIZE, generator=generator)
    tags = nn.functional.one_hot(kind, N_TAGS).float() * labeled
    truth = tags.mul(0.95).clamp(min=0.02)
    known = torch.ones(n, dtype=torch.bool)
    scene = kind % N_SCENES
    return Examples(embedding, truth, known, tags, embedding, scene, torch.zeros(n, N_SCENES))


@pytest.fixture
def head() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tag_head(SIZE, 32, N_TAGS).eval()


def top1(layers: nn.Sequential, of: Examples) -> float:
    return float((layers(of.embedding).argmax(dim=1) == of.labeled.argmax(dim=1)).float().mean())


def test_tags_follow_labels(head: nn.Sequential) -> None:
    watched, test = examples(120, 2), examples(200, 3)
    fitted = heads.fit_tags(head, examples(4_000, 1), watched, LABEL_WEIGHT)
    assert top1(head, test) < 0.6
    assert top1(fitted, test) > 0.9
    assert not any(parameter.requires_grad for parameter in fitted.parameters())


def test_what_is_no_gain_is_not_taken(head: nn.Sequential) -> None:
    watched = examples(120, 2)
    good = heads.fit_tags(head, examples(4_000, 1), watched, LABEL_WEIGHT)
    assert heads.fit_tags(good, examples(300, 1, labeled=False), watched, LABEL_WEIGHT) is good


def test_environments_follow_labels() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(SIZE, N_SCENES)
    train, watched, test = (examples(n, seed) for n, seed in ((600, 1), (150, 2), (300, 3)))
    train.scene[::2] = -1  # of which nothing is known
    fitted = heads.fit_scenes(layer, train, watched)
    before, after = (
        float((of(test.code).argmax(dim=1) == test.scene).float().mean()) for of in (layer, fitted)
    )
    assert after > before + 0.15


def test_environments_follow_the_teacher_where_none_is_known() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(SIZE, N_SCENES)
    train, watched, test = (examples(n, seed) for n, seed in ((600, 1), (150, 2), (300, 3)))
    told = train._replace(place=nn.functional.one_hot(train.scene, N_SCENES).float())
    for of in (train, told):
        of.scene[:] = -1
    fitted = heads.fit_scenes(layer, told, watched)
    assert float((fitted(test.code).argmax(dim=1) == test.scene).float().mean()) > 0.8


N_EVENTS = 2


def sequences(n: int, seed: int) -> Sequences:
    """Steps at which an event has features of its own."""
    own = torch.randn(N_EVENTS, SIZE, generator=torch.Generator().manual_seed(0)) * 2
    generator = torch.Generator().manual_seed(seed)
    active = (torch.rand(n, 5, N_EVENTS, generator=generator) < 0.2).repeat_interleave(4, dim=1)
    features = torch.randn(n, 20, SIZE, generator=generator)
    return Sequences((features + active.float() @ own).half(), active)


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> EventLayers:
    monkeypatch.setattr(event_layers, "WARM_UP", 5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EventLayers(BiGru(SIZE, 8), nn.Linear(16, N_EVENTS)).copy(trains=False)


def found(layers: EventLayers, of: Sequences) -> float:
    """Share of the steps that are told right."""
    return float(
        ((layers.head(layers.gru(of.features.float())[0]) > 0) == of.active).float().mean()
    )


@pytest.mark.slow
def test_events_follow_soundscapes(layers: EventLayers) -> None:
    before = found(layers, sequences(60, 3))
    fitted = event_layers.fit_events(layers, sequences(400, 1), sequences(60, 2))
    assert found(fitted, sequences(60, 3)) > 0.93 > before
    assert found(layers, sequences(60, 3)) == before  # those that were given are left alone
    assert not any(parameter.requires_grad for parameter in fitted.gru.parameters())


@pytest.mark.slow
def test_event_layers_that_are_no_better_are_not_taken(layers: EventLayers) -> None:
    good = event_layers.fit_events(layers, sequences(400, 1), sequences(60, 2))
    features, active = sequences(400, 4)
    assert event_layers.fit_events(good, Sequences(features, ~active), sequences(60, 2)) is good


@pytest.mark.slow
def test_soundscapes_are_read_up_to_the_grus(bank: Bank) -> None:
    network = create("v3", n_events=1, width=1 / 16, time_pooling=1).eval()
    mixer = MixtureSampler(bank, SETTINGS, seed=1)
    read = event_layers.read_soundscapes(LogMel(FrontEndSettings()), network, mixer, 18)
    assert read.features.shape == (18, 62, 2 * network.event_gru.hidden_size * 2)
    assert read.active.shape == (18, 62, 1)
    again = MixtureSampler(bank, SETTINGS, seed=1).draw(16, 10.0)
    assert bool((read.active[:16] == (again.event[:, :62] > 0.5)).all())


def test_labeled_tags_are_as_likely_as_the_watched_say(head: nn.Sequential) -> None:
    watched = examples(400, 2)
    is_labeled = watched.labeled.any(dim=0)
    fitted = heads.fit_tags(head, examples(4_000, 1), watched, LABEL_WEIGHT)
    before = fitted[-1].bias.clone()
    with torch.no_grad():
        fitted[-1].bias -= 1.5 * is_labeled
    heads.shift_labeled(fitted, is_labeled, watched, LABEL_WEIGHT)
    torch.testing.assert_close(fitted[-1].bias, before, atol=0.11, rtol=0.0)


def test_a_tag_of_most_recordings_does_not_come_before_all_others(head: nn.Sequential) -> None:
    watched = examples(400, 2)
    fitted = heads.fit_tags(head, examples(4_000, 1), watched, LABEL_WEIGHT)
    usual = int(watched.labeled.sum(dim=0).argmax())
    with torch.no_grad():
        fitted[-1].bias[usual] += 2.0
    many = [i for i, tag in enumerate(watched.labeled.argmax(dim=1)) if tag == usual] * 3
    rows = torch.tensor([*range(400), *many])
    before = top1(fitted, watched)
    heads.shift_frequent(fitted, Examples(*(column[rows] for column in watched)))
    assert top1(fitted, watched) > before
