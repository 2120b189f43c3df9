"""The parts of a checkpoint's description: front end, windows, file, what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from dcasenet.spec.values import is_base64, is_number, is_rising

Task = Literal["scene", "tag", "event"]
TASKS: tuple[Task, ...] = ("scene", "tag", "event")
# Of the paper's networks: seconds of one step (2 · 2 · 2 · 5 = 40 frames of 20 ms), and of one row
# of the grid on which their event probabilities are given.
STEP, ROW = 0.8, 0.1
# Frames that the three poolings of the backbone make one of, before the last pooling; and rows that
# a step of the paper's is given as.
FRAMES_PER_STEP = ROWS_PER_STEP = 8
PAPER_POOLING = 5  # steps of the paper's last pooling


def scaled(size: int, width: float) -> int:
    """Return a layer's size at a width: the nearest even number, for GRUs read in two directions.

    Example:
        >>> scaled(256, 0.5), scaled(256, 0.3)
        (128, 76)
    """
    return max(2, 2 * round(size * width / 2))


def check_tasks(tasks: Sequence[str]) -> None:
    """Refuse a task that no network has.

    Raises:
        ValueError: A name is none of scene, tag and event.
    """
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f"There is no task {task!r}; give any of {', '.join(TASKS)}.")


@dataclass(frozen=True)
class FrontEndSettings:
    """How a waveform becomes a log-mel (paper, Section 4.2; authors' ``utils.py``).

    Attributes:
        sample_rate: Rate the network reads, in Hz.
        n_fft: Length of the Fourier transform, in samples.
        win_length: Length of the Hamming window, in samples (40 ms).
        hop_length: From one frame to the next, in samples (20 ms).
        n_mels: Number of mel bins.
        pre_emphasis: Share of the previous sample that is taken off each sample.
        max_frequency: Normalized bins that reach above this many Hz are 0.
        normalization: ``"clip"``: mean and deviation of each bin over the clip (the released
            weights). ``"fixed"``: mean and deviation of each bin stored in the checkpoint.
            ``"level"``: the same, of a log-mel relative to the loudest 0.18 s of the clip, so that
            neither the gain nor silence around a sound changes what the network reads.
    """

    sample_rate: int = 24_000
    n_fft: int = 2048
    win_length: int = 960
    hop_length: int = 480
    n_mels: int = 128
    pre_emphasis: float = 0.97
    max_frequency: float = 12_000.0
    normalization: Literal["clip", "fixed", "level"] = "clip"


@dataclass(frozen=True)
class Context:
    """How a task reads a recording: in which windows, and how their answers become one.

    Attributes:
        window: Length of a window, in seconds; a shorter recording is one window.
        hop: From one window to the next, in seconds.
        pooling: ``"mean"``, ``"max"``, or ``"overlap"``: averaged where windows overlap, with
            weights that rise linearly from each window's edges.
        shortest: A window loses the silence at its ends; what is shorter then is repeated up to
            this length, in seconds; 0 leaves windows as they are.
    """

    window: float
    hop: float
    pooling: Literal["mean", "max", "overlap"]
    shortest: float = 0.0


# What the authors' protocol reads: three crops of 5 s of a scene of 10 s, whole clips of up to 30 s
# for tags, whole minutes for events (their ``dataloaders.py`` and ``trainer.py``).
RELEASED_CONTEXT: Mapping[Task, Context] = MappingProxyType(
    {
        "scene": Context(window=5.0, hop=2.5, pooling="mean"),
        "tag": Context(window=30.0, hop=30.0, pooling="max"),
        "event": Context(window=60.0, hop=48.0, pooling="overlap"),
    }
)
# How the windows of a task can be pooled.
POOLINGS: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {"scene": ("mean",), "tag": ("max", "mean"), "event": ("overlap",)}
)


@dataclass(frozen=True)
class WeightsFile:
    """Where the weights of a checkpoint are found, and what proves that they are the right ones.

    Attributes:
        digest: ``"sha256:…"`` or ``"git_blob_sha1:…"`` of the file as published.
        size: Its size in bytes, where known.
        package: Path inside the package, for a checkpoint that ships with it.
        hub: ``"org/name@revision/path"``: the same bytes in a Hugging Face repository.
        github: ``"owner/repository/commit/path"``: a raw file at a pinned commit.
    """

    digest: str
    size: int | None = None
    package: str | None = None
    hub: str | None = None
    github: str | None = None


# Thresholds at which an `OperatingCurve` is known: 0.01, 0.02, …, 0.99.
CURVE_THRESHOLDS = tuple(step / 100 for step in range(1, 100))


@dataclass(frozen=True)
class OperatingCurve:
    """How precision and recall of one event depend on its threshold, on held-out recordings.

    Attributes:
        precision: At each of `CURVE_THRESHOLDS`, 0 to 1; 1 where nothing is reported.
        recall: Likewise.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("precision", self.precision), ("recall", self.recall)):
            if len(values) != len(CURVE_THRESHOLDS) or not all(
                is_number(value, 0, 1) for value in values
            ):
                raise ValueError(
                    f"the {name} of a curve must be {len(CURVE_THRESHOLDS)} numbers from 0 to 1"
                )


@dataclass(frozen=True)
class FamiliarityStatistics:
    """Where embeddings of the training data lie; see `dcasenet.inference.familiarity`.

    Attributes:
        size: Length of an embedding.
        mean: Their mean, float16 in base64, (size,).
        components: Their principal components, float16 in base64, (rank, size).
        scales: Standard deviation along each component, (rank,).
        residual: Standard deviation along all other directions.
        distances: Quantiles of the distances of held-out recordings, rising.
        contrast: Direction along which noise, tones and the like lie far from recordings, float16
            in base64, (size,); empty where that was not measured.
        scores: Quantiles of the scores of held-out recordings along it, rising.
        limit: Familiarity below which the model is not sure, 0 to 1.
    """

    size: int
    mean: str
    components: str
    scales: tuple[float, ...]
    residual: float
    distances: tuple[float, ...]
    limit: float
    contrast: str = ""
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        rank = len(self.scales)
        is_usable = (
            is_number(self.size, 1, 1 << 16, int)
            and is_base64(self.mean, 2 * self.size)
            and is_base64(self.components, 2 * rank * self.size)
            and all(is_number(value, 1e-30, 1e30) for value in (*self.scales, self.residual))
            and is_rising(self.distances, 0, 1e30)
            and is_base64(self.contrast, 2 * self.size * bool(self.contrast))
            and (not self.contrast or is_rising(self.scores, -1e30, 1e30))
            and is_number(self.limit, 0, 1)
        )
        if not is_usable:
            raise ValueError("the statistics of familiarity do not fit together")
