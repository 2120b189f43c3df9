"""All that a training run on a bare machine needs, in one folder of at most 60 MiB.

::

    python -m recipes.pack DATA TEACHER --output .pack

Recordings are laid end to end in streams of some minutes and coded as Opus: those that train, all
of ESC-50 for its five folds, and a few of the validation split to watch.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from recipes.bank import SAMPLE_RATE, Decoded, decode_all, decode_whole, describe
from recipes.labels import LabelSets, choose
from recipes.recordings import LabeledClip, read_recordings

log = logging.getLogger(__name__)

STREAM_SECONDS = 300.0
GAP = round(0.1 * SAMPLE_RATE)  # between two recordings, so that neither colors the other
WATCHED_SECONDS = 900.0
# Seconds of speech that are packed: one voice after another says the same few words.
SPEECH_SECONDS = 1_200.0
TABLE, LABELS = "clips.json.gz", "labels.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher", type=Path, help="mn04_as.safetensors")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--kilobits", type=float, default=15.0, help="per second of sound")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    recordings = read_recordings(options.data)
    decoded = decode_all(recordings, options.data, options.work / "decoded.npz")
    labels = label_sets(decoded)
    write_pack(options.output, options.data, decoded, labels, options.kilobits)
    shutil.copy(options.teacher, options.output / "mn04_as.safetensors")


def label_sets(decoded: Sequence[Decoded]) -> LabelSets:
    """Choose the labels that the open recordings support."""
    open_ = [clip for clip in decoded if clip.recording.open]
    isolated = {clip.recording.key: len(clip.bursts) for clip in open_}
    return choose([clip.recording for clip in open_], isolated)


def write_pack(
    folder: Path, root: Path, decoded: Sequence[Decoded], labels: LabelSets, kilobits: float
) -> None:
    """Code the recordings and write their table."""
    folder.mkdir(parents=True, exist_ok=True)
    table: list[dict[str, object]] = []
    stream: list[NDArray[np.int16]] = []
    filled, n_streams = 0, 0
    for recording, waveform in _packed(decoded, root):
        table.append(
            {
                "recording": dataclasses.asdict(_without_credit(recording)),
                "stream": n_streams,
                "start": filled,
                "length": len(waveform),
            }
        )
        stream += [waveform, np.zeros(GAP, np.int16)]
        filled += len(waveform) + GAP
        if filled > STREAM_SECONDS * SAMPLE_RATE:
            _encode(folder, n_streams, stream, kilobits)
            stream, filled, n_streams = [], 0, n_streams + 1
    if stream:
        _encode(folder, n_streams, stream, kilobits)
    (folder / TABLE).write_bytes(gzip.compress(json.dumps(table).encode()))
    (folder / LABELS).write_text(json.dumps(dataclasses.asdict(labels)))
    size = sum(file.stat().st_size for file in folder.iterdir())
    log.info("%d recordings, %d streams, %.1f MiB", len(table), n_streams + 1, size / 2**20)


def _without_credit(recording: LabeledClip) -> LabeledClip:
    """Leave out what training does not read; credits are written from the data's own tables."""
    return dataclasses.replace(recording, license="", author="", title="", url="")


def _packed(
    decoded: Sequence[Decoded], root: Path
) -> Iterator[tuple[LabeledClip, NDArray[np.int16]]]:
    """Choose what is packed: ESC-50 as it is, trimmed recordings of the others."""
    watched = speech = 0.0
    # Every seventh recording first, so that what is watched is of all kinds.
    order = sorted(range(len(decoded)), key=lambda i: (i % 7, i))
    for clip in (decoded[i] for i in order):
        recording, seconds = clip.recording, len(clip.waveform) / SAMPLE_RATE
        if recording.folder == "esc50":
            yield recording, decode_whole(recording, root)
            continue
        if recording.split == "test":
            continue
        if recording.split == "validation":
            if watched + seconds > WATCHED_SECONDS:
                continue
            watched += seconds
        elif recording.label == "library/speech/speech":
            if speech + seconds > SPEECH_SECONDS:
                continue
            speech += seconds
        yield recording, clip.waveform


def _encode(
    folder: Path, index: int, waveforms: Sequence[NDArray[np.int16]], kilobits: float
) -> None:
    # libsndfile maps 0..1 to Opus's 256 to 6 kbit/s.
    level = 1.0 - (kilobits - 6.0) / 250.0
    soundfile.write(
        folder / f"{index:03d}.opus",
        np.concatenate(waveforms),
        SAMPLE_RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=level,
    )


def read_pack(
    folder: Path, streams: int | None = None
) -> tuple[list[tuple[LabeledClip, NDArray[np.float32]]], LabelSets]:
    """Decode a pack: every recording with its waveform at 24 kHz, and the labels.

    Args:
        folder: What `write_pack` wrote.
        streams: How many of its streams to read; all of them if None.
    """
    table = json.loads(gzip.decompress((folder / TABLE).read_bytes()))
    labels = LabelSets(
        **{k: tuple(v) for k, v in json.loads((folder / LABELS).read_text()).items()}
    )
    n_streams = 1 + max(row["stream"] for row in table)
    n_streams = min(n_streams, streams or n_streams)
    with ProcessPoolExecutor() as pool:
        paths = [folder / f"{index:03d}.opus" for index in range(n_streams)]
        decoded = list(pool.map(_decode_stream, paths))
    found = []
    for row in table:
        if row["stream"] < n_streams:
            start = row["start"]
            waveform = decoded[row["stream"]][start : start + row["length"]]
            found.append((LabeledClip(**row["recording"]), waveform))
    return found, labels


def _decode_stream(path: Path) -> NDArray[np.float32]:
    samples, _ = soundfile.read(path, dtype="float32")
    return np.asarray(samples, np.float32)


def describe_all(clips: Sequence[tuple[LabeledClip, NDArray[np.float32]]]) -> list[Decoded]:
    """Trim and measure the recordings of a pack, as `bank.decode` does with files."""
    with ProcessPoolExecutor() as pool:
        recordings, waveforms = zip(*clips, strict=True)
        found = pool.map(describe, recordings, waveforms, chunksize=64)
        return [decoded for decoded in found if decoded is not None]


if __name__ == "__main__":
    main()
