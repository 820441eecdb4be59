"""Threads within one study: for work that leaves Python's lock alone (decoding, hashing, array arithmetic)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_PIECES = 8


def spare_threads(jobs: int) -> int:
    """Return how many threads each of `jobs` processes may use so that together they fill this process's cores."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, jobs))


def in_threads(function: Callable[[ItemT], ResultT], items: Sequence[ItemT], threads: int) -> list[ResultT]:
    """Return ``function(item)`` of each item, in order; the first failure in that order is raised.

    With one thread nothing but a loop happens.
    """
    if threads <= 1 or len(items) < 2:
        return [function(item) for item in items]
    # Neighbours go to one thread: handing over each item alone would cost more than a small one takes.
    size = max(1, min(16, len(items) // (threads * _PIECES)))
    pieces = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(lambda piece: [function(item) for item in piece], piece) for piece in pieces]
        try:
            return [result for future in waiting for result in future.result()]
        finally:
            for future in waiting:
                future.cancel()
