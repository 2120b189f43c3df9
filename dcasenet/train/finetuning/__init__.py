"""Fine-tuning: a model learns new labels from somebody's own recordings."""
