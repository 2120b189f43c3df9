"""Long recordings: the same answers for every block size, in memory that does not grow."""

from __future__ import annotations

import gc
import io
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet import AudioError, SoundModel
from dcasenet.audio import libsndfile
from dcasenet.audio.io import Reader
from dcasenet.audio.prefetch import ahead
from dcasenet.audio.preprocess import StreamedAudio
from dcasenet.batch.incremental import write_results
from dcasenet.inference.verbs import SoundVerbs

Bursts = Callable[..., np.ndarray]
RATE = 24_000


def encoded(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples.T, rate, subtype, format=kind)
    return stream.getvalue()


@pytest.fixture
def blocks_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """blocks_of(n): from here on, files and arrays are read in blocks of so many values."""
    return lambda n: monkeypatch.setattr(libsndfile, "BLOCK_VALUES", n)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "array"])
def test_every_block_size_gives_the_same(
    model: SoundVerbs[Any], bursts: Bursts, blocks_of: Callable[[int], None], kind: str
) -> None:
    stereo = np.stack([bursts(70, 16_000), bursts(70, 16_000, 1)])
    audio = (stereo, 16_000) if kind == "array" else encoded(stereo, 16_000, kind)
    blocks_of(2**40)
    detect = partial(model.detect_events, audio, window=10.0, hop=2.4)
    whole = model.analyze(audio)
    mix, each = detect(channels="mix"), detect(channels="each")
    assert np.abs(mix.probabilities - each.probabilities).max() > 0.01
    for size in (3_001, 2**20):
        blocks_of(size)
        pieces = model.analyze(audio)
        np.testing.assert_allclose(pieces.scene.windows, whole.scene.windows, atol=1e-4)
        np.testing.assert_allclose(pieces.tags.values, whole.tags.values, atol=1e-4)
        np.testing.assert_allclose(
            pieces.events.probabilities, whole.events.probabilities, atol=1e-4
        )
        assert pieces.duration == whole.duration
        again = detect(channels="mix"), detect(channels="each")
        np.testing.assert_allclose(again[0].probabilities, mix.probabilities, atol=1e-4)
        np.testing.assert_allclose(again[1].probabilities, each.probabilities, atol=1e-4)


@pytest.mark.parametrize("size", [50_000, 2**20])
def test_a_network_reads_the_same_block_by_block(
    tiny_model: SoundModel, bursts: Bursts, blocks_of: Callable[[int], None], size: int
) -> None:
    audio = encoded(bursts(33, 44_100), 44_100, "WAV", "FLOAT")
    blocks_of(2**40)
    whole, steps = tiny_model.analyze(audio), tiny_model.embed(audio, level="frame")
    blocks_of(size)
    pieces = tiny_model.analyze(audio)
    np.testing.assert_allclose(pieces.scene.values, whole.scene.values, atol=1e-4)
    np.testing.assert_allclose(pieces.tags.values, whole.tags.values, atol=1e-4)
    np.testing.assert_allclose(pieces.events.probabilities, whole.events.probabilities, atol=1e-4)
    again = tiny_model.embed(audio, level="frame")
    np.testing.assert_allclose(again.values, steps.values, atol=1e-4)


