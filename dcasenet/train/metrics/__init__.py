"""Figures of scenes, tags and events, and their intervals."""
