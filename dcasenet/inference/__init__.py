"""From audio to results: the verbs and the steps behind them.

::

    model = dcasenet.load()
    with model.stream(44_100) as stream:  # a `Stream`
        update = stream.push(block)       # a `StreamUpdate`
"""

from dcasenet.inference.stream import Provisional, Stream, StreamUpdate

__all__ = ["Provisional", "Stream", "StreamUpdate"]
