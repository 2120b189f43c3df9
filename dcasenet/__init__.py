"""Scene, tags and events of any recording, from one pretrained network.

::

    import dcasenet

    model = dcasenet.load("v3", stage="open")
    model.analyze(dcasenet.example())

Importing the package imports nothing heavy: torch comes when a name below needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcasenet.errors import (
        AudioError,
        ChecksumError,
        DcasenetError,
        OfflineError,
        TaskNotAvailableError,
        UnknownLabelError,
        UnknownModelError,
        WeightsError,
    )
    from dcasenet.inference.events import decode_events
    from dcasenet.inference.model import SoundModel
    from dcasenet.loading import load
    from dcasenet.models.base import Outputs
    from dcasenet.models.dcasenet import create
    from dcasenet.recordings import example
    from dcasenet.results import Analysis, Embedding, Event, Events, Scene, ScoredLabel, Tags
    from dcasenet.spec import FrontEndSettings, ModelSpec
    from dcasenet.weights.manifest import available_models

__version__ = "0.2.0"

# Public name → the module that it lives in, imported when the name is first used.
_HOME = {
    "Analysis": "results",
    "AudioError": "errors",
    "ChecksumError": "errors",
    "DcasenetError": "errors",
    "Embedding": "results",
    "Event": "results",
    "Events": "results",
    "FrontEndSettings": "spec",
    "ModelSpec": "spec",
    "OfflineError": "errors",
    "Outputs": "models.base",
    "Scene": "results",
    "ScoredLabel": "results",
    "SoundModel": "inference.model",
    "Tags": "results",
    "TaskNotAvailableError": "errors",
    "UnknownLabelError": "errors",
    "UnknownModelError": "errors",
    "WeightsError": "errors",
    "available_models": "weights.manifest",
    "create": "models.dcasenet",
    "decode_events": "inference.events",
    "example": "recordings",
    "load": "loading",
}

__all__ = [
    "Analysis",
    "AudioError",
    "ChecksumError",
    "DcasenetError",
    "Embedding",
    "Event",
    "Events",
    "FrontEndSettings",
    "ModelSpec",
    "OfflineError",
    "Outputs",
    "Scene",
    "ScoredLabel",
    "SoundModel",
    "Tags",
    "TaskNotAvailableError",
    "UnknownLabelError",
    "UnknownModelError",
    "WeightsError",
    "__version__",
    "available_models",
    "create",
    "decode_events",
    "example",
    "load",
]


if not TYPE_CHECKING:  # a type checker that saw this would believe in any name

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'dcasenet' has no attribute {name!r}")
        value = getattr(import_module(f"dcasenet.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
