"""One ordered, bounded parallel map over the ``concurrent.futures`` interface, and the executors it runs on."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from petct_cli.core.errors import InternalError, UsageError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def ordered_map(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], executor: Executor | None, in_flight: int
) -> Iterator[ResultT]:
    """Yield ``function(item)`` for each item in order, with at most `in_flight` submitted at a time.

    The bound is the back-pressure: an endless `items` is read no faster than results are taken.

    Raises
    ------
    InternalError
        ``worker_died`` when a worker process was killed (usually: out of memory).
    """
    if executor is None:
        yield from map(function, items)
        return
    waiting: deque[Future[ResultT]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= in_flight or waiting[0].done():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise InternalError("worker_died", "a worker process was killed", "out of memory? try fewer --jobs") from None
    finally:
        for future in waiting:
            future.cancel()


@contextmanager
def open_executor(jobs: int, address: str | None = None) -> Iterator[tuple[Executor | None, int]]:
    """Open what ``--jobs`` and ``--executor`` ask for, with the number of items to keep in flight.

    One job runs in this process (None). More run in as many worker processes. ``dask://HOST:PORT`` hands the same map
    to a Dask cluster (needs the extra ``petct[dask]``).

    Raises
    ------
    UsageError
        ``bad_executor`` for an address of another form, ``dask_missing`` without the extra.
    """
    if address is not None:
        with _dask_executor(address) as pair:
            yield pair
    elif jobs <= 1:
        yield None, 1
    else:
        context = multiprocessing.get_context("forkserver")
        executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_interrupts_to_the_parent)
        try:
            yield executor, 2 * jobs
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _dask_executor(address: str) -> Iterator[tuple[Executor, int]]:
    scheme, _, place = address.partition("://")
    if scheme != "dask" or not place:
        raise UsageError("bad_executor", "--executor takes dask://HOST:PORT")
    try:
        from dask.distributed import Client
    except ImportError:
        raise UsageError("dask_missing", "--executor dask:// needs Dask", "pip install 'petct[dask]'") from None
    with Client(f"tcp://{place}") as client:
        workers = max(1, sum(client.nthreads().values()))
        yield client.get_executor(), 2 * workers


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
