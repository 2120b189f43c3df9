"""Written results, made again and compared.

Every file of results says what it was made with (`dcasenet.results.provenance`). `verify` checks
that recordings and weights are still the same, answers again, writes the same kind of file into a
temporary folder, and compares the two.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from dcasenet import __version__
from dcasenet.errors import DcasenetError, UnknownModelError
from dcasenet.inference.verbs import tasks_of
from dcasenet.results import Provenance, Result
from dcasenet.results.formats import export, format_of
from dcasenet.results.writing import SIDECAR, input_digest, sidecar_path
from dcasenet.text import one_line, originals

if TYPE_CHECKING:
    from dcasenet.inference.verbs import SoundVerbs

# Numbers that differ by less are the same: other processors round otherwise, and tables round to
# two or three decimals.
TOLERANCE = 0.005
# Differences that are told one by one.
MOST_DIFFERENCES = 20
PAGE_ROWS = re.compile(r'<script type="application/json" id="rows">(.*?)</script>', re.DOTALL)
PAGE_META = re.compile(r'<script type="application/json" id="meta">(.*?)</script>', re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Verification:
    """What a comparison came to.

    Attributes:
        path: The file.
        provenance: What it says that it was made with.
        n_recordings: How many recordings were answered again.
        differences: What is not as the file says, a sentence each; none if all is.
        remarks: What is worth knowing besides, such as another version of this package.
    """

    path: Path
    provenance: Provenance
    n_recordings: int
    differences: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether all is as the file says."""
        return not self.differences


