"""Descriptions that strangers wrote: refused by the field's name, or shown as mere text."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import dcasenet
from dcasenet import ModelSpec, SoundModel, WeightsError, cli
from dcasenet.spec import LONGEST_NAME, LONGEST_TEXT
from dcasenet.weights import checkpoint, hub
from dcasenet.weights.builder import tensors_of
from dcasenet.weights.model_card import model_card

ATTACK = "dog\x1b[2J\x1b]0;owned\x07\r\n=1+1 <script>alert(1)</script> | `x` \u202e\x9b31m"
DEEP = "[" * 100_000 + "]" * 100_000


def values(**changes: Any) -> dict[str, Any]:
    spec = ModelSpec("v3", "mine", scenes=("park",), events=("dog",), thresholds={"dog": 0.3})
    return {**spec.to_dict(), **changes}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scenes", ["park", "park"]),
        ("tags", ["bark", "", "rain"]),
        ("tags", ["x" * (LONGEST_NAME + 1)]),
        ("tags", "bark"),
        ("tags", [["bark"]]),
        ("events", ["dog", "dog"]),
        ("events", ["dog", "cat"]),
        ("thresholds", {}),
        ("thresholds", {"dog": True}),
        ("thresholds", {"dog": "0.3"}),
        ("thresholds", {"dog": float("nan")}),
        ("thresholds", [0.3]),
        ("metrics", {"scene": {"accuracy_percent": "61.5"}}),
        ("metrics", {"scene": {"accuracy_percent": None}}),
        ("metrics", {"scene": {"x" * (LONGEST_NAME + 1): 1.0}}),
        ("metrics", {"scene": [61.5]}),
        ("metrics", {"scene": {"deep": json.loads("[" * 500 + "]" * 500)}}),
        ("name", "v" * (LONGEST_NAME + 1)),
        ("stage", ""),
        ("stage", ["mine"]),
        ("license", None),
        ("training_data", "x" * (LONGEST_TEXT + 1)),
        ("source", json.loads("[" * 500 + "]" * 500)),
        ("protocol", {"a": 1}),
        ("selected_for", "dance"),
        ("tasks", ["scene", "scene"]),
        ("tasks", [["scene"]]),
        ("heads", {"scene": "quadratic"}),
        ("members", {"scene": ["mine"]}),
        ("width", True),
        ("file", {"digest": 5}),
        ("thresholds", {"dog": 0.3, "x" * (LONGEST_NAME + 1): 0.3}),
        ("metrics", {"scene": {"accuracy": 10**400}}),
        ("metrics", {"scene": {"accuracy": float("inf")}}),
        ("stage", "half \ud800"),
        ("events", ["half \ud800"]),
        ("context", None),
        ("context", [1]),
        ("context", {"smell": {"window": 1, "hop": 1, "pooling": "max"}}),
        ("context", {"tag": {"window": "10", "hop": 10, "pooling": "max"}}),
        ("context", {"tag": {"window": float("nan"), "hop": 10, "pooling": "max"}}),
        ("context", {"tag": {"window": 10, "hop": 0, "pooling": "max"}}),
        ("context", {"tag": {"window": 10, "hop": 10, "pooling": ["max"]}}),
        ("context", {"tag": {"window": 10, "hop": 10, "pooling": "max", "x": 1}}),
        ("time_pooling", "5"),
        ("time_pooling", 0),
        ("hysteresis", 0),
        ("hysteresis", 1.5),
        ("hysteresis", "0.5"),
        ("curves", None),
        ("curves", [1, 2]),
        ("curves", "dog"),
        ("curves", {"dog": [[[]]]}),
        ("curves", {"cat": {"precision": [1.0] * 99, "recall": [1.0] * 99}}),
        ("curves", {"dog": {"precision": [1.0] * 99}}),
        ("curves", {"dog": {"precision": [1.0] * 98, "recall": [1.0] * 99}}),
        ("curves", {"dog": {"precision": ["1"] * 99, "recall": [1.0] * 99}}),
        ("curves", {"dog": {"precision": [float("nan")] * 99, "recall": [1.0] * 99}}),
        ("curves", {"dog": {"precision": [1.0] * 99, "recall": [1.0] * 99, "x": [1.0]}}),
        ("familiarity", {}),
        ("familiarity", "x"),
        ("familiarity", [1]),
        ("familiarity", {"size": 1}),
    ],
)
def test_an_unusable_field_is_named(field: str, value: object) -> None:
    # Without a threshold of its own it is the thresholds that lack one.
    named = "thresholds" if value == ["dog", "cat"] else field
    with pytest.raises(WeightsError, match=f"unusable {named}: ") as caught:
        ModelSpec.from_dict(values(**{field: value}))
    assert len(str(caught.value)) < 600


def test_what_a_spec_has_no_place_for_is_named() -> None:
    with pytest.raises(WeightsError, match=r"unexpected field 'x\\+x1b\[2Jx+'… \(30\d"):
        ModelSpec.from_dict(values(**{f"x\x1b[2J{'x' * 300}": 1}))
    with pytest.raises(WeightsError, match="unexpected field 'fft'"):
        ModelSpec.from_dict(values(frontend={"fft": 5}))
    with pytest.raises(WeightsError, match="mapping of fields"):
        ModelSpec.from_dict(values(frontend=[5]))


@pytest.fixture
def folder(small_model: SoundModel, tmp_path: Path) -> Path:
    return small_model.save_pretrained(tmp_path / "model")


@pytest.mark.parametrize("place", ["config", "spec", "field"])
def test_json_of_any_depth_is_refused(folder: Path, small_model: SoundModel, place: str) -> None:
    if place == "spec":
        import safetensors.torch

        tensors = tensors_of(small_model.frontend, small_model.network)
        path = folder.parent / "deep.safetensors"
        safetensors.torch.save_file(tensors, path, {"spec": DEEP})
    else:
        text = (folder / hub.CONFIG).read_text("utf-8")
        text = DEEP if place == "config" else text.replace('"A test"', DEEP)
        (folder / hub.CONFIG).write_text(text)
        path = folder
    with pytest.raises(WeightsError, match=r"has a damaged|not the configuration"):
        dcasenet.load(str(path)) if path == folder else dcasenet.load("v2", weights=path)


def test_a_gigantic_configuration_is_refused(folder: Path) -> None:
    with (folder / hub.CONFIG).open("ab") as file:
        file.truncate(hub.LARGEST_CONFIG + 1)
    with pytest.raises(WeightsError, match="has more than 16777216 bytes"):
        dcasenet.load(str(folder))


def hostile(model: SoundModel) -> SoundModel:
    """The same model, whose labels and texts are attacks."""
    spec = model.spec
    events = (ATTACK, *spec.events[1:])
    model.spec = dataclasses.replace(
        spec,
        scenes=(ATTACK, *spec.scenes[1:]),
        tags=(f"={ATTACK}", *spec.tags[1:]),
        events=events,
        thresholds=dict.fromkeys(events, 0.0),
        stage=ATTACK,
        license=ATTACK,
        training_data=ATTACK,
        source=ATTACK,
        protocol=ATTACK,
        metrics={"scene": {ATTACK: 61.5}},
    )
    return model


def test_the_configuration_can_be_shown_on_a_terminal(
    small_model: SoundModel, tmp_path: Path
) -> None:
    folder = hostile(small_model).save_pretrained(tmp_path / "hostile")
    text = (folder / hub.CONFIG).read_text("utf-8")
    assert text.replace("\n", "").isprintable()
    assert dcasenet.load(folder).spec.tags[0] == f"={ATTACK}"


@pytest.fixture
def written(small_model: SoundModel, tmp_path: Path) -> Path:
    """A weights file with attacks for labels."""
    model = hostile(small_model)
    path = tmp_path / "hostile.safetensors"
    checkpoint.write(path, tensors_of(model.frontend, model.network), model.spec)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / f"=1+1\x1b[2J\n{'é'}.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 24_000), 24_000)
    return path


def control_characters(text: str) -> set[str]:
    """What a terminal would take for commands; line ends are ours."""
    return {c for c in text if not c.isprintable() and c != "\n"}


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("command", ["analyze", "scene", "tags", "events", "embed", "info"])
def test_nothing_raw_reaches_a_terminal(
    written: Path, sound: Path, command: str, form: str
) -> None:
    if command == "info":
        given = ["info", str(written), "--format", form]
    else:
        given = [command, str(sound), "--model", "v2", "--weights", str(written), "--format", form]
    done = CliRunner().invoke(cli.app, given)
    assert done.exit_code == 0, done.output
    assert "x1b[2J" in done.output or "u001b[2J" in done.output
    assert control_characters(done.output) == set()
    if form == "csv":
        import csv

        cells = [cell for row in csv.reader(io.StringIO(done.stdout)) for cell in row]
        assert not [cell for cell in cells if cell.lstrip().startswith("=")]
        assert not [cell for cell in cells if "\n" in cell]


def test_an_error_quotes_names_as_text(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        dcasenet.load("v2", weights=sound)
    assert control_characters(str(caught.value)) == set()
    assert "\n" not in str(caught.value)


def test_a_card_shows_attacks_as_text(small_model: SoundModel) -> None:
    card = model_card(hostile(small_model).spec, f"{ATTACK}/name")
    assert control_characters(card) == set()
    assert "<script>" not in card
    lines = card.splitlines()
    assert [line for line in lines if line.startswith("| scene |")] == [
        r"| scene | dog\\x1b\[2J\\x1b\]0;owned\\x07\\r\\n=1+1 "
        r"&lt;script&gt;alert(1)&lt;/script&gt; \| \`x\` \\u202e\\x9b31m | 61.5 |"
    ]
    assert r"<code>dog\\x1b\[2J\\x1b\]0;owned\\x07\\r\\n=1+1 &lt;script&gt;" in card
    assert lines.count("---") == 2
