"""What the machine can do at most: a large product in each precision, a copy in memory.

No line of the table in ``run.py`` can be faster than its arithmetic at the product's rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper

Row = tuple[str, str, str, str]


class Ceiling(NamedTuple):
    """A rate that was measured.

    Attributes:
        what: What was done.
        seconds: How long it took.
        rate: Operations, or bytes read and written, per second.
        unit: Of the rate, in thousand millions.
    """

    what: str
    seconds: float
    rate: float
    unit: str


Ceilings = dict[str, Ceiling]  # precision, or "copy" → what was measured

# Rows and columns of the product by which bfloat16 is tried, and how often.
TRIED, TRIES = 256, 3


def measured_ceilings(runs: int, size: int, copied: int, precisions: Sequence[str]) -> Ceilings:
    """Multiply matrices of so many rows and columns, and copy so many values.

    Args:
        runs: How often, after once that warms up.
        size: Rows and columns.
        copied: Values of 32 bits.
        precisions: Of the products: ``"float32"``, ``"bfloat16"``, ``"int8"``.
    """
    products = {
        "float32": partial(product, size, torch.float32),
        "bfloat16": partial(product, size, torch.bfloat16),
        "int8": partial(product_of_bytes, size),
    }
    source, target = torch.zeros(copied), torch.zeros(copied)
    took = interleaved(
        runs,
        **{name: products[name]() for name in precisions},
        copy=lambda: target.copy_(source),
    )
    operations = 2.0 * size**3
    ceilings = {
        name: Ceiling(f"a product of {size}³ in {name}", seconds, operations / seconds, "GOP/s")
        for name, seconds in took.items()
        if name != "copy"
    }
    moved = 2.0 * source.nbytes
    megabytes = source.nbytes >> 20
    copy = Ceiling(f"a copy of {megabytes} MiB", took["copy"], moved / took["copy"], "GB/s")
    return {**ceilings, "copy": copy}


def slowdown_of_bfloat16() -> float:
    """Return how many times as long a small product takes in bfloat16 as in float32.

    A processor without it can take a hundred times as long: then a large one takes minutes.
    """
    took = interleaved(
        TRIES, exact=product(TRIED, torch.float32), brief=product(TRIED, torch.bfloat16)
    )
    return took["brief"] / took["exact"]


def product(size: int, dtype: torch.dtype) -> Callable[[], object]:
    """Return a product of random matrices in torch."""
    one, two = torch.randn(2, size, size).to(dtype)
    return lambda: one @ two


def product_of_bytes(size: int) -> Callable[[], object]:
    """Return a product of unsigned by signed bytes in ONNX Runtime, as in an int8 graph."""
    shape = [size, size]
    node = helper.make_node("MatMulInteger", ["one", "two"], ["out"])
    two = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("one", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("out", TensorProto.INT32, shape)],
        [helper.make_tensor("two", TensorProto.INT8, shape, two.tobytes(), raw=True)],
    )
    opset = helper.make_opsetid("", 17)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    one = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    return lambda: session.run(None, {"one": one})


def ceiling_rows(ceilings: Ceilings) -> list[Row]:
    """Return what was measured as rows of the table."""
    return [
        row(c.what, c.seconds, None, f"{c.rate / 1e9:,.0f} {c.unit}") for c in ceilings.values()
    ]


def interleaved(runs: int, **candidates: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each candidate, all of them once in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for run in range(runs + 1):  # the first round warms up
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if run:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def row(what: str, seconds: float, audio: float | None, beside: str) -> Row:
    speed = "" if audio is None else f"{audio / seconds:,.0f}"
    return what, f"{seconds * 1e3:,.0f} ms", speed, beside
