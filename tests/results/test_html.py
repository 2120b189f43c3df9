"""HTML forms for notebooks: well-formed, escaped, without scripts."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from dcasenet import Analysis, Event, Events
from dcasenet.results import html

VOID = {"br", "path", "circle", "polyline", "rect"}


class Outline(HTMLParser):
    """Collects tags and text, and fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_every_result_is_well_formed(analysis: Analysis) -> None:
    for result in (analysis, analysis.scene, analysis.tags, analysis.events):
        assert "script" not in outline(result._repr_html_()).tags
    seen = outline(analysis._repr_html_())
    for word in ("tram", "0.700", "dog, small", "knock", "0.10", "odd", "7.50 s"):
        assert word in seen.text, word
    assert seen.tags.count("rect") == 2
    assert seen.tags.count("svg") == 1


def test_hostile_names_are_text(hostile: Events) -> None:
    seen = outline(hostile._repr_html_())
    assert "script" not in seen.tags
    assert "<script>alert(1)</script>" in seen.text
    assert "\x1b" not in seen.text


def test_events_lie_where_they_sound(events: Events) -> None:
    drawing = events._repr_html_()
    x = [float(part.split('"')[1]) for part in drawing.split("<rect ")[1:]]
    assert x[0] == pytest.approx(
        html.GUTTER + 0.1 / 1.95 * (html.WIDTH - html.GUTTER - 20), abs=0.1
    )
    assert x[1] > x[0]


def test_none_and_many_events(events: Events) -> None:
    none = dataclasses.replace(events, items=())
    assert "no event above its threshold" in none._repr_html_()
    many = dataclasses.replace(events, items=(Event("knock", 0.0, 1.0, 0.5),) * 1_000)
    seen = outline(many._repr_html_())
    assert "and 800 more" in seen.text
    assert seen.tags.count("rect") == html.MOST_EVENTS


def test_a_calibration_is_a_drawing_and_a_table() -> None:
    values: dict[str, Any] = {
        "recordings": 2,
        "segments": 1_000,
        "expected_calibration_error": 0.25,
        "reliability": [{"predicted": 0.15, "observed": 0.5, "count": 10}],
        "labels": [
            {
                "label": "<b>",
                "segments": 5,
                "threshold": 0.2,
                "precision": 0.5,
                "recall": 1.0,
                "f1": 0.667,
            }
        ],
    }
    seen = outline(html.calibration(values))
    assert "b" in seen.tags  # its title
    assert "<b>" in seen.text
    assert "0.667" in seen.text
    assert "1,000 segments" in seen.text
    assert np.isclose(
        float(html.calibration(values).split('cx="')[1].split('"')[0]), 30 + 0.15 * 220
    )
