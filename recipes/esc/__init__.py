"""Accuracy on ESC-10 and ESC-50, in their five folds."""
