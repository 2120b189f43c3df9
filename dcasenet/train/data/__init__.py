"""Data sets, and their audio decoded once."""
