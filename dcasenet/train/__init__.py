"""Training: the open checkpoint's data and recipe (extra ``train``).

Nothing outside this package imports it.
"""
