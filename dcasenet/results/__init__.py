"""The results of a model: frozen, typed values, and the formats that they are written in."""

from dcasenet.results.provenance import Provenance
from dcasenet.results.values import (
    Analysis,
    Array,
    Embedding,
    Event,
    Events,
    Floats,
    Result,
    Scene,
    ScoredLabel,
    Tags,
    with_fields,
    with_recording,
    with_source,
)

__all__ = [
    "Analysis",
    "Array",
    "Embedding",
    "Event",
    "Events",
    "Floats",
    "Provenance",
    "Result",
    "Scene",
    "ScoredLabel",
    "Tags",
    "with_fields",
    "with_recording",
    "with_source",
]
