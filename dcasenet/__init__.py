"""Scene, tags and events of any recording, from one pretrained network."""

__version__ = "0.1.0"
