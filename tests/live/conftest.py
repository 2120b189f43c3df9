"""What the tests of live sound share: a broker of their own, and a client that receives from it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 30.0  # that anything may take on a busy machine


def wait_for(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


class Mosquitto:
    """A broker on a port of its own, which can go away and come back.

    Args:
        folder: Where it keeps what it must not forget.
        settings: Further lines of its configuration.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
        if program is None:
            pytest.skip("needs Debian's package mosquitto")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        configuration = folder / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.port} 127.0.0.1\npersistence true\n"
            f"persistence_location {folder}/\nuser root\n{settings}\n"
        )
        self._command = [program, "-c", str(configuration)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "mosquitto did not start"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Subscriber:
    """Receives everything that a broker passes on, also what was sent while it was reconnecting."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        self._lock = threading.Lock()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(SECONDS)

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        with self._lock:
            self.messages.append((message.topic, message.payload.decode(), message.retain))

    def of(self, topic: str) -> list[Any]:
        """What has come under a topic, JSON as its values."""
        with self._lock:
            found = [payload for name, payload, _ in self.messages if name == topic]
        return [json.loads(payload) if payload[:1] == "{" else payload for payload in found]

    def topics(self) -> set[str]:
        with self._lock:
            return {name for name, _, _ in self.messages}

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    pytest.importorskip("paho.mqtt.client")
    started = []

    def start(**options: str) -> Mosquitto:
        broker = Mosquitto(tmp_path, **options)
        broker.start()
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture
def broker(start_broker: Callable[..., Mosquitto]) -> Mosquitto:
    return start_broker()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker.port)
    yield subscriber
    subscriber.stop()
