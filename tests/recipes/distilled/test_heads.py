"""The last layers follow labels where the teacher says nothing, and stay where that is no gain."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dcasenet.models.blocks import tag_head
from recipes.distilled import heads
from recipes.distilled.heads import Examples

N_TAGS, SIZE, N_SCENES = 12, 16, 3


def examples(n: int, seed: int, *, labeled: bool = True) -> Examples:
    """Embeddings in clusters, a tag and an environment each, and a teacher that knows nothing."""
    centers = torch.randn(6, SIZE, generator=torch.Generator().manual_seed(0)) * 2
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(6, (n,), generator=generator)
    embedding = centers[kind] + torch.randn(n, SIZE, generator=generator)
    tags = nn.functional.one_hot(kind, N_TAGS).float() * labeled
    return Examples(embedding, torch.full((n, N_TAGS), 0.02), tags, embedding, kind % N_SCENES)


@pytest.fixture
def head() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tag_head(SIZE, 32, N_TAGS).eval()


def top1(layers: nn.Sequential, of: Examples) -> float:
    return float((layers(of.embedding).argmax(dim=1) == of.labeled.argmax(dim=1)).float().mean())


def test_tags_follow_labels(head: nn.Sequential) -> None:
    watched, test = examples(120, 2), examples(200, 3)
    fitted = heads.fit_tags(head, examples(600, 1), watched)
    assert top1(head, test) < 0.6
    assert top1(fitted, test) > 0.9
    assert not any(parameter.requires_grad for parameter in fitted.parameters())


def test_what_is_no_gain_is_not_taken(head: nn.Sequential) -> None:
    watched = examples(120, 2)
    good = heads.fit_tags(head, examples(600, 1), watched)
    assert heads.fit_tags(good, examples(300, 1, labeled=False), watched) is good


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
