"""Quantize the convolutions of a float32 graph to 8 bits, with ONNX Runtime's own tool.

Weights are signed, with a scale per output channel at which the sums hardly overflow on any
processor (`weight_limits`); activations are unsigned, with a range each that was measured before.
The front end, the GRUs and the last layers of the heads stay in float32; the log-mel, which would
lose too much in 8 bits, is passed as two channels (``benchmarks/int8.py`` measures the effect).
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

# Layer, by its weight's name → ranges (lowest, highest) of its input and its output.
Range: TypeAlias = "tuple[float, float]"
Ranges: TypeAlias = "dict[str, tuple[Range, Range]]"

# Number of values of one tensor, over all clips, from which its range is chosen.
SAMPLES = 400_000
BINS = 4096  # of the histogram of these values
# Shares of the full range that are compared.
SHARES = np.geomspace(0.02, 1.0, 80)
# Factor by which a sum of two products may overflow if both activations are at the top of their
# range. Larger steps of all weights would lose more than what is lost there.
SLACK = 1.2


@dataclass(frozen=True)
class Layer:
    """A layer that is computed in 8 bits.

    Attributes:
        nodes: Names of its node, and of its activation's node if it has one.
        outputs: Outputs of these nodes, in that order.
        input: Its input tensor.
    """

    nodes: tuple[str, ...]
    outputs: tuple[str, ...]
    input: str

    @property
    def output(self) -> str:
        """Its output tensor, after the activation."""
        return self.outputs[-1]


def preprocessed(proto: Any) -> Any:
    """Return a copy of a traced graph in which as many nodes as possible are part of a layer.

    Args:
        proto: The float32 graph; it is not changed.
    """
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    return with_pools_as_convolutions(with_own_biases(copied))


def layers(proto: Any) -> dict[str, Layer]:
    """Find the layers of a preprocessed graph, by the names of their weights.

    These are the convolutions, and the dense layers before an activation, which are half of a
    float32 file. Poolings use the ranges of their neighbors.
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
    """Measure the range of each layer's input and output.

    The chosen range minimizes the mean square error in 8 bits over a sample of the values: rare
    peaks are clipped if that reduces the error of the others.

    Args:
        proto: The float32 graph.
        waveforms: (batch, samples) each, of sound similar to what the model will be used on.
        n_waveforms: Number of waveforms.

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
    """Return the range whose 256 steps approximate the values with the least mean square error.

    Args:
        values: A sample of one tensor's values, of any shape.

    Returns:
        The lowest and the highest value; 0 is always in between.

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
    # The outermost bins are represented by their outer edges, so that the full range clips nothing.
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
        ranges: The result of `measure`, for at least every layer of the graph.

    Returns:
        The graph, with standard operations only (QuantizeLinear, DequantizeLinear).

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
            f"The activation ranges lack {len(missing)} layers, such as {min(missing)!r}: they "
            "were measured on another network. Measure them again."
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
    """Return the range of each output channel's weights, by the names of the tensors."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    ranges = {}
    for name in (key + WEIGHT for key in found):
        limits = weight_limits(numpy_helper.to_array(weights[name])).tolist()
        ranges[name] = [{"axis": 0, "rmin": -limit, "rmax": limit} for limit in limits]
    return ranges


def weight_limits(weight: Floats) -> NDArray[np.float64]:
    """Return the values of 127 steps at which sums of two products hardly overflow.

    Processors without VNNI add the products of two neighbors, each of an unsigned and a signed
    byte, in 16 bits, and saturate. So the weights of two neighbors may add up to `SLACK` times 127
    steps. Neighbors are input channels 0 and 1, 2 and 3, and so on, at the same position of the
    kernel.

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
