"""Notices that another process of a run over several ranks has ended, and tells all of them why.

A collective operation whose partner has died fails at once with gloo, without naming it, and never
ends with NCCL. So a thread of each rank gives signs of life to the store of the process group, and
looks for those of others: rank 0 at all of them, the others at rank 0. Processes of the same node
are looked at directly, which shows a kill within a second. What one has found, it leaves in the
store, so that every rank says the same sentence.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
from torch.distributed.distributed_c10d import Store

POLL_SECONDS = 0.5
SILENT_SECONDS = 15.0
"""Without a sign of life from a process of another node, or from the store, for so long, it counts
as gone."""

_HEARD_SECONDS = 5.0
_FAILED, _HEARD = "failed", "heard"
_ENDED = "has ended: it was killed, or its memory ran out"


@dataclass(frozen=True)
class Peer:
    """A process of the run.

    Attributes:
        rank: which.
        pid: its process.
        host: where.
        here: whether it is on this node, so that its process can be looked at.
    """

    rank: int
    pid: int
    host: str
    here: bool

    def __str__(self) -> str:
        return f"Rank {self.rank} (process {self.pid} on {self.host})"

    def has_ended(self) -> bool:
        """Whether its process is gone; False where that cannot be seen from here."""
        if not self.here:
            return False
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


class RankWatch:
    """Watches the other ranks in a thread, until it is closed.

    Args:
        store: of the process group, by a connection of its own: the thread may have to wait.
        rank: of this process.
        watched: whose signs of life are looked for.
        store_of_first: rank 0 keeps the store, so the store is gone with it.
        on_failure: called once in the thread when the run has failed, such as to end operations of
            a card that wait for ever.

    Attributes:
        verdict: why the run cannot go on, one sentence; empty while it can.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        watched: Sequence[Peer],
        *,
        store_of_first: bool,
        on_failure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._rank, self._watched = store, rank, watched
        self._store_of_first, self._on_failure, self._clock = store_of_first, on_failure, clock
        self.verdict = ""
        self._found, self._closed = threading.Event(), threading.Event()
        self._beats = 0
        self._seen: dict[int, tuple[bytes, float]] = {}  # of a rank: its last sign, and when
        self._store_answered = clock()
        self._thread = threading.Thread(target=self._watch, name="ranks", daemon=True)

    def start(self) -> None:
        """Begins to give and to look for signs of life."""
        self._thread.start()

    def wait(self, seconds: float) -> str:
        """The verdict, for which some time is waited; empty when there is none then."""
        self._found.wait(seconds)
        return self.verdict

    def fail(self, sentence: str) -> None:
        """Tells all ranks why the run cannot go on; the first who does is heard."""
        with contextlib.suppress(RuntimeError):
            found = self._store.compare_set(_FAILED, "", sentence)
            sentence = found.decode(errors="replace") or sentence
        self._conclude(sentence)

    def look_here(self) -> None:
        """Looks at the processes of this node at once."""
        for peer in self._watched:
            if peer.has_ended():
                self.fail(_sentence(peer, _ENDED))
                return

    def linger(self) -> None:
        """Waits until those who are watched and live have heard the verdict.

        For rank 0 before it ends: with it goes the store, perhaps, and the others would take its
        end for the reason.
        """
        deadline = self._clock() + _HEARD_SECONDS
        with contextlib.suppress(RuntimeError):
            while self._clock() < deadline:
                living = [peer for peer in self._watched if not peer.has_ended()]
                if self._store.check([f"{_HEARD}/{peer.rank}" for peer in living]):
                    return
                time.sleep(POLL_SECONDS / 5)

    def close(self) -> None:
        """Ends the thread: what happens to the other ranks from now on is nobody's concern."""
        self._closed.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2 * POLL_SECONDS)

    def _watch(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            try:
                self._look()
                self._store_answered = self._clock()
            except RuntimeError:  # every error of a store is one
                self._look_without_store()
            if self.verdict:
                with contextlib.suppress(RuntimeError):
                    self._store.set(f"{_HEARD}/{self._rank}", "")
                self._on_failure()
                return

    def _look(self) -> None:
        self._beats += 1
        self._store.set(f"beat/{self._rank}", str(self._beats))
        if self._store.check([_FAILED]):
            self._conclude(self._store.get(_FAILED).decode(errors="replace"))
            return
        for peer in self._watched:
            words = self._gone(peer)
            if words:
                self.fail(_sentence(peer, words))
                return

    def _gone(self, peer: Peer) -> str:
        """Why a rank counts as gone; empty while it lives."""
        if peer.has_ended():
            return _ENDED
        if peer.here:  # it lives; a process that is stopped for a while gives no sign
            return ""
        key, now = f"beat/{peer.rank}", self._clock()
        sign = self._store.get(key) if self._store.check([key]) else b""
        before, since = self._seen.get(peer.rank, (None, now))
        if sign != before:
            self._seen[peer.rank] = (sign, now)
            return ""
        if now - since < SILENT_SECONDS:
            return ""
        return f"has given no sign of life for {SILENT_SECONDS:.0f} s"

    def _look_without_store(self) -> None:
        ended = next((peer for peer in self._watched if peer.has_ended()), None)
        if ended is not None:
            self._conclude(_sentence(ended, _ENDED))
        elif self._clock() - self._store_answered >= SILENT_SECONDS:
            who = "rank 0" if self._store_of_first else "the launcher"
            self._conclude(
                f"The store by which the ranks find each other does not answer any more: {who} has "
                "ended, or its node cannot be reached."
            )

    def _conclude(self, sentence: str) -> None:
        if not self.verdict and not self._closed.is_set():
            self.verdict = sentence
            self._found.set()


def _sentence(peer: Peer, words: str) -> str:
    return f"{peer} {words}; the run ends, and can be resumed from its last checkpoint."
