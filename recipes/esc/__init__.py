"""Accuracy on ESC-10 and ESC-50."""
