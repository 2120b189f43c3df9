"""The distilled checkpoint: DcaseNet taught by a network that learned from AudioSet."""
