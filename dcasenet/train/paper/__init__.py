"""The paper's experiments: its training, its protocol and its tables."""
