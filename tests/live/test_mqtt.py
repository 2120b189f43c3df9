"""What a real broker is told, and what happens when it goes away."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from dcasenet import Event, ModelSpec, Scene, Tags
from dcasenet.errors import BrokerError
from dcasenet.inference.stream import Provisional, StreamUpdate
from dcasenet.live.mqtt import Broker, MqttPublisher, slug
from tests.live.conftest import Mosquitto, Subscriber, wait_for

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIMES = np.array([[0.0, 5.0]])


def event(label: str, onset: float, offset: float, final: bool = True) -> Event:
    return Event(label, onset, offset, 0.75, final)


def early(time: float, *events: Event, tag: str = "bark") -> Provisional:
    labels = ("bark", "rain")
    values = np.array([0.9, 0.2] if tag == "bark" else [0.1, 0.6], np.float32)
    common: Any = {"windows": values[None], "times": TIMES}
    places = np.array([0.7, 0.3], np.float32)
    scene = Scene(labels=("park", "tram"), values=places, is_sure=False, **common)
    return Provisional(time, scene, Tags(labels=labels, values=values, **common), events)


@pytest.fixture
def publisher(broker: Mosquitto, tiny_spec: ModelSpec) -> MqttPublisher:
    return MqttPublisher(Broker.of(broker.address), tiny_spec, "Garden 1")


def test_home_assistant_can_discover_everything(
    publisher: MqttPublisher, subscriber: Subscriber, tiny_spec: ModelSpec
) -> None:
    wait_for(lambda: len(subscriber.topics()) >= 6 + 1 + 3)
    node = "garden_1"
    sound = subscriber.of(f"homeassistant/event/{node}/sound/config")[0]
    assert sound["event_types"] == list(tiny_spec.events)
    assert sound["state_topic"] == f"dcasenet/{node}/event"
    door = subscriber.of(f"homeassistant/binary_sensor/{node}/door_knock/config")[0]
    assert (door["name"], door["device_class"]) == ("Door knock", "sound")
    assert door["state_topic"] == f"dcasenet/{node}/active/door_knock"
    place = subscriber.of(f"homeassistant/sensor/{node}/scene/config")[0]
    assert place["value_template"] == "{{ value_json.label }}"
    ids = [
        subscriber.of(topic)[0]["unique_id"]
        for topic in subscriber.topics()
        if topic.startswith("homeassistant")
    ]
    assert len(ids) == len(set(ids)) == 6
    for described in (sound, door, place):
        assert described["availability_topic"] == f"dcasenet/{node}/status"
        assert described["device"]["name"] == "Garden 1"
    assert subscriber.of(f"dcasenet/{node}/status") == ["online"]
    publisher.close()
    wait_for(lambda: subscriber.of(f"dcasenet/{node}/status") == ["online", "offline"])


def test_events_are_told_once_and_states_as_they_change(
    publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    publisher.publish(
        StreamUpdate(provisional=early(1.0, event("dog", 0.8, 1.0, False))), 1.0, BEGAN
    )
    publisher.publish(
        StreamUpdate(provisional=early(1.5, event("dog", 0.8, 1.5, False))), 1.5, BEGAN
    )
    publisher.publish(
        StreamUpdate(provisional=early(9.0, event("dog", 0.8, 1.6, False))), 9.0, BEGAN
    )
    publisher.publish(StreamUpdate(events=(event("dog", 0.8, 1.6),)), 11.0, BEGAN)
    publisher.close()
    wait_for(lambda: "offline" in subscriber.of("dcasenet/garden_1/status"))
    assert subscriber.of("dcasenet/garden_1/active/dog") == ["OFF", "ON", "OFF"]
    assert subscriber.of("dcasenet/garden_1/event") == [
        {
            "event_type": "dog",
            "onset": 0.8,
            "offset": 1.6,
            "probability": 0.75,
            "time": "2026-01-02T03:04:05.800+00:00",
        }
    ]
    scenes = subscriber.of("dcasenet/garden_1/scene")
    assert [scene["label"] for scene in scenes] == ["park"]
    assert not scenes[0]["is_sure"]
    assert scenes[0]["probabilities"] == {"park": 0.7, "tram": 0.3}


def test_a_state_is_told_when_it_changes_and_else_now_and_then(
    publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    for second in range(25):
        tag = "rain" if second == 3 else "bark"
        publisher.publish(StreamUpdate(provisional=early(second, tag=tag)), float(second), BEGAN)
    publisher.close()
    wait_for(lambda: "offline" in subscriber.of("dcasenet/garden_1/status"))
    told = [(tag["seconds"], tag["label"]) for tag in subscriber.of("dcasenet/garden_1/tag")]
    assert told == [(0, "bark"), (3, "rain"), (4, "bark"), (14, "bark"), (24, "bark")]


def test_a_broker_that_goes_away_loses_no_final_event(
    broker: Mosquitto, publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    def tell(number: int) -> None:
        publisher.publish(StreamUpdate(events=(event("dog", number, number + 1),)), number, BEGAN)

    tell(0)
    wait_for(lambda: len(subscriber.of("dcasenet/garden_1/event")) == 1)
    broker.stop()
    for number in range(1, 60):
        tell(number)
        publisher.publish(StreamUpdate(provisional=early(number)), float(number), BEGAN)
    broker.start()
    wait_for(lambda: len(subscriber.of("dcasenet/garden_1/event")) >= 60)
    tell(60)
    publisher.close()
    wait_for(lambda: subscriber.of("dcasenet/garden_1/status")[-1] == "offline")
    onsets = [told["onset"] for told in subscriber.of("dcasenet/garden_1/event")]
    assert sorted(set(onsets)) == list(range(61))
    assert subscriber.of("dcasenet/garden_1/scene")[-1]["label"] == "park"


def test_a_broker_that_stays_away_is_reported_at_the_end(
    broker: Mosquitto, publisher: MqttPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcasenet.live.mqtt.CLOSE_SECONDS", 0.2)
    wait_for(lambda: publisher._n_unsent == 0)
    broker.stop()
    wait_for(lambda: not publisher._client.is_connected())
    publisher.publish(StreamUpdate(events=(event("dog", 0, 1),)), 1.0, BEGAN)
    with pytest.raises(BrokerError, match="was unreachable at the end: 1 messages have not"):
        publisher.close()


def test_a_killed_listener_is_offline(
    broker: Mosquitto, publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    wait_for(lambda: subscriber.of("dcasenet/garden_1/status") == ["online"])
    publisher._client._sock_close()  # as when the process is killed
    wait_for(lambda: "offline" in subscriber.of("dcasenet/garden_1/status"))
    publisher.close()


def test_nobody_there_is_reported_at_once(tiny_spec: ModelSpec) -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9 cannot be reached: .*Is it running"):
        MqttPublisher(Broker.of("127.0.0.1:9"), tiny_spec)


def test_a_broker_that_wants_a_password(
    start_broker: Callable[..., Mosquitto], tiny_spec: ModelSpec
) -> None:
    broker = start_broker(settings="allow_anonymous false")
    with pytest.raises(BrokerError, match="refuses the connection: Not authorized"):
        MqttPublisher(Broker.of(broker.address), tiny_spec)


@pytest.mark.parametrize(
    ("address", "broker"),
    [
        ("host", Broker("host")),
        ("host:1884", Broker("host", 1884)),
        ("mqtt://me@host", Broker("host", 1883, "me", "secret")),
        ("mqtts://me:p%40ss@host:99", Broker("host", 99, "me", "p@ss", tls=True)),
        ("mqtts://host", Broker("host", 8883, None, "secret", tls=True)),
    ],
)
def test_addresses(address: str, broker: Broker) -> None:
    assert Broker.of(address, "secret" if broker.password == "secret" else None) == broker


@pytest.mark.parametrize("address", ["", "http://host", "host:port", "mqtt://", "host:70000"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(BrokerError, match="not the address of a broker"):
        Broker.of(address)


def test_names_that_topics_can_hold() -> None:
    names = ["Door knock", "a/b+#", "雨", "雷", "door_bell"]
    slugs = [slug(name) for name in names]
    assert slugs[0] == "door_knock"
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch("[a-z0-9_]+", found) for found in slugs)
