"""The shipped examples: how they are drawn, what counts as right, and what comes out of them."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import dcasenet
from dcasenet.results import Analysis, Event, Events, Scene, Tags
from recipes import examples
from recipes.bank import SAMPLE_RATE, Decoded, describe
from recipes.labels import LabelSets
from recipes.recordings import LabeledClip

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = LabelSets(
    tags=("dog", "car horn", "rain"),
    events=("dog", "car horn"),
    environments=("rain", "street traffic"),
)
NUMBER = re.compile(r"\d+\.\d+")


def answer(
    tag: str = "", scene: str = "rain", events: Iterable[tuple[str, float, float]] = ()
) -> Analysis:
    """An answer with one tag, one scene, and events (label, onset, probability) of a second."""
    one, times = np.ones((1, 1), np.float32), np.array([[0.0, 10.0]])
    items = tuple(Event(label, onset, onset + 1.0, p) for label, onset, p in events)
    return Analysis(
        scene=Scene((scene,), one[0], one, times),
        tags=Tags((tag,), one[0], one, times),
        events=Events(items, ("dog",), np.zeros((1, 1), np.float32), 0.1, 0.1),
    )


class Listener:
    """Says dog and street of what is longer than some seconds, and keeps what it was asked."""

    def __init__(self, longer_than: float) -> None:
        self.longer_than = longer_than
        self.asked: list[float] = []

    def analyze(self, content: bytes) -> Analysis:
        samples, rate = soundfile.read(io.BytesIO(content))
        assert rate == SAMPLE_RATE
        self.asked.append(round(len(samples) / rate, 2))
        if self.asked[-1] <= self.longer_than:
            return answer("Cat", "rain", [("car horn", 0.0, 0.5)])
        return answer("Bark", "street traffic", [("dog", 0.0, 0.5)])


def made_up(label: str, n: int, split: Any = "test") -> list[Decoded]:
    """Noise of a label: n recordings of 1.0, 1.1 and so on seconds."""
    random = np.random.default_rng(0)
    found = []
    for index in range(n):
        recording = LabeledClip(
            key=f"{label}-{index}.ogg", label=label, source=f"{label}:{split}:{index}",
            split=split, license="CC0", author="somebody", title=f"{label} {index}",
        )  # fmt: skip
        wave = 0.1 * random.standard_normal(SAMPLE_RATE + index * SAMPLE_RATE // 10)
        described = describe(recording, wave.astype(np.float32))
        assert described is not None
        # One isolated sound, so that soundscapes can be made of it.
        found.append(Decoded(recording, described.waveform, described.level, ((0, 20_000),)))
    return found


@pytest.fixture
def decoded() -> list[Decoded]:
    labels = ("esc50/dog", "esc50/engine", "esc50/car_horn", "esc50/rain")
    tested = [clip for label in labels for clip in made_up(label, 8)]
    return [*made_up("esc50/dog", 3, "train"), *tested]


def seconds(clips: Sequence[Decoded]) -> list[float]:
    return [round(len(clip.waveform) / SAMPLE_RATE, 2) for clip in clips]


def test_draws_in_the_order_of_the_seed_skips_wrong_answers_and_counts_right_ones(
    decoded: list[Decoded],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dogs = [c for c in decoded if c.recording.label == "esc50/dog" and c.recording.split == "test"]
    drawn = [dogs[i] for i in np.random.default_rng(3).permutation(8)][:6]
    # All but the two shortest of those drawn are right.
    least = sorted(seconds(drawn))[1]
    model = Listener(least)
    monkeypatch.setattr(examples, "read_recordings", lambda _: [])
    monkeypatch.setattr(examples, "decode_all", lambda *_: decoded)
    monkeypatch.setattr(examples, "label_sets", lambda _: LABELS)
    monkeypatch.setattr(dcasenet, "load", lambda: model)
    caplog.set_level(logging.INFO)
    output = ["--output", str(tmp_path), "--seed", "3", "--draws", "6"]
    examples.main(["data", "--cache", "cache", *output])
    assert model.asked[:6] == seconds(drawn)
    right = [number for number, s in enumerate(seconds(drawn), start=1) if s > least]
    assert len(right) == 4
    assert f"dog: 4 of 6 right: {right}" in caplog.text
    assert "overlap: 0 of 6 right: []" in caplog.text
    assert model.asked[12:] == [10.0] * 6
    first = drawn[right[0] - 1]
    assert soundfile.info(tmp_path / "dog.ogg").frames == len(first.waveform)
    credit = f"`dog.ogg`, number {right[0]}: {first.recording.title}, somebody, CC0"
    assert credit in caplog.text
    assert not (tmp_path / "overlap.ogg").exists()


def test_every_draw_is_of_the_test_split_and_of_its_kind(decoded: list[Decoded]) -> None:
    dogs = list(examples.draw_dogs(decoded, LABELS, 0))
    streets = list(examples.draw_streets(decoded, LABELS, 0))
    assert [len(dogs), len(streets)] == [8, 16]
    assert {c.holds for c in dogs} == {"dog"}
    assert {c.holds for c in streets} == {"street traffic", "street traffic; car horn"}
    scapes = list(islice(examples.draw_overlaps(decoded, LABELS, 0), 3))
    used = {recording for c in (*dogs, *streets, *scapes) for recording in c.recordings}
    assert {recording.split for recording in used} == {"test"}
    for scape in scapes:
        assert len(scape.waveform) == 10 * SAMPLE_RATE
        named = {NUMBER.sub("", part).strip("– s") for part in scape.holds.split("; ")}
        assert named == {"dog", "car horn"}
        backgrounds = {"esc50/rain", "esc50/engine"}
        assert len([r for r in scape.recordings if r.label in backgrounds]) == 1


@pytest.mark.parametrize(
    ("tag", "events", "right"),
    [
        ("Dog", [("dog", 0.0, 0.5)], True),
        ("Bark", [("cat", 0.0, 0.4), ("dog", 0.0, 0.5)], True),
        ("Bark", [("cat", 0.0, 0.6), ("dog", 0.0, 0.5)], False),
        ("Domestic animals, pets", [("dog", 0.0, 0.5)], False),
        ("Animal", [("dog", 0.0, 0.5)], False),
        ("Dog", [], False),
    ],
)
def test_a_dog(tag: str, events: list[tuple[str, float, float]], *, right: bool) -> None:
    assert examples.names_a_dog(answer(tag, events=events)) is right


@pytest.mark.parametrize(
    ("scene", "event", "events", "right"),
    [
        ("street traffic", None, [], True),
        ("street traffic", "car horn", [], True),
        ("street traffic", "car horn", [("car horn", 0.0, 0.5), ("hen", 1.0, 0.4)], True),
        ("street traffic", "car horn", [("car horn", 0.0, 0.3), ("hen", 1.0, 0.4)], False),
        ("street traffic", None, [("car horn", 0.0, 0.3)], False),
        ("train or subway", None, [], False),
    ],
)
def test_a_street(
    scene: str, event: str | None, events: list[tuple[str, float, float]], *, right: bool
) -> None:
    given = answer("Vehicle", scene, events)
    assert examples.names_the_place(given, "street traffic", event) is right


@pytest.mark.parametrize(
    ("events", "right"),
    [
        ([("dog", 1.2, 0.5), ("car horn", 1.8, 0.6)], True),
        ([("dog", 1.2, 0.5), ("car horn", 1.8, 0.6), ("hen", 1.0, 0.4)], True),
        ([("dog", 1.2, 0.5), ("car horn", 1.8, 0.6), ("hen", 1.0, 0.55)], False),
        ([("dog", 1.2, 0.5), ("car horn", 1.8, 0.6), ("dog", 3.0, 0.55)], False),
        ([("dog", 1.3, 0.5), ("car horn", 1.8, 0.6)], False),
        ([("dog", 1.2, 0.5)], False),
        ([], False),
    ],
)
def test_an_overlap(events: list[tuple[str, float, float]], *, right: bool) -> None:
    truth = [("dog", 1.05), ("car horn", 2.0)]
    assert examples.finds_all(answer(events=events), truth) is right


def test_what_comes_out_of_the_shipped_examples_is_what_their_table_says() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    model = dcasenet.load()
    assert examples.HEADER in page
    for name in ("dog", "street", "overlap"):
        path = EXAMPLES / f"{name}.ogg"
        assert path.stat().st_size < 100_000
        (shown,) = re.findall(rf"^\| `{name}\.ogg` \| .*$", page, re.MULTILINE)
        holds = shown.split(" | ")[1]
        given = examples.row(path.name, holds, model.analyze(path))
        assert NUMBER.sub("#", given) == NUMBER.sub("#", shown)
        # The last digit may differ from one processor to the next.
        numbers = [[float(x) for x in NUMBER.findall(text)] for text in (given, shown)]
        np.testing.assert_allclose(*numbers, atol=0.011)
        (credit,) = re.findall(rf"^- `{name}\.ogg`, number \d+: (.*)$", page, re.MULTILINE)
        for source in credit.split("; "):
            assert re.search(r", (CC0|CC BY( [\d.]+)?)$", source)
