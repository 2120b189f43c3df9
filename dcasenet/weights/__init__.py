"""Find, verify and read checkpoints, and build networks from them."""
