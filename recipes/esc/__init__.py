"""Accuracy on ESC-50, in its five folds."""
