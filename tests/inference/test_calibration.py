"""Calibration, held to scikit-learn's curves and to counting by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dcasenet
from dcasenet import Event, SoundModel
from dcasenet.errors import DcasenetError
from dcasenet.inference.calibration import N_BINS, Calibration, calibration, segments
from dcasenet.spec import CURVE_THRESHOLDS

WriteWav = Callable[..., Path]


@pytest.fixture
def measured() -> tuple[Calibration, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random((500, 3)) < np.array([0.2, 0.5, 0.0])
    values = np.clip(rng.normal(0.3, 0.2, truth.shape) + 0.4 * truth, 0, 1).astype(np.float32)
    return calibration(["dog", "cat", "bird"], truth, values, 7), truth, values


def test_curves_are_scikit_learns(
    measured: tuple[Calibration, np.ndarray, np.ndarray],
) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    found, truth, values = measured
    for column, label in enumerate(("dog", "cat")):
        for at in (0, 20, 50, 80):
            active = values[:, column] > CURVE_THRESHOLDS[at]
            expected = sklearn.precision_recall_fscore_support(
                truth[:, column], active, average="binary", zero_division=1.0
            )
            assert found.curves[label].precision[at] == pytest.approx(expected[0], abs=1e-4)
            assert found.curves[label].recall[at] == pytest.approx(expected[1], abs=1e-4)


def test_reliability_is_scikit_learns(
    measured: tuple[Calibration, np.ndarray, np.ndarray],
) -> None:
    calibration_curve = pytest.importorskip("sklearn.calibration").calibration_curve
    found, truth, values = measured
    # scikit-learn's intervals are closed on the right, ours on the left: no value lies on an edge.
    observed, predicted = calibration_curve(
        truth[:, :2].ravel(), values[:, :2].ravel(), n_bins=N_BINS
    )
    used = found.counts > 0
    np.testing.assert_allclose(found.observed[used], observed, atol=1e-6)
    np.testing.assert_allclose(found.predicted[used], predicted, atol=1e-6)
    assert found.counts.sum() == truth[:, :2].size
    error = np.average(np.abs(observed - predicted), weights=found.counts[used])
    assert found.expected_calibration_error == pytest.approx(error)


def test_a_label_that_never_sounds_has_no_curve(
    measured: tuple[Calibration, np.ndarray, np.ndarray],
) -> None:
    found, truth, _ = measured
    assert found.labels == ("dog", "cat")
    assert set(found.thresholds("f1")) == {"dog", "cat"}
    assert found.n_positive == {"dog": truth[:, 0].sum(), "cat": truth[:, 1].sum()}


def test_thresholds_keep_what_they_promise(
    measured: tuple[Calibration, np.ndarray, np.ndarray],
) -> None:
    found, truth, values = measured
    limits = np.array([found.thresholds("precision@0.9")[label] for label in ("dog", "cat")])
    active = values[:, :2] > limits
    precision = (active & truth[:, :2]).sum(axis=0) / active.sum(axis=0)
    assert (precision >= 0.9 - 1e-4).all()


def test_forms(measured: tuple[Calibration, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    found = measured[0]
    values = json.loads(found.to_json(path=tmp_path / "a.json"))
    assert values == json.loads((tmp_path / "a.json").read_text())
    assert values["recordings"] == 7
    assert values["segments"] == 500
    assert [row["label"] for row in values["labels"]] == ["dog", "cat"]
    assert found.to_csv(tmp_path / "a.csv").splitlines()[0] == (
        "label,segments,threshold,precision,recall,f1"
    )
    assert "2 labels, 500 segments of 7 recordings" in repr(found)
    assert "<svg" in found._repr_html_()
    row = values["labels"][0]
    assert row["f1"] == pytest.approx(
        2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"]), abs=2e-3
    )


def test_segments_of_a_recording(tiny_model: SoundModel) -> None:
    noise = np.random.default_rng(0).standard_normal(60_000) * 0.1  # 2.5 s
    events = tiny_model.detect_events(noise, 24_000)
    truth = [Event("dog", 0.2, 1.0, 1.0), Event("speech", 1.9, 2.5, 1.0), Event("bird", 0, 1, 1.0)]
    reference, highest = segments(events, truth)
    np.testing.assert_array_equal(
        reference, [[True, False, False], [False, False, True], [False, False, True]]
    )
    np.testing.assert_array_equal(highest[0], events.probabilities[:10].max(axis=0))
    np.testing.assert_array_equal(highest[2], events.probabilities[20:].max(axis=0))


@pytest.fixture
def table(write_wav: WriteWav, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.wav", "b.wav"):
        write_wav(name, rng.standard_normal(72_000).astype(np.float32) * 0.1)
    path = tmp_path / "labels.csv"
    path.write_text(
        "filename,onset,offset,event_label\na.wav,0.5,1.5,dog\na.wav,2,3,speech\nb.wav,,,\n"
    )
    return path


def test_a_table_calibrates_a_model_for_good(
    table: Path, tiny_model: SoundModel, tmp_path: Path
) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network)
    measured = model.calibrate(table)
    assert (measured.n_recordings, measured.n_segments) == (2, 6)
    assert measured.n_positive == {"dog": 2, "speech": 1}
    assert model.spec.curves == measured.curves
    model.save_pretrained(tmp_path / "model")
    again = dcasenet.load(tmp_path / "model")
    assert again.spec.curves == measured.curves
    events = again.detect_events(table.parent / "a.wav", threshold="recall@0.5")
    assert events.thresholds["dog"] == measured.thresholds("recall@0.5")["dog"]
    assert tiny_model.spec.curves == {}


def test_pairs_are_the_same(table: Path, tiny_model: SoundModel) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network)
    truth = [Event("dog", 0.5, 1.5, 1.0), Event("speech", 2.0, 3.0, 1.0)]
    pairs = [(table.parent / "a.wav", truth), (table.parent / "b.wav", [])]
    assert model.calibrate(pairs).to_dict() == model.calibrate(table).to_dict()


def test_what_cannot_calibrate(table: Path, tiny_model: SoundModel, tmp_path: Path) -> None:
    model = SoundModel(tiny_model.spec, tiny_model.frontend, tiny_model.network)
    with pytest.raises(DcasenetError, match="no labeled recording"):
        model.calibrate([])
    with pytest.raises(DcasenetError, match=r"None of the model's events.*dog, door knock"):
        model.calibrate([(table.parent / "a.wav", [Event("bird", 0.0, 1.0, 1.0)])])
    with pytest.raises(ValueError, match=r"no labeled recording.*pairs"):
        model.calibrate([table.parent / "a.wav"])  # type: ignore[list-item]
    table.write_text("filename,onset,offset,event_label\nc.wav,0,1,dog\n")
    with pytest.raises(DcasenetError, match=r"labels\.csv, line 2: there is no file c\.wav"):
        model.calibrate(table)
    table.write_text("filename,label\na.wav,dog\n")
    with pytest.raises(DcasenetError, match="no column 'onset'"):
        model.calibrate(table)
    assert model.spec.curves == {}
