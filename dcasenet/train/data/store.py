"""Every recording decoded once, at the network's rate, in one file that is mapped into memory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from dcasenet import __version__
from dcasenet.atomic import replacing, write_bytes
from dcasenet.errors import DcasenetError
from dcasenet.train.data.dataset import Example
from dcasenet.train.data.decoding import Method, Settings, Source, waveforms

log = logging.getLogger(__name__)

BYTES = 4  # of a float32 sample


class Keyed(Protocol):
    """What a store has waveforms of: anything with a key, such as an `Example`."""

    @property
    def key(self) -> str:
        """Name that nothing else in the store has."""


class WaveformStore:
    """Waveforms by key, mono float32 at one rate, read from disk as they are needed.

    Args:
        path: The file of samples: float32, one waveform after the other.
        spans: Key → (start, stop) in samples.
        sample_rate: In Hz.
        left_out: What has no waveform: its key, and why.
    """

    def __init__(
        self,
        path: Path,
        spans: Mapping[str, tuple[int, int]],
        sample_rate: int,
        left_out: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._path, self._spans = path, dict(spans)
        self._samples: NDArray[np.float32] = np.asarray(np.memmap(path, np.float32, mode="r"))
        self.sample_rate = sample_rate
        self.left_out = tuple(left_out)

    def __reduce__(
        self,
    ) -> tuple[type[WaveformStore], tuple[Path, object, int, tuple[tuple[str, str], ...]]]:
        # Another process maps the file for itself; pickling the array would copy every sample.
        return type(self), (self._path, self._spans, self.sample_rate, self.left_out)

    @property
    def path(self) -> Path:
        """The file of samples; its name says what was decoded, and how."""
        return self._path

    def __contains__(self, item: Keyed) -> bool:
        return item.key in self._spans

    def __len__(self) -> int:
        return len(self._spans)

    def waveform(self, item: Keyed) -> NDArray[np.float32]:
        """Return one waveform, (samples,), read-only.

        Raises:
            KeyError: It was left out, or never part of it.
        """
        start, stop = self._spans[item.key]
        return self._samples[start:stop]


def decode_examples(
    examples: Sequence[Example],
    folder: Path,
    sample_rate: int,
    method: Method = "soxr",
    *,
    keep_silent: bool = False,
) -> WaveformStore:
    """Decode examples, or take them from the cache if it holds exactly these files.

    A file that is missing, unreadable, empty or silent is named in the log and in the store's
    `left_out`; the others are decoded.

    Args:
        examples: What to decode.
        folder: Where the cache is, made if need be.
        sample_rate: Rate to resample to, in Hz.
        method: How to resample; see `dcasenet.audio.resample.resample`.
        keep_silent: Whether files without any signal are kept, as a published test set wants.

    Raises:
        DcasenetError: None of the examples can be used, or the cache cannot be written.

    Example:
        >>> import soundfile
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     good, bad = (Example(Path(folder, name)) for name in ("a.wav", "b.wav"))
        ...     soundfile.write(good.path, np.ones(44_100), 44_100)
        ...     store = decode_examples([good, bad], Path(folder, "cache"), 24_000)
        ...     store.waveform(good).shape, bad in store, len(store.left_out)
        ((24000,), False, 1)
    """
    sources = [Source(example.key, example.path, example.channel) for example in examples]
    return decode_sources(sources, folder, Settings(sample_rate, method, keep_silent))


def decode_sources(sources: Sequence[Source], folder: Path, settings: Settings) -> WaveformStore:
    """Decode channels of files, or take them from the cache; otherwise as `decode_examples`.

    Args:
        sources: What to decode.
        folder: Where the cache is, made if need be.
        settings: How to decode.
    """
    from filelock import FileLock  # takes a while to import

    sources = list({source.key: source for source in sources}.values())
    wanted = "\n".join([repr(settings), _versions(), *(_identity(source) for source in sources)])
    name = hashlib.sha256(wanted.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    samples, index = folder / f"{name}.float32", folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of several processes that train together, one decodes and the others wait for it.
        with FileLock(folder / f"{name}.lock"):
            if not (index.is_file() and samples.is_file()):
                _write(sources, settings, samples, index)
    except OSError as error:
        raise DcasenetError(
            f"The decoded audio cannot be kept in {folder}: {error.strerror or error}. Give a "
            f"folder with room for {settings.sample_rate * BYTES * 60 / 1e6:.1f} MB per minute of "
            "audio."
        ) from error
    spans: dict[str, tuple[int, int]] = {}
    left_out: list[tuple[str, str]] = []
    for source, entry in zip(sources, json.loads(index.read_text("utf-8")), strict=True):
        if isinstance(entry, str):
            left_out.append((source.key, entry))
        else:
            spans[source.key] = (entry[0], entry[1])
    _report(len(sources), left_out)
    return WaveformStore(samples, spans, settings.sample_rate, left_out)


def _versions() -> str:
    """Return the versions of what decodes and resamples: another may give other samples."""
    try:
        av = version("av")
    except PackageNotFoundError:
        av = "none"
    return (
        f"dcasenet {__version__}, libsndfile {soundfile.__libsndfile_version__}, "
        f"soxr {soxr.__version__} ({soxr.__libsoxr_version__}), av {av}"
    )


def _identity(source: Source) -> str:
    """What a cached waveform depends on, but for the settings that all share."""
    path = os.path.abspath(source.path)  # noqa: PTH100  # a link and what it names may differ
    try:
        status = source.path.stat()
    except OSError:
        return f"{path}:{source.channel}:missing"
    return f"{path}:{source.channel}:{status.st_size}:{status.st_mtime_ns}"


def _report(n_sources: int, left_out: Sequence[tuple[str, str]]) -> None:
    for key, why in left_out:
        log.warning("%s is left out: %s", key, why)
    if left_out:
        log.warning("%d of %d recordings are left out.", len(left_out), n_sources)


def _write(sources: Sequence[Source], settings: Settings, samples: Path, index: Path) -> None:
    entries: list[tuple[int, int] | str] = []
    position = 0
    with replacing(samples) as draft, draft.open("wb") as file:
        for result in waveforms(sources, settings):
            if isinstance(result, str):
                entries.append(result)
                continue
            file.write(result.tobytes())
            entries.append((position, position + len(result)))
            position += len(result)
        if not position:
            raise DcasenetError(_nothing(sources, entries))
    # The index comes last, and at once: without it the cache does not exist.
    write_bytes(index, json.dumps(entries).encode())
    n_decoded = sum(not isinstance(entry, str) for entry in entries)
    minutes = position / settings.sample_rate / 60
    log.info("Decoded %d of %d recordings, %.1f minutes.", n_decoded, len(sources), minutes)


def _nothing(sources: Sequence[Source], entries: Sequence[object]) -> str:
    if not sources:
        return "There is nothing to decode: the data set is empty."
    return (
        f"None of the {len(sources)} recordings can be used. The first is {sources[0].path}: "
        f"{entries[0]}"
    )
