"""Threads that each compute alone, for work that falls into independent pieces.

torch's own threads wait for each other at the end of every operation. On an idle machine that costs
microseconds; where another process or the screen wants a core, each wait can cost a time slice of
the scheduler (8 ms measured, for operations of 0.1 ms). WorkerThreads wait for each other once for
many operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Self, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class WorkerThreads:
    """A fixed number of threads, each with torch set to compute on one core.

    Only these threads are set so: the caller's thread count stays.

    Args:
        count: threads, at least 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"The number of worker threads is {count}; it must be at least 1.")
        self.count = count
        before = torch.get_num_threads()
        # One pool a worker, so that an item always goes to the same thread: a pool of several gives
        # it to whichever is free, and sums that a thread keeps would differ in their last bits.
        self._pools = [
            ThreadPoolExecutor(1, f"worker-{worker}", initializer=_use_one_core)
            for worker in range(count)
        ]
        # torch.set_num_threads in a worker also sets the default of threads that start later: have
        # all workers set it, then restore it.
        self.map(lambda _worker, _item: None, range(count))
        torch.set_num_threads(before)

    def map(self, work: Callable[[int, T], R], items: Iterable[T]) -> list[R]:
        """``work(worker, item)`` for every item, item ``i`` on worker ``i mod count``.

        A worker takes its items in order, so sums that each worker keeps are the same to the bit in
        every run. The caller waits.

        Returns:
            The results, in the order of the items.

        Raises:
            Exception: the first that ``work`` raised, once all workers are done.
        """
        items = list(items)

        def run(worker: int) -> list[R]:
            return [work(worker, item) for item in items[worker :: self.count]]

        futures = [pool.submit(run, worker) for worker, pool in enumerate(self._pools)]
        wait(futures)  # all of them, before result() raises the first error: they share tensors
        parts = [future.result() for future in futures]
        return [parts[i % self.count][i // self.count] for i in range(len(items))]

    def close(self) -> None:
        """End the threads."""
        for pool in self._pools:
            pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """The calling thread computes on one core inside the block; afterwards as before.

    For what the caller of ``WorkerThreads`` does between two calls of ``map``. Its operations are
    short, and OpenMP would wake a second thread for each, which then spins for a while on the core
    that a worker needs: on a busy machine with two cores a step took a third more processor time
    that way. Operations on each value by itself give the same bits with any number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread_beside(device: torch.device) -> AbstractContextManager[None]:
    """For small work beside steps: on a CPU ``single_threaded``, on any other device nothing."""
    return single_threaded() if device.type == "cpu" else contextlib.nullcontext()


def _use_one_core() -> None:
    # The first call in a thread applies the process's default: later it would undo the setting.
    torch.get_num_threads()
    torch.set_num_threads(1)
