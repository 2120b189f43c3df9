"""The open checkpoint: its data, its training and its figures."""
