"""The fastest peer, exported as its users export it: EfficientAT's MobileNetV3 in ONNX Runtime.

The network is `recipes.distilled.teacher`, with random weights: speed does not depend on them. Its
front end is written in the same matrix products as the package's own, so that neither side gains
by how its transform is spelled.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from dcasenet.models.frontend import LogMel
from dcasenet.onnx.graph import GraphLogMel
from dcasenet.onnx.runtime import session
from dcasenet.spec import FrontEndSettings
from recipes.distilled.teacher import (
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
    WIN_LENGTH,
    LogMel32,
    Teacher,
)

# MobileNetV3-large's blocks (Howard et al., 2019, table 1): kernel, expansion, output, squeeze.
BLOCKS = (
    (3, 16, 16, False),
    (3, 64, 24, False),
    (3, 72, 24, False),
    (5, 72, 40, True),
    (5, 120, 40, True),
    (5, 120, 40, True),
    (3, 240, 80, False),
    (3, 200, 80, False),
    (3, 184, 80, False),
    (3, 184, 80, False),
    (3, 480, 112, True),
    (3, 672, 112, True),
    (5, 672, 160, True),
    (5, 960, 160, True),
    (5, 960, 160, True),
)
STEM, LAST, HIDDEN, TAGS = 16, 960, 1280, 527
WIDTHS = {"mn04": 0.4, "mn10": 1.0}
CALIBRATION_CLIPS = 4


def divisible(size: float) -> int:
    """Round to a multiple of 8 as MobileNet does, by no more than a tenth down."""
    rounded = max(8, int(size + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * size else rounded


def shapes(width: float) -> dict[str, torch.Size]:
    """Names and shapes of the weights that `Teacher` reads its layers from."""
    found = {"features.0.0.weight": (divisible(STEM * width), 1, 3, 3)}
    n_in = divisible(STEM * width)
    for index, (kernel, expansion, output, has_squeeze) in enumerate(BLOCKS, start=1):
        inner, n_out = divisible(expansion * width), divisible(output * width)
        layers: dict[str, tuple[int, ...]] = {}
        if inner != n_in:
            layers["0.weight"] = (inner, n_in, 1, 1)
        place = len(layers)
        found |= {f"features.{index}.block.0.{name}": size for name, size in layers.items()}
        prefix = f"features.{index}.block.{place}"
        found[f"{prefix}.0.weight"] = (inner, 1, kernel, kernel)
        place += 1
        if has_squeeze:
            squeeze = f"features.{index}.block.{place}.conc_se_layers.0.fc1.weight"
            found[squeeze] = (divisible(inner / 4), inner)
            place += 1
        found[f"features.{index}.block.{place}.0.weight"] = (n_out, inner, 1, 1)
        n_in = n_out
    found["features.16.0.weight"] = (divisible(LAST * width), n_in, 1, 1)
    found["classifier.2.weight"] = (divisible(HIDDEN * width), divisible(LAST * width))
    found["classifier.5.weight"] = (TAGS, divisible(HIDDEN * width))
    return {name: torch.Size(size) for name, size in found.items()}


class GraphLogMel32(GraphLogMel):
    """`LogMel32` in the operations of `GraphLogMel`."""

    def __init__(self) -> None:
        settings = FrontEndSettings(SAMPLE_RATE, N_FFT, WIN_LENGTH, HOP_LENGTH, N_MELS)
        theirs, stand_in = LogMel32(), LogMel(settings)
        stand_in.window, stand_in.mel_filters = theirs.window, theirs.filters
        super().__init__(stand_in)

    def forward(self, waveform: Tensor) -> Tensor:
        mel = self.mel(waveform)
        return ((mel + 1e-5).log() + 4.5) / 5.0


class TagNetwork(nn.Module):
    """Logits of the clip alone; the input is a waveform, or the log-mel where that is given."""

    def __init__(self, teacher: Teacher, frontend: nn.Module) -> None:
        super().__init__()
        self.teacher, self.frontend = teacher, frontend

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.teacher.features(self.frontend(inputs)[:, None])
        return self.teacher.head(features.mean(dim=(2, 3)))


def exported(width: float, *, from_waveform: bool) -> Any:
    """The network in float32, its front end before it where so told."""
    teacher = Teacher(shapes(width)).eval()
    frontend = GraphLogMel32() if from_waveform else nn.Identity()
    inputs = torch.zeros(2, SAMPLE_RATE) if from_waveform else torch.zeros(2, N_MELS, 100)
    written = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            TagNetwork(teacher, frontend).eval(),
            (inputs,),
            written,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["tag"],
            dynamic_axes={"input": {0: "batch", inputs.dim() - 1: "length"}, "tag": {0: "batch"}},
        )
    return onnx.load_from_string(written.getvalue())


class Noise(CalibrationDataReader):
    """What the ranges of int8 are measured with: which they are does not change the speed."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        clips = rng.standard_normal((CALIBRATION_CLIPS, 1, *shape)).astype(np.float32) * 0.1
        self.clips = iter(clips)

    def get_next(self) -> dict[str, np.ndarray] | None:
        clip = next(self.clips, None)
        return None if clip is None else {"input": clip}


def peers(folder: Path, threads: int) -> dict[str, Any]:
    """Sessions by name: width, precision, and whether the front end is in the graph."""
    found = {}
    for name, width in WIDTHS.items():
        for from_waveform in (True, False):
            what = f"{name}, {'waveform' if from_waveform else 'log-mel'} in"
            exact, fast = folder / f"{what} float32.onnx", folder / f"{what} int8.onnx"
            onnx.save(exported(width, from_waveform=from_waveform), exact)
            shape = (5 * SAMPLE_RATE,) if from_waveform else (N_MELS, 500)
            preprocessed = folder / f"{what} preprocessed.onnx"  # as ONNX Runtime's guide has it
            quant_pre_process(exact, preprocessed, skip_symbolic_shape=True)
            quantize_static(
                preprocessed,
                fast,
                Noise(shape),
                QuantFormat.QDQ,
                per_channel=True,
                op_types_to_quantize=["Conv", "Relu", "HardSwish"],
            )
            found[f"{what}, float32"] = session(exact, threads)
            found[f"{what}, int8"] = session(fast, threads)
    return found


def noise_for(what: str, batch: int, seconds: float) -> np.ndarray:
    """A batch of noise as the peer of this name reads it."""
    rng = np.random.default_rng(0)
    n_samples = round(seconds * SAMPLE_RATE)
    size = (n_samples,) if "waveform" in what else (N_MELS, n_samples // HOP_LENGTH)
    return rng.standard_normal((batch, *size)).astype(np.float32) * 0.1
