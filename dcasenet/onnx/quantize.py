"""A float32 graph becomes one that computes its convolutions in 8 bits, by ONNX Runtime's own tool.

Weights are signed, with a scale for each output channel at which hardly any processor's sums
overflow (`weight_limits`); activations are unsigned, with a range each that was measured
beforehand. Float32 stay the front end, the GRUs and the last layers of the heads; the log-mel, of
which 8 bits would lose too much, is told in two channels (see ``benchmarks/int8.py`` for what
moves).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import WeightsError
from dcasenet.onnx.graph_passes import (
    LEVELS,
    WEIGHT,
    is_pool,
    with_finer_input,
    with_own_biases,
    with_pools_as_convolutions,
)
from dcasenet.onnx.runtime import WAVEFORM, session, without_telemetry
from dcasenet.results import Floats

# Layer, by its weight's name → what it reads and what it gives: each the lowest and highest value.
Range: TypeAlias = "tuple[float, float]"
Ranges: TypeAlias = "dict[str, tuple[Range, Range]]"

# Values of one tensor that its range is chosen from, over all clips.
SAMPLES = 400_000
BINS = 4096  # of the histogram that they are summed up in
# Shares of the full range that are tried.
SHARES = np.geomspace(0.02, 1.0, 80)
# By how much a sum of two products may overflow, if both activations are at the top of their range.
# What is lost there is less than what larger steps of all weights would lose.
SLACK = 1.2


@dataclass(frozen=True)
class Layer:
    """A layer that is computed in 8 bits.

    Attributes:
        nodes: Names of its node, and of its activation's if it has one.
        outputs: What these nodes give, in that order.
        input: The tensor that goes in.
    """

    nodes: tuple[str, ...]
    outputs: tuple[str, ...]
    input: str

    @property
    def output(self) -> str:
        """The tensor that comes out, after the activation."""
        return self.outputs[-1]


def preprocessed(proto: Any) -> Any:
    """Return a copy of a traced graph in which everything that can be is a layer.

    Args:
        proto: The float32 graph; it is not changed.
    """
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    return with_pools_as_convolutions(with_own_biases(copied))


def layers(proto: Any) -> dict[str, Layer]:
    """Find the layers of a prepared graph, by the names of their weights.

    These are the convolutions, and the dense layers before an activation, which are half of a
    float32 file. Poolings have no ranges of their own: their neighbours' are theirs.
    """
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: dict[str, Layer] = {}
    for node in proto.graph.node:
        weight = weights.get(node.input[1]) if len(node.input) > 1 else None
        if weight is None or not weight.name.endswith(WEIGHT):
            continue
        after = [n for n in readers.get(node.output[0], []) if n.op_type == "Relu"]
        activated = len(readers.get(node.output[0], [])) == len(after) == 1
        if (node.op_type == "Conv" and not is_pool(node)) or (node.op_type == "Gemm" and activated):
            chain = [node, *after] if activated else [node]
            found[weight.name.removesuffix(WEIGHT)] = Layer(
                tuple(n.name for n in chain), tuple(n.output[0] for n in chain), node.input[0]
            )
    return found


def measure(proto: Any, waveforms: Iterable[Floats], n_waveforms: int) -> Ranges:
    """Measure the range of everything that the layers read and give.

    A range is the one that 8 bits lose least of, by the mean square over a sample of the values:
    rare peaks are cut off, where that makes the steps of all others finer.

    Args:
        proto: The float32 graph.
        waveforms: (batch, samples) each, of sound as the model will read it.
        n_waveforms: How many there are.

    Returns:
        The ranges.
    """
    import onnx

    open_ended = preprocessed(proto)
    found = layers(open_ended)
    tensors = sorted({name for layer in found.values() for name in (layer.input, layer.output)})
    for name in tensors:
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        open_ended.graph.output.append(value)
    runner = session(open_ended.SerializeToString())
    random = np.random.default_rng(0)
    size = max(1, SAMPLES // n_waveforms)
    samples: dict[str, list[Floats]] = {name: [] for name in tensors}
    for waveform in waveforms:
        for name, values in zip(tensors, runner.run(tensors, {WAVEFORM: waveform}), strict=True):
            flat = values.reshape(-1)
            samples[name].append(flat[random.integers(flat.size, size=size)])
    best = {name: best_range(np.concatenate(parts)) for name, parts in samples.items()}
    return {key: (best[layer.input], best[layer.output]) for key, layer in found.items()}


def best_range(values: Floats) -> Range:
    """Return the range in which 256 steps are nearest to the values, by the mean square.

    Args:
        values: A sample of one tensor's values, of any shape.

    Returns:
        The lowest and the highest, 0 always between them.

    Example:
        >>> best_range(np.array([0.0, 0.5, 1.0], np.float32))
        (0.0, 1.0)
        >>> many = np.random.default_rng(0).uniform(0, 1, 100_000)
        >>> best_range(np.append(many, 50.0))[1] < 50  # a peak loses what all others gain by it
        True
    """
    lowest, highest = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if lowest == highest:
        return 0.0, 0.0
    counts, edges = np.histogram(values, bins=BINS, range=(lowest, highest))
    centres = (edges[:-1] + edges[1:]) / 2
    # The outermost bins stand at their outer edges, or the full range would lose of them.
    centres[0], centres[-1] = lowest, highest

    def loss(share: float) -> float:
        low, high = lowest * share, highest * share
        step = (high - low) / LEVELS
        nearest = np.clip(np.round((centres - low) / step), 0, LEVELS) * step + low
        return float(counts @ np.square(nearest - centres))

    share = float(min(SHARES[::-1], key=loss))
    return lowest * share, highest * share


def quantized(proto: Any, ranges: Mapping[str, tuple[Range, Range]]) -> Any:
    """Return a graph that computes in 8 bits.

    Args:
        proto: The float32 graph; it is not changed.
        ranges: As `measure` gives them, for every layer of the graph and maybe more.

    Returns:
        The graph, of the standard's own operations (QuantizeLinear, DequantizeLinear).

    Raises:
        ImportError: onnxruntime is not installed.
        WeightsError: A layer has no range.
    """
    tool, calibrate = _tools()
    copied = preprocessed(proto)
    found = layers(copied)
    missing = found.keys() - ranges.keys()
    if missing:
        raise WeightsError(
            f"The activation ranges say nothing of {len(missing)} layers, such as "
            f"{min(missing)!r}: they were measured on another network. Measure them anew."
        )
    with_finer_input(copied, {key: span for key, (span, _) in ranges.items()})
    found = layers(copied)
    of_tensor: dict[str, Range] = {}
    for key, layer in found.items():
        input, output = ranges[key]
        of_tensor[layer.input] = input
        of_tensor.update(dict.fromkeys(layer.outputs, output))
    data = {
        name: calibrate.TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in of_tensor.items()
    }
    quantizer = tool.QDQQuantizer(
        copied,
        per_channel=True,
        reduce_range=False,
        weight_qType=tool.QuantType.QInt8,
        activation_qType=tool.QuantType.QUInt8,
        tensors_range=calibrate.TensorsData(calibrate.CalibrationMethod.MinMax, data),
        nodes_to_quantize=[
            *(name for layer in found.values() for name in layer.nodes),
            *(node.name for node in copied.graph.node if is_pool(node)),
        ],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "Relu", "Gemm"],
        extra_options={"TensorQuantOverrides": _weight_ranges(copied, found)},
    )
    quantizer.quantize_model()
    return quantizer.model.model


def _weight_ranges(proto: Any, found: Mapping[str, Layer]) -> dict[str, list[dict[str, Any]]]:
    """Return the range of each output channel's weights, by the names of their tensors."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    ranges = {}
    for name in (key + WEIGHT for key in found):
        limits = weight_limits(numpy_helper.to_array(weights[name])).tolist()
        ranges[name] = [{"axis": 0, "rmin": -limit, "rmax": limit} for limit in limits]
    return ranges


