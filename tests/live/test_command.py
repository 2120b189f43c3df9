"""`dcasenet listen`, called as a user calls it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from dcasenet import SoundModel
from dcasenet.cli.listen import until_interrupted
from dcasenet.cli.live_display import LiveDisplay
from dcasenet.inference.familiarity import fit
from tests.fixtures.command import Done
from tests.live.conftest import Mosquitto, Subscriber, wait_for

ROOT = Path(__file__).parents[2]
WriteWav = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(path)
    return path


@pytest.fixture
def run(call_command: Callable[..., Done], folder: Path) -> Callable[..., Done]:
    def call(*words: object, model: bool = True) -> Done:
        return call_command(*words, *(("--model", folder) if model else ()))

    return call


@pytest.fixture
def wav(write_wav: WriteWav, noise: Callable[..., np.ndarray]) -> Path:
    return write_wav("street.wav", noise(3 * 16_000), 16_000)


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Put bytes on standard input."""

    def put(content: bytes) -> None:
        stream = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", stream)

    return put


def expected_events(model: SoundModel, wav: Path) -> list[dict[str, Any]]:
    samples, rate = soundfile.read(wav, dtype="float32")
    with model.stream(rate, threshold=0.0) as stream:
        stream.push(samples)
    return [event.to_dict() for event in stream.rest.events]


def lines_of(out: str, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in out.splitlines()]
    return [line for line in lines if line["type"] == kind]


def test_a_file_in_json_lines_has_every_event_once(
    run: Callable[..., Done], wav: Path, tiny_model: SoundModel
) -> None:
    begin = time.monotonic()
    done = run("listen", wav, "--format", "json", "--threshold", 0, "--top", 2)
    assert done.code == 0, done.err
    assert time.monotonic() - begin > 2.9  # at its own speed
    events = lines_of(done.out, "event")
    expected = expected_events(tiny_model, wav)
    assert len(expected) > 1
    found = [(e["label"], e["onset"], e["offset"]) for e in events]
    assert found == [(e["label"], e["onset"], e["offset"]) for e in expected]
    assert all(event["final"] for event in events)
    (tags,) = lines_of(done.out, "tags")
    assert len(tags["tags"]) == 2
    assert lines_of(done.out, "scene")[0]["label"] in tiny_model.spec.scenes
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", events[0]["time"])


def test_early_lines_come_before_the_final_ones(
    run: Callable[..., Done], wav: Path, tiny_model: SoundModel
) -> None:
    done = run("listen", wav, "--format", "json", "--threshold", 0, "--early")
    events = lines_of(done.out, "event")
    early = [event for event in events if not event["final"]]
    final = [event for event in events if event["final"]]
    assert {event["label"] for event in early} == {event["label"] for event in final}
    assert len(early) == len({(event["label"], event["onset"]) for event in early})
    assert min(event["received"] for event in early) <= 2.0  # a busy machine is late
    assert early[0]["received"] < final[0]["received"] == 3.0


def test_standard_input_with_and_without_a_header(
    run: Callable[..., Done], send: Callable[[bytes], None], wav: Path, tiny_model: SoundModel
) -> None:
    expected = [event["label"] for event in expected_events(tiny_model, wav)]
    command = ("listen", "-", "--format", "json", "--threshold", 0)
    send(wav.read_bytes())
    assert [e["label"] for e in lines_of(run(*command).out, "event")] == expected
    samples, rate = soundfile.read(wav, dtype="int16")
    send(samples.tobytes())
    done = run(*command, "--rate", rate)
    assert [e["label"] for e in lines_of(done.out, "event")] == expected
    send(samples.tobytes())
    done = run(*command)
    assert (done.code, done.out) == (1, "")
    assert "does not begin with a WAV header" in done.err


