"""The transformer: scikit-learn's own checks, pipelines on folders, every form of X."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.base import clone
from sklearn.datasets import load_files
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from dcasenet.errors import AudioError
from dcasenet.inference.model import SoundModel
from dcasenet.sklearn import Embedder

RATE = 24_000


@pytest.fixture(scope="module")
def saved(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory."""
    return tiny_model.save_pretrained(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two class folders."""
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for label, loudness in (("hiss", 0.2), ("hum", 0.002)):
        (folder / label).mkdir()
        for take in range(6):
            audio = loudness * random.standard_normal(8_000)
            audio += 0.2 * np.sin(np.arange(8_000) * random.uniform(0.02, 0.05))
            soundfile.write(folder / label / f"{take}.wav", audio, RATE)
    return folder


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")
def test_every_check_of_scikit_learn_passes(saved: Path) -> None:
    # The size of a batch moves the last bits of float32, by about 1e-6 (see below).
    rounding = {"check_methods_subset_invariance": "its tolerance is 1e-7"}
    embedder = Embedder(saved, sample_rate=RATE)
    results = check_estimator(embedder, on_fail=None, expected_failed_checks=rounding)
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    assert sum(r["status"] == "passed" for r in results) >= 30


def test_a_pipeline_on_a_folder_of_class_folders(saved: Path, sounds: Path) -> None:
    data = load_files(sounds, load_content=False, random_state=0)
    pipeline = make_pipeline(Embedder(saved), StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, data.filenames, data.target, cv=3).mean() == 1.0
    grid = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=2)
    grid.fit(list(data.filenames), data.target)
    assert (grid.predict(data.filenames) == data.target).all()


def test_what_it_gives_is_what_embed_gives(
    saved: Path, tiny_model: SoundModel, sounds: Path
) -> None:
    paths = sorted(str(path) for path in sounds.rglob("*.wav"))[:3]
    wanted = np.stack([np.asarray(vector) for vector in tiny_model.embed(paths)])
    embedder = Embedder(saved)
    for given in (
        paths,
        tuple(paths),
        [Path(path) for path in paths],
        np.array(paths),
        np.array(paths, object)[:, None],
        pd.Series(paths),
        pd.DataFrame({"path": paths}),
        [soundfile.read(path) for path in paths],
    ):
        np.testing.assert_allclose(embedder.transform(given), wanted, atol=1e-5)


def test_a_recording_has_the_same_embedding_whatever_is_beside_it(saved: Path) -> None:
    rows = 0.1 * np.random.default_rng(2).standard_normal((12, RATE))
    embedder = Embedder(saved, sample_rate=RATE)
    together = embedder.transform(rows)
    alone = np.concatenate([embedder.transform(row[None]) for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(embedder.transform(rows[::-1]), together[::-1], atol=1e-5)


def test_arrays_have_the_stated_rate(saved: Path, tiny_model: SoundModel) -> None:
    random = np.random.default_rng(1)
    rows = (0.1 * random.standard_normal((3, 2, RATE))).astype(np.float32)
    embedder = Embedder(saved, sample_rate=48_000)
    wanted = [np.asarray(v) for v in tiny_model.embed(list(rows), 48_000)]
    np.testing.assert_allclose(embedder.transform(rows), wanted, atol=1e-5)
    of_lengths = [rows[0, 0], rows[1, 0, :500], rows[2, :, :9_000]]  # mono and stereo
    wanted = [np.asarray(v) for v in tiny_model.embed(of_lengths, 48_000)]
    np.testing.assert_allclose(embedder.transform(of_lengths), wanted, atol=1e-5)
    wanted = [np.asarray(tiny_model.embed(rows[0, 0], 48_000))]
    np.testing.assert_allclose(embedder.transform([rows[0, 0].tolist()]), wanted, atol=1e-5)
    scaled = (32_768 * rows[:, 0]).round().astype(np.int16)  # PCM has its own full scale
    np.testing.assert_allclose(
        embedder.transform(scaled), embedder.transform(rows[:, 0]), atol=1e-2
    )
    with pytest.raises(AudioError, match="sample_rate=44100"):
        Embedder(saved).transform(rows)


def test_it_is_named_pickled_and_cloned(saved: Path, tiny_model: SoundModel, sounds: Path) -> None:
    paths = [str(path) for path in sounds.rglob("*.wav")][:2]
    embedder = Embedder(saved).fit(paths)
    names = embedder.get_feature_names_out()
    assert names[0] == "embedder0"
    assert len(names) == tiny_model.spec.embedding_size
    table = clone(embedder).set_output(transform="pandas").transform(paths)
    assert list(table.columns) == list(names)
    content = pickle.dumps(embedder)
    assert len(content) < 2_000  # no weights
    np.testing.assert_array_equal(pickle.loads(content).transform(paths), embedder.transform(paths))
    by_object = Embedder(tiny_model)
    assert clone(by_object).model is tiny_model
    np.testing.assert_allclose(by_object.transform(paths), embedder.transform(paths), atol=1e-5)
    embedder.set_params(model=tiny_model, task="scene").transform(paths)
    assert embedder._model() is tiny_model


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ("a.wav", AudioError, r"a single recording \('a.wav'\)\. Give a list of them"),
        ([], AudioError, "X has 0 recordings"),
        (np.zeros((0, 10)), AudioError, "X has 0 recordings"),
        (np.zeros((2, 0)), AudioError, "Audio 1 of 2: .* is empty"),
        (np.zeros(10), AudioError, r"Expected 2D array, got 1D.*X.reshape\(1, -1\)"),
        (np.zeros((2, 10), complex), AudioError, "Complex data not supported"),
        (np.full((2, 10), np.nan), AudioError, "Audio 1 of 2: .* 10 NaN"),
        (np.array([["a", "b"]]), AudioError, r"the shape \(1, 2\)"),
        (["missing.wav"], AudioError, "There is no file missing.wav"),
    ],
)
def test_what_is_no_sequence_of_recordings(
    saved: Path, bad: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Embedder(saved, sample_rate=RATE).transform(bad)


def test_what_cannot_be_seen_in_fit_is_refused_there(
    saved: Path, write_wav: Callable[..., Path]
) -> None:
    with pytest.raises(AudioError, match="a single recording"):
        Embedder(saved).fit(write_wav("a.wav", np.zeros(RATE)))
    with pytest.raises(ValueError, match="no task 'speech'"):
        Embedder(saved, task="speech").fit_transform([np.zeros(10)])  # type: ignore[arg-type]
