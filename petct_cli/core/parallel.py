"""One ordered, bounded parallel map over the ``concurrent.futures`` interface, and the executors it runs on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from queue import SimpleQueue
from typing import Generic, TypeVar

from petct_cli.core.errors import InternalError, UsageError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def ordered_map(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], executor: Executor | None, in_flight: int
) -> Iterator[ResultT]:
    """Yield ``function(item)`` for each item in order, with at most `in_flight` submitted at a time.

    The bound is the back-pressure: an endless `items` is read no faster than results are taken. With an executor
    `items` is read in a thread of its own, so that a finished result does not wait for the next item. An exception of
    `items` is raised after the results of what came before it, as it would be without an executor.

    Raises
    ------
    InternalError
        ``worker_died`` when a worker process was killed (usually: out of memory).
    """
    if executor is None:
        yield from map(function, items)
        return
    reader = _Reader(items, in_flight)
    waiting: deque[Future[ResultT]] = deque()
    ended: _Ended | None = None
    try:
        while ended is None or waiting:
            if waiting and waiting[0].done():
                yield waiting.popleft().result()
                reader.allow_one_more()
                continue
            event = reader.events.get()
            if isinstance(event, _Arrived):
                # A worker that an interrupt leaves half started would begin after its queues are gone, and complain.
                with _uninterrupted():
                    future = executor.submit(function, event.item)
                waiting.append(future)
                future.add_done_callback(lambda _: reader.events.put(None))
            elif event is not None:
                ended = event
        if ended.fault is not None:
            raise ended.fault
    except BrokenProcessPool:
        raise InternalError("worker_died", "a worker process was killed", "out of memory? try fewer --jobs") from None
    finally:
        reader.stop()
        for future in waiting:
            future.cancel()


@dataclass(frozen=True)
class _Arrived(Generic[ItemT]):
    item: ItemT


@dataclass(frozen=True)
class _Ended:
    fault: BaseException | None = None


class _Reader(Generic[ItemT]):
    """Reads `items` in a thread, never more than `in_flight` ahead.

    A None among its events, put there by others, says that a result is done.
    """

    def __init__(self, items: Iterable[ItemT], in_flight: int) -> None:
        self.events: SimpleQueue[_Arrived[ItemT] | _Ended | None] = SimpleQueue()
        self._slots = threading.Semaphore(in_flight)
        self._stopped = False
        # A daemon: a thread that waits for a line which never comes must not keep the process alive.
        threading.Thread(target=self._read, args=(iter(items),), daemon=True).start()

    def allow_one_more(self) -> None:
        self._slots.release()

    def stop(self) -> None:
        self._stopped = True
        self._slots.release()

    def _read(self, items: Iterator[ItemT]) -> None:
        fault: BaseException | None = None
        try:
            while True:
                self._slots.acquire()
                if self._stopped:
                    break
                self.events.put(_Arrived(next(items)))
        except StopIteration:
            pass
        except BaseException as error:
            fault = error
        self.events.put(_Ended(fault))


def start_early(modules: Sequence[str]) -> None:
    """Start the process that the workers of this one will be forked from, with `modules` loaded.

    It loads them beside this process, and its workers begin ready-made. Without it `open_executor` starts an empty
    one, and every worker loads what it needs.

    Parameters
    ----------
    modules
        Must import without starting threads. One that does not import is left out.
    """
    with suppress(OSError, ValueError):
        paths = [path or os.getcwd() for path in sys.path]
        if any(os.pathsep in path for path in paths) or sys.flags.ignore_environment:
            # They would not load from where this process has loaded its own.
            return
        with _environment({"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}):
            multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
            _start_forkserver()


def _start_forkserver() -> None:
    """Start the process that workers are forked from, unless it runs; interrupts are this process's business alone."""
    # This one lets interrupts through again at its end: it has to come first.
    resource_tracker.ensure_running()
    with _uninterrupted(), _room_for_a_socket():
        forkserver.ensure_running()


@contextmanager
def _room_for_a_socket() -> Iterator[None]:
    """Let the socket of workers lie in /tmp where TMPDIR is too deep for its address; nothing else goes there."""
    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > _DEEPEST_FOR_A_SOCKET:
        tempfile.tempdir = "/tmp"  # noqa: S108  a folder of its own is made below
    try:
        yield
    finally:
        tempfile.tempdir = before


_DEEPEST_FOR_A_SOCKET = 70
"""The address of a socket has 108 bytes (unix(7)), of which multiprocessing uses 33 for names of its own."""


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an interrupt wait until the end of the block; what is started in it gets none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_PATH_VARIABLES = ("PYTHONPATH", "PYTHONSAFEPATH")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = [(name, os.environ.get(name)) for name in values]
    os.environ.update(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Iterable[tuple[str, str | None]]) -> None:
    for name, value in values:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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
        _start_forkserver()
        executor = ProcessPoolExecutor(
            jobs,
            mp_context=multiprocessing.get_context("forkserver"),
            initializer=_prepare_worker,
            initargs=([(name, os.environ.get(name)) for name in _PATH_VARIABLES],),
        )
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


def _prepare_worker(environment: Iterable[tuple[str, str | None]]) -> None:
    """Leave interrupts to the parent, what this process starts in its environment, and this process not behind it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _set_environment(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the parent is gone without a word (killed, out of memory): nobody takes its results.

    It would wait for more work for ever, and whoever reads the parent's stdout for the end of that.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
