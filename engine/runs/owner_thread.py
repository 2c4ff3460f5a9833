"""The background thread of a run's owner: writes what the trainer's thread leaves in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine.errors import RunBusyError, RunError
from engine.files import reason
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import HEARTBEAT_SECONDS, write_heartbeat
from engine.runs.journal import Journal
from engine.runs.record_writer import RecordWriter
from engine.runs.run_lock import RunLock

FLUSH_SECONDS = 0.5  # how far a monitor lags behind, at most
RECORD_SECONDS = 1.0  # the record is replaced whole, with an fsync: dearer than appending lines
_monotonic = time.monotonic

OnChange = Callable[[RunFolder, float], None]
"""Takes a run whose state changed and the seconds that it may wait for other processes.

It may raise RunBusyError (called again later) or RunError (logged)."""


class OwnerThread:
    """Writes heartbeat, metrics, log and record while the trainer is busy, and reports changes.

    Metrics and log after at most 0.5 s, the record after at most 1 s, a heartbeat every 3 s. A
    thread of its own, since a trainer may be in one call of torch for minutes.

    Args:
        folder: the run.
        lock: its lock, held.
        record: its record.
        journal: its metrics and its log.
        on_change: called after each change of state.
        follow_clock: called in each turn, see ``training_time.RunningSince``.

    Attributes:
        failure: the first error in writing, else None. After it the thread writes heartbeats alone,
            and the trainer's next call raises it.
    """

    def __init__(
        self,
        folder: RunFolder,
        lock: RunLock,
        record: RecordWriter,
        journal: Journal,
        on_change: OnChange,
        follow_clock: Callable[[], None],
    ) -> None:
        self.failure: RunError | None = None
        self._folder = folder
        self._lock = lock
        self._record = record
        self._journal = journal
        self._on_change = on_change
        self._follow_clock = follow_clock
        self._change_pending = True
        self._stopping = False
        self._wake = threading.Event()
        self._next_beat = self._next_record = 0.0
        # daemon: an owner that was never closed must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"run-{folder.id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; it completes a turn first."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def check(self) -> None:
        """Raise the error of the thread in the calling one.

        Raises:
            RunError: ``failure``.
        """
        if self.failure is not None:
            raise self.failure

    def note_change(self) -> None:
        """The state has changed: ``on_change`` is called in the next turn, which begins at once."""
        self._change_pending = True
        self._wake.set()

    def report_change(self, *, timeout: float) -> None:
        """Call ``on_change`` in the calling thread, if the state has changed since the last call.

        Args:
            timeout: seconds that it may wait for other processes.
        """
        if not self._change_pending:
            return
        self._change_pending = False  # before the call: a change during it is reported again
        try:
            self._on_change(self._folder, timeout)
        except RunBusyError:
            self._change_pending = True  # tried again in the next turn of the thread
        except RunError as error:  # no reason to end a training: the index can be made anew
            self._journal.add_text(f"the index was not brought up to date: {error}")

    def beat(self) -> None:
        """Write a heartbeat, and make sure that the run is still this owner's.

        Raises:
            RunError: when the folder cannot be written, or another process has taken the run over.
        """
        try:
            write_heartbeat(self._folder.heartbeat_path)
            still_ours = self._lock.still_there()
        except OSError as error:
            raise RunError(
                f"The run folder {self._folder.path} cannot be written: {reason(error)}."
            ) from error
        if not still_ours:
            raise RunError(
                f"The lock of the run {self._folder.id} was removed, and another process has "
                "taken the run over."
            )

    def _work(self) -> None:
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()  # before the turn: what is set during it causes another one
            try:
                self._turn(_monotonic())
            except RunError as error:
                self.failure = self.failure or error

    def _turn(self, now: float) -> None:
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_SECONDS
            self.beat()
        self.report_change(timeout=0.1)  # short: metrics and heartbeat wait behind it
        if self._record.frozen or self.failure is not None:
            return
        if self._journal.waiting:
            self._journal.write()
        self._follow_clock()
        if self._record.dirty and now >= self._next_record:
            self._next_record = now + RECORD_SECONDS
            self._record.save()