def test_where_output_is_no_terminal_the_table_is_a_line_an_event(
    run: Callable[..., Done], send: Callable[[bytes], None], wav: Path, tiny_model: SoundModel
) -> None:
    send(wav.read_bytes())
    done = run("listen", "-", "--threshold", 0)
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) == len(expected_events(tiny_model, wav))
    assert re.search(r"0\.00 – \d\.\d\d s  \w+", lines[0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing.wav",), "nothing.wav"),
        (("--early",), "--early is for --format json"),
        (("a.wav", "--input", "USB"), "--input is for the microphone"),
        (("-", "--latency", "0.5"), "latency=0.5 is out of range"),
        (("-", "--mqtt", "http://x"), "not the address of a broker"),
        (("-", "--mqtt", "127.0.0.1:9"), "cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_reported(
    run: Callable[..., Done],
    send: Callable[[bytes], None],
    wav: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    pytest.importorskip("paho.mqtt.client")
    send(wav.read_bytes())
    done = run("listen", *words)
    assert done.code in (1, 2)
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", "", done.err).split())
    assert "Traceback" not in done.err


def test_the_terminal_as_standard_input(
    run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert "ffmpeg -i INPUT -f wav - | dcasenet listen -" in run("listen", "-").err


def test_an_unplugged_microphone_gives_what_was_received(
    run: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
    noise: Callable[..., np.ndarray],
) -> None:
    from tests.live.test_sources import FakeSounddevice

    fake = FakeSounddevice("USB")
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr("dcasenet.live.sources.SILENT_SECONDS", 0.2)

    def speak() -> None:
        wait_for(lambda: fake.is_open)
        for block in noise(2 * 44_100).reshape(-1, 4_410):
            fake.callback(np.stack([block, block], axis=1), 4_410, None, None)

    speaker = threading.Thread(target=speak)
    speaker.start()
    done = run("listen", "--format", "json", "--threshold", 0)
    speaker.join()
    assert done.code == 1
    assert "error: The input USB gave no samples" in done.err
    assert lines_of(done.out, "event")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_when_told_to_stop_it_gives_what_was_received(
    folder: Path, noise: Callable[..., np.ndarray]
) -> None:
    command = [sys.executable, "-m", "dcasenet", "listen", "-", "--rate", "16000"]
    command += ["--model", str(folder), "--format", "json", "--threshold", "0", "--early"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write((noise(4 * 16_000) * 2**15).astype("<i2").tobytes())
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert err == b""
    events = lines_of((first + out).decode(), "event")
    assert not events[0]["final"]
    assert {e["label"] for e in events if e["final"]} == {"dog", "door knock", "speech"}


def test_a_block_that_is_being_answered_is_answered_to_its_end() -> None:
    done = []
    with until_interrupted(iter(range(5))) as blocks:
        for block in blocks:
            if block == 2:
                signal.raise_signal(signal.SIGINT)
            done.append(block)
    assert done == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_waiting_for_a_block_ends_at_once() -> None:
    def endless() -> Iterator[int]:
        yield 0
        signal.raise_signal(signal.SIGINT)
        yield 1  # not reached

    with until_interrupted(endless()) as blocks:
        assert list(blocks) == [0]


def test_home_assistant_is_told_what_is_detected(
    run: Callable[..., Done],
    send: Callable[[bytes], None],
    broker: Mosquitto,
    subscriber: Subscriber,
    wav: Path,
    tiny_model: SoundModel,
) -> None:
    send(wav.read_bytes())
    options = ("--threshold", 0, "--mqtt", broker.address, "--mqtt-name", "Porch")
    assert run("listen", "-", "--format", "json", *options).code == 0
    wait_for(lambda: subscriber.of("dcasenet/porch/status") == ["online", "offline"])
    told = [event["event_type"] for event in subscriber.of("dcasenet/porch/event")]
    assert told == [event["label"] for event in expected_events(tiny_model, wav)]
    assert subscriber.of("dcasenet/porch/active/dog")[:2] == ["OFF", "ON"]
    assert subscriber.of("dcasenet/porch/active/dog")[-1] == "OFF"
    assert subscriber.of("dcasenet/porch/tag")[-1]["label"] in tiny_model.spec.tags


def test_a_broker_that_stays_away_is_an_error_at_the_end(
    run: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
    broker: Mosquitto,
    subscriber: Subscriber,
    wav: Path,
) -> None:
    monkeypatch.setattr("dcasenet.live.mqtt.CLOSE_SECONDS", 0.3)

    def stop() -> None:
        wait_for(lambda: subscriber.of("dcasenet/dcasenet/status"))
        broker.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    done = run("listen", wav, "--format", "json", "--threshold", 0, "--mqtt", broker.address)
    stopper.join()
    assert done.code == 1
    assert re.search(r"was unreachable at the end: \d+ messages have not been delivered", done.err)
    assert lines_of(done.out, "event")


# What is shown


def test_the_display_has_bars_and_events_that_end_stay(tiny_model: SoundModel, wav: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    display = LiveDisplay(console, "a [b] microphone", 3)
    samples, rate = soundfile.read(wav, dtype="float32")
    stream = tiny_model.stream(rate, threshold={"dog": 0.0, "speech": 0.0}, latency=1.0)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    for block in samples.reshape(-1, rate // 10):
        display.publish(stream.push(block), stream.duration, at)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a [b] microphone" in shown
    assert "dog since 0.0 s" in shown
    assert "━" in shown
    for label in (scored.label for scored in tiny_model.tag(samples, rate, top=3)):
        assert label in shown
    display.publish(stream.close(), stream.duration, at)
    display.close()
    ended = console.file.getvalue()[len(shown) :]  # type: ignore[attr-defined]
    assert re.search(r"0\.00 – 3\.00 s.*dog", ended)
    assert ended.endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize("tasks", [("scene", "tag", "event"), ("tag",)])
def test_the_display_says_what_the_model_is_not_sure_of(
    tiny_model: SoundModel, noise: Callable[..., np.ndarray], tasks: tuple[Any, ...]
) -> None:
    sound, rate = noise(24_000), 24_000
    vectors = np.stack([np.asarray(tiny_model.embed(0.1 * i * sound, rate)) for i in range(1, 9)])
    statistics = fit(vectors, vectors, rank=2, limit=0.2)
    for furthest, doubt in ((1e20, False), (1e-6, True)):
        known = dataclasses.replace(statistics, distances=(0.0, furthest))
        spec = dataclasses.replace(tiny_model.spec, tasks=tasks, familiarity=known)
        model = SoundModel(spec, tiny_model.frontend, tiny_model.network)
        console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
        display = LiveDisplay(console, "microphone", 3)
        stream = model.stream(rate, latency=1.0)
        for block in np.tile(sound, 3).reshape(-1, rate // 10):
            display.publish(stream.push(block), stream.duration, datetime(2026, 1, 2, tzinfo=UTC))
        display.close()
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("not sure" in shown) == doubt
