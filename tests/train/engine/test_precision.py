"""bfloat16 is chosen where it is measured to be faster, not where it is merely supported."""

import pytest
import torch

from dcasenet.train.engine import precision as module
from dcasenet.train.engine.precision import bfloat16_gain, has_fast_bfloat16, precision


@pytest.mark.parametrize(
    ("supported", "gain", "chosen"),
    [(True, 2.8, "bf16-mixed"), (True, 0.6, "32-true"), (False, 2.8, "32-true")],
)
def test_what_a_cpu_is_measured_to_be_faster_in(
    monkeypatch: pytest.MonkeyPatch, supported: bool, gain: float, chosen: str
) -> None:
    found = {"avx512_bf16": supported}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    monkeypatch.setattr(module, "bfloat16_gain", lambda: gain)
    assert precision("cpu") == chosen
    assert has_fast_bfloat16("cpu") == (chosen == "bf16-mixed")


def test_gpus_have_their_own_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert precision("cuda") == "bf16-mixed"
    assert precision("mps") == "32-true"


def test_the_gain_is_how_many_times_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: 3.0, torch.bfloat16: 0.5}
    clock = [0.0]

    def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        clock[0] += seconds[left.dtype]
        return left

    monkeypatch.setattr(torch, "mm", product)
    monkeypatch.setattr("dcasenet.train.engine.precision.time.perf_counter", lambda: clock[0])
    assert bfloat16_gain() == 6.0
