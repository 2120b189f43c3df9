"""ESC-50 in its five folds, from a student that never read a clip or source of it."""
