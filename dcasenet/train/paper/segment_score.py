"""The authors' score of sound events, as published; not comparable with segment-based figures.

Their evaluation cuts the frames into blocks of 50, which are 5 s and not the 1 s that they are
called, leaves out each block's last frame, and counts a shorter last block in F1 but not in the
error rate.

Source: the authors' ``metric.py`` and ``trainer.py`` (``nb_frames_1s=50``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcasenet.train.metrics.events import segment_score

BLOCK = 50  # frames of 0.1 s; the 2019 set, with frames of 0.02 s, had 50 in 1 s
EPSILON = 1e-8  # the authors', in F1 alone


class PaperScore(NamedTuple):
    """The authors' F1 and error rate: not comparable with segment-based figures."""

    f1: float
    error_rate: float


def paper_blocks(
    frames: NDArray[np.bool_], block: int = BLOCK, *, whole: bool
) -> NDArray[np.bool_]:
    """Return which labels are active in each block, its last frame left out.

    Args:
        frames: (frames, labels).
        block: Frames of a block, at least 2.
        whole: Leave out a last block that is shorter; otherwise all of its frames count.

    Returns:
        (blocks, labels).

    Raises:
        ValueError: `block` is less than 2: without its last frame nothing would be left.
    """
    if block < 2:
        raise ValueError(f"block={block} has nothing left without its last frame; give 2 or more.")
    starts = range(0, len(frames) - block + 1 if whole else len(frames), block)
    found = [frames[start : start + block - 1].any(axis=0) for start in starts]
    return np.array(found, dtype=bool).reshape(len(found), frames.shape[1])


def paper_segment_score(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], block: int = BLOCK
) -> PaperScore:
    """Return the authors' F1 (over all blocks) and error rate (over whole blocks).

    Nothing is decided where they did not: with nothing in the reference the error rate is nan, or
    infinite if something is predicted, and F1 is 0.

    Args:
        reference: Activity every 0.1 s, recordings one after the other, (frames, labels).
        prediction: Likewise.
        block: Frames of a block.

    Raises:
        ValueError: `block` is less than 2.

    Example:
        >>> truth = np.zeros((100, 1), bool)
        >>> truth[49] = True  # in the frame that each block loses
        >>> paper_segment_score(truth, truth)
        PaperScore(f1=0.0, error_rate=nan)
    """
    counts = paper_counts(reference, prediction, block)
    return PaperScore(float(paper_f1(counts)), float(paper_error_rate(counts)))


def paper_counts(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], block: int = BLOCK
) -> NDArray[np.int64]:
    """Count over all blocks, for F1, and over whole blocks, for the error rate, (2, 4).

    Args:
        reference: (frames, labels).
        prediction: (frames, labels).
        block: Frames of a block, at least 2.
    """
    return np.stack(
        [
            segment_score(
                paper_blocks(reference, block, whole=whole),
                paper_blocks(prediction, block, whole=whole),
            ).counts
            for whole in (False, True)
        ]
    )


def paper_f1(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the authors' F1 of `paper_counts`, (…, 2, 4); 0 with nothing in the reference."""
    hits, reference, predicted, _ = np.moveaxis(counts[..., 0, :], -1, 0)
    precision, recall = hits / (predicted + EPSILON), hits / (reference + EPSILON)
    return np.asarray(2 * precision * recall / (precision + recall + EPSILON))


def paper_error_rate(counts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the authors' error rate of `paper_counts`, (…, 2, 4); nan or inf without reference."""
    hits, reference, predicted, substitutions = np.moveaxis(counts[..., 1, :], -1, 0)
    errors = reference + predicted - 2 * hits - substitutions
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(errors / np.asarray(reference, dtype=np.float64))
