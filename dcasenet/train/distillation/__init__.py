"""Distillation: a small network learns to answer like a large one."""
