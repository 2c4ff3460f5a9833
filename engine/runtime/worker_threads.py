"""Threads that each compute alone, for work that falls into independent pieces.

torch's own threads meet at the end of every operation. On an idle machine that costs
microseconds; where another process or the screen wants a core, each meeting can cost a time slice
of the scheduler (8 ms here, for operations of 0.1 ms). WorkerThreads meet once for many operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Self, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class WorkerThreads:
    """A fixed number of threads, each with torch set to compute on one core.

    Only the lanes themselves are set so: the caller's thread count stays.

    Args:
        count: threads, at least 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"The number of lanes is {count}; it must be at least 1.")
        self.count = count
        before = torch.get_num_threads()
        # One pool a lane, so that an item meets the same thread whatever the others do.
        self._pools = [
            ThreadPoolExecutor(1, f"lane-{lane}", initializer=_compute_alone)
            for lane in range(count)
        ]
        # The setting of one thread is also the default of threads to come: start, then restore.
        self.map(lambda _lane, _item: None, range(count))
        torch.set_num_threads(before)

    def map(self, work: Callable[[int, T], R], items: Iterable[T]) -> list[R]:
        """``work(lane, item)`` for every item, item ``i`` on lane ``i mod count``.

        A lane takes its items in order, so sums that each lane keeps for itself are the same in
        every run. The caller waits.

        Returns:
            The results, in the order of the items.

        Raises:
            Exception: the first that ``work`` raised, once all lanes have come to rest.
        """
        items = list(items)

        def run(lane: int) -> list[R]:
            return [work(lane, item) for item in items[lane :: self.count]]

        futures = [pool.submit(run, lane) for lane, pool in enumerate(self._pools)]
        wait(futures)
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

    For what a caller of lanes does between them. Its operations are short, and a second thread of
    torch's would be woken for each and then spin for a while, on the core that a lane needs: on a
    busy machine with two cores a step took a third more processor time that way. Operations
    that treat each value by itself give the same bits with any number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compute_alone() -> None:
    torch.get_num_threads()  # the first look takes over the default, and would undo the setting
    torch.set_num_threads(1)
