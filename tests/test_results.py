from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys

import numpy as np
import pytest

from dcasenet import Analysis, Embedding, Event, Events, Scene, ScoredLabel, Tags


@pytest.fixture
def scene() -> Scene:
    windows = np.array([[0.2, 0.8], [0.4, 0.6]], dtype=np.float32)
    times = np.array([[0.0, 5.0], [2.5, 7.5]])
    return Scene(("park", "tram"), windows.mean(axis=0), windows, times)


@pytest.fixture
def tags() -> Tags:
    values = np.array([0.1, 0.9, 0.5, 0.9], dtype=np.float32)
    times = np.array([[0.0, 1.0]])
    return Tags(("a", "b", "c", "d"), values, values[None].copy(), times, limit=3)


@pytest.fixture
def events() -> Events:
    items = (Event("dog, small", 0.1, 0.9, 0.75), Event("knock", 0.5, 1.3, 0.5))
    probabilities = np.zeros((20, 2), dtype=np.float32)
    return Events(items, ("dog, small", "knock"), probabilities, 0.1, 0.8, 1.95, "a b.wav")


def test_scene(scene: Scene) -> None:
    assert (scene.label, scene.probability) == ("tram", pytest.approx(0.7))
    assert scene.probabilities == {"park": pytest.approx(0.3), "tram": pytest.approx(0.7)}
    assert scene.top(5) == (
        ScoredLabel("tram", scene.probability),
        ScoredLabel("park", scene.probabilities["park"]),
    )
    assert scene.windows.shape == (2, 2)
    assert scene.times.shape == (2, 2)
    assert json.loads(scene.to_json()) == scene.to_dict()


def test_tags_are_a_sequence_best_first_and_ties_keep_the_order(tags: Tags) -> None:
    assert [scored.label for scored in tags] == ["b", "d", "c"]
    assert len(tags) == 3
    assert tags[0] == ScoredLabel("b", pytest.approx(0.9))
    assert [scored.label for scored in tags[1:]] == ["d", "c"]
    assert list(tags.probabilities) == ["a", "b", "c", "d"]
    assert [row["label"] for row in json.loads(tags.to_json())["tags"]] == ["b", "d", "c"]


def test_many_ties_keep_the_order() -> None:
    labels = tuple(f"label {index}" for index in range(80))
    values = np.full(80, 0.5, dtype=np.float32)
    tags = Tags(labels, values, values[None].copy(), np.array([[0.0, 1.0]]))
    assert tuple(scored.label for scored in tags) == labels


def test_events_are_a_sequence(events: Events) -> None:
    assert len(events) == 2
    assert events[1].label == "knock"
    assert [event.onset for event in events] == [0.1, 0.5]
    assert events.to_dict()["events"][0] == {
        "label": "dog, small",
        "onset": 0.1,
        "offset": 0.9,
        "probability": 0.75,
    }


def test_csv_has_the_columns_of_sed_eval(events: Events, tmp_path) -> None:
    text = events.to_csv(tmp_path / "out.csv")
    assert text.splitlines() == [
        "filename,onset,offset,event_label",
        'a b.wav,0.100,0.900,"dog, small"',
        "a b.wav,0.500,1.300,knock",
    ]
    assert (tmp_path / "out.csv").read_text("utf-8") == text


def test_audacity(events: Events) -> None:
    assert events.to_audacity().splitlines()[0] == "0.100000\t0.900000\tdog, small"


def test_jams(events: Events) -> None:
    document = json.loads(events.to_jams())
    (annotation,) = document["annotations"]
    assert annotation["namespace"] == "tag_open"
    assert annotation["data"][1] == {
        "time": 0.5,
        "duration": 0.8,
        "value": "knock",
        "confidence": 0.5,
    }
    assert document["file_metadata"]["duration"] == 1.95


def test_dataframe(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    frame = events.to_dataframe()
    assert list(frame.columns) == ["filename", "onset", "offset", "event_label", "probability"]
    assert frame.offset.tolist() == [0.9, 1.3]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'dcasenet\[pandas\]'"):
        events.to_dataframe()


def test_embedding_has_a_json_form() -> None:
    embedding = Embedding(np.ones((2, 3), dtype=np.float32), np.array([0.4, 1.2]))
    assert json.loads(embedding.to_json()) == {"values": [[1.0] * 3] * 2, "times": [0.4, 1.2]}


def test_results_are_frozen(scene: Scene, tags: Tags, events: Events) -> None:
    for result in (scene, tags, events, events[0], scene.top(1)[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.label = "other"  # type: ignore[misc, union-attr]
    with pytest.raises(ValueError, match="read-only"):
        events.probabilities[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        scene.windows[0] = 1


def test_results_survive_pickle_and_copy(scene: Scene, tags: Tags, events: Events) -> None:
    for result in (scene, tags, events):
        for twin in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
            assert twin.to_dict() == result.to_dict()


def test_analysis_leaves_out_what_the_model_lacks(events: Events) -> None:
    analysis = Analysis(None, None, events, duration=1.95, warnings=("odd",))
    values = json.loads(analysis.to_json())
    assert values["scene"] is None
    assert values["tags"] is None
    assert len(values["events"]) == 2
    assert values["warnings"] == ["odd"]
