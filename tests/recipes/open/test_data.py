from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from dcasenet.train.data import decoding
from dcasenet.train.data.store import WaveformStore
from recipes.open.data import decode, find_bursts
from recipes.open.split import Label
from recipes.recordings import Recording

RATE = 24_000
MakeClip = Callable[..., Recording]
MakeStore = Callable[..., WaveformStore]


def test_clips_keep_their_key(tmp_path: Path, make_clip: MakeClip) -> None:
    (tmp_path / "esc50" / "audio").mkdir(parents=True)
    for name, level in (("good.wav", 0.5), ("silent.wav", 0.0)):
        path = tmp_path / "esc50" / "audio" / name
        soundfile.write(path, np.full(48_000, level), 48_000)
    good, silent = make_clip("good.wav", "esc50/dog"), make_clip("silent.wav", "esc50/dog")
    store = decode(tmp_path, [good, silent], tmp_path / "cache", RATE)
    assert (good in store, silent in store) == (True, False)
    assert store.waveform(good).shape == (24_000,)
    assert store.left_out == (("esc50/silent.wav", decoding.SILENT),)


def test_clips_without_onset_are_counted(make_clip: MakeClip, make_store: MakeStore) -> None:
    steady, knock = make_clip("steady", "esc50/dog"), make_clip("knock", "esc50/dog")
    pulse = np.zeros(RATE, np.float32)
    pulse[6_000:12_000] = 0.5
    store = make_store({steady: np.full(RATE, 0.1, np.float32), knock: pulse})
    found, without = find_bursts([steady, knock], [Label("dog", ("esc50/dog",))], store)
    assert [burst.clip for burst in found] == [knock]
    assert without == [steady]
