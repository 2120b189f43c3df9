"""A classifier of your own on the frozen trunk: two kinds of sound, told apart by embeddings."""

import numpy as np

import dcasenet

RATE = 24_000
rng = np.random.default_rng(0)
time = np.arange(2 * RATE) / RATE


def beeps() -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * rng.uniform(500, 2_000) * time) * (time % 0.5 < 0.2)


def hiss() -> np.ndarray:
    return 0.05 * rng.standard_normal(len(time))


model = dcasenet.load("v3", stage="open")
train = [model.embed([make() for _ in range(5)], RATE) for make in (beeps, hiss)]
centres = [sum(vectors) / len(vectors) for vectors in train]

for name, make in (("beeps", beeps), ("hiss", hiss)):
    vector = model.embed(make(), RATE)
    nearest = min((0, 1), key=lambda kind: float((vector - centres[kind]).norm()))
    print(f"{name}: sounds like {('beeps', 'hiss')[nearest]}")
