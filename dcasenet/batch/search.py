"""Find recordings by their embeddings: the nearest to a query, or the best for a label.

::

    from dcasenet.batch.search import Index

    index = Index.read("embeddings.npz")  # written by `embed`
    index.nearest(model.embed("dog.wav"), top=5)

The search is exact: the cosine similarity of every embedding to the query is computed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcasenet.atomic import replacing
from dcasenet.audio.discovery import StrPath, find_recordings
from dcasenet.batch.progress import Watch
from dcasenet.batch.queries import embedding_job
from dcasenet.batch.runner import embed
from dcasenet.batch.writers import arrow, storable
from dcasenet.errors import DcasenetError
from dcasenet.inference.postprocess import require, sigmoid
from dcasenet.inference.verbs import SoundVerbs
from dcasenet.results import Floats
from dcasenet.types import find_label
from dcasenet.weights.cache import cache_folder

FOLDER = "search"  # folder of indices in the cache
TABLES = (".npz", ".parquet", ".jsonl", ".csv")  # formats that `embed` writes
# Entries of the provenance that determine an embedding, which is the same in both runtimes except
# for rounding.
KEY = ("version", "weights", "precision", "options", "context")
BLOCK = 65_536  # embeddings compared at once


@dataclass(frozen=True)
class Match:
    """A recording that a search found.

    Attributes:
        filename: Its path in the index.
        score: Cosine similarity to the query, -1 to 1, or the label's probability, 0 to 1.
    """

    filename: str
    score: float


@dataclass(frozen=True, eq=False)
class Index:
    """Recordings and their embeddings.

    Attributes:
        filenames: Paths of the recordings.
        vectors: (recordings, size), float32.
        source: Name used in messages.
        n_failed: Number of recordings that could not be embedded, and are not searched.
        passed_over: Number of files in the folders without an audio suffix, by suffix.
    """

    filenames: tuple[str, ...]
    vectors: Floats
    source: str = "the index"
    n_failed: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, path: StrPath) -> Index:
        """Read a table that `embed` wrote: npz, Parquet, JSON lines or CSV.

        Recordings that could not be embedded are omitted.

        Raises:
            DcasenetError: The file is missing, damaged, or not a table of embeddings.
            ImportError: Parquet needs pyarrow.
        """
        table = Path(path)
        readers = dict(zip(TABLES, (_npz, _parquet, _jsonl, _csv), strict=True))
        if table.suffix not in TABLES:
            raise DcasenetError(
                f"{table} is not a table of embeddings. Accepted are files that 'dcasenet embed … "
                f"--output' wrote: {', '.join(TABLES)}."
            )
        try:
            pairs = list(readers[table.suffix](table))
        except FileNotFoundError as error:
            raise DcasenetError(
                f"There is no file {table}. Make it with: dcasenet embed FOLDER --output {table}"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, LookupError) as error:
            raise DcasenetError(
                f"{table} cannot be read as a table of embeddings ({error}). Give a file that "
                f"'dcasenet embed … --output' wrote."
            ) from error
        if len({len(vector) for _, vector in pairs}) > 1:
            raise DcasenetError(f"{table} has embeddings of different lengths.")
        size = len(pairs[0][1]) if pairs else 0
        vectors = np.array([vector for _, vector in pairs], np.float32).reshape(-1, size)
        if not np.isfinite(vectors).all():
            raise DcasenetError(f"{table} has embeddings that are not finite.")
        return cls(tuple(name for name, _ in pairs), vectors, str(table))

    def nearest(
        self, query: ArrayLike, top: int = 10, without: Iterable[StrPath] = ()
    ) -> tuple[Match, ...]:
        """Find the recordings whose embeddings are nearest to a query, the nearest first.

        Args:
            query: An embedding of the same model.
            top: Number of recordings to find, at least 1.
            without: Files to exclude, such as the query's own.

        Raises:
            ValueError: `top` is less than 1, or the query has another length.

        Example:
            >>> vectors = np.float32([[1, 0], [0, 1], [3, 1]])
            >>> index = Index(("a.wav", "b.wav", "c.wav"), vectors)
            >>> [match.filename for match in index.nearest([1.0, 0.2], top=2)]
            ['c.wav', 'a.wav']
        """
        vector = np.asarray(query, np.float64)
        if vector.shape != self.vectors.shape[1:] and self.filenames:
            raise ValueError(
                f"The query has the shape {vector.shape}, and the embeddings of {self.source} have "
                f"{self.vectors.shape[1:]}. Embed it with the model that computed them."
            )
        length = np.linalg.norm(vector)
        scores = np.zeros(len(self.filenames))
        for start in range(0, len(scores), BLOCK):
            block = self.vectors[start : start + BLOCK].astype(np.float64)
            lengths = np.linalg.norm(block, axis=1) * length
            scores[start : start + BLOCK] = block @ vector / np.maximum(lengths, 1e-12)
        return self._best(scores, top, without)

    def labeled(
        self, model: SoundVerbs[Any], label: str, top: int = 10, without: Iterable[StrPath] = ()
    ) -> tuple[Match, ...]:
        """Find the recordings with the highest probabilities of a tag.

        The model's tag head is applied to the embeddings; for a recording of a single window, the
        probability equals that of `tag`.

        Args:
            model: The model that computed the embeddings.
            label: One of its tags.
            top: Number of recordings to find, at least 1.
            without: Files to exclude.

        Raises:
            DcasenetError: The model's runtime cannot run the tag head separately.
            ImportError: The model runs in ONNX, and onnx is not installed.
            TaskNotAvailableError: The model has no tags.
            ValueError: The model has no such tag, or `top` is less than 1.
        """
        return self._best(_probabilities(model, self, label), top, without)

    def _best(
        self, scores: NDArray[np.floating], top: int, without: Iterable[StrPath]
    ) -> tuple[Match, ...]:
        if top < 1:
            raise ValueError(f"top={top} is out of range; give 1 or more.")
        unwanted = {os.path.realpath(path) for path in without}
        order = np.argsort(-scores, kind="stable")
        found: list[Match] = []
        for i in order.tolist():
            if len(found) == top:
                break
            if not (unwanted and os.path.realpath(self.filenames[i]) in unwanted):
                found.append(Match(self.filenames[i], float(scores[i])))
        return tuple(found)


def index_recordings(
    model: SoundVerbs[Any],
    paths: StrPath | Iterable[StrPath],
    path: StrPath | None = None,
    *,
    workers: int | None = None,
    watch: Watch | None = None,
) -> Index:
    """Embed recordings, or reuse their embeddings from an earlier search.

    Files that are new or have changed since then (by size and time) are embedded, missing ones are
    removed, and the others are reused.

    Args:
        model: A model of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        path: An npz file for the embeddings; by default one in the cache, identified by the folders
            and the model.
        workers: As in `JobOptions`.
        watch: As in `JobOptions`; called for the files that are embedded.

    Raises:
        AudioError: There is no recording in the folders.
        DcasenetError: The file exists and was not written by this function, or it cannot be
            written.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    job = embedding_job(model)
    made = job.provenance.to_dict()
    key = json.dumps({name: made[name] for name in KEY}, sort_keys=True)
    kept = Path(path) if path is not None else _default_path(given, key)
    known = _read_index(kept, key)
    listing = find_recordings(given)
    files = listing.files
    states = {name: _state(name) for name in files}
    new = [name for name in files if states[name] != known.get(name, ((0, 0), None))[0]]
    if new:
        vectors = _embedded(model, new, workers, watch)
        known.update({name: (states[name], vectors.get(name)) for name in new})
    if new or known.keys() != states.keys():
        known = {name: known[name] for name in files}
        _write_index(kept, (key, json.dumps(made)), known, job.size)
    found = {name: vector for name, (_, vector) in known.items() if vector is not None}
    table = np.array(list(found.values()), np.float32).reshape(-1, job.size)
    n_failed = len(files) - len(found)
    return Index(tuple(found), table, str(kept), n_failed, listing.passed_over)


