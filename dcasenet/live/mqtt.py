"""Publish results to an MQTT broker, with automatic discovery by Home Assistant.

Topics, below ``dcasenet/<node>``:

========================  ======================================================  ========
``status``                ``online`` or ``offline``                                retained
``event``                 each final event, once: ``event_type``, times            no
``active/<event>``        ``ON`` while it lasts, else ``OFF``                      retained
``scene``, ``tag``        the most probable label, and the probabilities           retained
========================  ======================================================  ========

All messages have quality of service 1. While the broker is unreachable, final events wait in memory
and are delivered after reconnection, together with the latest retained values.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from dcasenet import __version__
from dcasenet.errors import BrokerError
from dcasenet.inference.stream import StreamUpdate
from dcasenet.results import Event, Scene, Tags
from dcasenet.spec import ModelSpec
from dcasenet.text import json_text

DISCOVERY = "homeassistant"
ONLINE, OFFLINE, ON, OFF = "online", "offline", "ON", "OFF"
PORT, TLS_PORT = 1883, 8883
CONNECT_SECONDS = 10.0
# Time to wait at the end for a broker that is unreachable.
CLOSE_SECONDS = 10.0
# A broker that does not respond is noticed after one and a half times this.
KEEPALIVE_SECONDS = 15
# Delays between attempts to reconnect: doubled from the first to the second.
RETRY_SECONDS = (1, 30)
# Interval after which an unchanged scene or set of tags is published again.
STATE_SECONDS = 10.0
# Number of probabilities that are sent with a scene or tags.
TOP = 10

logger = logging.getLogger("dcasenet")


@dataclass(frozen=True)
class Broker:
    """Address and account of a broker.

    Attributes:
        host: Host name or address.
        port: Port.
        user: User name, or None.
        password: Password, or None.
        tls: Whether to encrypt.
    """

    host: str
    port: int = PORT
    user: str | None = None
    password: str | None = None
    tls: bool = False

    @classmethod
    def of(cls, address: str, password: str | None = None) -> Broker:
        """Parse an address such as ``host``, ``host:1884`` or ``mqtts://user:password@host``.

        Args:
            address: The address.
            password: The password, if the address has none.

        Raises:
            BrokerError: The address is not valid.

        Example:
            >>> Broker.of("homeassistant.local")
            Broker(host='homeassistant.local', port=1883, user=None, password=None, tls=False)
            >>> Broker.of("mqtts://me@broker").port
            8883
        """
        parts = urlsplit(address if "://" in address else f"mqtt://{address}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1:
            raise BrokerError(
                f"{address!r} is not the address of a broker. Give host, host:port, or "
                "mqtt://user@host:port (mqtts:// to encrypt)."
            )
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            port or (TLS_PORT if tls else PORT),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else password,
            tls,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class MqttPublisher:
    """Publish the updates of a stream; needs the extra ``live``.

    Args:
        broker: The broker.
        spec: The model's specification, whose labels are sent to Home Assistant.
        node: Name of this device in topics and in Home Assistant.

    Raises:
        BrokerError: The broker is unreachable or refuses at the start; later, it is waited for.
        ImportError: paho-mqtt is not installed.
    """

    def __init__(self, broker: Broker, spec: ModelSpec, node: str = "dcasenet") -> None:
        self._broker, self._spec = broker, spec
        self._node = slug(node)
        self._name = node
        self._base = f"dcasenet/{self._node}"
        self._retained = {**self._discovery(), "status": ONLINE}
        self._active = {label: OFF for label in spec.events if "event" in spec.tasks}
        for label, state in self._active.items():
            self._retained[f"active/{slug(label)}"] = state
        self._state_sent = dict.fromkeys(("scene", "tag"), ("", -STATE_SECONDS))
        self._retaining = threading.Lock()  # so that a new connection sends no outdated value
        # Messages that the broker has not acknowledged yet. This lock is never held while paho is
        # called, since paho acknowledges while it holds its own locks.
        self._n_unsent = 0
        self._acknowledged = threading.Condition()
        self._refusal: str | None = None
        self._is_connected = threading.Event()
        self._client = self._connect()

    def publish(self, update: StreamUpdate, now: float, began: datetime) -> None:
        """Publish an update.

        Args:
            update: An update that `Stream.push` or `Stream.close` returned.
            now: Time that the stream has received, in seconds.
            began: Time when the stream began, to which the times of events are relative.
        """
        for event in update.events:
            self._send("event", json_text(_described(event, began)))
        early = update.provisional
        if early is not None:
            self._set_active({event.label for event in early.under_way})
        self._state("scene", early.scene if early else _last(update.scenes), now)
        self._state("tag", early.tags if early else _last(update.tags), now)

    def close(self) -> None:
        """Wait until all messages are delivered, and disconnect.

        Raises:
            BrokerError: The broker was unreachable for more than 10 s; the message tells how many
                messages are not delivered.
        """
        self._set_active(set())
        self._retain("status", OFFLINE)
        with self._acknowledged:
            self._acknowledged.wait_for(lambda: not self._n_unsent, CLOSE_SECONDS)
            left = self._n_unsent
        self._client.disconnect()
        self._client.loop_stop()
        if left:
            raise BrokerError(
                f"The MQTT broker {self._broker} was unreachable at the end: {left} messages have "
                "not been delivered."
            )

    def _set_active(self, labels: set[str]) -> None:
        for label, state in self._active.items():
            changed = ON if label in labels else OFF
            if changed != state:
                self._active[label] = changed
                self._retain(f"active/{slug(label)}", changed)

    def _state(self, task: str, scored: Scene | Tags | None, now: float) -> None:
        """Publish a state when it changes, and otherwise at intervals."""
        if scored is None:
            return
        previous, sent = self._state_sent[task]
        best = f"{scored.top(1)[0].label} {scored.is_sure}"
        if best != previous or now - sent >= STATE_SECONDS:
            self._state_sent[task] = (best, now)
            self._retain(task, _scored(scored, now))

    def _retain(self, name: str, payload: str) -> None:
        """Publish a retained value; while the broker is unreachable, only the latest is kept."""
        with self._retaining:
            self._retained[name] = payload
            if self._client.is_connected():
                self._send(name, payload, retain=True)

    def _send(self, name: str, payload: str, *, retain: bool = False) -> None:
        topic = name if name.startswith(DISCOVERY) else f"{self._base}/{name}"
        with self._acknowledged:
            self._n_unsent += 1
        self._client.publish(topic, payload, qos=1, retain=retain)

    # Connection. paho calls these from its own thread.

    def _connect(self) -> Any:
        client = _client(f"dcasenet-{self._node}-{time.time_ns():x}")
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set()
        client.will_set(f"{self._base}/status", OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(*RETRY_SECONDS)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.connect_timeout = CONNECT_SECONDS
        try:
            client.connect(self._broker.host, self._broker.port, KEEPALIVE_SECONDS)
        except OSError as error:
            raise BrokerError(
                f"The MQTT broker {self._broker} cannot be reached: {error.strerror or error}. "
                "Is it running, and are host and port right?"
            ) from error
        self._client = client
        client.loop_start()
        if not self._is_connected.wait(CONNECT_SECONDS) or self._refusal:
            client.loop_stop()
            raise BrokerError(
                f"The MQTT broker {self._broker} refuses the connection: "
                f"{self._refusal or 'no answer'}. Give user and password: --mqtt "
                "mqtt://user@host, and the password in DCASENET_MQTT_PASSWORD."
            )
        return client

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
        else:
            self._refusal = None
            # A broker that was restarted may have lost its retained values.
            with self._retaining:
                for name, payload in self._retained.items():
                    self._send(name, payload, retain=True)
        self._is_connected.set()

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any
    ) -> None:
        if reason.is_failure:
            logger.warning(
                "The MQTT broker %s is unreachable (%s); results are kept until it is back.",
                self._broker,
                reason,
            )

    def _on_publish(self, _client: Any, _data: Any, _mid: int, _reason: Any, _more: Any) -> None:
        with self._acknowledged:
            self._n_unsent -= 1
            self._acknowledged.notify_all()

    # Home Assistant

    def _discovery(self) -> dict[str, str]:
        """Return the discovery messages of all entities: topic → message."""
        entities: dict[str, Mapping[str, Any]] = {}
        tasks = self._spec.tasks
        if "event" in tasks:
            entities["event/sound"] = {
                "name": "Sound event",
                "state_topic": f"{self._base}/event",
                "event_types": list(self._spec.events),
                "icon": "mdi:waveform",
            }
            for label in self._spec.events:
                entities[f"binary_sensor/{slug(label)}"] = {
                    "name": label.replace("_", " ").capitalize(),
                    "state_topic": f"{self._base}/active/{slug(label)}",
                    "device_class": "sound",
                }
        for task, name, icon in (
            ("scene", "Place", "mdi:map-marker"),
            ("tag", "Sound", "mdi:ear-hearing"),
        ):
            if task in tasks:
                entities[f"sensor/{task}"] = {
                    "name": name,
                    "state_topic": f"{self._base}/{task}",
                    "value_template": "{{ value_json.label }}",
                    "json_attributes_topic": f"{self._base}/{task}",
                    "icon": icon,
                }
        device = {
            "identifiers": [f"dcasenet_{self._node}"],
            "name": self._name,
            "manufacturer": "dcasenet",
            "model": f"{self._spec.name} {self._spec.stage}",
            "sw_version": __version__,
        }
        return {
            f"{DISCOVERY}/{kind}/{self._node}/{thing}/config": json_text(
                {
                    **entity,
                    "unique_id": f"dcasenet_{self._node}_{kind}_{thing}",
                    "availability_topic": f"{self._base}/status",
                    "device": device,
                    "origin": {"name": "dcasenet", "sw_version": __version__},
                }
            )
            for path, entity in entities.items()
            for kind, thing in [path.split("/")]
        }


def slug(name: str) -> str:
    """Return a name that topics and Home Assistant ids accept; changed names get a hash as suffix.

    Example:
        >>> slug("Door knock"), slug("Türklopfen")
        ('door_knock', 't_rklopfen_084dfc9d')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if re.fullmatch(r"[\w -]+", name, re.ASCII) and plain:
        return plain
    return f"{plain}_{zlib.crc32(name.encode()):08x}".strip("_")


def _described(event: Event, began: datetime) -> dict[str, Any]:
    return {
        "event_type": event.label,
        "onset": event.onset,
        "offset": event.offset,
        "probability": round(event.probability, 4),
        "time": (began + timedelta(seconds=event.onset)).isoformat("T", "milliseconds"),
    }


def _last(found: Sequence[Any]) -> Any:
    return found[-1] if found else None


def _scored(scored: Scene | Tags, now: float) -> str:
    best = scored.top(TOP)
    values = {
        "label": best[0].label,
        "probability": round(best[0].probability, 4),
        "is_sure": scored.is_sure,
        "probabilities": {one.label: round(one.probability, 4) for one in best},
        "seconds": round(now, 2),
    }
    return json_text(values)


def _client(name: str) -> Any:
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise ImportError(
            "Publishing to MQTT needs the package paho-mqtt. Type: pip install 'dcasenet[live]'"
        ) from error
    return Client(CallbackAPIVersion.VERSION2, client_id=name)
