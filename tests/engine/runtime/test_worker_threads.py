"""WorkerThreads: order, fixed assignment, one core each, the caller's setting, exceptions."""

from __future__ import annotations

import threading

import pytest
import torch

from engine.runtime.worker_threads import WorkerThreads, single_threaded


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_order_and_an_item_always_meets_the_same_worker(count: int) -> None:
    with WorkerThreads(count) as workers:
        seen = workers.map(
            lambda worker, item: (worker, item * 10, threading.get_ident()), range(7)
        )
        again = workers.map(lambda worker, item: threading.get_ident(), range(7))
    assert [worker for worker, _, _ in seen] == [i % count for i in range(7)]
    assert [value for _, value, _ in seen] == [i * 10 for i in range(7)]
    assert [thread for _, _, thread in seen] == again
    assert len(set(again)) == count


def test_workers_compute_on_one_core_and_the_caller_keeps_its_own_setting() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with WorkerThreads(2) as workers:
            # An operation large enough to be shared out, so that every lazy default has set in.
            inside = workers.map(
                lambda _worker, _item: (torch.rand(200_000).sum(), torch.get_num_threads())[1],
                range(4),
            )
            fresh: list[int] = []
            thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
            thread.start()
            thread.join()
        assert inside == [1, 1, 1, 1]
        assert torch.get_num_threads() == 3
        assert fresh == [3]  # the default of other threads is as it was
    finally:
        torch.set_num_threads(before)


def test_an_exception_is_raised_after_all_workers_have_come_to_rest() -> None:
    done: list[int] = []

    def work(_worker: int, item: int) -> None:
        if item == 0:
            raise RuntimeError("no")
        done.append(item)

    with WorkerThreads(2) as workers:
        with pytest.raises(RuntimeError, match="no"):
            workers.map(work, range(6))
        assert sorted(done) == [1, 3, 5]  # the other worker's share
        assert workers.map(lambda _worker, item: item, [8]) == [8]


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        WorkerThreads(0)


def test_a_caller_computes_on_one_core_inside_the_block_only() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        values = torch.linspace(0.1, 2.0, 200_000)
        shared = values.lerp(values.sqrt(), 0.01)
        with WorkerThreads(2) as workers, single_threaded():
            assert torch.get_num_threads() == 1
            assert torch.equal(values.lerp(values.sqrt(), 0.01), shared)
            assert workers.map(lambda _worker, _item: torch.get_num_threads(), range(2)) == [1, 1]
        assert torch.get_num_threads() == 3
        with pytest.raises(RuntimeError, match="no"), single_threaded():
            raise RuntimeError("no")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
