"""What every training runs on: the trainer, augmentation, checkpoints."""