def test_what_is_odd_is_reported_after_the_last_block(
    model: SoundVerbs[Any], bursts: Bursts, blocks_of: Callable[[int], None]
) -> None:
    data = encoded(bursts(20), RATE, "WAV")
    mp3 = encoded(bursts(20), RATE, "MP3")
    for cut in (data[: len(data) // 2], mp3[: len(mp3) // 2]):
        blocks_of(2**40)
        whole = model.analyze(cut)
        blocks_of(10_000)
        pieces = model.analyze(cut)
        assert pieces.warnings == whole.warnings != ()
        assert pieces.duration == whole.duration < 11


def test_nan_in_the_middle_is_counted_to_the_end(
    model: SoundVerbs[Any], bursts: Bursts, blocks_of: Callable[[int], None]
) -> None:
    samples = bursts(20)
    samples[[200_000, 400_000]] = np.nan, np.inf
    blocks_of(10_000)
    for audio in ((samples, RATE), encoded(samples, RATE, "WAV", "FLOAT")):
        with pytest.raises(AudioError, match=r"1 NaN and 1 infinite values, the first at 8\.333 s"):
            model.analyze(audio)  # type: ignore[arg-type]
        with pytest.raises(AudioError, match=r"Audio 2 of 2: .*1 NaN"):
            model.analyze([(samples[:RATE], RATE), audio])  # type: ignore[list-item]


# Memory


def peak(do: Callable[[], object]) -> int:
    """Bytes that Python and NumPy hold at most meanwhile."""
    gc.collect()
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["WAV", "MP3"])
def test_memory_does_not_grow_with_the_recording(
    model: SoundVerbs[Any],
    bursts: Bursts,
    tmp_path: Path,
    blocks_of: Callable[[int], None],
    kind: str,
) -> None:
    # 8 s: as many wait in the short recording, and as much is inferred at once, as in the long one.
    blocks_of(2**17)
    minute = bursts(60, 16_000)
    paths = {minutes: tmp_path / f"{minutes}.{kind}" for minutes in (3, 6)}
    for minutes, path in paths.items():
        with soundfile.SoundFile(path, "w", 16_000, 1, format=kind) as file:
            for _ in range(minutes):
                file.write(minute)
    output = tmp_path / "out.csv"
    for infer in (model.tag, partial(write_results, model, output=output)):
        short, long = (peak(partial(infer, path)) for path in paths.values())
        assert long < short + 10e6  # 3 minutes at 24 kHz are 17 MB
        assert short < 90e6


# Reading ahead


def test_exceptions_come_where_they_belong() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise AudioError("broken")

    found: list[int] = []
    with pytest.raises(AudioError, match="broken"):
        found.extend(ahead(items()))
    assert found == list(range(5))


def test_whoever_stops_iterating_stops_the_thread(
    bursts: Bursts,
    loudness: type[SoundVerbs[Any]],
    blocks_of: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = loudness()
    n_threads = threading.active_count()
    blocks = ahead(iter(range(10**9)))
    assert next(blocks) == 0
    assert threading.active_count() == n_threads + 1
    blocks.close()
    assert threading.active_count() == n_threads

    def fail(*args: object, **options: object) -> None:
        assert threading.active_count() == n_threads + 1  # it does read ahead
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "infer", fail)
    blocks_of(100_000)
    with pytest.raises(KeyboardInterrupt):
        model.analyze(encoded(bursts(70), RATE, "WAV"))
    assert threading.active_count() == n_threads


# Files that do not stay as they are


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
@pytest.mark.parametrize("fault", ["cut", "grown", "rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    bursts: Bursts, tmp_path: Path, blocks_of: Callable[[int], None], kind: str, fault: str
) -> None:
    path = tmp_path / f"a.{kind}"
    data = encoded(bursts(20), RATE, kind)
    path.write_bytes(data)
    blocks_of(20_000)
    with Reader(path) as reader:
        blocks = iter(reader)
        next(blocks)
        changed = {"cut": data[: len(data) // 2], "grown": data + data, "rewritten": data[::-1]}
        path.write_bytes(changed[fault])
        with pytest.raises(AudioError, match=rf"a\.{kind} (changed while|: the header)"):
            list(blocks)


def test_a_file_that_is_removed_or_replaced_is_read_to_its_end(
    model: SoundVerbs[Any], bursts: Bursts, tmp_path: Path, blocks_of: Callable[[int], None]
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, bursts(20), RATE)
    blocks_of(20_000)
    expected = model.analyze(path)
    with Reader(path) as reader:
        sound = StreamedAudio(reader, model.spec)
        path.unlink()
        soundfile.write(path, bursts(5, seed=1), RATE)
        assert sum(block.shape[1] for block in sound.blocks()) == 20 * RATE
    assert reader.duration == expected.duration
    path.unlink()
    with pytest.raises(AudioError, match=r"There is no file .*a\.wav"):
        model.analyze(path)
