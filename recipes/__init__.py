"""What made the shipped checkpoints and their figures; not part of the installed package."""
