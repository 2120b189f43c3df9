"""From a student to the files that ship: chosen on validation, measured on test, all credited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import dcasenet
from recipes import familiarity, release
from recipes.bank import SAMPLE_RATE, Decoded
from recipes.decoding import HYSTERESES, THRESHOLDS
from recipes.labels import LabelSets
from recipes.package import save_student
from recipes.recordings import LabeledClip
from recipes.students import Student, StudentSettings

OFFICE = "dcase2016_task2/cough"


LABELS = LabelSets(
    tags=("dog", "rain", "sea waves"), events=("dog", "cough"), environments=("rain", "sea shore")
)


@pytest.fixture
def clips(decoded: Sequence[Decoded]) -> list[Decoded]:
    """Also of the office: coughs that sound like the dogs."""
    dogs = [clip for clip in decoded if clip.recording.label == "esc50/dog"]
    coughs = []
    for dog in dogs:
        key = dog.recording.key.replace("esc50/dog", OFFICE)
        coughs.append(replace(dog, recording=replace(dog.recording, key=key, label=OFFICE)))
    return [*decoded, *coughs]


@pytest.fixture
def folder(tmp_path: Path, clips: Sequence[Decoded], monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command writes for a student that has learned nothing."""
    monkeypatch.setattr(release, "read_recordings", lambda root: [])
    monkeypatch.setattr(release, "decode_all", lambda recordings, root, cache: list(clips))
    monkeypatch.setattr(release, "label_sets", lambda decoded: LABELS)
    monkeypatch.setattr(release, "N_WATCHED", 2)
    monkeypatch.setattr(familiarity, "N_SYNTHETIC", 12)
    monkeypatch.setattr(familiarity, "fit", partial(familiarity.fit, rank=8))
    torch.manual_seed(0)
    student = Student(StudentSettings("open", 1 / 16, taught=False), (2, 3, 2), torch.zeros(3, 527))
    save_student(student, LABELS, tmp_path / "student.safetensors")
    release.main([
        str(tmp_path), "--checkpoint", str(tmp_path / "student.safetensors"), "--stage", "open",
        "--cache", str(tmp_path / "none.npz"), "--output", str(tmp_path), "--soundscapes", "1",
    ])  # fmt: skip
    return tmp_path


def test_the_files_that_ship(folder: Path, clips: Sequence[Decoded]) -> None:
    model = dcasenet.load("v3", weights=folder / "model.safetensors")
    spec = model.spec
    assert spec.stage == "open"
    assert spec.license == "CC BY 4.0"
    assert spec.thresholds["dog"] in THRESHOLDS
    assert spec.hysteresis in HYSTERESES
    assert spec.context["event"].window == 10.0
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, SAMPLE_RATE)
    assert model.tag(noise.astype(np.float32), SAMPLE_RATE).familiarity is not None
    # The figures that it carries, those of the table, and those of the card are one.
    table = json.loads((folder / "metrics.json").read_text())
    measured = table["test"]["scene_accuracy"][0]
    assert spec.metrics["scene"]["test_accuracy"] == measured
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"| test | scene_accuracy | {measured:.3f} (" in card
    credited = (folder / "ATTRIBUTION.md").read_text()
    for clip in clips:
        assert (f"- {clip.recording.key}:" in credited) == (clip.recording.split == "train")
    assert "## somebody (CC0)" in credited


def test_the_temperature_divides_the_logits_of_the_environments_alone(folder: Path) -> None:
    before = load_file(folder / "student.safetensors")
    cooled = release.cool(before, 2.0)
    for name, value in before.items():
        share = 2.0 if name.startswith("network.scene_head.") else 1.0
        torch.testing.assert_close(cooled[name].float() * share, value.float())
    after = load_file(folder / "model.safetensors")
    ratio = before["network.scene_head.weight"].float() / after["network.scene_head.weight"].float()
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-2, atol=0.0)


def test_authors_are_credited_on_one_line_each_whatever_they_are_called(
    decoded: Sequence[Decoded],
) -> None:
    made: LabeledClip = replace(decoded[0].recording, author="a <b>\n| c", title="x\ny")
    credited = release.credits_of([replace(decoded[0], recording=made)])
    assert "## a &lt;b> / c (CC0)" in credited
    assert f"- {made.key}: x y" in credited
