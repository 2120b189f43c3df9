"""Compute items in a background thread while earlier ones are used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

# Most items that wait to be used.
DEPTH = 2
# Seconds between two checks of a waiting thread whether the iterator is still open.
PATIENCE = 0.1


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """Yield items in order, computed in a background thread.

    An exception is raised at its place in the order, after the items before it. Closing or dropping
    the iterator returns only when the thread has ended.

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
        # Any exception is passed on to the thread that uses the items.
        except BaseException as fault:
            faults.append(fault)
        hand_over([])  # marks the end

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
