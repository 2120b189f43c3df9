from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dcasenet.train import FSDKaggle2019Curated
from dcasenet.train.data.store import decode_examples
from dcasenet.train.paper.miniature import build_tags, synthetic

RATE = 24_000


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build_tags(tmp_path / name, seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert first != other


def test_every_clip_but_the_silent_one_is_read(tmp_path: Path) -> None:
    build_tags(tmp_path)
    data = FSDKaggle2019Curated(tmp_path, keep_known_bad=True)
    store = decode_examples(data.examples, tmp_path / "cache", RATE)
    assert [Path(key).name for key, _ in store.left_out] == ["1d44b0bd.wav"]
    lengths = [len(store.waveform(e)) / RATE for e in data if e in store]
    assert min(lengths) >= 0.29
    assert max(lengths) <= 2.01


@pytest.mark.parametrize("n_classes", [10, 14])
def test_classes_sound_unlike_each_other(n_classes: int) -> None:
    def spectrum(index: int, seed: int) -> np.ndarray:
        sound = synthetic(index, n_classes, RATE, RATE, np.random.default_rng(seed))
        assert 0.1 < np.abs(sound).max() < 1
        energy = np.square(np.abs(np.fft.rfft(sound))).reshape(-1)[:12_000].reshape(120, 100)
        level = np.log10(energy.sum(axis=1) + 1e-9)
        centred = level - level.mean()
        return np.asarray(centred / np.linalg.norm(centred))

    for a, b in combinations(range(n_classes), 2):
        same, different = spectrum(a, 0) @ spectrum(a, 1), spectrum(a, 0) @ spectrum(b, 1)
        assert same > different
