from __future__ import annotations

import copy
import csv
import dataclasses
import io
import json
import pickle
import sys

import numpy as np
import pytest

from dcasenet import Analysis, Embedding, Event, Events, Scene, ScoredLabel, Tags


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


def test_a_label_is_in_the_sequences_that_hold_it(tags: Tags, events: Events) -> None:
    assert "b" in tags
    assert tags[0] in tags
    assert "a" not in tags  # beyond the limit
    assert "knock" in events
    assert events[0] in events
    assert "dog" not in events


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


def test_one_json_form_of_an_answer(analysis: Analysis) -> None:
    assert analysis.scene is not None
    values = analysis.to_dict()
    assert list(values) == [
        "filename", "duration", "warnings", "familiarity", "is_sure", "scene", "tags", "events",
    ]  # fmt: skip
    alone = analysis.scene.to_dict()
    assert values["scene"] == {name: alone[name] for name in values["scene"]}
    assert values["tags"] == analysis.tags.to_dict()["tags"]
    assert values["events"] == analysis.events.to_dict()["events"]
    for result in (analysis.scene, analysis.tags, analysis.events):
        assert set(values) - {"scene", "tags", "events"} <= set(result.to_dict())


def test_every_result_is_a_flat_table(analysis: Analysis) -> None:
    rows = list(csv.DictReader(io.StringIO(analysis.to_csv())))
    assert list(rows[0]) == ["filename", "task", "label", "onset", "offset", "probability"]
    assert [row["task"] for row in rows] == ["scene", *["tag"] * 3, *["event"] * 2]
    assert rows[0]["label"] == "tram"
    assert rows[0]["onset"] == ""
    assert (rows[4]["label"], rows[4]["onset"], rows[4]["offset"]) == ("dog, small", "0.10", "0.90")
    assert rows[4]["probability"] == "0.750"
    assert [row["task"] for row in csv.DictReader(io.StringIO(analysis.scene.to_csv()))] == [
        "scene"
    ]
    assert len(analysis.tags.to_csv().splitlines()) == 4


def test_every_result_is_a_data_frame(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    frame = analysis.to_dataframe()
    assert list(frame.columns) == ["filename", "task", "label", "onset", "offset", "probability"]
    assert frame.task.tolist() == ["scene", *["tag"] * 3, *["event"] * 2]
    assert frame.onset.isna().tolist() == [True] * 4 + [False] * 2
    assert frame.attrs["provenance"]["model"] == "v3 tiny"
    assert len(analysis.scene.to_dataframe()) == 1
    assert analysis.tags.to_dataframe().label.tolist() == ["b", "d", "c"]
    events = analysis.events.to_dataframe()
    assert list(events.columns) == ["filename", "onset", "offset", "event_label", "probability"]
    assert events.offset.tolist() == [0.9, 1.3]
    monkeypatch.setitem(sys.modules, "pandas", None)
    for result in (analysis, analysis.scene, analysis.tags, analysis.events):
        with pytest.raises(ImportError, match=r"pip install 'dcasenet\[pandas\]'"):
            result.to_dataframe()


def test_an_empty_data_frame_has_the_same_types(events: Events) -> None:
    pytest.importorskip("pandas")
    none = dataclasses.replace(events, items=())
    assert none.to_dataframe().dtypes.equals(events.to_dataframe().dtypes)
    assert none.to_dataframe().empty


def test_embedding_has_all_forms() -> None:
    embedding = Embedding(
        np.ones((2, 3), dtype=np.float32), np.array([0.4, 1.2]), source="a.wav", duration=1.6
    )
    values = json.loads(embedding.to_json())
    assert values["values"] == [[1.0] * 3] * 2
    assert values["times"] == [0.4, 1.2]
    assert embedding.to_csv().splitlines() == [
        "filename,time,e0,e1,e2",
        "a.wav,0.400,1.0,1.0,1.0",
        "a.wav,1.200,1.0,1.0,1.0",
    ]
    assert "2 steps of 3 values" in embedding._repr_html_()
    pytest.importorskip("pandas")
    assert embedding.to_dataframe().time.tolist() == [0.4, 1.2]


def test_what_is_not_sure_says_so(scene: Scene, tags: Tags, events: Events) -> None:
    for result in (scene, tags, events):
        assert result.is_sure
        assert result.familiarity is None
        assert "not sure" not in repr(result) + result._repr_html_()
        unsure = dataclasses.replace(result, familiarity=0.004, is_sure=False)
        assert "not sure" in repr(unsure)
        assert "not sure" in unsure._repr_html_()
        assert "familiarity 0.00" in unsure._repr_html_()
        assert unsure.to_dict()["is_sure"] is False
    assert dataclasses.replace(scene, is_sure=False).label == "tram"


def test_results_are_frozen(scene: Scene, tags: Tags, events: Events) -> None:
    for result in (scene, tags, events, events[0], scene.top(1)[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.label = "other"  # type: ignore[misc, union-attr]
    with pytest.raises(ValueError, match="read-only"):
        events.probabilities[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        scene.windows[0] = 1


def test_results_are_compared_by_value(analysis: Analysis) -> None:
    for result in (analysis, analysis.scene, analysis.tags, analysis.events):
        copied = pickle.loads(pickle.dumps(result))
        assert copied == result
        assert hash(copied) == hash(result)
        assert copied != dataclasses.replace(result, duration=99.0)
        assert copied != "result"
    scene = pickle.loads(pickle.dumps(analysis.scene))
    assert scene != dataclasses.replace(scene, values=scene.values + 0.1)
    with pytest.raises(ValueError, match="read-only"):
        scene.values[0] = 1.0


def test_results_survive_pickle_and_copy(analysis: Analysis) -> None:
    for result in (analysis, analysis.scene, analysis.tags, analysis.events):
        for copied in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
            assert copied.to_dict() == result.to_dict()
            assert copied.provenance == result.provenance


def test_analysis_leaves_out_what_the_model_lacks(events: Events) -> None:
    analysis = Analysis(None, None, events, duration=1.95, warnings=("odd",))
    values = json.loads(analysis.to_json())
    assert values["scene"] is None
    assert values["tags"] is None
    assert len(values["events"]) == 2
    assert values["warnings"] == ["odd"]
    assert "knock" in analysis._repr_html_()


def test_scored_label_and_event_have_a_dictionary() -> None:
    assert ScoredLabel("dog", 0.5).to_dict() == {"label": "dog", "probability": 0.5}
    assert Event("dog", 0.0, 1.0, 0.5).to_dict()["offset"] == 1.0
