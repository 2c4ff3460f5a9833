"""A rank that is lost is noticed and named, by each of the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from torch.distributed.distributed_c10d import Store

from engine.runtime.rank_watch import SILENT_SECONDS, Peer, RankWatch
from tests.hand_clock import Clock


class Memory:
    """A store in memory; one that is broken answers nothing."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.broken = False

    def _answer(self) -> None:
        if self.broken:
            raise RuntimeError("Connection reset by peer")

    def set(self, key: str, value: str) -> None:
        self._answer()
        self.values[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self.values[key]

    def check(self, keys: list[str]) -> bool:
        self._answer()
        return all(key in self.values for key in keys)

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        self._answer()
        return self.values.setdefault(key, desired.encode())


def watching(
    store: Memory, rank: int, peers: Sequence[Peer], clock: Callable[[], float], *, first: bool
) -> RankWatch:
    asked: Store = store  # type: ignore[assignment]
    return RankWatch(asked, rank, peers, store_of_first=first, on_failure=lambda: None, clock=clock)


def far(rank: int) -> Peer:
    return Peer(rank, 4711, "node2", here=False)


def gone() -> Peer:
    """A process of this node that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Peer(1, process.pid, "node1", here=True)


def test_a_process_of_this_node_is_missed_at_once() -> None:
    peer, store = gone(), Memory()
    watch = watching(store, 0, [peer], Clock(0.0), first=True)
    watch._look()
    assert watch.verdict.startswith(f"Rank 1 (process {peer.pid} on node1) has ended: it was kille")
    assert store.get("failed").decode() == watch.verdict


def test_a_zombie_has_ended_and_a_living_process_has_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # ended, and nobody has taken its exit status
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Peer(1, process.pid, "node1", here=True).has_ended()
    finally:
        process.wait()
    assert not Peer(1, os.getpid(), "node1", here=True).has_ended()
    assert not Peer(1, process.pid, "node2", here=False).has_ended(), "it is of another machine"


def test_a_rank_of_another_node_counts_as_gone_after_a_while_without_a_sign() -> None:
    store, clock = Memory(), Clock(0.0)
    watch = watching(store, 0, [far(1), far(2)], clock, first=True)
    for beat in range(4):
        store.set("beat/1", str(beat))
        store.set("beat/2", str(beat if beat < 2 else 1))
        watch._look()
        assert not watch.verdict
        clock.now += SILENT_SECONDS / 2 - 0.1
    store.set("beat/1", "4")
    watch._look()
    assert watch.verdict.startswith("Rank 2 (process 4711 on node2) has given no sign of life")


def test_a_process_that_is_stopped_for_a_while_is_not_lost() -> None:
    store, clock = Memory(), Clock(0.0)
    watch = watching(store, 0, [Peer(1, os.getpid(), "node1", here=True)], clock, first=True)
    for _ in range(3):
        watch._look()
        clock.now += 10 * SILENT_SECONDS
    assert not watch.verdict


def test_all_say_what_the_first_has_found() -> None:
    store = Memory()
    finder = watching(store, 2, [far(0)], Clock(0.0), first=True)
    finder.fail("Rank 2 failed: its memory ran out")
    other = watching(store, 1, [far(0)], Clock(0.0), first=True)
    other._look()
    late = watching(store, 3, [far(0)], Clock(0.0), first=True)
    late.fail("Rank 3 failed: a connection broke")
    assert other.verdict == late.verdict == finder.verdict == "Rank 2 failed: its memory ran out"
    assert store.get("failed").decode() == finder.verdict


@pytest.mark.parametrize(("first", "who"), [(True, "rank 0"), (False, "the launcher")])
def test_without_the_store_the_run_ends(first: bool, who: str) -> None:
    store, clock = Memory(), Clock(0.0)
    watch = watching(store, 1, [far(0)], clock, first=first)
    store.broken = True
    watch._look_without_store()
    assert not watch.verdict, "it may come back"
    clock.now += SILENT_SECONDS
    watch._look_without_store()
    assert f"{who} has ended" in watch.verdict


def test_once_closed_nothing_is_lost() -> None:
    peer, store = gone(), Memory()
    watch = watching(store, 0, [peer], Clock(0.0), first=True)
    watch.close()
    watch.look_here()
    assert watch.wait(0.0) == ""


def test_the_first_waits_until_the_living_have_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, slept = Memory(), Clock(0.0), []
    watch = watching(store, 0, [gone(), far(2)], clock, first=True)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds
        if len(slept) == 3:
            store.set("heard/2", "")

    monkeypatch.setattr("engine.runtime.rank_watch.time.sleep", sleep)
    watch.linger()
    assert len(slept) == 3
    del store.values["heard/2"]
    slept[:] = [0.0] * 4
    watch.linger()
    assert 4.9 < clock.now < 6.0, "but not for ever"


def test_the_thread_concludes_and_tells_so() -> None:
    store, told = Memory(), []
    peer = gone()
    asked: Store = store  # type: ignore[assignment]
    watch = RankWatch(asked, 0, [peer], store_of_first=True, on_failure=lambda: told.append(1))
    watch.start()
    assert watch.wait(30.0).startswith("Rank 1 ")
    watch._thread.join(60)
    assert (told, "heard/0" in store.values) == ([1], True)