def weight_limits(weight: Floats) -> NDArray[np.float64]:
    """Return the values that 127 steps stand for, so that sums of two products hardly overflow.

    Processors without VNNI add the products of two neighbors, an unsigned byte by a signed one
    each, in 16 bits, and cut off what is more. So the weights of two neighbors may add up to
    `SLACK` times 127 steps. Neighbors are input channels 0 and 1, 2 and 3, and so on, at the same
    place of the kernel.

    Args:
        weight: (output channels, input channels, …).

    Returns:
        (output channels,).

    Example:
        >>> weight_limits(np.array([[0.5, 0.7, -0.9], [0.1, -0.3, 0.2]])).round(3).tolist()
        [1.0, 0.3]
    """
    values = np.moveaxis(weight, 1, -1).reshape(len(weight), -1, weight.shape[1])
    values = np.pad(values.astype(np.float64), ((0, 0), (0, 0), (0, values.shape[2] % 2)))
    sums = np.abs(values[..., 0::2] + values[..., 1::2]).max(axis=(1, 2))
    limits: NDArray[np.float64] = np.maximum(np.abs(values).max(axis=(1, 2)), sums / SLACK)
    return limits


def _tools() -> tuple[Any, Any]:
    try:
        with without_telemetry():
            from onnxruntime import quantization  # type: ignore[import-untyped]
            from onnxruntime.quantization import calibrate  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "int8 needs onnxruntime, which quantizes. Type: pip install 'dcasenet[onnx]'"
        ) from error
    return quantization, calibrate
