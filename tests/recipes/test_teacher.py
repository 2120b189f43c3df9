"""The teacher's own implementation against what the authors' network says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dcasenet.errors import WeightsError
from recipes.distilled.teacher import load_teacher
from recipes.students import Lecturer

FOLDER = Path(__file__).parents[3] / "shared" / "teacher"
SOUNDS = ("noise", "tone", "clicks", "dog") if FOLDER.is_dir() else ()


@pytest.mark.parametrize("name", SOUNDS)
def test_equals_the_authors_network(name: str) -> None:
    teacher = load_teacher(FOLDER / "mn04_as.safetensors")
    with np.load(FOLDER / "golden.npz") as file:
        golden = {key: torch.from_numpy(file[f"{name}/{key}"].astype(np.float32))
                  for key in ("wave32k", "log_mel", "logits", "embedding")}  # fmt: skip
    with torch.no_grad():
        log_mel = teacher.frontend(golden["wave32k"][None])
        outputs = teacher.infer(log_mel)
    torch.testing.assert_close(log_mel[0], golden["log_mel"], rtol=0, atol=1e-4)
    torch.testing.assert_close(outputs.tag[0], golden["logits"], rtol=0, atol=1e-4)
    torch.testing.assert_close(outputs.embedding[0], golden["embedding"], rtol=0, atol=1e-5)


def test_resampling_keeps_a_tone_and_its_phase() -> None:
    lecturer = Lecturer(nn.Identity())  # type: ignore[arg-type]
    tone = torch.sin(2 * torch.pi * 1_000 * torch.arange(24_000) / 24_000)
    expected = torch.sin(2 * torch.pi * 1_000 * torch.arange(32_000) / 32_000)
    resampled = lecturer.resample(tone[None])[0]
    assert resampled.shape == (32_000,)
    torch.testing.assert_close(resampled[100:-100], expected[100:-100], rtol=0, atol=2e-3)


def test_a_missing_teacher_is_named_with_where_it_can_be_had(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"mn04_as_mAP_432\.pt of v0\.0\.1"):
        load_teacher(tmp_path / "mn04_as.safetensors")


def test_another_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"features.0.0.weight": torch.zeros(8, 1, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not hold the teacher's weights"):
        load_teacher(tmp_path / "other.safetensors")
