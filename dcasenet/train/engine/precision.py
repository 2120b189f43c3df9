"""Which arithmetic a device trains fastest in."""

from __future__ import annotations

import time
from typing import Any

import torch

# Rows and columns of the matrices whose product is timed, which takes 0.1 s or so.
PRODUCT = 1024
# bfloat16 has to be so many times as fast: its casts cost something, and float32 is more exact.
WORTHWHILE = 1.5


def has_fast_bfloat16(device: str) -> bool:
    """Return whether the convolutions of a training should run in bfloat16.

    Args:
        device: Its type, such as ``"cpu"`` or ``"cuda"``. A CPU is measured, a GPU is asked.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Older versions of torch cannot tell.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    known = device == "cpu" and capabilities.get("avx512_bf16", False)
    return bool(known and bfloat16_gain() >= WORTHWHILE)


def precision(device: str) -> Any:
    """Return Lightning's name of the arithmetic that is faster on a device."""
    return "bf16-mixed" if has_fast_bfloat16(device) else "32-true"


def bfloat16_gain() -> float:
    """Measure how many times as fast as float32 this processor multiplies in bfloat16.

    Support of the format says little: 2.8 times on one kind of server, 0.6 on another, whose
    virtual machines may not use its matrix unit (AMX).
    """
    one, two = torch.ones(2, PRODUCT, PRODUCT)
    factors = (one, two), (one.bfloat16(), two.bfloat16())
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(4):  # in turns; the shortest of a few is what nothing else delayed
        for (left, right), seconds in zip(factors, took, strict=True):
            start = time.perf_counter()
            torch.mm(left, right)
            seconds.append(time.perf_counter() - start)
    return min(took[0]) / min(took[1])
