"""A stand-in for a released file: its names and shapes, filled with numbers from a seed."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

LAYOUT = Path(__file__).with_name("layout.json")


def state_dict(seed: int = 0) -> dict[str, torch.Tensor]:
    """Name → tensor, in the released order; the same on every platform."""
    layout = json.loads(LAYOUT.read_text("utf-8"))
    return {
        name: torch.from_numpy(np.array(_values(name, shape, seed)))
        for name, shape in layout.items()
    }


def _values(name: str, shape: list[int], seed: int) -> np.ndarray:
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.array(seed + 1000, dtype=np.int64)
    noise = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    if leaf == "running_var":
        noise = 0.5 + np.abs(noise)
    elif leaf.startswith(("weight_ih", "weight_hh")):
        noise /= np.sqrt(shape[-1])
    elif len(shape) > 1:
        noise *= np.sqrt(2.0 / np.prod(shape[1:]))
    else:  # means and biases, and the gains of batch norms
        noise *= 0.1
        noise += leaf == "weight"
    return noise.astype(np.float32)
