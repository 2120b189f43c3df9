"""Why a model gives a label its probability: which bins and which seconds of a recording count.

Integrated gradients (Sundararajan, Taly and Yan, 2017) of the label's log-odds, from a quiet
version of the recording to the recording itself.
"""

from __future__ import annotations

import copy
import io
from contextlib import nullcontext
from dataclasses import dataclass
from math import log10
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dcasenet.audio.io import read
from dcasenet.audio.preprocess import prepare
from dcasenet.inference.postprocess import require
from dcasenet.inference.windowing import Grid, placed, repeated, trim
from dcasenet.results import Floats
from dcasenet.results.values import _Json, freeze
from dcasenet.spec import ModelSpec, Task, check_tasks
from dcasenet.types import Audio, Rate, find_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dcasenet.inference.model import SoundModel

# Share of a bin's values that lie below what stands for quiet. Of 0 (what is average in training,
# and what masks are filled with), quantiles and very low values, this one had the largest share of
# its saliency inside the true events of soundscapes.
QUIET = 0.1
# Seconds of audio whose gradients are held in memory at once.
BATCH_SECONDS = 30.0
LONGEST = 30.0  # seconds of a recording that are explained at once, at most
SHARE = 0.8  # of the saliency, which the seconds that count hold
SMOOTHING = 0.2  # seconds over which the saliency is averaged to find them


@dataclass(frozen=True)
class Span(_Json):
    """A stretch of a recording that speaks for a label.

    Attributes:
        onset: In seconds.
        offset: In seconds.
        share: Share of what speaks for the label that lies in it, 0 to 1.
    """

    onset: float
    offset: float
    share: float


