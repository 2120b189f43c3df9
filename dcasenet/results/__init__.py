"""What the verbs return: frozen, typed values, and the formats that they are written in."""

from dcasenet.results.values import (
    Analysis,
    Array,
    Embedding,
    Event,
    Events,
    Floats,
    Scene,
    ScoredLabel,
    Tags,
)

__all__ = [
    "Analysis",
    "Array",
    "Embedding",
    "Event",
    "Events",
    "Floats",
    "Scene",
    "ScoredLabel",
    "Tags",
]
