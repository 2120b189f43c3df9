"""Audio in: read, checked, mixed and resampled, block by block."""