@dataclass(frozen=True, eq=False)
class Explanation(_Json):
    """What speaks for a label, and what against it.

    Attributes:
        label: The label.
        task: The task that it belongs to.
        probability: What the model gives it, 0 to 1; of several windows the highest.
        saliency: (mel, frames); what each value of the log-mel adds to the label's log-odds. Over
            a window they add up to what the window is above its quiet version, but for rounding.
        log_mel: (mel, frames); the spectrogram before normalization, natural logarithm of power.
        times: Center of each frame, in seconds.
        frequencies: Center of each mel bin, in Hz.
        spans: The seconds that count: the shortest that hold 80 % of what speaks for the label,
            earliest first; empty if nothing does.
        duration: Length of the recording, in seconds.
        source: What the recording is called.
        warnings: What is odd about the audio.
    """

    label: str
    task: Task
    probability: float
    saliency: Floats
    log_mel: Floats
    times: NDArray[np.float64]
    frequencies: NDArray[np.float64]
    spans: tuple[Span, ...]
    duration: float
    source: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.saliency, self.log_mel, self.times, self.frequencies)

    def to_dict(self) -> dict[str, Any]:
        """Return label, probability and the seconds that count, without the maps."""
        return {
            "source": self.source,
            "duration": self.duration,
            "task": self.task,
            "label": self.label,
            "probability": self.probability,
            "spans": [span.to_dict() for span in self.spans],
        }

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Draw the spectrogram, what speaks for the label in it, and the seconds that count.

        Args:
            path: Picture to write; its ending says which kind (``.png``, ``.svg``, ``.pdf``).

        Returns:
            The figure.

        Raises:
            ImportError: matplotlib is not installed (extra ``plot``).
        """
        figure = _drawn(self)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def _repr_png_(self) -> bytes | None:
        """Show itself as its picture in a notebook; as text where matplotlib is missing."""
        picture = io.BytesIO()
        try:
            self.plot().savefig(picture, format="png", dpi=80)
        except ImportError:
            return None
        return picture.getvalue()

    def __repr__(self) -> str:
        spans = ", ".join(f"{span.onset:.2f}-{span.offset:.2f} s" for span in self.spans)
        return (
            f"Explanation({self.task} {self.label!r}, probability={self.probability:.3f}, "
            f"spans=[{spans}])"
        )


def explain(
    model: SoundModel,
    audio: Audio,
    label: str,
    sample_rate: Rate = None,
    *,
    task: Task | None = None,
    steps: int = 16,
    channels_last: bool = False,
) -> Explanation:
    """Explain a label by saliency; see `SoundModel.explain`."""
    if steps < 1:
        raise ValueError(f"steps={steps} is out of range; give 1 or more.")
    task, index = _find(model.spec, label, task)
    loaded = prepare(read(audio, sample_rate, channels_last=channels_last), model.spec)
    settings = model.spec.frontend
    context = model.spec.context[task]
    size = round(min(context.window, LONGEST) * settings.sample_rate)
    size -= size % settings.hop_length  # frames of windows side by side join
    shortest = round(context.shortest * settings.sample_rate)
    network = model.network_of(task)
    # In half precision small gradients vanish.
    if any(weight.dtype != torch.float32 for weight in network.parameters()):
        network = copy.deepcopy(network).float()
    logit = _Logit(network, task, index)
    maps: list[Floats] = []
    spectra: list[Floats] = []
    probabilities: list[float] = []
    n_frames = 0
    for start, stop in Grid(size, size, settings.hop_length).windows(loaded.n_samples):
        whole = loaded.waveforms[:, start:stop]
        active = trim(whole, settings.hop_length) if shortest else (0, stop - start)
        window = repeated(whole[:, slice(*active)], shortest)
        with torch.no_grad():
            log_mel = model.frontend.log_mel(torch.from_numpy(whole).to(model.device))
            features = model.frontend(torch.from_numpy(window).to(model.device))
            probabilities.append(logit.probability(features))
        n_at_once = max(1, int(BATCH_SECONDS * settings.sample_rate) // window.shape[1])
        saliency = _integrated(logit, features, steps, n_at_once)[0].cpu().numpy()
        # Frames that the window before had are done; those beyond the end repeat a short recording.
        first, end = (_n_frames(n, settings.hop_length) for n in (start, stop))
        new = slice(n_frames - first, end - first)
        own = placed(saliency.T, (0, stop - start), active, settings.hop_length).T
        maps.append(own[:, new])
        spectra.append(log_mel[0, :, new].cpu().numpy())
        n_frames = end
    values = np.concatenate(maps, axis=1)
    times = np.arange(values.shape[1]) * settings.hop_length / settings.sample_rate
    return Explanation(
        label=label,
        task=task,
        probability=max(probabilities),
        saliency=values,
        log_mel=np.concatenate(spectra, axis=1),
        times=times,
        frequencies=mel_centers(settings.n_mels, settings.sample_rate),
        spans=spans_of(values, settings.hop_length / settings.sample_rate, loaded.duration),
        duration=loaded.duration,
        source=loaded.info.source,
        warnings=loaded.info.warnings,
    )


def _n_frames(n_samples: int, hop_length: int) -> int:
    """Return how many frames begin in so many samples."""
    return -(-n_samples // hop_length)


class _Logit:
    """One label's log-odds, by one network."""

    def __init__(self, network: nn.Module, task: Task, index: int) -> None:
        self._network, self._task, self._index = network, task, index

    def probability(self, log_mel: Tensor) -> float:
        """Return the label's probability in a window, the highest of an event's steps."""
        logits = self._logits(log_mel)
        if self._task == "scene":
            return float(logits.softmax(dim=-1)[0, self._index])
        return float(logits[..., self._index].sigmoid().max())

    def weights(self, log_mel: Tensor) -> Tensor:
        """Return how much each step of an event counts: its share of the probabilities."""
        if self._task != "event":
            return log_mel.new_ones(1)
        probabilities = self._logits(log_mel)[0, :, self._index].sigmoid()
        return probabilities / probabilities.sum()

    def log_odds(self, log_mel: Tensor, weights: Tensor) -> Tensor:
        """Return the label's log-odds in each example of a batch."""
        logits = self._logits(log_mel)
        own = logits[..., self._index]
        if self._task == "event":
            return own @ weights
        if self._task == "tag":
            return own
        others = [k for k in range(logits.shape[1]) if k != self._index]
        return own - logits[:, others].logsumexp(dim=1)

    def _logits(self, log_mel: Tensor) -> Tensor:
        logits: Tensor = getattr(self._network(log_mel, tasks=(self._task,)), self._task)
        return logits.float()


def _integrated(logit: _Logit, features: Tensor, steps: int, n_at_once: int) -> Tensor:
    """Integrate the gradients from the quiet version of a window (1, mel, frames) to itself."""
    quiet = features.quantile(QUIET, dim=2, keepdim=True).clamp(max=0.0)
    way = features - quiet
    with torch.no_grad():
        weights = logit.weights(features)
    total = torch.zeros_like(features)
    # cuDNN has no gradient of a GRU that is in evaluation mode.
    on_cuda = features.device.type == "cuda"
    with torch.backends.cudnn.flags(enabled=False) if on_cuda else nullcontext():
        numbers = torch.arange(steps, dtype=features.dtype, device=features.device)
        for shares in torch.split((numbers + 0.5) / steps, n_at_once):
            share = shares[:, None, None]
            points = (quiet + share * way).requires_grad_(True)
            with torch.enable_grad():
                log_odds = logit.log_odds(points, weights).sum()
                (gradient,) = torch.autograd.grad(log_odds, points)
            total += gradient.sum(dim=0, keepdim=True)
    return way * total / steps


