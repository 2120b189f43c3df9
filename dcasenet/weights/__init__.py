"""Checkpoints: where they come from, how they are verified, and how they become networks."""
