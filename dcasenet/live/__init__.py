"""Sound as it happens: where it comes from, and who is told of it.

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
