"""Render results as HTML for notebooks: bars, tables, and events on a time axis, without scripts.

Every text goes through `_text`; colors follow the notebook's theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcasenet.text import one_line

if TYPE_CHECKING:
    from dcasenet.results.values import Event, Events, Result, Scene, ScoredLabel, Tags

# Most labels and events that are shown in a cell of a notebook.
MOST_LABELS, MOST_EVENTS = 5, 200
# The palette of Okabe and Ito, which is distinguishable with any color vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5fc4", "#7f7f7f")
ROW, GUTTER, WIDTH, AXIS = 20, 130, 640, 22  # pixels of the drawing of events
BAR = 180  # pixels of a probability of 1


def page(result: Result, body: str) -> str:
    """Return the block of a result: its title, its content and its warnings."""
    details = [f"{result.duration:.2f} s"] if result.duration else []
    if result.familiarity is not None:
        details.append(f"familiarity {result.familiarity:.2f}")
    if not result.is_sure:
        details.append("<b>not sure</b>")
    title = f"<b>{_text(result.source or type(result).__name__)}</b>"
    warnings = "".join(f'<div style="opacity:.75">⚠ {_text(w)}</div>' for w in result.warnings)
    head = f'<div style="margin-bottom:4px">{" · ".join([title, *details])}</div>'
    return f'<div style="max-width:{GUTTER + WIDTH}px">{head}{body}{warnings}</div>'


def scene(result: Scene) -> str:
    """Return the most probable scenes as bars."""
    return _bars("scene" if result.is_sure else "scene, not sure", result.top(MOST_LABELS))


def tags(result: Tags) -> str:
    """Return the first tags as bars."""
    return _bars("tag", result[:MOST_LABELS])


def events(result: Events) -> str:
    """Return events as a drawing on a time axis, and as a table."""
    if not len(result):
        return '<div style="opacity:.75">no event above its threshold</div>'
    shown = result[:MOST_EVENTS]
    rows = [
        (_text(e.label), f"{e.onset:.2f}", f"{e.offset:.2f}", f"{e.probability:.3f}") for e in shown
    ]
    more = len(result) - len(shown)
    note = f'<div style="opacity:.75">and {more:,} more</div>' if more else ""
    table = _table(("event", "onset (s)", "offset (s)", "probability"), rows)
    return (
        f"{_timeline(shown, result.duration)}"
        f"<details><summary>{len(result):,} events</summary>{table}{note}</details>"
    )


def embedding(values: NDArray[Any], times: NDArray[np.float64]) -> str:
    """Return the shape of an embedding and the first values of its first step."""
    steps, size = values.shape
    first = ", ".join(f"{value:.3f}" for value in values[0, :4]) if steps else ""
    last = f", centers {times[0]:.2f} to {times[-1]:.2f} s" if steps else ""
    return f"<div>{steps:,} steps of {size:,} values{last}: {first}, …</div>"


def calibration(values: Mapping[str, Any]) -> str:
    """Return the diagram and the table of a calibration, from its JSON form."""
    side = 220

    def x(share: float) -> float:
        return round(30 + share * side, 1)

    def y(share: float) -> float:
        return round(8 + (1 - share) * side, 1)

    points = [(x(b["predicted"]), y(b["observed"]), b["count"]) for b in values["reliability"]]
    line = " ".join(f"{a},{b}" for a, b, _ in points)
    dots = "".join(
        f'<circle cx="{a}" cy="{b}" r="4" fill="{COLORS[0]}"><title>{n:,} probabilities</title>'
        "</circle>"
        for a, b, n in points
    )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side + 50}" height="{side + 44}" '
        f'font-family="sans-serif" font-size="12" fill="currentColor" role="img" '
        f'aria-label="Reliability diagram"><path d="M{x(0)} {y(1)}V{y(0)}H{x(1)}" fill="none" '
        f'stroke="currentColor" stroke-opacity=".5"/><path d="M{x(0)} {y(0)}L{x(1)} {y(1)}" '
        f'stroke="currentColor" stroke-opacity=".5" stroke-dasharray="3 3"/>'
        f'<polyline points="{line}" fill="none" stroke="{COLORS[0]}" stroke-width="2"/>{dots}'
        f'<text x="{x(0) - 8}" y="{y(0) + 4}" text-anchor="end">0</text>'
        f'<text x="{x(0) - 8}" y="{y(1) + 4}" text-anchor="end">1</text>'
        f'<text x="{x(0.5)}" y="{y(0) + 28}" text-anchor="middle">predicted probability</text>'
        f'<text transform="translate(14 {y(0.5)}) rotate(-90)" text-anchor="middle">'
        "observed share</text></svg>"
    )
    columns = ("label", "segments", "threshold", "precision", "recall", "f1")
    rows = [
        (_text(row["label"]), *(f"{row[name]:,}" for name in columns[1:]))
        for row in values["labels"]
    ]
    return (
        f"<div><b>Calibration</b> · {_count(values['recordings'], 'recording')}, "
        f"{values['segments']:,} segments of 1 s · expected calibration error "
        f"{values['expected_calibration_error']:.3f}</div>{drawing}{_table(columns, rows)}"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _bars(title: str, scored: Sequence[ScoredLabel]) -> str:
    rows = [
        (
            _text(s.label),
            f"{s.probability:.3f}",
            f'<div style="width:{BAR}px;background:rgba(127,127,127,.2)"><div style="width:'
            f'{round(BAR * s.probability)}px;height:10px;background:{COLORS[0]}"></div></div>',
        )
        for s in scored
    ]
    return _table((title, "probability", ""), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of HTML cells; numbers are right-aligned."""
    align = ["left", *["right"] * (len(columns) - 1)]
    head = "".join(
        f'<th style="text-align:{a}">{c}</th>' for a, c in zip(align, columns, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{a}">{cell}</td>' for a, cell in zip(align, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _timeline(shown: Sequence[Event], duration: float) -> str:
    labels = list(dict.fromkeys(event.label for event in shown))
    end = max(duration, *(event.offset for event in shown)) or 1.0
    height = ROW * len(labels) + AXIS

    def x(seconds: float) -> float:
        return round(GUTTER + seconds / end * (WIDTH - GUTTER - 20), 1)

    def bar(event: Event, row: int) -> str:
        title = (
            f"{_text(event.label)} {event.onset:.2f}–{event.offset:.2f} s, {event.probability:.3f}"
        )
        return (
            f'<rect x="{x(event.onset)}" y="{row * ROW + 3}" height="{ROW - 6}" '
            f'width="{max(x(event.offset) - x(event.onset), 2):.1f}" '
            f'fill="{COLORS[row % len(COLORS)]}" '
            f'fill-opacity="{0.35 + 0.65 * event.probability:.2f}"><title>{title}</title></rect>'
        )

    bottom = ROW * len(labels)
    parts = [
        *(
            f'<text x="0" y="{row * ROW + 14}">{_text(_short(n))}</text>'
            for row, n in enumerate(labels)
        ),
        *(bar(event, labels.index(event.label)) for event in shown),
        f'<path d="M{x(0)} {bottom + 2}H{x(end)}" stroke="currentColor" stroke-opacity=".4"/>',
        *(
            f'<text x="{x(share * end)}" y="{bottom + 17}" text-anchor="middle" '
            f'fill-opacity=".75">{share * end:.3g}{" s" if share == 1 else ""}</text>'
            for share in (0, 0.25, 0.5, 0.75, 1)
        ),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="currentColor" role="img" '
        f'aria-label="Events over time">{"".join(parts)}</svg>'
    )


def _short(label: str) -> str:
    return label if len(label) <= 20 else f"{label[:19]}…"


def _text(text: str) -> str:
    return escape(one_line(text))
