"""How many processors there are to compute with."""

from __future__ import annotations

import math
import os
from pathlib import Path

# Linux, version 2: microseconds of processor time in a period, or "max", and the period.
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus() -> int:
    """Return how many processors this process may use, at least 1.

    A process may be bound to some (``taskset``, a batch system), a container may be given a share
    of their time (``docker run --cpus``). More threads than that only wait for one another.

    Example:
        >>> 1 <= usable_cpus() <= os.cpu_count()
        True
    """
    known = os.cpu_count() or 1
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else known
    try:
        quota, period = QUOTA.read_text("ascii").split()
        share = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # another system, or no limit
        share = known
    return max(1, min(known, bound, share))
