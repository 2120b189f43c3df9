"""Every clip decoded once, at the network's rate, in one file that is mapped into memory."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio import mono, read
from dcasenet.errors import AudioError, DcasenetError
from dcasenet.resample import resample
from dcasenet.train.open_split import Clip

log = logging.getLogger(__name__)


class ClipStore:
    """The waveforms of clips, mono float32 at one rate.

    Args:
        path: The file of samples, as `decode` wrote it.
        spans: Clip key → (start, stop) in samples.
        sample_rate: In Hz.
    """

    def __init__(self, path: Path, spans: dict[str, tuple[int, int]], sample_rate: int) -> None:
        self.samples: NDArray[np.float32] = np.load(path, mmap_mode="r")
        self.spans = spans
        self.sample_rate = sample_rate

    def __contains__(self, clip: Clip) -> bool:
        return clip.key in self.spans

    def waveform(self, clip: Clip) -> NDArray[np.float32]:
        """Give a clip's samples, (samples,), read-only."""
        start, stop = self.spans[clip.key]
        return self.samples[start:stop]


def decode(root: Path, clips: Sequence[Clip], folder: Path, sample_rate: int) -> ClipStore:
    """Decode clips, or take them from the cache if it holds exactly these.

    Args:
        root: Folder of the data folders.
        clips: What to decode; a clip that cannot be read or is empty is named and left out.
        folder: Where the cache is, made if need be.
        sample_rate: Rate to resample to (soxr), in Hz.

    Raises:
        DcasenetError: None of the clips can be read.
    """
    wanted = hashlib.sha256(
        "\n".join([str(sample_rate), *(clip.key for clip in clips)]).encode("utf-8")
    ).hexdigest()[:16]
    samples, index = folder / f"clips-{wanted}.npy", folder / f"clips-{wanted}.json"
    if not index.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write(root, clips, sample_rate, samples, index)
    spans = {key: (a, b) for key, (a, b) in json.loads(index.read_text("utf-8")).items()}
    return ClipStore(samples, spans, sample_rate)


def _write(root: Path, clips: Sequence[Clip], sample_rate: int, samples: Path, index: Path) -> None:
    parts: list[NDArray[np.float32]] = []
    spans: dict[str, tuple[int, int]] = {}
    position = 0
    for clip in clips:
        path = root / clip.folder / "audio" / clip.filename
        try:
            recording = read(path)
        except AudioError as error:
            log.warning("%s is left out: %s", path, error)
            continue
        waveform = resample(mono(recording), recording.sample_rate, sample_rate, "soxr")
        if not waveform.any():
            log.warning("%s is silent and is left out.", path)
            continue
        parts.append(waveform)
        spans[clip.key] = (position, position + len(waveform))
        position += len(waveform)
    if not parts:
        raise DcasenetError(f"None of the {len(clips)} clips under {root} can be read.")
    np.save(samples, np.concatenate(parts))
    # The index comes last: without it the cache does not exist.
    index.write_text(json.dumps(spans), encoding="utf-8")
    log.info(
        "Decoded %d of %d clips, %.1f minutes.", len(parts), len(clips), position / sample_rate / 60
    )