# Size and time of a file, and its embedding; None if it could not be embedded.
Known = dict[str, tuple[tuple[int, int], Floats | None]]


def _embedded(
    model: SoundVerbs[Any], files: Sequence[str], workers: int | None, watch: Watch | None
) -> dict[str, Floats]:
    with TemporaryDirectory(prefix="dcasenet-") as folder:
        table = Path(folder, "new.jsonl")
        embed(model, files, table, workers=workers, watch=watch)
        return dict(_jsonl(table))


def _default_path(paths: Sequence[StrPath], key: str) -> Path:
    places = sorted(os.path.realpath(path) for path in paths)
    text = "\n".join([*places, key])
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return cache_folder() / FOLDER / f"{name}.npz"


def _state(name: str) -> tuple[int, int]:
    """Return size and time of a file; impossible values if it does not exist."""
    try:
        status = Path(name).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read_index(path: Path, key: str) -> Known:
    """Read an index that `_write_index` wrote; empty if it is of another model or damaged."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "key" not in arrays:
                raise DcasenetError(
                    f"{path} exists already and is not a search index. Give another file for it."
                )
            if str(arrays["key"]) != key:
                return {}
            states = zip(arrays["size"].tolist(), arrays["mtime_ns"].tolist(), strict=True)
            names = json.loads(str(arrays["names"]))
            vectors = arrays["embedding"]
    except (OSError, ValueError, KeyError) as error:
        raise DcasenetError(
            f"{path} exists already and cannot be read as an index ({error}). Delete it, or give "
            f"another file."
        ) from error
    return {
        name: (state, None if np.isnan(vector).any() else vector)
        for name, state, vector in zip(names, states, vectors, strict=True)
    }


def _write_index(path: Path, about: tuple[str, str], known: Known, size: int) -> None:
    key, provenance = about
    none = np.full(size, np.nan, np.float32)
    vectors = [none if vector is None else vector for _, vector in known.values()]
    arrays: dict[str, Any] = {
        "key": np.array(key),
        "provenance": np.array(provenance),
        # As JSON, which can represent every name, including undecodable ones.
        "names": np.array(json.dumps(list(known))),
        "filename": np.array([storable(name) for name in known]),
        "size": np.array([state[0] for state, _ in known.values()], np.int64),
        "mtime_ns": np.array([state[1] for state, _ in known.values()], np.int64),
        "embedding": np.array(vectors, np.float32).reshape(-1, size),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise DcasenetError(
            f"The embeddings cannot be written to {path}: {error.strerror or error}. Give a file "
            f"that can be written."
        ) from error


def _probabilities(model: SoundVerbs[Any], index: Index, label: str) -> NDArray[np.floating]:
    """Return the tag's probability for each embedding."""
    require(model.spec, "tag")
    column = model.spec.tags.index(find_label(label, model.spec.tags, "tag"))
    return sigmoid(model.tag_head(np.array(index.vectors))[:, column])


def _npz(path: Path) -> Iterator[tuple[str, Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        pairs = zip(arrays["filename"].tolist(), arrays["embedding"], strict=True)
        yield from ((name, vector) for name, vector in pairs if not np.isnan(vector).any())


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    arrow()
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["filename", "embedding"]):
            names, vectors = batch.column(0).to_pylist(), batch.column(1)
            held = vectors.is_valid().to_pylist()
            table = vectors.flatten().to_numpy(zero_copy_only=False)
            rows = iter(table.reshape(sum(held), -1)) if any(held) else iter(())
            yield from (
                (name, next(rows)) for name, is_held in zip(names, held, strict=True) if is_held
            )


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["embedding"] is not None:
                yield row["filename"], np.array(row["embedding"], np.float32)


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.reader(file)
        columns = next(table, [])
        if columns[:2] != ["filename", "e0"]:
            raise ValueError("it has no columns filename, e0, e1, …")
        for name, *values in table:
            yield name, np.array(values, np.float32)
