"""Environments by the teacher's embedding."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipes.bank import Bank, Decoded, make_bank, waveform_of
from recipes.labels import LabelSets
from recipes.mixtures import MixtureSampler
from recipes.places import fit_layer, fit_places
from recipes.students import Lesson, Student, StudentSettings

LABELS = LabelSets(
    tags=("dog", "rain", "sea waves"), events=("dog",), environments=("rain", "sea shore")
)
NAMED = torch.zeros(3, 527)


class Ears(nn.Module):
    """A teacher whose embedding is the power in eight bands."""

    def forward(self, waveform: Tensor) -> Lesson:
        """Return nothing but an embedding, of one column."""
        power = torch.fft.rfft(waveform).abs().square()[:, : 8 * (waveform.shape[1] // 20)]
        bands = torch.stack([band.mean(dim=1) for band in power.tensor_split(8, dim=1)], dim=1)
        bands = (bands / bands.sum(dim=1, keepdim=True).clamp(min=1e-9) + 1e-6).log()
        empty = torch.zeros(len(waveform), 1, 1)
        return Lesson(empty[:, 0], empty, bands[:, None])


def test_the_layer_tells_clusters_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    place = torch.randint(3, (200,), generator=generator)
    embedding = torch.randn(3, 16, generator=generator)[place] * 5
    embedding += torch.randn(200, 16, generator=generator)
    layer = fit_layer(embedding[:100], place[:100], 3)
    found = layer(embedding[100:])
    assert float((found.argmax(dim=1) == place[100:]).float().mean()) > 0.95
    assert not layer.layer.weight.requires_grad


def test_recordings_and_mixtures_are_fitted(decoded: list[Decoded]) -> None:
    train = [clip for clip in decoded if clip.recording.split == "train"]
    held_out = [clip for clip in decoded if clip.recording.split == "test"]
    ears: Any = Ears()
    places = fit_places(ears, train, LABELS, make_bank(train, LABELS), n_mixtures=16)
    for clip in held_out:
        place = LABELS.environment_of(clip.recording)
        if place is not None:
            embedding = ears(torch.from_numpy(waveform_of(clip)[None])).embedding.mean(dim=1)
            assert int(places(embedding).argmax()) == place


@pytest.mark.parametrize("told", [0, 1])
def test_a_student_follows_what_the_teacher_tells_of_places(bank: Bank, told: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = Student(StudentSettings("distilled", 1 / 16, taught=True), (2, 3, 1), NAMED)
    mixtures = MixtureSampler(bank, seed=1).draw(4, 5.0)
    log_mel = student.frontend(mixtures.degraded)
    lesson = Lesson(
        torch.zeros(4, 527), torch.zeros(4, 15, 527), torch.zeros(4, 15, 384),
        nn.functional.one_hot(torch.full((4,), told), 2).float(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(student.parameters(), 1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        student.losses(mixtures, lesson, log_mel)["places"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert student.network(log_mel).scene.argmax(dim=1).tolist() == [told] * 4
