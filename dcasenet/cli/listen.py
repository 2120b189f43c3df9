"""The command `listen`: answers while sound comes in."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.console import Console

from dcasenet.cli.live_display import LiveDisplay
from dcasenet.cli.options import ModelOptions, ThresholdOption, Top, parse_threshold, with_options
from dcasenet.cli.output import fail, warn
from dcasenet.errors import DcasenetError
from dcasenet.text import json_text

if TYPE_CHECKING:
    from dcasenet.inference.stream import Stream, StreamUpdate
    from dcasenet.live import LiveSource, MqttPublisher
    from dcasenet.spec import ModelSpec

PASSWORD = "DCASENET_MQTT_PASSWORD"


class LiveFormat(StrEnum):
    """Forms of what is said live."""

    table = "table"
    json = "json"


class Encoding(StrEnum):
    """How samples without a header are written."""

    u8 = "u8"
    s16 = "s16"
    s24 = "s24"
    s32 = "s32"
    f32 = "f32"
    f64 = "f64"


class Output(Protocol):
    """Whoever is told what a stream says."""

    def publish(self, update: StreamUpdate, now: float, began: datetime) -> None:
        """Print an update that came when the stream had `now` seconds since `began`."""

    def close(self) -> None:
        """Finish what was told."""


class JsonLines:
    """Writes a line for each final event, scene and tags; with `early`, for events that begin.

    Args:
        top: How many tags a line holds.
        early: Whether to write events that are not final.
    """

    def __init__(self, top: int, early: bool) -> None:
        self._top, self._early = top, early
        self._told: set[tuple[str, float]] = set()  # early events: label and onset

    def publish(self, update: StreamUpdate, now: float, began: datetime) -> None:
        """Write what is new."""
        for event in update.events:
            self._line("event", now, began, event.onset, {**event.to_dict(), "final": True})
        for scene in update.scenes:
            values = {"is_sure": scene.is_sure, **scene.values_dict()}
            self._line("scene", now, began, float(scene.times[0, 0]), values)
        for tags in update.tags:
            best = [scored.to_dict() for scored in tags.top(self._top)]
            values = {"is_sure": tags.is_sure, "tags": best}
            self._line("tags", now, began, float(tags.times[0, 0]), values)
        if self._early and update.provisional:
            under_way = {(e.label, e.onset): e for e in update.provisional.events}
            for key in under_way.keys() - self._told:
                event = under_way[key]
                self._line("event", now, began, event.onset, event.to_dict())
            self._told = set(under_way)

    def close(self) -> None:
        """Nothing is left."""

    def _line(
        self, kind: str, now: float, began: datetime, onset: float, values: dict[str, Any]
    ) -> None:
        time = (began + timedelta(seconds=onset)).isoformat("T", "milliseconds")
        line = {"type": kind, "time": time, "received": round(now, 3), **values}
        sys.stdout.write(json_text(line) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class RawOptions:
    """How standard input without a WAV header is written."""

    rate: Annotated[
        int | None, typer.Option(help="Sample rate of standard input without a WAV header, in Hz.")
    ] = None
    channels: Annotated[int, typer.Option(min=1, max=64, help="Channels of the same.")] = 1
    encoding: Annotated[Encoding, typer.Option(help="Samples of the same.")] = Encoding.s16


@dataclass(frozen=True)
class MqttOptions:
    """Who else is told."""

    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Tell an MQTT broker, and Home Assistant by it: HOST, HOST:PORT or "
            f"mqtt://USER@HOST (the password in {PASSWORD}).",
        ),
    ] = None
    mqtt_name: Annotated[str, typer.Option(help="What this device is called there.")] = "dcasenet"

    def publisher(self, spec: ModelSpec) -> MqttPublisher | None:
        """Connect to the broker, if one is named."""
        if self.mqtt is None:
            return None
        from dcasenet.live.mqtt import Broker, MqttPublisher

        return MqttPublisher(Broker.of(self.mqtt, os.environ.get(PASSWORD)), spec, self.mqtt_name)


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(listen)


@with_options
def listen(
    of_model: ModelOptions,
    raw: RawOptions,
    broker: MqttOptions,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|-]",
            help="A recording, at its own speed, or - for standard input; else the microphone.",
        ),
    ] = None,
    microphone: Annotated[
        str | None, typer.Option("--input", help="Which input: its name or number.")
    ] = None,
    threshold: ThresholdOption = None,
    top: Top = 8,
    form: Annotated[
        LiveFormat, typer.Option("--format", help="table, or json (a line for each answer).")
    ] = LiveFormat.table,
    early: Annotated[
        bool, typer.Option("--early", help="Write JSON lines of events that are not final, too.")
    ] = False,
    latency: Annotated[
        float, typer.Option(help="How soon after its onset an event shows, in seconds.")
    ] = 1.0,
) -> None:
    """Process sound while it comes in: the place, sounds, and each event once it has ended."""
    if early and form is not LiveFormat.json:
        raise typer.BadParameter("--early is for --format json; the table shows them anyway.")
    with _opened(source, microphone, raw) as sound:
        model = of_model.load()
        limits = parse_threshold(threshold, model.spec)
        try:
            stream = model.stream(sound.sample_rate, threshold=limits, latency=latency)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        publisher = broker.publisher(model.spec)
        shown: Output = (
            JsonLines(top, early)
            if form is LiveFormat.json
            else LiveDisplay(Console(highlight=False), sound.name, top)
        )
        _run(sound, stream, [publisher, shown] if publisher else [shown])


def _run(sound: LiveSource, stream: Stream, outputs: Sequence[Output]) -> None:
    failures: list[DcasenetError] = []
    began: datetime | None = None
    try:
        with until_interrupted(iter(sound)) as blocks:
            for block in blocks:
                length = timedelta(seconds=block.shape[-1] / sound.sample_rate)
                began = began or datetime.now(UTC) - length
                _tell(outputs, stream.push(block), stream, began)
    except DcasenetError as error:  # such as a microphone that was unplugged
        failures.append(error)
    finally:
        if began is not None:
            _tell(outputs, stream.close(), stream, began)
        failures += _close(outputs)
    warn(Path(sound.name), sound.warnings)
    for failure in failures:
        fail(failure)
    if failures:
        raise typer.Exit(1)


def _tell(outputs: Sequence[Output], update: StreamUpdate, stream: Stream, began: datetime) -> None:
    for output in outputs:
        output.publish(update, stream.duration, began)


def _close(outputs: Sequence[Output]) -> list[DcasenetError]:
    failures = []
    for output in outputs:
        try:
            output.close()
        except DcasenetError as error:
            failures.append(error)
    return failures


def _opened(source: str | None, microphone: str | None, raw: RawOptions) -> LiveSource:
    from dcasenet.live import Microphone, PacedFile, StandardInput
    from dcasenet.live.wav_stream import SampleFormat

    if source is None:
        return Microphone(microphone)
    if microphone is not None:
        raise typer.BadParameter(f"--input is for the microphone; {source} was given as well.")
    if source != "-":
        return PacedFile(source)
    if sys.stdin.isatty():
        raise typer.BadParameter(
            "Standard input is the terminal. Send sound to it: "
            "ffmpeg -i INPUT -f wav - | dcasenet listen -"
        )
    described = raw.rate and SampleFormat(raw.rate, raw.channels, raw.encoding.value)
    return StandardInput(sys.stdin.buffer, described or None)


@contextmanager
def until_interrupted(blocks: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Yield an iterator that ends when the process is told to stop.

    While a block is waited for, that ends at once; while one is answered, the answer is finished,
    so that nothing that has been received is lost.
    """
    is_waiting = is_requested = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal is_requested
        is_requested = True
        if is_waiting:
            raise KeyboardInterrupt

    def until_then() -> Iterator[Any]:
        nonlocal is_waiting
        while not is_requested:
            try:
                is_waiting = True
                block = next(blocks, None)
            except KeyboardInterrupt:
                return
            finally:
                is_waiting = False
            if block is None:
                return
            yield block

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield until_then()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
