"""Jobs on any number of files: folders in, one table out, and nothing lost on the way.

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