def verify(
    path: str | os.PathLike[str],
    *,
    model: SoundVerbs[Any] | None = None,
    recordings: str | os.PathLike[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Answer again what is in a file of results, and compare.

    Args:
        path: A file that this package wrote: results of a verb in any format, the table of a job,
            a report, or a picture.
        model: Which model answers; by default the one that the file names.
        recordings: A folder with the recordings, if they have moved; by default they are looked
            for where they were, and beside the file.
        tolerance: Numbers that differ by less are the same.

    Returns:
        What differs.

    Raises:
        DcasenetError: The file does not say what it was made with, or with a model that has to be
            given.
        OSError: The file cannot be read.

    Example:
        >>> import dcasenet
        >>> import soundfile
        >>> model = dcasenet.load()
        >>> with TemporaryDirectory() as folder:
        ...     soundfile.write(folder + "/a.wav", np.zeros(24_000), 24_000)
        ...     _ = model.analyze(folder + "/a.wav").to_json(path=folder + "/a.json")
        ...     verify(folder + "/a.json").is_same
        True
    """
    path = Path(path)
    if path.name.endswith(SIDECAR):
        path = path.with_name(path.name.removesuffix(SIDECAR))
    made = read_provenance(path)
    if model is None:
        model = _model_of(made)
    place = None if recordings is None else Path(recordings)
    written = _inputs(path, made)
    remarks = []
    if made.version != __version__:
        remarks.append(f"It was made by dcasenet {made.version}; this is {__version__}.")
    differences = []
    weights = model.digest_of(tasks_of(made.context, made.options))
    if made.weights != weights:
        differences.append(
            f"The weights are others: the file was made with {made.weights}, and the model at "
            f"hand has {weights}."
        )
    # A CSV's names are cells, written as `dcasenet.text.spreadsheet_cell` does.
    is_cell = path.suffix == ".csv" and not made.source
    found = {
        source: _find(originals(source) if is_cell else [source], path.parent, place)
        for source in written
    }
    for source, digest in written.items():
        differences += _changed(source, found[source], digest)
    if not differences:
        with TemporaryDirectory() as folder:
            again = Path(folder, path.name)
            try:
                _make_again(made, model, path, again, {s: str(f) for s, f in found.items()})
            except (ValueError, KeyError, TypeError) as error:
                raise DcasenetError(
                    f"{path} cannot be made again by what it says of itself: {error}."
                ) from error
            differences += itertools.islice(
                _differences(path, again, tolerance), MOST_DIFFERENCES + 1
            )
    if len(differences) > MOST_DIFFERENCES:
        differences[MOST_DIFFERENCES:] = ["There are more differences."]
    return Verification(path, made, len(written), tuple(differences), tuple(remarks))


def read_provenance(path: Path) -> Provenance:
    """Return what a file of results was made with.

    Raises:
        DcasenetError: It does not say so.
        OSError: It cannot be read.
    """
    if not path.is_file():
        raise DcasenetError(f"There is no file {path} (in {Path.cwd()}).")
    try:
        values = _provenance_values(path)
    except (ValueError, KeyError, TypeError, IndexError, zlib.error, struct.error) as error:
        raise DcasenetError(f"{path} cannot be read: {error}.") from error
    try:
        return Provenance.from_dict(values)
    except DcasenetError as error:
        raise DcasenetError(f"{path}: {error}") from error


def _provenance_values(path: Path) -> Any:
    if sidecar_path(path).is_file():
        return json.loads(sidecar_path(path).read_text("utf-8"))
    readers: dict[str, Callable[[Path], Any]] = {
        ".json": _of_json,
        ".jams": lambda p: _loaded(p)["annotations"][0]["sandbox"].get("provenance"),
        ".vtt": _of_webvtt,
        ".html": lambda p: json.loads(_page_part(PAGE_META, p))["provenance"],
        ".parquet": _of_parquet,
        ".npz": lambda p: json.loads(str(np.load(p)["provenance"])),
        ".png": _of_png,
    }
    reader = readers.get(path.suffix)
    return None if reader is None else reader(path)


def _loaded(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _of_json(path: Path) -> Any:
    values = _loaded(path)
    return values[0]["meta"]["provenance"] if isinstance(values, list) else values["provenance"]


def _of_webvtt(path: Path) -> Any:
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("NOTE provenance "):
            return json.loads(line.removeprefix("NOTE provenance "))
    return None


def _of_parquet(path: Path) -> Any:
    from dcasenet.batch.writers import PROVENANCE_KEY, arrow

    arrow()
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    return json.loads(metadata[PROVENANCE_KEY.encode()])


def _of_png(path: Path) -> Any:
    """Read the description in a PNG's text chunks."""
    content = path.read_bytes()
    position = len(PNG)
    while content.startswith(PNG) and position < len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        data = content[position + 8 : position + 8 + length]
        if kind in (b"tEXt", b"iTXt") and data.startswith(b"Description\0"):
            text = data.split(b"\0", 1)[1]
            return json.loads(text.lstrip(b"\0").decode("latin-1" if kind == b"tEXt" else "utf-8"))
        position += 12 + length
    return None


def _page_part(pattern: re.Pattern[str], path: Path) -> str:
    found = pattern.search(path.read_text("utf-8"))
    if found is None:
        raise ValueError("it is no report")
    return found[1]


def _model_of(made: Provenance) -> SoundVerbs[Any]:
    from dcasenet.loading import load

    name, _, stage = made.model.partition(" ")
    try:
        return load(name, stage=stage, runtime=made.runtime, precision=made.precision)
    except UnknownModelError as error:
        raise DcasenetError(
            f"The file was made with {made.model!r}, weights {made.weights}, which is no released "
            f"checkpoint. Give the model: --model MODEL, or verify(path, model=…)."
        ) from error


def _inputs(path: Path, made: Provenance) -> dict[str, str | None]:
    """Recording → its digest as the file has it."""
    if made.source:
        return {made.source: made.input}
    return {
        row.get("filename", row.get("name")): row["input"]
        for row in _rows(path)
        if row.get("error") in (None, "")
    }


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """The rows of a table or a report that say how each recording fared."""
    if path.suffix == ".html":
        rows: list[dict[str, Any]] = json.loads(_page_part(PAGE_ROWS, path))
        return [{**row, "input": row.get("input")} for row in rows]
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    if path.suffix == ".parquet":
        import pyarrow.parquet

        columns = ["filename", "error", "input"]
        table: list[dict[str, Any]] = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
        return table
    if path.suffix == ".npz":
        arrays = np.load(path)
        columns = ["filename", "error", "input"]
        return [
            dict(zip(columns, row, strict=True))
            for row in zip(*(arrays[name].tolist() for name in columns), strict=True)
        ]
    if path.suffix == ".csv":
        import csv

        from dcasenet.batch.writers import status_path

        with status_path(path).open(encoding="utf-8", newline="") as statuses:
            return list(csv.DictReader(statuses))
    raise DcasenetError(f"{path} is of no kind that can be verified.")


def _find(names: Sequence[str], beside: Path, place: Path | None) -> Path | None:
    """Where a recording is now, which has one of these names."""
    for given in map(Path, names):
        candidates = [given, beside / given, beside / given.name]
        if place is not None:
            candidates = [place / given, place / given.name, *candidates]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
    return None


def _changed(source: str, found: Path | None, digest: str | None) -> Iterator[str]:
    name = one_line(source)
    if found is None:
        yield f"{name} is not there any more. Say where: --recordings FOLDER."
    elif digest in (None, ""):
        yield f"{name}: the file does not say which recording it was made from."
    elif input_digest(found) != digest:
        yield f"{name} has changed: {found} has another SHA-256 than the recording that was read."


def _make_again(
    made: Provenance,
    model: SoundVerbs[Any],
    path: Path,
    again: Path,
    found: Mapping[str, str],
) -> None:
    """Write the same kind of file once more."""
    if path.suffix == ".html":
        from dcasenet.report import write_report

        threshold = made.options.get("threshold")
        write_report(model, list(found.values()), again, threshold=threshold, audio="none")
    elif path.suffix == ".png":
        from dcasenet.plot import save_plot

        recording = found[made.source]
        save_plot(model.spec, recording, _answer(made, model, recording), again)
    elif made.verb == "write_results":
        from dcasenet.batch.incremental import write_results

        options = {name: made.options[name] for name in ("threshold", "reject", "channels")}
        write_results(model, found[made.source], again, **options, max_duration=None)
    elif made.source:
        _export_again(made, model, path, again, found[made.source])
    else:
        _run_job_again(made, model, again, list(found.values()))


def _export_again(
    made: Provenance, model: SoundVerbs[Any], path: Path, again: Path, recording: str
) -> None:
    form = format_of(path)
    if form == "json" and isinstance(_loaded(path), list):
        form = "labelstudio"
    if form is None:
        raise DcasenetError(f"{path} is of no kind that can be verified.")
    # Names stand in the file as they were given.
    result = dataclasses.replace(_answer(made, model, recording), source=made.source)
    if hasattr(result, "events") and result.events is not None:
        events = dataclasses.replace(result.events, source=made.source)
        result = dataclasses.replace(result, events=events)
    export(result, form, again)


def _answer(made: Provenance, model: SoundVerbs[Any], recording: str) -> Any:
    """Query a model as it was queried."""
    options = dict(made.options)
    top = options.pop("top", None)
    if made.verb == "analyze":
        analysis = model.analyze(recording, **options, max_duration=None)
        tags = analysis.tags and dataclasses.replace(analysis.tags, limit=top)
        return dataclasses.replace(analysis, tags=tags)
    if made.verb not in ("classify_scene", "tag", "detect_events", "embed"):
        raise DcasenetError(f"There is no verb {made.verb!r} that could answer again.")
    if made.verb == "tag":
        options["top"] = top
    answer: Result = getattr(model, made.verb)(recording, **options, max_duration=None)
    return answer


def _run_job_again(
    made: Provenance, model: SoundVerbs[Any], again: Path, recordings: Sequence[str]
) -> None:
    from dcasenet.batch import runner

    options = dict(made.options)
    jobs: dict[str, Callable[..., Any]] = {
        "analyze": runner.analyze,
        "classify_scene": runner.classify_scene,
        "tag": runner.tag,
        "detect_events": runner.detect_events,
        "embed": runner.embed,
    }
    if made.verb == "detect_events":
        options = {"channels": options.pop("channels"), "decoding": options}
    jobs[made.verb](model, recordings, again, **options, max_duration=None)


def _differences(path: Path, again: Path, tolerance: float) -> Iterator[str]:
    """Describe what is not the same in two files of one kind."""
    if path.suffix == ".html":
        yield from _compare(_page_rows(path), _page_rows(again), tolerance, "row")
    elif path.suffix == ".png":
        yield from _compare_pictures(path, again)
    elif path.suffix in (".json", ".jams"):
        yield from _compare(_content(path), _content(again), tolerance, "")
    elif path.suffix == ".parquet":
        yield from _compare(_parquet_rows(path), _parquet_rows(again), tolerance, "row")
    elif path.suffix == ".npz":
        yield from _compare_arrays(path, again, tolerance)
    elif path.suffix == ".jsonl":
        yield from _compare(_jsonl_rows(path), _jsonl_rows(again), tolerance, "line")
    else:
        yield from _compare_text(path, again, tolerance)


def _page_rows(path: Path) -> list[dict[str, Any]]:
    rows = [row for row in json.loads(_page_part(PAGE_ROWS, path)) if row["error"] is None]
    return [{k: v for k, v in row.items() if k not in ("audio", "name")} for row in rows]


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [_nameless(row) for row in rows if row["status"] == "ok"]


def _jsonl_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [_nameless(row) for row in rows if row.get("status", "ok") == "ok"]


def _nameless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "filename"}


def _content(path: Path) -> Any:
    """A JSON document without its provenance."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: stripped(v) for k, v in value.items() if k not in ("provenance", "version")}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    return stripped(_loaded(path))


def _compare(one: Any, other: Any, tolerance: float, where: str) -> Iterator[str]:
    """Compare JSON values, numbers within the tolerance."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            place = f"{where} {name}".strip()
            yield from _compare(one.get(name), other.get(name), tolerance, place)
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{where}: there are {len(one):,} entries in the file, and {len(other):,} now."
        for index, (a, b) in enumerate(zip(one, other, strict=False), start=1):
            yield from _compare(a, b, tolerance, f"{where} {index}".strip())
    elif not _is_same(one, other, tolerance):
        yield f"{where}: {_shown(one)} in the file, and {_shown(other)} now."


def _is_same(one: Any, other: Any, tolerance: float) -> bool:
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    if is_number:
        return math.isclose(one, other, rel_tol=0, abs_tol=tolerance)
    return bool(one == other)


def _compare_text(path: Path, again: Path, tolerance: float) -> Iterator[str]:
    """Compare lines: what is no number is the same, numbers are within the tolerance."""
    one, other = (_lines(file) for file in (path, again))
    for number, (a, b) in enumerate(itertools.zip_longest(one, other), start=1):
        if a is None or b is None or NUMBER.sub("#", a) != NUMBER.sub("#", b):
            yield f"line {number}: {_shown(a)} in the file, and {_shown(b)} now."
            continue
        pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
        if not all(_is_same(float(x), float(y), tolerance) for x, y in pairs):
            yield f"line {number}: {_shown(a)} in the file, and {_shown(b)} now."


def _lines(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("NOTE provenance ")]


def _compare_arrays(path: Path, again: Path, tolerance: float) -> Iterator[str]:
    one, other = np.load(path), np.load(again)
    answered = one["status"] == "ok"
    for name in ("duration", "embedding"):
        a, b = one[name][answered], other[name][other["status"] == "ok"]
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=tolerance):
            yield f"{name}: the values differ."


def _compare_pictures(path: Path, again: Path) -> Iterator[str]:
    from matplotlib.image import imread

    one, other = imread(path), imread(again)
    if one.shape != other.shape or not np.allclose(one, other, atol=0.02):
        yield "The picture is another."


def _shown(value: Any) -> str:
    text = one_line(value if isinstance(value, str) else json.dumps(value))
    return "nothing" if value is None else text if len(text) <= 80 else f"{text[:79]}…"
