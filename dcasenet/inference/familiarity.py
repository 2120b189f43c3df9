"""How far a recording lies from what a checkpoint was trained on.

A checkpoint may store a description of its training data's embeddings
(`dcasenet.spec.FamiliarityStatistics`): a probabilistic principal component analysis, and the
distances of held-out recordings. A window's familiarity is the share of those that lie further. It
is 0 for digital silence, and for recordings shorter than `SHORTEST`.

Noise, tones and offsets can lie near recordings by that distance: noise is much like rain. Where
they were measured, a direction tells them apart, and familiarity is also at most the share of
held-out recordings that lie further on their side.

Source of the model: M. E. Tipping and C. M. Bishop, "Probabilistic Principal Component Analysis",
1999; its Mahalanobis distance has one scale for all directions that the components leave out.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dcasenet.results import Floats
from dcasenet.spec import FamiliarityStatistics

# What a window's familiarity is called among the outputs of a network.
FAMILIARITY = "familiarity"
# Quantiles of held-out distances that are stored.
N_QUANTILES = 101
# Seconds of which a model can be sure.
SHORTEST = 0.2
# Of the identity in the regression that finds the contrast, whose covariance has a mean of 1.
REGULARIZATION = 0.1


def fit(
    embeddings: Floats,
    held_out: Floats,
    synthetic: Floats | None = None,
    *,
    rank: int = 32,
    limit: float = 0.02,
) -> FamiliarityStatistics:
    """Describe training data by their embeddings.

    Args:
        embeddings: Of training recordings: the mean over the steps of a window, (n, size).
        held_out: Of recordings that were not trained on, (m, size).
        synthetic: Of sounds that are no recordings, such as noise and tones, (k, size).
        rank: How many principal components are kept, less than `size`.
        limit: Familiarity below which a model is not sure, 0 to 1: the share of held-out
            recordings that are given up.

    Raises:
        ValueError: There are too few embeddings for the rank, or sizes differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> near = rng.standard_normal((500, 8)).astype(np.float32)
        >>> statistics = fit(near[:400], near[400:], rank=4)
        >>> bool(familiarity(statistics, near).mean() > 0.3)
        True
        >>> familiarity(statistics, near + 100).max().tolist()
        0.0
    """
    n, size = embeddings.shape
    if held_out.shape[1] != size or not 0 < rank < min(n, size) or not len(held_out):
        raise ValueError(
            f"{n} embeddings of {size} values and {held_out.shape} held out do not make "
            f"statistics of rank {rank}. Give more embeddings than the rank, all of one size."
        )
    mean = embeddings.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(embeddings - mean, full_matrices=False)
    variances = singular**2 / max(n - 1, 1)
    rest = variances[rank:].sum() / max(size - rank, 1)
    floor = 1e-6 * variances[0] + 1e-12  # directions without any variance tell nothing
    statistics = FamiliarityStatistics(
        size=size,
        mean=_packed(mean),
        components=_packed(directions[:rank]),
        scales=tuple(np.sqrt(np.maximum(variances[:rank], floor)).tolist()),
        residual=float(np.sqrt(max(rest, floor))),
        distances=(0.0,),
        limit=limit,
    )
    statistics = replace(statistics, distances=_quantiles(distance(statistics, held_out)))
    if synthetic is None:
        return statistics
    contrast = _packed(_contrast(embeddings, synthetic))
    return replace(statistics, contrast=contrast, scores=_quantiles(_score(contrast, held_out)))


def _contrast(recordings: Floats, synthetic: Floats) -> NDArray[np.float64]:
    """Return the direction of least squares from recordings to synthetic sounds, both as many."""
    deviation = recordings.std(axis=0, dtype=np.float64) + 1e-6
    sides = [side.astype(np.float64) / deviation for side in (recordings, synthetic)]
    within = np.asarray(np.cov(sides[0].T) + np.cov(sides[1].T)) / 2
    within += REGULARIZATION * np.trace(within) / len(within) * np.eye(len(within))
    direction = np.linalg.solve(within, sides[1].mean(axis=0) - sides[0].mean(axis=0)) / deviation
    return np.asarray(direction / np.abs(direction).max(), dtype=np.float64)


def _quantiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.round(np.quantile(values, np.linspace(0, 1, N_QUANTILES)), 5).tolist())


def distance(statistics: FamiliarityStatistics, embeddings: Floats) -> NDArray[np.float64]:
    """Return how far embeddings lie from the training data: (…, size) → (…)."""
    mean, components = _arrays(statistics)
    centered = embeddings.astype(np.float64) - mean
    along = centered @ components.T
    outside = np.maximum((centered**2).sum(axis=-1) - (along**2).sum(axis=-1), 0.0)
    scaled = along / np.array(statistics.scales)
    squared = (scaled**2).sum(axis=-1) + outside / statistics.residual**2
    return np.asarray(np.sqrt(squared), dtype=np.float64)


def familiarity(statistics: FamiliarityStatistics, embeddings: Floats) -> Floats:
    """Return the share of held-out recordings that lie further: (…, size) → (…), 0 to 1."""
    share = _share_above(distance(statistics, embeddings), statistics.distances)
    if statistics.contrast:
        score = _score(statistics.contrast, embeddings)
        share = np.minimum(share, _share_above(score, statistics.scores))
    return np.asarray(share, dtype=np.float32)


def _score(contrast: str, embeddings: Floats) -> NDArray[np.float64]:
    """Return how far embeddings lie on the side of synthetic sounds: (…, size) → (…)."""
    return np.asarray(embeddings.astype(np.float64) @ _unpacked(contrast))


def _share_above(values: NDArray[np.float64], quantiles: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(np.interp(values, quantiles, np.linspace(1.0, 0.0, len(quantiles))))


@lru_cache(maxsize=8)
def _arrays(
    statistics: FamiliarityStatistics,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = _unpacked(statistics.mean)
    return mean, _unpacked(statistics.components).reshape(-1, statistics.size)


def _packed(values: NDArray[np.floating]) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode("ascii")


def _unpacked(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), "<f2").astype(np.float64)
