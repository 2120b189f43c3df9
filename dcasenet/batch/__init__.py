"""Run a model on any number of files: from folders to one table, resumable after an interruption.

::

    import dcasenet.batch

    model = dcasenet.load()
    dcasenet.batch.analyze(model, ["recordings/"], "results.parquet")
    dcasenet.batch.embed(model, ["recordings/"], "embeddings.npz")
"""

from dcasenet.batch.progress import JobOptions, Progress, Summary
from dcasenet.batch.runner import analyze, classify_scene, detect_events, embed, tag
from dcasenet.errors import JobError

__all__ = [
    "JobError",
    "JobOptions",
    "Progress",
    "Summary",
    "analyze",
    "classify_scene",
    "detect_events",
    "embed",
    "tag",
]
