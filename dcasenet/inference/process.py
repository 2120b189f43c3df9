"""Models in forked processes, which get no copy of the threads that compute."""

from __future__ import annotations

import os
from functools import cache

from dcasenet.errors import DcasenetError


@cache
def first_process() -> int:
    """Return the process that called this first: this one, or the one that it was forked from."""
    return os.getpid()


def refuse_fork(owner: int, one_thread: str) -> None:
    """Refuse to wait for threads that another process has.

    Args:
        owner: The process that started them.
        one_thread: What to type for one that needs no others.

    Raises:
        DcasenetError: It is not this process.
    """
    if owner != os.getpid():
        raise DcasenetError(
            "This process was forked from one that had loaded a model, and the threads that "
            "compute stayed there: the call would never end. Start processes with "
            f"multiprocessing.get_context('spawn'), or type {one_thread} first."
        )
