from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dcasenet
from dcasenet.errors import AudioError
from dcasenet.inference.model import SoundModel
from dcasenet.models.frontend import LogMel
from dcasenet.spec import ModelSpec
from dcasenet.train import DistillRecipe, distill
from dcasenet.train.distillation.data import Windows
from dcasenet.train.distillation.distill import divergence
from dcasenet.train.paper.miniature import synthetic

RATE = 24_000
SHORT = DistillRecipe(epochs=1, steps=30, batch=8, seconds=1.7, learning_rate=3e-3)


def sounds(n: int, seed: int, seconds: float = 3.0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [synthetic(i, n, round(seconds * RATE), RATE, random) for i in range(n)]


def apart(teacher: SoundModel, student: SoundModel, audio: list[np.ndarray]) -> dict[str, float]:
    """Mean difference of probabilities on the same audio."""
    found = {}
    for name, infer in (
        ("scene", lambda model, x: model.classify_scene(x, sample_rate=RATE).values),
        ("tag", lambda model, x: model.tag(x, sample_rate=RATE).values),
        ("event", lambda model, x: model.detect_events(x, sample_rate=RATE).probabilities),
    ):
        found[name] = float(
            np.mean([np.abs(infer(teacher, x) - infer(student, x)).mean() for x in audio])
        )
    return found


def test_a_narrow_student_comes_closer_on_sounds_it_was_not_trained_on(
    tiny_model: SoundModel,
) -> None:
    teacher = tiny_model
    # Of the length that it learns from: an untrained teacher answers otherwise about others.
    seen, held_out = sounds(12, seed=0), sounds(12, seed=1, seconds=SHORT.seconds)[::3]
    before = distill(
        teacher,
        1 / 16,
        seen,
        sample_rate=RATE,
        recipe=DistillRecipe(epochs=1, steps=3, batch=2, learning_rate=1e-12, seconds=1.7),
    )
    longer = DistillRecipe(epochs=1, steps=24, batch=4, seconds=1.7, learning_rate=6e-3)
    after = distill(teacher, 1 / 16, seen, sample_rate=RATE, recipe=longer)
    far, near = apart(teacher, before, held_out), apart(teacher, after, held_out)
    assert all(near[task] < 0.6 * far[task] for task in far), (far, near)
    assert after.spec.width == 1 / 16
    for field in ("scenes", "tags", "events", "thresholds", "frontend", "tasks"):
        assert getattr(after.spec, field) == getattr(teacher.spec, field)
    assert after.spec.source == "Distilled from v3, stage tiny, width 0.125."
    assert not after.spec.metrics


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    random = torch.Generator().manual_seed(0)
    truth, logits = torch.randn(2, 4, 3, generator=random).unbind()
    p, q = truth.softmax(dim=1), logits.softmax(dim=1)
    assert divergence("scene", logits, truth) == pytest.approx(
        float((p * (p / q).log()).sum(dim=1).mean()), rel=1e-4
    )
    p, q = truth.sigmoid(), logits.sigmoid()
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert divergence("tag", logits, truth) == pytest.approx(float(each.sum(1).mean()), rel=1e-4)


def test_windows_depend_on_seed_epoch_number_and_rank_alone() -> None:
    audio = [np.arange(50, dtype=np.float32), np.arange(7, dtype=np.float32)]
    first = Windows(audio, 20, SHORT, epoch=0)
    assert first[1].shape == (8, 20)
    assert torch.equal(first[1], Windows(audio, 20, SHORT, epoch=0)[1])
    others = [first[0], Windows(audio, 20, SHORT, 1)[1], Windows(audio, 20, SHORT, 0, rank=1)[1]]
    assert not any(torch.equal(first[1], other) for other in others)
    assert len(list(first)) == SHORT.steps


def spec(**labels: Any) -> ModelSpec:
    return ModelSpec("v3", "small", width=1 / 16, events=("dog",), **labels)


def model(own: ModelSpec) -> SoundModel:
    network = dcasenet.create(
        "v3", n_scenes=len(own.scenes) or 1, n_tags=len(own.tags) or 1, n_events=1, width=own.width
    )
    return SoundModel(own, LogMel(own.frontend), network)


def test_a_single_task_from_a_folder_and_on_from_where_it_was(
    tmp_path: Path, write_wav: Any, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = model(spec(scenes=("park", "tram"), tasks=("scene",)))
    (tmp_path / "audio").mkdir()
    for i, waveform in enumerate(sounds(2, seed=0)):
        write_wav(f"audio/{i}.wav", waveform, RATE)
    (tmp_path / "audio" / "notes.txt").touch()
    recipe = DistillRecipe(epochs=1, steps=2, batch=2, seconds=1.7)
    first = distill(teacher, 1 / 16, tmp_path / "audio", recipe=recipe, work_dir=tmp_path / "run")
    again = distill(teacher, 1 / 16, tmp_path / "audio", recipe=recipe, work_dir=tmp_path / "run")
    assert caplog.messages.count("passed over: 1 .txt") == 2
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])
    first.save_pretrained(tmp_path / "student")
    assert dcasenet.load(tmp_path / "student").spec.tasks == ("scene",)


def test_a_student_of_other_labels_is_refused() -> None:
    teacher = model(spec(scenes=("park", "tram"), tasks=("scene",)))
    student = model(spec(scenes=("park", "bus"), tasks=("scene",)))
    with pytest.raises(ValueError, match=r"does not have the teacher's scene labels \(park, tram"):
        distill(teacher, student, [np.zeros(RATE, np.float32)], sample_rate=RATE)


def test_a_folder_without_recordings_is_refused(tiny_model: SoundModel, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="There is no recording in"):
        distill(tiny_model, 1 / 16, tmp_path)


def test_random_numbers_outside_are_left_alone() -> None:
    own = model(spec(scenes=("park", "tram"), tasks=("scene",)))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    recipe = DistillRecipe(epochs=1, steps=2, batch=2, seconds=1.7)
    taught = distill(own, own, sounds(2, seed=0), sample_rate=RATE, recipe=recipe)
    assert torch.equal(torch.rand(1), expected)
    # The student was a copy.
    changed = taught.network.state_dict()["trunk.0.norm1.running_mean"]
    assert not torch.equal(changed, own.network.state_dict()["trunk.0.norm1.running_mean"])
