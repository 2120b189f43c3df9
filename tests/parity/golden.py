"""Outputs of the authors' code for the weights of `stand_in`, seed 0: "clip/output" → array.

Here is a clip of made-up noise; two recordings lie beside a checkout, in no release.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).with_name("bursts.npz")
MORE = Path(__file__).parents[3] / "shared" / "parity" / "golden.npz"


@cache
def read() -> dict[str, np.ndarray]:
    """Read what there is."""
    with np.load(HERE) as arrays:
        found = {f"bursts/{name}": arrays[name] for name in arrays.files}
    if MORE.is_file():
        with np.load(MORE) as arrays:
            found.update({name: arrays[name] for name in arrays.files})
    return found


def clips(output: str) -> list[str]:
    """Return the clips of which there is an output."""
    return sorted(name.split("/")[0] for name in read() if name.endswith(f"/{output}"))
