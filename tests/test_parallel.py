"""The one parallel map: ordered, bounded, honest about dead workers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from petct_cli.core.errors import InternalError, UsageError
from petct_cli.core.parallel import open_executor, ordered_map


def double(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("jobs", [1, 2])
def test_order_is_kept(jobs: int) -> None:
    with open_executor(jobs) as (executor, in_flight):
        assert list(ordered_map(double, range(50), executor, in_flight)) == [2 * number for number in range(50)]


def test_input_is_read_no_faster_than_results_are_taken() -> None:
    read = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    with open_executor(2) as (executor, in_flight):
        results = ordered_map(double, numbers(), executor, in_flight)
        for _ in range(3):
            next(results)
        assert len(read) <= 3 + in_flight
        results.close()


def test_a_killed_worker_is_named() -> None:
    with open_executor(2) as (executor, in_flight), pytest.raises(InternalError, match="killed"):
        list(ordered_map(die, range(3), executor, in_flight))


def test_a_dask_cluster_runs_the_same_map() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, processes=False, dashboard_address=None, host="tcp://127.0.0.1"
        ) as cluster,
        open_executor(1, f"dask://{cluster.scheduler_address.removeprefix('tcp://')}") as (executor, in_flight),
    ):
        assert list(ordered_map(double, range(20), executor, in_flight)) == [2 * number for number in range(20)]


def test_only_dask_addresses_are_taken() -> None:
    with pytest.raises(UsageError), open_executor(1, "ray://here"):
        pass


def test_a_result_does_not_wait_for_the_next_item() -> None:
    more = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert more.wait(30), "the first result came only with the second item"
        yield 2

    with open_executor(2) as (executor, in_flight):
        results = ordered_map(double, items(), executor, in_flight)
        assert next(results) == 2
        more.set()
        assert list(results) == [4]


def test_what_came_before_a_fault_of_the_input_is_not_lost() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise UsageError("x", "no more")

    with open_executor(2) as (executor, in_flight):
        found = ordered_map(double, items(), executor, in_flight)
        assert [next(found) for _ in range(3)] == [0, 2, 4]
        with pytest.raises(UsageError):
            next(found)


class Interrupted(ThreadPoolExecutor):
    """Gets an interrupt while it starts a worker, as one from the terminal may come."""

    started = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        signal.raise_signal(signal.SIGINT)
        future = super().submit(fn, *args, **kwargs)
        self.started += 1
        return future


def test_an_interrupt_waits_for_the_worker_that_is_being_started() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interrupted(1) as executor:
            with pytest.raises(KeyboardInterrupt):
                list(ordered_map(double, range(3), executor, 2))
            assert executor.started == 1
    finally:
        signal.signal(signal.SIGINT, before)
