"""Build a report: analyze each recording, reduce it to what is drawn, and write it immediately."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np
import soundfile
from numpy.typing import NDArray

from dcasenet.atomic import replacing
from dcasenet.audio.discovery import find_recordings
from dcasenet.errors import AudioError, JobError
from dcasenet.plot.overview import DYNAMIC_RANGE, Overview, mono_blocks, overview
from dcasenet.plot.series import curves_of, scenes_over_time
from dcasenet.report.page import GENERATOR, Page, quantized
from dcasenet.results import Analysis, Floats
from dcasenet.results.writing import input_stamped
from dcasenet.text import count, one_line
from dcasenet.types import check_flags

if TYPE_CHECKING:
    from dcasenet.inference.verbs import SoundVerbs
    from dcasenet.types import Threshold

AudioMode = Literal["auto", "embed", "link", "none"]

# Most bytes of the page for all pictures, and for all sound.
PICTURE_BYTES, AUDIO_BYTES = 48_000_000, 64_000_000
# Approximate bytes of the page for one column of a recording; and columns of a picture.
COLUMN_BYTES = 80
FEWEST_COLUMNS, MOST_COLUMNS = 60, 1000
TOP = 10  # tags and scenes per recording


@dataclass(frozen=True)
class ReportSummary:
    """Summary of a written report.

    Attributes:
        output: The page.
        n_files: Number of recordings.
        passed_over: Number of files in the folders without an audio suffix, by suffix.
        failures: Why recordings could not be used, one reason for each.
    """

    output: Path
    n_files: int
    passed_over: Counter[str]
    failures: tuple[str, ...]

    @property
    def n_failed(self) -> int:
        """Number of recordings that could not be used."""
        return len(self.failures)


def write_report(
    model: SoundVerbs[Any],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    threshold: Threshold = None,
    title: str | None = None,
    audio: AudioMode = "auto",
    overwrite: bool = False,
    watch: Callable[[int, int], None] | None = None,
) -> ReportSummary:
    """Write a page with a player, pictures and results of each recording.

    Waveform, spectrogram, event probabilities with their thresholds, events and scenes share one
    time axis; a table of all recordings can be sorted and searched. The page needs no network and
    no other file except linked sound. The more recordings, the coarser their pictures: 10,000 make
    about 60 MB.

    Args:
        model: A loaded model, of any runtime.
        paths: Files and folders, which are searched to any depth for audio files.
        output: The page to write; an earlier report is replaced.
        threshold: As in `SoundVerbs.detect_events`.
        title: Title of the page; by default the output's name.
        audio: ``"embed"`` puts the sound into the page (mono, at the model's rate, as FLAC),
            ``"link"`` links to the files, ``"none"`` omits it, ``"auto"``
            embeds the first 64 MB and links to the rest.
        overwrite: Whether to replace any other file of this name as well.
        watch: Called with the number of recordings done and their total.

    Returns:
        The numbers of recordings and of failures.

    Raises:
        AudioError: There is no recording in the folders.
        JobError: The output exists and is not a report.
        ValueError: An option is out of range.
        OSError: The page cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import dcasenet
        >>> model = dcasenet.load()
        >>> with TemporaryDirectory() as folder:
        ...     soundfile.write(folder + "/a.wav", np.zeros(24_000), 24_000)
        ...     write_report(model, [folder], folder + "/report.html").n_files
        1
    """
    if audio not in ("auto", "embed", "link", "none"):
        raise ValueError(f"audio={audio!r} is not known; accepted are auto, embed, link, none.")
    output = Path(output)
    check_replaceable(output, overwrite)
    found = find_recordings([paths] if isinstance(paths, str | os.PathLike) else list(paths))
    recordings = found.files
    heading = title or f"{output.stem}: {len(recordings):,} recordings"
    with (
        replacing(output) as draft,
        # File names may contain undecodable bytes; all data is ASCII.
        draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        report = _Report(
            Page(file, heading, len(recordings)), model, len(recordings), output, audio
        )
        for done, path in enumerate(recordings, start=1):
            report.add(path, threshold)
            if watch is not None:
                watch(done, len(recordings))
        report.finish()
    return ReportSummary(output, len(recordings), found.passed_over, tuple(report.failures))


def check_replaceable(output: Path, overwrite: bool) -> None:
    """Refuse to replace a file that is not a report.

    Raises:
        JobError: The file exists, and `overwrite` is False.
        ValueError: `overwrite` is neither True nor False.
    """
    check_flags(overwrite=overwrite)
    if overwrite or not os.path.lexists(output):
        return
    is_ours = False
    if output.is_file():
        with output.open("rb") as file:
            is_ours = GENERATOR.encode() in file.read(4096)
    if not is_ours:
        raise JobError(
            f"{output} exists and is not a report of dcasenet. Give another output, or "
            f"overwrite=True (--overwrite)."
        )


class _Report:
    """A report while it is written."""

    def __init__(
        self, page: Page, model: SoundVerbs[Any], n_files: int, output: Path, audio: AudioMode
    ) -> None:
        self._page, self._model, self._folder, self._audio = page, model, output.parent, audio
        share = PICTURE_BYTES / max(1, n_files) / COLUMN_BYTES
        self._columns = int(min(max(share, FEWEST_COLUMNS), MOST_COLUMNS))
        self._sound_left = AUDIO_BYTES
        self._rows: list[dict[str, Any]] = []
        self._provenance: dict[str, Any] = {}
        self._seconds = 0.0
        self.failures: list[str] = []

    def add(self, path: str, threshold: Threshold) -> None:
        """Analyze a recording and write its pictures and results."""
        row: dict[str, Any] = {
            "name": one_line(path),
            "duration": None,
            "scene": None,
            "sure": True,
            "familiarity": None,
            "tags": None,
            "events": None,
            "warnings": [],
            "error": None,
            "audio": None,
        }
        try:
            analysis = self._model.analyze(path, threshold=threshold)
            row.update(_values(analysis))
            self._draw(path, analysis, row)
        except AudioError as error:
            row["error"] = one_line(str(error))
            self.failures.append(row["error"])
        self._rows.append(row)

    def finish(self) -> None:
        """Write the table and the data common to all recordings."""
        n_files = len(self._rows)
        minutes = self._seconds / 60
        length = f"{minutes:,.1f} min" if minutes >= 1 else f"{self._seconds:.1f} s"
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        spec = self._model.spec
        meta = {
            "summary": f"{count(n_files, 'recording')}, {length}{failed}. "
            f"Model: {one_line(spec.name)} {one_line(spec.stage)}.",
            "tasks": list(spec.tasks),
            "folder": _common_folder([row["name"] for row in self._rows]),
            "dynamic_range": round(DYNAMIC_RANGE),
            "provenance": self._provenance,
        }
        self._page.finish(meta, self._rows)

    def _draw(self, path: str, analysis: Analysis, row: dict[str, Any]) -> None:
        index = len(self._rows)
        sound = _Flac(self._model.spec.frontend.sample_rate, self._room())
        seen = overview(
            map(sound.add, mono_blocks(path, self._model.spec)),
            self._model.spec.frontend.sample_rate,
            analysis.duration,
            self._columns,
        )
        header, arrays = _drawing(seen, analysis, self._columns)
        self._page.add_detail(index, header, **arrays)
        content = sound.content()
        if content is not None:
            size = self._page.add_audio(index, content)
            self._sound_left -= size
            row["audio"] = {"embedded": True}
        elif self._audio in ("auto", "link"):
            row["audio"] = {"link": _link(path, self._folder)}
        self._seconds += analysis.duration
        if analysis.provenance is not None:
            provenance = input_stamped(analysis.provenance).to_dict()
            row["input"] = provenance.pop("input")
            del provenance["source"]
            self._provenance = provenance

    def _room(self) -> float:
        """Bytes of sound that may still be embedded."""
        return {"auto": self._sound_left * 3 / 4, "embed": float("inf")}.get(self._audio, 0.0)


class _Flac:
    """A waveform as a FLAC file in memory, dropped if it exceeds the available space.

    Args:
        sample_rate: In Hz.
        room: Available space in bytes.
    """

    def __init__(self, sample_rate: int, room: float) -> None:
        self._room, self._buffer = room, BytesIO()
        self._file: soundfile.SoundFile | None = None
        if room > 0:
            self._file = soundfile.SoundFile(
                self._buffer, "w", sample_rate, 1, subtype="PCM_16", format="FLAC"
            )

    def add(self, block: Floats) -> Floats:
        """Encode a block, and return it."""
        if self._file is not None:
            self._file.write(np.clip(block.reshape(-1), -1.0, 1.0))
            if self._buffer.tell() > self._room:
                self._file.close()
                self._file = None
        return block

    def content(self) -> bytes | None:
        """Return the file; None if there was not enough space."""
        if self._file is None:
            return None
        self._file.close()
        content = self._buffer.getvalue()
        return content if len(content) <= self._room else None


def _values(analysis: Analysis) -> dict[str, Any]:
    """Return the values of the page's table and lists, short enough for many recordings."""
    scene, tags, events = analysis.scene, analysis.tags, analysis.events

    def scored(pairs: Iterable[tuple[str, float]]) -> list[list[Any]]:
        return [[one_line(label), round(p, 4)] for label, p in pairs]

    return {
        "duration": round(analysis.duration, 3),
        "sure": analysis.is_sure,
        "familiarity": None if analysis.familiarity is None else round(analysis.familiarity, 4),
        "warnings": [one_line(warning) for warning in analysis.warnings],
        "scene": None
        if scene is None
        else scored((s.label, s.probability) for s in scene.top(TOP)),
        "tags": None if tags is None else scored((t.label, t.probability) for t in tags[:TOP]),
        "events": None
        if events is None
        else [
            [one_line(e.label), round(e.onset, 3), round(e.offset, 3), round(e.probability, 4)]
            for e in events
        ],
    }


def _drawing(
    seen: Overview, analysis: Analysis, max_columns: int
) -> tuple[dict[str, Any], dict[str, NDArray[np.uint8]]]:
    """Return the header and the arrays of a recording's pictures."""
    peak = max(float(np.abs(seen.envelope).max()), 1e-3)
    header: dict[str, Any] = {
        "peak": round(peak, 4),
        "frequencies": [round(hertz) for hertz in seen.frequencies.tolist()],
    }
    arrays = {
        "wave": quantized(seen.envelope, -peak, peak),
        "mel": quantized(seen.mel_db, -DYNAMIC_RANGE, 0.0),
    }
    if analysis.events is not None:
        labels, curves, step = curves_of(analysis.events, max_columns)
        header |= {
            "labels": [one_line(label) for label in labels],
            "thresholds": [round(analysis.events.thresholds.get(n, 0.0), 4) for n in labels],
            "step": step,
        }
        arrays["curves"] = quantized(curves, 0.0, 1.0)
    if analysis.scene is not None:
        header["scenes"] = [
            [round(start, 3), round(stop, 3), one_line(label), round(p, 3)]
            for start, stop, label, p in scenes_over_time(analysis.scene)
        ]
        header["scene_labels"] = [one_line(label) for label in analysis.scene.labels]
    return header, arrays


def _common_folder(names: list[str]) -> str:
    """Return the folder of all recordings, with a slash, which the page's table omits."""
    try:
        folder = os.path.commonpath([str(Path(name).parent) for name in names])
    except ValueError:  # no recordings, or both absolute and relative paths
        return ""
    return "" if folder in ("", ".", os.sep) else f"{folder}{os.sep}"


def _link(path: str, folder: Path) -> str:
    """Return the address of a recording relative to the page."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return Path(path).absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))
