"""Make the next items in a thread while one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

# Items that wait to be used, at most.
DEPTH = 2
# Seconds after which a thread that waits for room looks whether it is still wanted.
PATIENCE = 0.1


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """Yield items in order, made in a thread of their own.

    An exception of the items is raised where it belongs: after those before it. When the iterator
    is closed or dropped, the thread has ended before that returns.

    Example:
        >>> list(ahead(range(3)))
        [0, 1, 2]
    """
    made: queue.Queue[list[Item]] = queue.Queue(DEPTH)
    faults: list[BaseException] = []
    unwanted = threading.Event()

    def hand_over(item: list[Item]) -> None:
        while not unwanted.is_set():
            try:
                return made.put(item, timeout=PATIENCE)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                hand_over([item])
                if unwanted.is_set():
                    break
        # Whatever it is, it is raised where the items are used.
        except BaseException as fault:
            faults.append(fault)
        hand_over([])  # the end

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while item := made.get():
            yield item[0]
        if faults:
            raise faults[0]
    finally:
        unwanted.set()
        thread.join()
