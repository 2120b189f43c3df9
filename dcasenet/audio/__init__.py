"""Read audio, check it, mix its channels and resample it, block by block."""
