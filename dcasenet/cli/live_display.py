"""Terminal output of `listen`: probability bars, and each event once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dcasenet.results import Event, Scene, Tags
from dcasenet.text import one_line

if TYPE_CHECKING:
    from dcasenet.inference.stream import StreamUpdate

BAR_WIDTH = 30
LABEL_WIDTH = 26


class LiveDisplay:
    """Shows what is detected now at the bottom of the terminal, and above it the events that ended.

    If output is not a terminal, only the events are written, one per line.

    Args:
        console: Where to.
        source: Name of the audio input.
        top: How many tags to show.
    """

    def __init__(self, console: Console, source: str, top: int) -> None:
        self._console, self._source, self._top = console, source, top
        self._live = Live(console=console, auto_refresh=False)
        if console.is_terminal:
            self._live.start()
        self._scene: Scene | None = None
        self._tags: Tags | None = None
        self._under_way: tuple[Event, ...] = ()
        self._now = 0.0

    def publish(self, update: StreamUpdate, now: float, began: datetime) -> None:
        """Show an update."""
        for event in update.events:
            self._console.print(_ended(event, began), soft_wrap=True)
        early = update.provisional
        self._scene = early.scene if early else next(reversed(update.scenes), self._scene)
        self._tags = early.tags if early else next(reversed(update.tags), self._tags)
        if early:
            self._under_way = early.under_way
        self._now = now
        if self._console.is_terminal and update:
            self._live.update(self._view(), refresh=True)

    def close(self) -> None:
        """Leave the last bars as they are."""
        self._under_way = ()
        if self._console.is_terminal:
            self._live.update(self._view(), refresh=True)
        self._live.stop()

    def _view(self) -> RenderableType:
        rows: list[RenderableType] = [
            Rule(
                Text.assemble(
                    (one_line(self._source), "bold"), f"  {timedelta(seconds=int(self._now))}"
                ),
                align="left",
            )
        ]
        if self._scene is not None:
            best = self._scene.top(1)[0]
            place = (one_line(best.label), "bold")
            rows.append(
                Text.assemble("place  ", place, f"  {best.probability:.2f}", _doubt(self._scene))
            )
        if self._tags is not None:
            if self._scene is None and not self._tags.is_sure:
                rows.append(Text.assemble(_doubt(self._tags)))
            bars = Table.grid(padding=(0, 2))
            for scored in self._tags.top(self._top):
                bars.add_row(
                    Text(one_line(scored.label), no_wrap=True, overflow="ellipsis"),
                    ProgressBar(total=1.0, completed=scored.probability, width=BAR_WIDTH),
                    f"{scored.probability:.2f}",
                )
            bars.columns[0].width = LABEL_WIDTH
            rows.append(bars)
        rows.append(_under_way(self._under_way))
        return Group(*rows)


def _doubt(result: Scene | Tags) -> tuple[str, str]:
    """Return the mark of a result that the model is not sure about."""
    return ("" if result.is_sure else "  not sure", "yellow")


def _ended(event: Event, began: datetime) -> Text:
    clock = (began + timedelta(seconds=event.onset)).astimezone().strftime("%H:%M:%S")
    times = f"{event.onset:8.2f} – {event.offset:.2f} s"
    return Text.assemble(
        (clock, "dim"),
        f"{times:>24}  ",
        (one_line(event.label), "bold"),
        f"  {event.probability:.2f}",
    )


def _under_way(events: Sequence[Event]) -> Text:
    if not events:
        return Text("no event under way", "dim")
    parts = [f"{one_line(event.label)} since {event.onset:.1f} s" for event in events]
    return Text(", ".join(parts), "italic")
