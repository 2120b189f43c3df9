"""Training by the clock: it ends, goes on, and stops at what is not a number."""

from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dcasenet.errors import DcasenetError
from dcasenet.models.dcasenet import create
from dcasenet.spec import FrontEndSettings, ModelSpec
from dcasenet.weights.checkpoint import write
from recipes import train
from recipes.bank import SAMPLE_RATE, Bank, describe, make_bank
from recipes.labels import LabelSets
from recipes.mixtures import MixtureSampler
from recipes.package import save_student
from recipes.recordings import LabeledClip
from recipes.students import Student, StudentSettings
from recipes.train import load_student
from recipes.training import Schedule, StudentTrainer

LABELS = LabelSets(tags=("dog", "rain"), events=("dog",), environments=("rain", "sea shore"))
NAMED = torch.zeros(2, 527)
Normalization = Literal["fixed", "level"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a quarter of a second pass at every look at the clock, however busy the machine is."""
    ticks = count()
    monkeypatch.setattr("recipes.training.time.monotonic", lambda: next(ticks) / 4)


@pytest.fixture(scope="module")
def bank() -> Bank:
    random = np.random.default_rng(0)
    clips = []
    for index in range(3):
        for label in ("esc50/dog", "esc50/rain", "esc50/sea_waves"):
            waveform = 0.1 * random.standard_normal(2 * SAMPLE_RATE).astype(np.float32)
            if label == "esc50/dog":
                waveform[: SAMPLE_RATE // 2] = 0
                waveform[SAMPLE_RATE:] = 0
            recording = LabeledClip(
                key=f"{label}-{index}", label=label, source=f"{label}:{index}", split="train",
                license="CC0", author="", title="",
            )  # fmt: skip
            clips.append(describe(recording, waveform))
    return make_bank([clip for clip in clips if clip is not None], LABELS)


def training(bank: Bank, minutes: float, seed: int = 0) -> StudentTrainer:
    torch.manual_seed(seed)
    student = Student(StudentSettings("open", 1 / 16, taught=False), (2, 2, 1), NAMED)
    return StudentTrainer([student], None, MixtureSampler(bank), Schedule(minutes=minutes, batch=2))


def test_ends_in_its_minutes_with_a_checkpoint_that_can_be_loaded(
    bank: Bank, tmp_path: Path
) -> None:
    import dcasenet

    run = training(bank, minutes=0.02)
    run.run(tmp_path)
    assert 1.2 <= run.elapsed <= 1.5
    assert run.n_steps == 5
    path = tmp_path / "open.safetensors"
    save_student(run.learners[0].average, LABELS, path)
    model = dcasenet.load("v3", weights=path)
    assert model.spec.time_pooling == 1
    assert model.spec.scenes == ("rain", "sea shore")
    label = model.classify_scene(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE).label
    assert label in model.spec.scenes


def test_goes_on_from_where_it_was_saved(bank: Bank, tmp_path: Path) -> None:
    first = training(bank, minutes=0.01)
    first.run(tmp_path)
    second = training(bank, minutes=0.02, seed=1)  # of the first weights, which are replaced
    second.run(tmp_path)
    assert (first.n_steps, second.n_steps) == (3, 5)
    third = training(bank, minutes=0.02, seed=2)
    third.run(tmp_path)  # nothing is left to do
    assert third.n_steps == second.n_steps
    for a, b in zip(
        third.learners[0].average.parameters(), second.learners[0].average.parameters(), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_what_was_trained_before_begins_with_its_way_to_the_teachers_embedding() -> None:
    torch.manual_seed(0)
    student = Student(StudentSettings("distilled", 1 / 16, taught=True), (2, 2, 1), NAMED).train()
    waveforms = [0.1 * torch.randn(4, 2 * SAMPLE_RATE) for _ in range(2)]
    with torch.no_grad():
        student.eval()
        own = [student.network(student.frontend(w), ()).embedding for w in waveforms]
        student.train()
    to_teacher = torch.randn(own[0].shape[2], 384)
    columns = [(o[:, :12].unflatten(1, (6, 2)).mean(dim=2)) @ to_teacher for o in own]
    student.embedding_mean.copy_(torch.cat(columns).mean(dim=(0, 1)))
    student.embedding_deviation.copy_(torch.cat(columns).flatten(0, 1).std(dim=0))

    @torch.no_grad()
    def error() -> float:
        assert student.projection is not None
        guess = student.projection(own[0][:, :12].unflatten(1, (6, 2)).mean(dim=2))
        taught = (columns[0] - student.embedding_mean) / student.embedding_deviation
        return float((guess - taught).square().mean())

    assert error() > 0.5
    student.fit_projection(waveforms, columns)
    assert error() < 0.2
    assert student.training


@pytest.mark.parametrize(
    ("change", "what"),
    [({"seed": 3}, "seed"), ({"rate": 1e-4}, "schedule"), ({"clips": 2}, "recordings")],
)
def test_another_training_is_not_gone_on_with(
    bank: Bank, tmp_path: Path, change: dict[str, float], what: str
) -> None:
    training(bank, minutes=0.01).run(tmp_path)
    changed = Bank(**{**vars(bank), "start": bank.start + int(change.get("clips", 0))})
    student = Student(StudentSettings("open", 1 / 16, taught=False), (2, 2, 1), NAMED)
    schedule = Schedule(minutes=0.02, batch=2, learning_rate=change.get("rate", 1.5e-3))
    mixer = MixtureSampler(changed, seed=int(change.get("seed", 0)))
    with pytest.raises(DcasenetError, match=f"another training: {what} differ"):
        StudentTrainer([student], None, mixer, schedule).run(tmp_path)


def test_stops_where_a_loss_is_not_a_number_and_keeps_the_last_good_state(
    bank: Bank, tmp_path: Path
) -> None:
    training(bank, minutes=0.01).run(tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    broken = training(bank, minutes=1.0)
    original = broken._load

    def load_and_spoil(path: Path) -> None:
        original(path)
        with torch.no_grad():
            broken.learners[0].student.network.event_head.bias.fill_(float("nan"))

    broken._load = load_and_spoil  # type: ignore[method-assign]
    with pytest.raises(DcasenetError, match=r"open/event.* not numbers at batch 3"):
        broken.run(tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_the_rate_rises_and_falls_with_the_share_of_the_minutes() -> None:
    schedule = Schedule(minutes=10)
    rates = [schedule.rate_at(share) for share in (0.0, 0.05, 0.5, 1.0)]
    assert rates[0] < rates[2] < rates[1] == schedule.learning_rate
    assert rates[3] < 2e-3 * schedule.learning_rate


def saved(path: Path, normalization: Normalization, n_scenes: int) -> Path:
    spec = ModelSpec(
        "v3",
        "open",
        width=1 / 16,
        time_pooling=1,
        frontend=FrontEndSettings(normalization=normalization),
        scenes=tuple(f"place {i}" for i in range(n_scenes)),
        tags=("a", "b"),
        events=("c",),
        thresholds={"c": 0.5},
    )
    network = create("v3", n_scenes=n_scenes, n_tags=2, n_events=1, width=1 / 16, time_pooling=1)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {"frontend.mean": torch.ones(128), "frontend.deviation": torch.ones(128)}
    write(path, tensors, spec)
    return path


@pytest.mark.parametrize(("normalization", "same"), [("level", True), ("fixed", False)])
def test_training_goes_on_from_a_checkpoint(
    tmp_path: Path, normalization: Normalization, same: bool
) -> None:
    """Of other features, what was measured of them is left; of other labels, the last layer."""
    student = Student(StudentSettings("open", 1 / 16, taught=False), (3, 2, 1), NAMED)
    own = student.network.scene_head.weight.clone()
    path = saved(tmp_path / "a.safetensors", normalization, n_scenes=2)
    assert load_student(student, path) is same
    assert torch.equal(student.network.scene_head.weight, own)
    tensors = load_file(path)
    assert torch.equal(student.network.event_head.weight, tensors["network.event_head.weight"])
    assert bool((student.frontend.mean == 1.0).all()) is same


def test_a_checkpoint_of_another_width_is_refused(tmp_path: Path) -> None:
    student = Student(StudentSettings("open", 1 / 8, taught=False), (2, 2, 1), NAMED)
    with pytest.raises(DcasenetError, match="does not fit"):
        load_student(student, saved(tmp_path / "a.safetensors", "level", n_scenes=2))


def test_a_student_that_is_taught_needs_the_teacher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.main([str(tmp_path), "--students", "distilled:0.5", "--work", str(tmp_path)])
    assert "--teacher is needed" in capsys.readouterr().err