def spans_of(saliency: Floats, hop: float, duration: float) -> tuple[Span, ...]:
    """Find the shortest stretches that hold 80 % of what speaks for a label.

    Args:
        saliency: (mel, frames).
        hop: From one frame to the next, in seconds.
        duration: Length of the recording, in seconds.

    Example:
        >>> saliency = np.zeros((4, 100), np.float32)
        >>> saliency[:, 40:50] = 1.0
        >>> spans_of(saliency, hop=0.02, duration=2.0)
        (Span(onset=0.78, offset=1.04, share=0.88),)
    """
    width = max(1, min(round(SMOOTHING / hop), saliency.shape[1]))
    profile = np.convolve(saliency.sum(axis=0, dtype=np.float64), np.ones(width) / width, "same")
    profile = profile.clip(min=0)
    total = profile.sum()
    if total <= 0:
        return ()
    best = np.sort(profile)[::-1]
    least = best[np.searchsorted(best.cumsum(), SHARE * total)]
    edges = np.flatnonzero(np.diff(np.pad(profile >= least, 1).astype(np.int8)))
    runs: list[list[int]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] < width:
            runs[-1][1] = stop
        else:
            runs.append([start, stop])
    return tuple(
        Span(
            onset=round(start * hop, 3),
            offset=round(min(stop * hop, duration), 3),
            share=round(float(profile[start:stop].sum() / total), 4),
        )
        for start, stop in runs
    )


def mel_centers(n_mels: int, sample_rate: int) -> NDArray[np.float64]:
    """Return the center of each mel bin, in Hz (HTK scale from 0 Hz to Nyquist).

    Example:
        >>> mel_centers(128, 24_000)[[0, 127]].round()
        array([   16., 11718.])
    """
    highest = 2595.0 * log10(1.0 + sample_rate / 2 / 700.0)
    edges = np.linspace(0.0, highest, n_mels + 2)
    hertz: NDArray[np.float64] = 700.0 * (10.0 ** (edges[1:-1] / 2595.0) - 1.0)
    return hertz


def _find(spec: ModelSpec, label: str, task: Task | None) -> tuple[Task, int]:
    """Find the task and the output that a label belongs to: of tags, events, scenes the first."""
    tasks = (
        [task] if task is not None else [t for t in ("tag", "event", "scene") if t in spec.tasks]
    )
    check_tasks(tasks)
    for candidate in tasks:
        require(spec, candidate)
    known = [(own, candidate) for candidate in tasks for own in spec.labels(candidate)]
    name = find_label(label, list(dict(known)), " or ".join(tasks))
    found = next(candidate for own, candidate in known if own == name)
    return found, spec.labels(found).index(name)


def _drawn(explanation: Explanation) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Drawing an explanation needs matplotlib. Type: pip install 'dcasenet[plot]'"
        ) from error

    saliency, duration = explanation.saliency, explanation.duration
    n_mels = len(saliency)
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    decibels = 10 / np.log(10) * explanation.log_mel
    extent = (0.0, duration, 0.0, float(n_mels))
    common: dict[str, Any] = {"origin": "lower", "aspect": "auto", "extent": extent}
    upper.imshow(decibels, cmap="gray", vmin=decibels.max() - 80, vmax=decibels.max(), **common)
    speaks = saliency.clip(min=0)
    strongest = float(np.quantile(speaks, 0.999)) or float(speaks.max()) or 1.0
    strength = (speaks / strongest).clip(max=1)
    image = upper.imshow(speaks, cmap="autumn", alpha=strength, vmin=0, vmax=strongest, **common)
    ticks = np.array([100, 500, 1_000, 2_000, 4_000, 8_000])
    ticks = ticks[ticks < explanation.frequencies[-1]]
    upper.set_yticks(np.interp(ticks, explanation.frequencies, np.arange(n_mels) + 0.5))
    upper.set_yticklabels([f"{hertz:,}" for hertz in ticks])
    upper.set_ylabel("Hz (mel scale)")
    figure.colorbar(image, ax=upper, label="for the label (log-odds)", pad=0.01)
    name = Path(explanation.source).name
    upper.set_title(
        f"{name}   {explanation.task}: {explanation.label} {explanation.probability:.2f}",
        loc="left",
    )
    lower.plot(explanation.times, saliency.sum(axis=0), color="0.3", linewidth=0.8)
    lower.axhline(0, color="0.7", linewidth=0.8)
    for span in explanation.spans:
        lower.axvspan(span.onset, span.offset, color="C1", alpha=0.35, linewidth=0)
    lower.set_xlim(0, duration)
    lower.set_xlabel("seconds; shaded: those that count")
    lower.set_ylabel("log-odds")
    return figure
