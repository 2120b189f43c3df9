"""Process live sound: from a microphone, a pipe or a file, to a stream and an MQTT broker.

::

    from dcasenet.live import Microphone

    with Microphone() as source, model.stream(source.sample_rate, latency=1.0) as stream:
        for block in source:
            update = stream.push(block)

``dcasenet listen`` does the same from the command line.
"""

from dcasenet.live.mqtt import MqttPublisher
from dcasenet.live.sources import LiveSource, Microphone, PacedFile, StandardInput

__all__ = ["LiveSource", "Microphone", "MqttPublisher", "PacedFile", "StandardInput"]
