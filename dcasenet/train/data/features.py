"""Normalized log-mels of whole recordings, made once, in one file that is mapped into memory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dcasenet.atomic import replacing, write_bytes
from dcasenet.errors import DcasenetError
from dcasenet.models.frontend import LogMel
from dcasenet.train.data.dataset import Example
from dcasenet.train.data.store import WaveformStore

log = logging.getLogger(__name__)

# So many seconds of audio go through the front end at once: a sixth of a GB of spectra.
BATCH_SECONDS = 480.0


class FeatureStore:
    """Log-mels by example, read from disk as they are needed.

    Half precision is enough: its step is a thousandth of a value that is itself normalized.

    Args:
        path: The file: float16, (frames, n_mels), one recording after the other.
        spans: Key of an example → (start, stop) in frames.
        n_mels: Number of mel bins.
    """

    def __init__(self, path: Path, spans: dict[str, tuple[int, int]], n_mels: int) -> None:
        self._path, self._spans, self._n_mels = path, spans, n_mels
        mapped = np.memmap(path, np.float16, mode="r")
        self._frames: NDArray[np.float16] = np.asarray(mapped).reshape(-1, n_mels)

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[object, ...]]:
        # Another process maps the file for itself; pickling the array would copy every frame.
        return type(self), (self._path, self._spans, self._n_mels)

    def n_frames(self, example: Example) -> int:
        """Return the length of a recording."""
        start, stop = self._spans[example.key]
        return stop - start

    def crop(self, example: Example, first: int, n_frames: int) -> NDArray[np.float32]:
        """Return a stretch of a recording's log-mel, (n_mels, n_frames)."""
        start = self._spans[example.key][0] + first
        return np.asarray(self._frames[start : start + n_frames].T, np.float32)


def extract(
    examples: Sequence[Example], store: WaveformStore, frontend: LogMel, folder: Path
) -> FeatureStore:
    """Compute the log-mel of every recording, or take them from the cache.

    Args:
        examples: Recordings, all of them in the store.
        store: Their waveforms.
        frontend: What makes a log-mel, on the device that shall make it; each recording is
            normalized as a whole.
        folder: Where the cache is, made if need be.

    Raises:
        DcasenetError: The cache cannot be written.
    """
    from filelock import FileLock  # takes a while to import

    settings = json.dumps(dataclasses.asdict(frontend.settings))
    wanted = "\n".join([store.path.name, settings, *(example.key for example in examples)])
    name = hashlib.sha256(wanted.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    path, index = folder / f"{name}.float16", folder / f"{name}.log_mel.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of several processes that train together, one computes and the others wait for it.
        with FileLock(folder / f"{name}.lock"):
            if not (index.is_file() and path.is_file()):
                _write(examples, store, frontend, path, index)
    except OSError as error:
        size = sum(len(store.waveform(e)) for e in examples) / frontend.settings.hop_length * 256
        raise DcasenetError(
            f"The log-mels cannot be kept in {folder}: {error.strerror or error}. Give a folder "
            f"with room for {size / 1e6:.0f} MB."
        ) from error
    spans = {key: (a, b) for key, (a, b) in json.loads(index.read_text("utf-8")).items()}
    return FeatureStore(path, spans, frontend.settings.n_mels)


def _write(
    examples: Sequence[Example], store: WaveformStore, frontend: LogMel, path: Path, index: Path
) -> None:
    spans: dict[str, tuple[int, int]] = {}
    position = 0
    with replacing(path) as draft, draft.open("wb") as file:
        for batch in batches(examples, store):
            waveforms = torch.from_numpy(np.stack([store.waveform(e) for e in batch]))
            with torch.inference_mode():
                log_mels = frontend(waveforms.to(frontend.window.device)).transpose(1, 2)
            file.write(log_mels.half().cpu().numpy().tobytes())
            for example in batch:
                spans[example.key] = (position, position + log_mels.shape[1])
                position += log_mels.shape[1]
    # The index comes last, and at once: without it the cache does not exist.
    write_bytes(index, json.dumps(spans).encode())
    log.info("Computed the log-mels of %d recordings.", len(spans))


def batches(
    examples: Sequence[Example], store: WaveformStore, seconds: float = BATCH_SECONDS
) -> Iterator[list[Example]]:
    """Yield examples of one length together, so that nothing is padded, at most so many seconds.

    Args:
        examples: Examples that the store has.
        store: Their waveforms.
        seconds: Most of audio in a batch; one longer recording goes alone.
    """

    def length(example: Example) -> int:
        return len(store.waveform(example))

    for n_samples, alike in groupby(sorted(examples, key=length), key=length):
        size = max(1, int(seconds * store.sample_rate / n_samples))
        group = list(alike)
        for first in range(0, len(group), size):
            yield group[first : first + size]
