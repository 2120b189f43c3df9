"""The command `listen`: results while the audio arrives."""

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
    """Output formats of `listen`."""

    table = "table"
    json = "json"


class SampleEncoding(StrEnum):
    """Encoding of samples without a header."""

    u8 = "u8"
    s16 = "s16"
    s24 = "s24"
    s32 = "s32"
    f32 = "f32"
    f64 = "f64"


class Output(Protocol):
    """Receiver of a stream's updates."""

    def publish(self, update: StreamUpdate, now: float, began: datetime) -> None:
        """Print an update that arrived at `now` seconds of a stream that started at `began`."""

    def close(self) -> None:
        """Finish the output."""


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
        """Write new results."""
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
        """Do nothing: every line is complete."""

    def _line(
        self, kind: str, now: float, began: datetime, onset: float, values: dict[str, Any]
    ) -> None:
        time = (began + timedelta(seconds=onset)).isoformat("T", "milliseconds")
        line = {"type": kind, "time": time, "received": round(now, 3), **values}
        sys.stdout.write(json_text(line) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class RawOptions:
    """Format of standard input without a WAV header."""

    rate: Annotated[
        int | None, typer.Option(help="Sample rate of standard input without a WAV header, in Hz.")
    ] = None
    channels: Annotated[int, typer.Option(min=1, max=64, help="Channels of such input.")] = 1
    encoding: Annotated[SampleEncoding, typer.Option(help="Sample encoding of such input.")] = (
        SampleEncoding.s16
    )


@dataclass(frozen=True)
class MqttOptions:
    """Other receivers of the results."""

    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Publish to an MQTT broker, for Home Assistant and others: HOST, HOST:PORT or "
            f"mqtt://USER@HOST (the password in {PASSWORD}).",
        ),
    ] = None
    mqtt_name: Annotated[str, typer.Option(help="Name of this device.")] = "dcasenet"

    def publisher(self, spec: ModelSpec) -> MqttPublisher | None:
        """Connect to the broker, if one is given."""
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
            help="A recording, in real time, or - for standard input; by default the microphone.",
        ),
    ] = None,
    microphone: Annotated[
        str | None, typer.Option("--input", help="Audio input: its name or number.")
    ] = None,
    threshold: ThresholdOption = None,
    top: Top = 8,
    form: Annotated[
        LiveFormat,
        typer.Option("--format", help="Output format: table, or json (one line per result)."),
    ] = LiveFormat.table,
    early: Annotated[
        bool, typer.Option("--early", help="Also write JSON lines of events that are not final.")
    ] = False,
    latency: Annotated[
        float,
        typer.Option(help="Longest delay from an event's onset until it is shown, in seconds."),
    ] = 1.0,
) -> None:
    """Analyze audio as it arrives: scene, tags, and each event once it has ended."""
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
    """Yield an iterator that ends when the process receives a stop signal.

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
