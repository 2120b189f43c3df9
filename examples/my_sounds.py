"""Write a few made-up sounds, a folder for each class, to try the rest: python my_sounds.py OUT."""

import sys
from pathlib import Path

import numpy as np
import soundfile

if len(sys.argv) != 2:
    raise SystemExit(__doc__)

rng = np.random.default_rng(0)
time = np.arange(24_000) / 24_000
for label in ("hiss", "whistle"):
    folder = Path(sys.argv[1], label)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        tone = np.sin(2 * np.pi * rng.uniform(1_000, 3_000) * time)
        sound = tone if label == "whistle" else rng.standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", 0.1 * sound, 24_000)
